"""Emptied records: what is left of a decision and of what is about it, forgotten or dropped. For who writes a ledger of their own."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from recsdk.ledger import PAGE, DecisionRecord, Ledger, Redacted, RewardRecord, SignalRecord

SCRUB = "scrub"
"""The named bytes that are there as long as bytes of emptied records may be left."""
FORGOTTEN = "@forgotten"


Named = Callable[[str], str]
"""Gives an emptied record its id, from the one that it had."""


def made_up(name: str = "") -> str:
    """Returns an id that says nothing of the one before and that no other has.

    Example:
        >>> made_up() == made_up()
        False
    """
    del name
    return f"forgotten-{uuid.uuid4().hex}"


def emptied(record: DecisionRecord, named: Named = made_up) -> DecisionRecord:
    """Returns what is left of a decision.

    Example:
        >>> one = np.ones((1, 1), np.float32)
        >>> record = DecisionRecord("d1", 5.0, '{"request": {"age": 7}}', "{}", 0, np.array([7]), np.array([0]), one, one, user="u17")
        >>> left = emptied(record)
        >>> left.user, left.payload, left.slots.size, left.time
        (None, '{"request": {}}', 0, 5.0)
    """
    none = np.zeros(0, np.int32)
    name, nobody = named(record.decision_id), '{"request": {}}'
    return DecisionRecord(name, record.time, nobody, record.parts, record.num_learned, none, none, np.zeros((0, 0)), record.features[:0])


def emptied_signals(signals: list[SignalRecord], decision_id: str, named: Named = made_up) -> list[SignalRecord]:
    """Returns what is left of the signals about a decision, whose id now is `decision_id`.

    Example:
        >>> emptied_signals([SignalRecord("s1", "d1", 0, "click", 1.0, 60.0)], "d2")[0].name
        '@forgotten'
    """
    return [SignalRecord(named(signal.signal_id), decision_id, PAGE, FORGOTTEN, 0.0, signal.time) for signal in signals]


def emptied_rewards(rewards: list[RewardRecord], decision_id: str, named: Named = made_up) -> list[RewardRecord]:
    """Returns what is left of the rewards of a decision, whose id now is `decision_id`; which one replaced which stays.

    Example:
        >>> left = emptied_rewards([RewardRecord("d1/0", "d1", 0, 1.0, 60.0)], "d2")[0]
        >>> left.value, left.void
        (0.0, True)
    """
    ids = {reward.reward_id: named(reward.reward_id) for reward in rewards}
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


def emptying(ledger: Ledger, decision_ids: Iterable[str], named: Named | None = None) -> Iterator[Emptying]:
    """Yields what is to be emptied with each of the decisions that are there. Write one before the next is asked for.

    Args:
        ledger: that has them.
        decision_ids: of the decisions.
        named: gives each emptied record its id; one that is taken is made up, as all are without it.

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
        signals, rewards = ledger.signals_of(decision_id), ledger.rewards_of(decision_id)
        left = emptied(record, _free(ledger.decision, named))
        yield Emptying(
            (record, left),
            list(zip(signals, emptied_signals(signals, left.decision_id, _free(ledger.signal, named)), strict=True)),
            list(zip(rewards, emptied_rewards(rewards, left.decision_id, _free(ledger.reward, named)), strict=True)),
        )


def _free(lookup: Callable[[str], Any], named: Named | None) -> Named:
    """Returns `named`, but for names that a record has."""

    def free(name: str) -> str:
        wanted = None if named is None else named(name)
        return made_up() if wanted is None or lookup(wanted) is not None else wanted

    return free
