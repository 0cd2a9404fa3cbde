"""Many requests at once, on the device that JAX uses."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np

from recsdk.base import Array, Events, Items, Table
from recsdk.encoders import _fitting, _sequences, _sequential
from recsdk.encoders._content import network
from recsdk.encoders._sequential import SequenceState

AT_ONCE = 256


@attrs.frozen(kw_only=True)
class OnDevice:
    """Encodes requests in batches of 256 by a compiled program, for offline work: an evaluation, or vectors of all users.

    A sequence encoder serves on NumPy: for one request that is quicker than a compiled call, and needs no JAX. For thousands of
    long histories a device is many times quicker. The vectors are the same up to rounding.

    Attributes:
        encoder: a sequence encoder, such as `SASRec`.

    Example:
        >>> from recsdk.encoders.sasrec import SASRec
        >>> OnDevice(encoder=SASRec(dim=8)).dim
        8
    """

    encoder: Any

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return int(self.encoder.dim)

    def init(self) -> SequenceState:
        """Returns the encoder's untrained state."""
        return _sequential.init(self.encoder)

    def fit(self, log: Events, *, state: SequenceState | None = None, seed: int = 0) -> SequenceState:
        """Fits the encoder."""
        return _sequential.fit(self.encoder, log, state=state, seed=seed)

    def encode_items(self, state: SequenceState, items: Items) -> Array:
        """Returns f32[N, dim], as the encoder."""
        return _sequential.encode_items(self.encoder, state, items)

    def encode_requests(self, state: SequenceState, requests: Table) -> Array:
        """Returns f32[B, dim].

        Raises:
            InvalidRequest: a history that is no list of str.
            MissingExtra: JAX, Flax or Optax is not installed.
        """
        objective = attrs.evolve(_fitting.objective(self.encoder), dtype="float32")
        import jax

        from recsdk.encoders._objective import users

        size = next((len(column) for column in requests.values()), 1)
        found = _sequences.from_requests(state.vocabulary, requests, self.encoder.history, size)
        vectors = np.zeros((size, self.dim), np.float32)
        with jax.default_matmul_precision("highest"), jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            params = jax.device_put(network(state.params))
            for first in range(0, size, AT_ONCE):
                tokens, last = _sequences.padded(found[first : first + AT_ONCE], self.encoder.max_length)
                padding = ((0, AT_ONCE - len(tokens)), (0, self.encoder.max_length - tokens.shape[1]))
                answer = users(objective, params, np.pad(tokens, padding), np.pad(last, padding[0]).astype(np.int32))
                vectors[first : first + len(tokens)] = np.asarray(answer)[: len(tokens)]
        return vectors * state.scale
