"""Dropping what is old: decisions, with all that is about them, are emptied in the ledger, and what was learned of them stays.

First what had been learned up to the last reward of these decisions is written as the base that folds begin with; then they are emptied, a
part at a time. Killed anywhere, each part is as before or after, and the base goes with all of them.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from recsdk.errors import InvalidValue
from recsdk.ledger import Ledger, Redacted, Redacts, RewardRecord, SignalRecord
from recsdk.ledger.redaction import SCRUB
from recsdk.live import base, swapping, traffic
from recsdk.live.base import Beginning, Horizon
from recsdk.live.contest import ROLES
from recsdk.live.loop import Loop
from recsdk.live.models import Staged
from recsdk.live.reproduce import recovered
from recsdk.live.rewards import num_settled

NUM_ROWS = 250
"""Decisions that are emptied in one transaction."""


class Dropped(NamedTuple):
    """The report of what was dropped.

    Attributes:
        num_decisions: that were emptied in the ledger.
        num_signals: about them; the same.
        num_rewards: of them; the same.
        num_learned: rewards up to the last that was ever dropped: from there on the state can be made again, and corrected.
        seconds: that it took.

    Example:
        >>> Dropped(3, 0, 2, 2, 0.1).num_rewards
        2
    """

    num_decisions: int
    num_signals: int
    num_rewards: int
    num_learned: int
    seconds: float


class _Moved(Exception):
    """A correction came meanwhile of what the base was to hold for good."""


class _Plan(NamedTuple):
    """What is to be dropped.

    Attributes:
        ids: of decisions, oldest first.
        horizon: when all of them are dropped.
        num_rewards: in the ledger when this was planned.
        base: what folds are to begin with, by its names in the ledger; empty where the present base does.
    """

    ids: list[str]
    horizon: Horizon
    num_rewards: int
    base: dict[str, bytes]


def drop(loop: Loop, before: float) -> Dropped:
    """Drops the decisions that were made before a moment and of which nothing came since.

    Args:
        loop: of the folder; nothing else than rewards, signals and decisions may change it meanwhile.
        before: seconds since the epoch.

    Raises:
        InvalidValue: a ledger that cannot be emptied.
        LedgerError: a reader still has the old files open; all is dropped but for these bytes.
    """
    if not isinstance(loop.ledger, Redacts):
        raise InvalidValue(f"drop needs a ledger that offers `redact` (recsdk.ledger.Redacts), got {type(loop.ledger).__name__}.")
    began, done, was_late = time.perf_counter(), Redacted(), False
    plan = _planned(loop, before)
    try:
        loop.turns.alone(lambda: _begin(loop, plan))
    except _Moved:
        plan = loop.turns.alone(lambda: _planned_and_begun(loop, before))
    for start in range(0, len(plan.ids), NUM_ROWS):
        some = plan.ids[start : start + NUM_ROWS]
        emptied = loop.turns.alone(lambda some=some: _emptied(loop, plan, some))  # type: ignore[misc]  # mypy cannot infer it
        was_late = was_late or emptied.decisions < len(some)
        done = Redacted(*(one + other for one, other in zip(done, emptied, strict=True)))
    loop.turns.alone(loop.histories.renew)
    if plan.ids or loop.ledger.get(SCRUB) is not None:  # due since a reader had the old files open
        loop.turns.alone(lambda: _end(loop, plan, was_late=was_late))
    return Dropped(*done, plan.horizon.num_learned, time.perf_counter() - began)


def _planned(loop: Loop, before: float) -> _Plan:
    with contextlib.closing(swapping.reading(loop)) as reading:
        found = base.horizon(reading)
        ids, num_seen, until = _old(reading, found, before)
        last, latest, num_rewards = found.num_learned, found.learned_until, found.num_learned
        latest_so_far, old = latest, frozenset(ids)
        for num_rewards, reward in enumerate(reading.rewards(found.num_learned), start=found.num_learned + 1):
            latest_so_far = max(latest_so_far, reward.time)
            if reward.decision_id in old:
                last, latest = num_rewards, latest_so_far
        horizon = Horizon(found.num_decisions, num_seen, max(until, found.until), last, latest)
        return _Plan(ids, horizon, num_rewards, _base(loop, reading, last) if last > found.num_learned else {})


def _old(reading: Ledger, found: Horizon, before: float) -> tuple[list[str], int, float]:
    """Returns the ids to be dropped, how many decisions from the first on there are none before, and the time of the last."""
    events: Iterator[RewardRecord | SignalRecord] = itertools.chain(reading.rewards(found.num_learned), reading.signals())
    young = {event.decision_id for event in events if event.time >= before}
    ids, until, settled, num_seen = list[str](), 0.0, num_settled(reading), None
    number = found.num_seen
    for record in itertools.islice(reading.decisions(number), None if settled is None else max(settled - number, 0)):
        if record.time >= before:
            break
        if record.decision_id in young and len(record.action):
            num_seen = number if num_seen is None else num_seen
        elif len(record.action):
            ids.append(record.decision_id)
            until = max(until, record.time)
        number += 1
    return ids, number if num_seen is None else num_seen, until


def _base(loop: Loop, reading: Ledger, last: int) -> dict[str, bytes]:
    """Returns what had been learned after so many rewards; nothing where the present base knows more."""
    learner = loop.learner
    present: Beginning = loop.turns.read(learner.beginning)
    if present.state is not None and present.num_learned >= last:
        return {}
    policy, challengers = learner.policy, {}
    if learner.contest is not None:
        challengers = learner.contest.policies
        policy = challengers[json.loads(reading.get(ROLES) or "{}")["champion"]]
    evidence, staged = learner.evidence, Staged(reading, {})
    with recovered(reading, last, policy, evidence.scorers, evidence.encoder, challengers, knows_later=True) as folded:
        put: Any = staged
        folded.keep_base(put)
    return staged.fitted


def _planned_and_begun(loop: Loop, before: float) -> _Plan:
    plan = _planned(loop, before)
    _begin(loop, plan)
    return plan


def _begin(loop: Loop, plan: _Plan) -> None:
    """Writes what folds begin with from now on; in a turn."""
    found = base.horizon(loop.ledger)
    if plan.horizon.num_learned == found.num_learned:
        return
    if not loop.learner.forgets:
        for reward in loop.ledger.rewards(plan.num_rewards):
            earlier = None if reward.replaces is None else loop.ledger.reward(reward.replaces)
            if earlier is not None and earlier.time <= plan.horizon.learned_until:
                raise _Moved
    with loop.turns.transaction():
        for name, data in plan.base.items():
            loop.ledger.put(name, data)
        if not plan.base:
            present = loop.learner.beginning()
            loop.ledger.put(f"{base.BASE}/header", json.dumps(present.header | {"dropped": True}).encode())
            loop.learner.evidence.keep(loop.ledger, base.BASE)  # it has a base of a sum only where no scorer learns
        learned = plan.horizon._replace(num_decisions=found.num_decisions, num_seen=found.num_seen, until=found.until)
        learned.keep(loop.ledger)
        loop.learner.keep()
    loop.leave()  # `rollback` makes it again, of what is left


def _emptied(loop: Loop, plan: _Plan, ids: list[str]) -> Redacted:
    """Empties decisions, but those of which something was told meanwhile; in a turn."""
    ledger: Any = loop.ledger
    told = {reward.decision_id for reward in ledger.rewards(plan.num_rewards)}
    records = [record for record in map(ledger.decision, ids) if record is not None and record.decision_id not in told]
    found = base.horizon(ledger)
    with loop.turns.transaction():
        done: Redacted = ledger.redact([record.decision_id for record in records], drop=(), named=base.named(ledger))
        until = max((record.time for record in records), default=0.0)
        found._replace(num_decisions=found.num_decisions + done.decisions, until=max(found.until, until)).keep(ledger)
        traffic.forget(ledger, records)
    return done


def _end(loop: Loop, plan: _Plan, *, was_late: bool) -> None:
    """Notes where the next drop begins to look, and removes what is left in the files; in a turn."""
    ledger: Any = loop.ledger
    if not was_late:
        base.horizon(ledger)._replace(num_seen=plan.horizon.num_seen).keep(ledger)
    ledger.scrub()
