"""What a ledger is: the append-only log of decisions and rewards that every state is a fold over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

import numpy as np


class DecisionRecord(NamedTuple):
    """One decision, with all that is needed to recompute it and to learn from it.

    Attributes:
        decision_id: unique in the ledger.
        time: seconds since the epoch.
        payload: canonical JSON of the request, the size and the candidates asked for: the same id with another payload is a conflict.
        parts: JSON of what decided: policy, encoder, scorers, draw scheme.
        num_learned: rewards that the policy's state had been folded over.
        slots: i32[K], catalogue slots of the candidates, in the order of `probs`.
        action: i32[L], indices of the shown candidates, from the top.
        probs: f64[L, K], per position the distribution drawn from: zero on what stands above.
        features: f32[L, D] of the shown candidates, or f32[K, D] of all: phi, which is float32 by construction.
    """

    decision_id: str
    time: float
    payload: str
    parts: str
    num_learned: int
    slots: np.ndarray
    action: np.ndarray
    probs: np.ndarray
    features: np.ndarray


class RewardRecord(NamedTuple):
    """The reward of one shown item.

    Attributes:
        reward_id: unique in the ledger.
        decision_id: the decision that showed the item.
        position: where in the slate, from 0.
        value: finite.
        time: seconds since the epoch at which it arrived.
    """

    reward_id: str
    decision_id: str
    position: int
    value: float
    time: float


class ItemRecord(NamedTuple):
    """An item as it was last added.

    Attributes:
        slot: its number for good.
        row: JSON of its id, features and time of entry.
        vector: f32[dim], its embedding, kept so that a recovered catalogue is the same to the bit.
        active: false once removed.
    """

    slot: int
    row: str
    vector: np.ndarray
    active: bool


class Ledger(Protocol):
    """A store of records, opened by one process at a time. Every call outside `transaction` is durable when it returns."""

    def transaction(self) -> AbstractContextManager[None]:
        """Groups calls: all of them happen, or with an exception none."""

    def get(self, name: str) -> bytes | None:
        """Returns the bytes kept under a name: models, snapshots, what the folder was made with."""

    def put(self, name: str, data: bytes) -> None:
        """Keeps bytes under a name, in place of earlier ones."""

    def add_decision(self, record: DecisionRecord) -> None:
        """Appends a decision."""

    def decision(self, decision_id: str) -> DecisionRecord | None:
        """Returns a decision."""

    def decisions(self) -> Iterator[DecisionRecord]:
        """Yields every decision, oldest first."""

    def add_reward(self, record: RewardRecord) -> None:
        """Appends a reward."""

    def reward(self, reward_id: str) -> RewardRecord | None:
        """Returns a reward."""

    def rewards_of(self, decision_id: str) -> list[RewardRecord]:
        """Returns the rewards of a decision, in order of arrival."""

    def outcomes(self, start: int = 0) -> Iterator[tuple[RewardRecord, DecisionRecord]]:
        """Yields the rewards from number `start` on, in order of arrival, each with its decision."""

    def num_rewards(self) -> int:
        """Returns how many rewards there are."""

    def put_item(self, record: ItemRecord) -> None:
        """Appends an item as it is from now on; `items` yields it in place of what its slot held before."""

    def items(self) -> Iterator[ItemRecord]:
        """Yields every item as it is now, in order of slots."""

    def shown(self, decision_id: str, slot: int) -> ItemRecord:
        """Returns an item as it was when a decision was made."""

    def close(self) -> None:
        """Releases the folder."""
