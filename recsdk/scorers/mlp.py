"""A network on the vectors of an encoder, which predicts the reward."""

from __future__ import annotations

import itertools
from typing import Any, ClassVar, NamedTuple

import attrs
import numpy as np

from recsdk.base import Array, Events, Items, Request, Table
from recsdk.checks import integer, number
from recsdk.columns import CATEGORY, column_kind, mean_and_scale, objects, requests_table
from recsdk.errors import MissingExtra, install
from recsdk.scorers._members import encoder, is_encoder
from recsdk.validators import feature_name

SEED = 0
VALIDATION = 5
"""One in so many events validates: those that come last."""
MOST_TAKEN = 100
"""Latest items of a history that the log does not tell."""


class Mixed(NamedTuple):
    """The state of `MLP`: a reward is `relu(x @ inward + bias) @ outward + constant`, where x is user vector * item vector.

    Attributes:
        encoder: the encoder's state.
        inward: f32[D, H].
        bias: f32[H].
        outward: f32[H].
        constant: f32[].
    """

    encoder: Any
    inward: np.ndarray
    bias: np.ndarray
    outward: np.ndarray
    constant: np.ndarray


@attrs.frozen(kw_only=True)
class MLP:
    """Predicts the reward of an item by a network of one hidden layer on the product of its vector and the user's, place by place.

    Use it where rewards are more than taken or not, such as ratings or minutes watched: an encoder learns what is taken, this learns
    what it earns. Where all rewards are alike there is nothing to learn, and the column is that reward; `Dot` is then the one to use.
    Training needs the extra `deep`, serving NumPy alone. The encoder is fitted to all events; the network is too, but for the last
    fifth of them, on which its error decides when to stop. Since the encoder has seen these, training may stop late.

    An encoder of sequences reads a history. Where the log has no column `history`, an event's history is what its user had taken, with a
    reward above 0, at earlier times of the log: the latest 100 items.

    Attributes:
        encoder: by name, or as a config.
        user: name of the requests' feature that identifies the user, a str.
        history: name of the requests' list feature that the encoder reads.
        num_hidden: width of the hidden layer.
        epochs: at most.
        batch_size: events per step.
        learning_rate: of AdamW.
        weight_decay: of AdamW, on the hidden layer.
        patience: epochs without a smaller error after which training stops.

    References:
        He, Liao, Zhang, Nie, Hu, Chua, Neural Collaborative Filtering, WWW 2017.

    Example:
        >>> from recsdk.data import items_from_rows
        >>> scorer = MLP(encoder="sasrec")
        >>> items = items_from_rows([{"id": "tea"}, {"id": "pot"}])
        >>> scorer.score(scorer.init(), Request({"history": ["tea"]}, 0.0), items).tolist()
        [[0.0], [0.0]]
    """

    columns: ClassVar[tuple[str, ...]] = ("mlp",)

    encoder: Any = attrs.field(converter=encoder, validator=is_encoder)
    user: str = attrs.field(default="user_id", validator=feature_name)
    history: str = attrs.field(default="history", validator=feature_name)
    num_hidden: int = attrs.field(default=32, validator=integer(at_least=1))
    epochs: int = attrs.field(default=50, validator=integer(at_least=1))
    batch_size: int = attrs.field(default=256, validator=integer(at_least=1))
    learning_rate: float = attrs.field(default=3e-3, validator=number(above=0))
    weight_decay: float = attrs.field(default=0.01, validator=number(at_least=0))
    patience: int = attrs.field(default=5, validator=integer(at_least=1))

    def init(self) -> Mixed:
        """Returns the encoder's untrained state and a network that predicts 0."""
        return self._constant(self.encoder.init(), 0.0)

    def fit(self, log: Events) -> Mixed:
        """Fits the encoder, then the network, both with seed 0.

        Raises:
            InvalidValue: no step of an epoch was finite.
            MissingExtra: JAX or Optax is not installed.
        """
        state = self.encoder.fit(log, seed=SEED)
        num, (middle, spread) = len(log.item), mean_and_scale(log.reward)
        if num < VALIDATION or not np.ptp(log.reward):
            return self._constant(state, middle)
        requests = self._with_histories(log)
        inputs = self.encoder.encode_requests(state, requests) * self.encoder.encode_items(state, log.items)[log.item]
        scale = np.sqrt((inputs * inputs).mean(axis=0))
        scale[scale == 0] = 1
        data = {"inputs": inputs / scale, "reward": ((log.reward - middle) / spread).astype(np.float32)}
        net = self._trained(data, num - num // VALIDATION)
        outward, constant = net.outward * np.float32(spread), np.asarray(net.constant * spread + middle, np.float32)
        return Mixed(state, net.inward / scale[:, None], net.bias, outward, constant)

    def score(self, state: Mixed, request: Request, candidates: Items) -> Array:
        """Returns f32[K, 1]."""
        user = self.encoder.encode_requests(state.encoder, requests_table([dict(request.features)]))[0]
        inputs = self.encoder.encode_items(state.encoder, candidates) * user
        # A product and a sum for each row, so that it does not depend on the other candidates.
        hidden = np.maximum((inputs[:, None] @ state.inward)[:, 0] + state.bias, 0)
        return ((hidden * state.outward).sum(axis=1, keepdims=True) + state.constant).astype(np.float32)

    def _with_histories(self, log: Events) -> Table:
        """Returns the log's requests; those without a history and with a user get what the user had taken by then."""
        users = log.requests.get(self.user)
        if self.history in log.requests or users is None or column_kind(users) != CATEGORY:
            return log.requests
        names, ids, times = users.tolist(), log.items.ids[log.item].tolist(), log.time.tolist()
        taken: dict[str | None, list[str]] = {}
        found: list[list[str]] = []
        for _, rows in itertools.groupby(range(len(times)), times.__getitem__):
            now = list(rows)
            found += [taken.get(names[row], [])[-MOST_TAKEN:] for row in now]
            for row in now:
                if log.reward[row] > 0 and names[row] is not None:
                    taken.setdefault(names[row], []).append(ids[row])
        return {**log.requests, self.history: objects(found)}

    def _constant(self, state: Any, value: float) -> Mixed:
        dim, width = self.encoder.dim, self.num_hidden
        inward, bias, outward = (np.zeros(shape, np.float32) for shape in ((dim, width), width, width))
        return Mixed(state, inward, bias, outward, np.array(value, np.float32))

    def _trained(self, data: dict[str, np.ndarray], begin: int) -> Any:
        """Returns the network, trained on the rows before `begin` and validated on the others."""
        try:
            from recsdk.encoders.training import Settings
            from recsdk.scorers._network import Network, fitted
        except ModuleNotFoundError as error:
            raise MissingExtra(f"The scorer mlp needs {error.name}, which is not installed: {install('deep')}.") from error
        rng, (dim, width) = np.random.default_rng(SEED), (data["inputs"].shape[1], self.num_hidden)
        inward = rng.standard_normal((dim, width), np.float32) * np.float32(np.sqrt(2 / dim))
        outward = rng.standard_normal(width, np.float32) * np.float32(np.sqrt(1 / width))
        settings = Settings(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            warmup_steps=0,
            weight_decay=self.weight_decay,
            clip_norm=1.0,
            patience=self.patience,
            seed=SEED,
            progress=False,
        )
        rows, cases = ({name: array[some] for name, array in data.items()} for some in (slice(0, begin), slice(begin, None)))
        return fitted(Network(inward, np.zeros(width, np.float32), outward, np.array(0, np.float32)), rows, cases, settings)
