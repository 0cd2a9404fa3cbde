"""The fitted models of the live loop, encoder and scorers, and what they say of candidates."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from recsdk import states
from recsdk.base import Encoder, Events, Items, Online, Request, Scorer
from recsdk.checks import require_integer
from recsdk.data import requests_table
from recsdk.errors import InvalidScores, InvalidValue, LedgerMismatch
from recsdk.ledger import Ledger
from recsdk.live import features


class Evidence:
    """An encoder, or none, and scorers with their states."""

    def __init__(self, encoder: Encoder[Any] | None, scorers: Sequence[Scorer[Any]]) -> None:
        self.encoder = encoder
        self.scorers = tuple(scorers)
        self.columns = tuple(column for scorer in self.scorers for column in scorer.columns)
        if len(set(self.columns)) < len(self.columns):
            raise InvalidValue(f"scorers must have columns of different names, got {self.columns}.")
        if encoder is not None:
            require_integer(f"{type(encoder).__name__}.dim", encoder.dim, at_least=1)
        self.dim = 0 if encoder is None else encoder.dim
        self.version = "none"
        self.num_events = 0  # of the history that the models were fitted to
        self._online = [(index, scorer) for index, scorer in enumerate(self.scorers) if isinstance(scorer, Online)]
        self._encoder_state: Any = None
        self.states: list[Any] = []  # of the scorers

    def fit(self, log: Events, ledger: Ledger) -> None:
        """Fits every model to the history and keeps the result in the ledger."""
        if self.encoder is not None:
            self._encoder_state = self.encoder.fit(log)
            ledger.put("fitted/encoder", states.dumps(self.encoder, self._encoder_state))
        self.states = [scorer.fit(log) for scorer in self.scorers]
        ledger.put("fitted/num_events", str(len(log.item)).encode())
        self.keep(ledger, "fitted")
        self.load(ledger)  # what cannot be read back is refused while the folder can still be made otherwise
        self.restore(ledger, "fitted")

    def load(self, ledger: Ledger) -> None:
        """Reads the encoder that `fit` kept."""
        self.num_events = int(_stored(ledger, "fitted/num_events"))
        if self.encoder is not None:
            data = _stored(ledger, "fitted/encoder")
            template = None if states.is_native(self.encoder) else self.encoder.init()
            self._close_encoder()
            self._encoder_state = states.loads(self.encoder, template, data)
            self.version = hashlib.sha256(data).hexdigest()[:16]

    def keep(self, ledger: Ledger, where: str) -> None:
        """Writes the scorers' states, which rewards change, under a name."""
        for index, (scorer, state) in enumerate(zip(self.scorers, self.states, strict=True)):
            ledger.put(f"{where}/scorer{index}", states.dumps(scorer, state))

    def restore(self, ledger: Ledger, where: str) -> None:
        """Reads what `keep` wrote under a name."""
        restored = [
            states.loads(scorer, None if states.is_native(scorer) else scorer.init(), _stored(ledger, f"{where}/scorer{index}"))
            for index, scorer in enumerate(self.scorers)
        ]
        self._close_scorers()
        self.states = restored

    def prior(self) -> np.ndarray:
        """Returns f64[D], what phi's weights are believed to be: an encoder that has seen nothing deserves no trust."""
        believed = features.prior(len(self.columns), self.dim)
        return believed if self.num_events else np.zeros_like(believed)

    def user(self, request: Request) -> np.ndarray:
        """Returns f32[dim], the vector of a request."""
        if self.encoder is None:
            return np.zeros(0, np.float32)
        answer = self.encoder.encode_requests(self._encoder_state, requests_table([request.features]))
        return _checked(self.encoder, answer, (1, self.dim)).reshape(self.dim)

    def vectors(self, items: Items) -> np.ndarray:
        """Returns f32[N, dim], the vectors of items."""
        if self.encoder is None or len(items.ids) == 0:
            return np.zeros((len(items.ids), self.dim), np.float32)
        return _checked(self.encoder, self.encoder.encode_items(self._encoder_state, items), (len(items.ids), self.dim))

    def phi(self, user: np.ndarray, request: Request, candidates: Items, vectors: np.ndarray) -> np.ndarray:
        """Returns f64[K, D], what the policy sees of the candidates."""
        num_candidates = len(candidates.ids)
        columns = [
            _checked(scorer, scorer.score(state, request, candidates), (num_candidates, len(scorer.columns)))
            for scorer, state in zip(self.scorers, self.states, strict=True)
        ]
        joined = np.concatenate(columns, axis=1) if columns else np.zeros((num_candidates, 0), np.float32)
        return features.phi(user, vectors, joined)

    @property
    def learns(self) -> bool:
        """Whether any scorer learns online."""
        return bool(self._online)

    def learn(self, request: Request, item: Items, reward: float) -> None:
        """Shows a reward to the scorers that learn online."""
        for index, scorer in self._online:
            self.states[index] = scorer.update(self.states[index], request, item, reward)

    def close(self) -> None:
        """Frees what native models hold."""
        self._close_encoder()
        self._close_scorers()

    def _close_encoder(self) -> None:
        if self._encoder_state is not None:
            states.close(self.encoder, self._encoder_state)
            self._encoder_state = None

    def _close_scorers(self) -> None:
        for scorer, state in zip(self.scorers, self.states, strict=False):  # none before `fit` or `restore`
            states.close(scorer, state)
        self.states = []


def _stored(ledger: Ledger, name: str) -> bytes:
    data = ledger.get(name)
    if data is None:
        raise LedgerMismatch(f"The ledger has no {name!r}: it was made with other parts.")
    return data


def _checked(component: Any, answer: Any, shape: tuple[int, ...]) -> np.ndarray:
    wanted = f"{component!r} must answer finite float32{list(shape)}"
    try:
        array: np.ndarray = np.asarray(answer)
    except (TypeError, ValueError) as error:
        raise InvalidScores(f"{wanted}, got {answer!r:.200}.") from error
    if array.shape != shape or array.dtype != np.float32 or not np.isfinite(array).all():
        raise InvalidScores(f"{wanted}, got {array.dtype}{list(array.shape)}: {array}.")
    return array
