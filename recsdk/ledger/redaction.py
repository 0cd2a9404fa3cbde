"""Emptied records: what is left of a decision and of what is about it, once its user is forgotten. For who writes a ledger of their own."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from recsdk.ledger import PAGE, DecisionRecord, Ledger, Redacted, RewardRecord, SignalRecord

SCRUB = "scrub"
"""The named bytes that are there as long as bytes of emptied records may be left."""
FORGOTTEN = "@forgotten"


def made_up() -> str:
    """Returns an id that says nothing and that no other has.

    Example:
        >>> made_up() == made_up()
        False
    """
    return f"forgotten-{uuid.uuid4().hex}"


def emptied(record: DecisionRecord) -> DecisionRecord:
    """Returns what is left of a decision.

    Example:
        >>> one = np.ones((1, 1), np.float32)
        >>> record = DecisionRecord("d1", 5.0, '{"request": {"age": 7}}', "{}", 0, np.array([7]), np.array([0]), one, one, user="u17")
        >>> left = emptied(record)
        >>> left.user, left.payload, left.slots.size, left.time
        (None, '{"request": {}}', 0, 5.0)
    """
    none = np.zeros(0, np.int32)
    return DecisionRecord(
        made_up(), record.time, '{"request": {}}', record.parts, record.num_learned, none, none, np.zeros((0, 0)), record.features[:0]
    )


def emptied_signals(signals: list[SignalRecord], decision_id: str) -> list[SignalRecord]:
    """Returns what is left of the signals about a decision, whose id now is `decision_id`.

    Example:
        >>> emptied_signals([SignalRecord("s1", "d1", 0, "click", 1.0, 60.0)], "d2")[0].name
        '@forgotten'
    """
    return [SignalRecord(made_up(), decision_id, PAGE, FORGOTTEN, 0.0, signal.time) for signal in signals]


def emptied_rewards(rewards: list[RewardRecord], decision_id: str) -> list[RewardRecord]:
    """Returns what is left of the rewards of a decision, whose id now is `decision_id`; which one replaced which stays.

    Example:
        >>> left = emptied_rewards([RewardRecord("d1/0", "d1", 0, 1.0, 60.0)], "d2")[0]
        >>> left.value, left.void
        (0.0, True)
    """
    ids = {reward.reward_id: made_up() for reward in rewards}
    return [
        RewardRecord(ids[reward.reward_id], decision_id, reward.position, 0.0, reward.time, ids.get(str(reward.replaces)), void=True)
        for reward in rewards
    ]


class Emptying(NamedTuple):
    """A decision and all that is about it: of each record what it is, and what is left of it.

    Attributes:
        decision: the decision.
        signals: about it.
        rewards: of it.

    Example:
        >>> signal = SignalRecord("s1", "d1", 0, "click", 1.0, 60.0)
        >>> left = emptied_signals([signal], "d2")[0]
        >>> one = np.ones((1, 1), np.float32)
        >>> record = DecisionRecord("d1", 5.0, "{}", "{}", 0, np.array([7]), np.array([0]), one, one)
        >>> Emptying((record, emptied(record)), [(signal, left)], []).added_to(Redacted(decisions=2))
        Redacted(decisions=3, signals=1, rewards=0)
    """

    decision: tuple[DecisionRecord, DecisionRecord]
    signals: list[tuple[SignalRecord, SignalRecord]]
    rewards: list[tuple[RewardRecord, RewardRecord]]

    def added_to(self, done: Redacted) -> Redacted:
        """Returns how many records are emptied with these."""
        return Redacted(done.decisions + 1, done.signals + len(self.signals), done.rewards + len(self.rewards))


def emptying(ledger: Ledger, decision_ids: Iterable[str]) -> Iterator[Emptying]:
    """Yields what is to be emptied with each of the decisions that are there. Write one before the next is asked for.

    Example:
        >>> from recsdk.ledger.sqlite import Sqlite
        >>> ledger = Sqlite().open("shop")
        >>> list(emptying(ledger, ["d1"]))
        []
        >>> ledger.close()
    """
    for decision_id in decision_ids:
        record = ledger.decision(decision_id)
        if record is None:
            continue
        left, signals, rewards = emptied(record), ledger.signals_of(decision_id), ledger.rewards_of(decision_id)
        yield Emptying(
            (record, left),
            list(zip(signals, emptied_signals(signals, left.decision_id), strict=True)),
            list(zip(rewards, emptied_rewards(rewards, left.decision_id), strict=True)),
        )
