"""Forgetting a user: the ledger is emptied of what was decided for them, and what was learned of it is taken out of the state."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Literal, NamedTuple

from recsdk.errors import InvalidValue
from recsdk.ledger import DecisionRecord, Ledger, Redacts, RewardRecord
from recsdk.live import base, traffic
from recsdk.live.base import BASE, EXPORT, OUTBOX
from recsdk.live.learner import Learner
from recsdk.live.rewards import standing_rewards
from recsdk.live.settlement import EARLY, Told

Means = Literal["nothing", "subtracted", "folded"]


class Forgotten(NamedTuple):
    """The report of what was done to forget a user.

    Attributes:
        num_decisions: that were emptied in the ledger.
        num_signals: about them; the same.
        num_rewards: of them; the same.
        num_waiting: signals that were waiting for a decision, and are deleted.
        state: how what the policy and the scorers had learned of the user was taken out: "subtracted" from a state that is a sum, exact up
            to rounding; "folded", made again from all other rewards, to the last bit; or "nothing", where none had been learned.
        seconds: that it took.
        num_fixed: rewards of the user whose share of the state stays, since they were learned before the last reward that was dropped.
        num_dropped: decisions of anybody that were dropped by their age before; what was learned of those of this user stays, too.

    Example:
        >>> Forgotten(3, 0, 2, 0, "subtracted", 0.1).num_rewards
        2
    """

    num_decisions: int
    num_signals: int
    num_rewards: int
    num_waiting: int
    state: Means
    seconds: float
    num_fixed: int = 0
    num_dropped: int = 0


def forget(ledger: Ledger, learner: Learner, user: str, transaction: AbstractContextManager[None]) -> Forgotten:
    """Empties the user's records, takes them out of the state, and removes what is left of them in the files.

    Args:
        ledger: of the folder.
        learner: what has learned from it.
        user: the user's key.
        transaction: of the ledger, which mends the learner where it is rolled back.

    Raises:
        InvalidValue: a ledger that cannot be emptied.
        LedgerError: a reader still has the old files open; all is forgotten but for these bytes. Call again once it is closed.
    """
    if not isinstance(ledger, Redacts):
        raise InvalidValue(f"forget needs a ledger that offers `redact` (recsdk.ledger.Redacts), got {type(ledger).__name__}.")
    began = time.perf_counter()
    records = list(ledger.decisions_of(user))
    ids = [record.decision_id for record in records]
    rewards = [(record, ledger.rewards_of(record.decision_id)) for record in reversed(records)]
    standing = [(record, reward) for record, found in rewards for reward in standing_rewards(found).values() if not reward.void]
    horizon, fixed = base.horizon(ledger), _fixed(ledger, learner, rewards)
    drop = ("snapshot/", OUTBOX, EXPORT, *((f"{BASE}/",) if any(found for _, found in rewards) and not horizon.num_learned else ()))
    has_all = learner.beginning().state is not None
    learned = [(record, reward) for record, reward in standing if has_all or reward.reward_id not in fixed]
    with transaction:
        traffic.forget(ledger, records)
        part = learner.share(learned)
        redacted = ledger.redact(ids, drop=drop)
        num_waiting = _drop_waiting(ledger, user, ids)
        state: Means = "nothing" if not redacted.rewards else "subtracted" if learner.subtract(part) else "folded"
        num_fixed = 0 if state == "subtracted" else sum(reward.reward_id in fixed for _, reward in standing)
        if state == "folded":
            learner.refold()
        learner.keep()
    ledger.scrub()
    return Forgotten(*redacted, num_waiting, state, time.perf_counter() - began, num_fixed, horizon.num_decisions)


def _fixed(ledger: Ledger, learner: Learner, rewards: Sequence[tuple[DecisionRecord, Sequence[RewardRecord]]]) -> frozenset[str]:
    """Returns the ids of those rewards that come before the first one that can be folded again."""
    start = learner.beginning().num_learned if base.horizon(ledger).num_learned else 0
    ids = frozenset(reward.reward_id for _, found in rewards for reward in found)
    return ids - {reward.reward_id for reward in ledger.rewards(start) if reward.reward_id in ids} if start and ids else frozenset()


def _drop_waiting(ledger: Ledger, user: str, decision_ids: Sequence[str]) -> int:
    waiting = [Told(*fields) for fields in json.loads(ledger.get(EARLY) or "[]")]
    others = [told for told in waiting if told.user != user and told.decision_id not in decision_ids]
    if len(others) < len(waiting):
        ledger.put(EARLY, json.dumps(others).encode())
    return len(waiting) - len(others)
