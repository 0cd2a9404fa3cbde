"""GRU4Rec: a gated recurrent network over what the user took."""

from __future__ import annotations

import attrs
import numpy as np

from recsdk.base import Array, Events, Items, Table
from recsdk.checks import integer, number
from recsdk.encoders import _sequential
from recsdk.encoders._recurrent import RecurrentShape
from recsdk.encoders._sequential import SequenceState
from recsdk.validators import choice, feature_name, file_name, share


@attrs.frozen(kw_only=True)
class GRU:
    """Learns a user's vector from the order in which items were taken, by a recurrent network.

    It reads, trains and serves as `SASRec` does; see there. It carries one state from item to item, so the cost of a long history
    grows linearly, and it is the better of the two where histories are short. `SASRec` is quicker to train on a device, since its places
    do not wait for one another.

    Attributes:
        dim: width of the vectors and of the state.
        num_layers: recurrent layers.
        max_length: latest items of a history that count.
        output: "tied" where items have one table of vectors, or "untied" where being taken and being offered have one each.
        similarity: "dot", or "cosine" for vectors of length 1.
        temperature: divides the scores in training; about 0.05 to 0.1 with "cosine".
        loss: "softmax" over the whole catalogue, or "sampled" against `num_negatives` drawn items, for large catalogues.
        num_negatives: of the sampled loss.
        dropout: share of each layer's input that is left out in training.
        epochs: at most.
        batch_size: sequences per step.
        learning_rate: of AdamW after the warm-up.
        warmup_steps: over which the learning rate rises from 0.
        weight_decay: of AdamW.
        clip_norm: length to which a longer gradient is shortened.
        patience: epochs without a better validation metric after which training stops; 0 to go on.
        num_validation: users whose last item validates; at most half of those who took two items.
        max_windows: parts of `max_length` into which a long sequence is cut, the latest first; what is older is not trained on.
        precision: of the matrix products in training: "float32", "bfloat16", or "auto" for bfloat16 on accelerators.
        user: the log's column that says who the user is, a str.
        history: the requests' list feature of item ids.
        checkpoint: file that is written after each epoch. A training that was interrupted goes on from it, to the very parameters that it
            would have reached; None for no file.
        progress: whether to show a bar on stderr; None where that is a terminal.

    References:
        Hidasi, Karatzoglou, Baltrunas, Tikk, Session-based Recommendations with Recurrent Neural Networks, ICLR 2016.

    Example:
        >>> from recsdk.data import items_from_rows, requests_table
        >>> encoder = GRU(dim=8)
        >>> encoder.encode_requests(encoder.init(), requests_table([{"history": ["film-1", "film-7"]}])).shape
        (1, 8)
    """

    dim: int = attrs.field(default=64, validator=integer(at_least=2))
    num_layers: int = attrs.field(default=1, validator=integer(at_least=1))
    max_length: int = attrs.field(default=50, validator=integer(at_least=2))
    output: str = attrs.field(default="tied", validator=choice("tied", "untied"))
    similarity: str = attrs.field(default="dot", validator=choice("dot", "cosine"))
    temperature: float = attrs.field(default=1.0, validator=number(above=0))
    loss: str = attrs.field(default="softmax", validator=choice("softmax", "sampled"))
    num_negatives: int = attrs.field(default=1024, validator=integer(at_least=1))
    dropout: float = attrs.field(default=0.2, validator=share)
    epochs: int = attrs.field(default=100, validator=integer(at_least=1))
    batch_size: int = attrs.field(default=128, validator=integer(at_least=1))
    learning_rate: float = attrs.field(default=1e-3, validator=number(above=0))
    warmup_steps: int = attrs.field(default=100, validator=integer(at_least=0))
    weight_decay: float = attrs.field(default=0.01, validator=number(at_least=0))
    clip_norm: float = attrs.field(default=1.0, validator=number(above=0))
    patience: int = attrs.field(default=5, validator=integer(at_least=0))
    num_validation: int = attrs.field(default=2048, validator=integer(at_least=1))
    max_windows: int = attrs.field(default=1, validator=integer(at_least=1))
    precision: str = attrs.field(default="auto", validator=choice("auto", "float32", "bfloat16"))
    user: str = attrs.field(default="user_id", validator=feature_name)
    history: str = attrs.field(default="history", validator=feature_name)
    checkpoint: str | None = attrs.field(default=None, eq=False, repr=False, validator=attrs.validators.optional(file_name))
    progress: bool | None = attrs.field(default=None, eq=False, repr=False)

    @property
    def shape(self) -> RecurrentShape:
        """The architecture."""
        return RecurrentShape(dim=self.dim, num_layers=self.num_layers, max_length=self.max_length, is_tied=self.output == "tied")

    def init(self) -> SequenceState:
        """Returns the untrained state: random parameters of seed 0, no items known."""
        return _sequential.init(self)

    def fit(self, log: Events, *, state: SequenceState | None = None, seed: int = 0) -> SequenceState:
        """Trains from scratch, or on from `state`; items keep their rows, new ones get rows of their own.

        Raises:
            CheckpointMismatch: the file `checkpoint` is of another training.
            CheckpointCorrupt: it is damaged.
            InvalidLog: the log has no column `user`.
            InvalidRequest: users that are no str.
            InvalidValue: no step of an epoch was finite.
            MissingExtra: JAX or Optax is not installed.
        """
        return _sequential.fit(self, log, state, seed)

    def encode_requests(self, state: SequenceState, requests: Table) -> Array:
        """Returns f32[B, dim]; items of a history that are not known are passed over.

        Raises:
            InvalidRequest: a history that is no list of str.
        """
        return _sequential.encode_requests(self, state, requests)

    def encode_items(self, state: SequenceState, items: Items) -> Array:
        """Returns f32[N, dim]."""
        return np.asarray(_sequential.encode_items(self, state, items))
