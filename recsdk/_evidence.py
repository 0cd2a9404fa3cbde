"""The fitted models of the live loop, encoder and scorers, and what they say of candidates."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from recsdk import _codec, features
from recsdk.base import Encoder, Events, Items, Online, Request, Scorer, Table
from recsdk.data import events_from_rows, items_from_rows
from recsdk.errors import InvalidScores, InvalidValue, LedgerMismatch
from recsdk.ledger import Ledger


class Evidence:
    """An encoder, or none, and scorers with their states."""

    def __init__(self, encoder: Encoder[Any] | None, scorers: Sequence[Scorer[Any]]) -> None:
        self.encoder = encoder
        self.scorers = tuple(scorers)
        self.columns = tuple(column for scorer in self.scorers for column in scorer.columns)
        if len(set(self.columns)) < len(self.columns):
            raise InvalidValue(f"scorers must have columns of different names, got {self.columns}.")
        self.dim = 0 if encoder is None else encoder.dim
        self.version = "none"
        self._online = [(index, scorer) for index, scorer in enumerate(self.scorers) if isinstance(scorer, Online)]
        self._encoder_state: Any = None
        self.states: list[Any] = []  # of the scorers

    def fit(self, log: Events, ledger: Ledger) -> None:
        """Fits every model to the history and keeps the result in the ledger."""
        if self.encoder is not None:
            self._encoder_state = self.encoder.fit(log)
            ledger.put("fitted/encoder", _codec.dumps(self.encoder, self._encoder_state))
        self.states = [scorer.fit(log) for scorer in self.scorers]
        self.keep(ledger, "fitted")
        self._name_version(ledger)

    def load(self, ledger: Ledger) -> None:
        """Reads the encoder that `fit` kept."""
        if self.encoder is not None:
            template = None if _codec.is_native(self.encoder) else self.encoder.fit(_no_events())
            self._encoder_state = _codec.loads(self.encoder, template, _stored(ledger, "fitted/encoder"))
        self._name_version(ledger)

    def keep(self, ledger: Ledger, where: str) -> None:
        """Writes the scorers' states, which rewards change, under a name."""
        for index, (scorer, state) in enumerate(zip(self.scorers, self.states, strict=True)):
            ledger.put(f"{where}/scorer{index}", _codec.dumps(scorer, state))

    def restore(self, ledger: Ledger, where: str) -> None:
        """Reads what `keep` wrote under a name."""
        empty = _no_events()
        self.states = [
            _codec.loads(scorer, None if _codec.is_native(scorer) else scorer.fit(empty), _stored(ledger, f"{where}/scorer{index}"))
            for index, scorer in enumerate(self.scorers)
        ]

    def user(self, requests: Table) -> np.ndarray:
        """Returns f32[dim], the vector of the one request in the table."""
        if self.encoder is None:
            return np.zeros(0, np.float32)
        vectors = np.asarray(self.encoder.encode_requests(self._encoder_state, requests))
        return _checked(self.encoder, vectors, (1, self.dim))[0]

    def vectors(self, items: Items) -> np.ndarray:
        """Returns f32[N, dim], the vectors of items."""
        if self.encoder is None:
            return np.zeros((len(items.ids), 0), np.float32)
        vectors = np.asarray(self.encoder.encode_items(self._encoder_state, items))
        return _checked(self.encoder, vectors, (len(items.ids), self.dim))

    def phi(self, user: np.ndarray, request: Request, candidates: Items, vectors: np.ndarray) -> np.ndarray:
        """Returns f64[K, D], what the policy sees of the candidates."""
        num_candidates = len(candidates.ids)
        columns = [
            _checked(scorer, np.asarray(scorer.score(state, request, candidates)), (num_candidates, len(scorer.columns)))
            for scorer, state in zip(self.scorers, self.states, strict=True)
        ]
        joined = np.concatenate(columns, axis=1) if columns else np.zeros((num_candidates, 0), np.float32)
        return features.phi(user, vectors, joined)

    def learn(self, request: Request, item: Items, reward: float) -> None:
        """Shows a reward to the scorers that learn online."""
        for index, scorer in self._online:
            self.states[index] = scorer.update(self.states[index], request, item, reward)

    def close(self) -> None:
        """Frees what native models hold."""
        if self.encoder is not None:
            _codec.close(self.encoder, self._encoder_state)
        for scorer, state in zip(self.scorers, self.states, strict=True):
            _codec.close(scorer, state)

    def _name_version(self, ledger: Ledger) -> None:
        if self.encoder is not None:
            self.version = hashlib.sha256(_stored(ledger, "fitted/encoder")).hexdigest()[:16]


def _no_events() -> Events:
    return events_from_rows(items_from_rows([]), [])


def _stored(ledger: Ledger, name: str) -> bytes:
    data = ledger.get(name)
    if data is None:
        raise LedgerMismatch(f"The ledger has no {name!r}: it was made with other parts.")
    return data


def _checked(component: Any, answer: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if answer.shape != shape or answer.dtype != np.float32 or not np.isfinite(answer).all():
        raise InvalidScores(f"{component!r} must answer finite float32{list(shape)}, got {answer.dtype}{list(answer.shape)}: {answer}.")
    return answer
