"""Emptied records: what is left of a decision and of what is about it, once its user is forgotten. For who writes a ledger of their own."""

from __future__ import annotations

import uuid

import numpy as np

from recsdk.ledger import PAGE, DecisionRecord, RewardRecord, SignalRecord

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
