"""How `recommend` answers: what was asked for is checked, decided, and written."""

from __future__ import annotations

import functools
import json
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from recsdk.base import Request
from recsdk.checks import require_integer
from recsdk.errors import DecisionConflict, EmptyCandidates, InvalidValue, LedgerError, TooFewCandidates, one_of
from recsdk.ledger import DecisionRecord
from recsdk.live import intake, marks, sticky
from recsdk.live.catalogue import Moved
from recsdk.live.deciding import Ready, Slate
from recsdk.live.guard import Features
from recsdk.live.loop import Loop
from recsdk.live.observe import Decided, Signalled
from recsdk.live.placing import Placing, checked
from recsdk.live.rewards import Receipt
from recsdk.live.settlement import Told
from recsdk.live.turns import CLOSED

NUM_TRIES = 3
"""How often a decision is made anew since the catalogue changed meanwhile, before it is made while the catalogue cannot change."""


class Asked(NamedTuple):
    """What `recommend` was asked for, checked.

    Attributes:
        decision_id: given, or made up.
        is_named: whether it was given.
        fields: the arguments by name.
        features: the request's.
        user: the user's key.
        placing: what the application wants where.
    """

    decision_id: str
    is_named: bool
    fields: dict[str, Any]
    features: Features
    user: str | None
    placing: Placing


class _Timed(NamedTuple):
    """What is to be decided now.

    Attributes:
        asked: what for.
        num_works: of the ledger when the decision's id was not known there; None where it is made up, and known to nobody.
        payload: the arguments in canonical JSON, as the ledger keeps them.
        time: of the request.
    """

    asked: Asked
    num_works: int | None
    payload: str
    time: float


class _Answer(NamedTuple):
    """An answer to `recommend`.

    Attributes:
        slate: what to show.
        ready: the decision that was made for it; None where there is none, one was there before, or a slate was served again.
        joined: signals that had waited for it, and what became of them.
    """

    slate: Slate
    ready: Ready | None = None
    joined: Sequence[tuple[Told, Receipt]] = ()


def asked(
    request: Mapping[str, Any],
    *,
    size: int = 1,
    at_most: bool = False,
    candidates: Sequence[str] | None = None,
    seen: Iterable[str] = (),
    pinned: Mapping[int, str] | None = None,
    promoted: Mapping[int, Sequence[str]] | None = None,
    chosen: Sequence[str] | None = None,
    user: str | None = None,
    decision_id: str | None = None,
    deferred: bool = False,
) -> Asked:
    """Checks the arguments of `Recommender.recommend`, and raises what it says of them."""
    require_integer("size", size, at_least=1)
    one_of("at_most", at_most, (False, True))
    one_of("deferred", deferred, (False, True))
    named, hidden = None if candidates is None else intake.candidates(candidates), sorted(set(intake.ids("seen", seen)))
    if named is not None and hidden:
        raise InvalidValue(f"seen goes with candidates=None only: leave seen items out of candidates, got seen = {hidden}.")
    placing = checked(pinned, promoted, chosen, int(size))
    plain = intake.request(request)
    key = intake.user(user, plain)
    fields: dict[str, Any] = {
        "request": plain,
        "size": int(size),
        "candidates": named,
        "seen": hidden,
        **({"at_most": True} if at_most else {}),
        **({"deferred": True} if deferred else {}),
        **placing.asked(),
    }
    if user is not None:
        fields["user"] = user
    name = secrets.token_hex(16) if decision_id is None else intake.name("decision_id", decision_id)
    return Asked(name, decision_id is not None, fields, Features(plain), key, placing)


def answered(loop: Loop, asked: Asked) -> Slate:
    """Returns what to show; the decision is in the ledger, durable, then."""
    began, name, num_works = time.perf_counter(), asked.decision_id, None
    if asked.is_named:
        known, num_works = loop.turns.read(lambda: (loop.ledger.decision(name), loop.turns.num_works))
        if known is not None:
            return _repeated(loop, known, asked)
    timed = _Timed(asked, num_works, intake.canonical(asked.fields), loop.now())
    loop.settle(timed.time)
    try:
        slate, ready, joined = _decided(loop, timed)
    finally:
        for failure in loop.options.faults.told():
            loop.tell(failure)
    for waited, receipt in joined:
        loop.tell(Signalled(waited.name, str(receipt), waited.time - waited.moment))
    if ready is not None:
        loop.decider.observe(ready, asked.features)
        loop.tell(
            Decided(name, asked.user, len(ready.record.slots), len(slate.ids), time.perf_counter() - began, marks.read(ready.record).failed)
        )
    return slate


def _decided(loop: Loop, timed: _Timed) -> _Answer:
    """Decides, and writes the decision; where several threads may ask the models at once, nobody waits while they work."""
    for _ in range(NUM_TRIES if loop.evidence.is_shared else 0):
        try:
            ready = _ready(loop, timed, loop.turns.read(functools.partial(_standing, loop, timed)) if _is_sticky(loop, timed) else None)
        except Moved:
            continue
        except Exception as error:
            if loop.is_open:
                raise
            raise LedgerError(CLOSED) from error  # another thread has closed it meanwhile, and its models are gone
        keep = loop.turns.append if loop.settlement is None else loop.turns.write
        answer = keep(functools.partial(_kept, loop, timed, ready))
        if answer is not None:
            return answer
        timed = timed._replace(time=loop.now())

    def decided() -> _Answer | None:
        now = timed if loop.settlement is None else timed._replace(time=loop.now())  # no window is closed on it yet
        ready = _ready(loop, now, _standing(loop, now))
        with loop.turns.transaction():
            return _kept(loop, now, ready)

    answer = loop.turns.alone(decided)
    assert answer is not None  # noqa: S101 -- in a turn nothing changes meanwhile
    return answer


def _ready(loop: Loop, timed: _Timed, standing: DecisionRecord | None) -> Ready | None:
    """Draws a slate, or takes the one that is to be served again; None where `at_most` allows that nothing is left to show."""
    (decision_id, _, fields, features, user, placing), _, payload, time = timed
    request, learner, decider = Request(features, time), loop.learner, loop.decider  # the same to the end, whatever serves by then
    size, at_most, shelf, asking = fields["size"], "at_most" in fields, decider.shelf, loop.options.faults.asking(time)
    if standing is not None and decider.may_show(standing, request, fields, shelf):
        record = sticky.again(standing, decision_id, time, payload, learner.num_learned)
        return Ready(record, shelf, learner.num_recoveries, standing, is_new=False)
    try:
        found = decider.candidates(decision_id, request, fields["candidates"], fields["seen"], placing, asking)
    except EmptyCandidates:
        if at_most:
            return None
        raise
    shown = min(size, len(found.slots)) if at_most else size
    if shown > len(found.slots):
        most = len(found.slots)
        raise TooFewCandidates(f"size must be in [1, {most}], the number of candidates, got {size}; at_most=True shows fewer.")
    if placing.pinned and placing.pinned[-1][0] >= shown:
        raise TooFewCandidates(f"pinned must have positions below {shown}, the number of items to show, got {dict(placing.pinned)}.")
    return decider.decide(decision_id, time, shown, found, payload, user, placing, asking)._replace(standing=standing)


def _kept(loop: Loop, timed: _Timed, ready: Ready | None) -> _Answer | None:
    """Writes a decision, in a turn; None when it must be made anew."""
    name = timed.asked.decision_id
    if ready is None:
        return _Answer(Slate(name, (), ()))
    if not loop.decider.is_current(ready) or (loop.settlement is not None and loop.settlement.is_settled(ready.record)):
        return None
    is_first = timed.num_works in (None, loop.turns.num_works)
    known = None if is_first else loop.ledger.decision(name)
    if known is not None:  # another thread was quicker
        with loop.turns.refusing():
            return _Answer(_repeated(loop, known, timed.asked))
    if _name(_standing(loop, timed)) != _name(ready.standing):  # another thread has drawn a slate for this user
        return None
    joined: Sequence[tuple[Told, Receipt]] = ()
    if loop.settlement is None:
        loop.ledger.add_decision(ready.record)
    else:
        joined = loop.settlement.open(ready.record)
    return _Answer(loop.decider.slate(ready.record), ready if ready.is_new else None, joined)


def _is_sticky(loop: Loop, timed: _Timed) -> bool:
    return bool(timed.asked.user is not None and loop.decider.arms.traffic.sticky and not timed.asked.placing.chosen)


def _standing(loop: Loop, timed: _Timed) -> DecisionRecord | None:
    """Returns the slate that a user is to be served again, if it may still be shown; in a turn."""
    if timed.asked.user is None or not _is_sticky(loop, timed):
        return None
    return sticky.standing(loop.ledger, timed.asked.user, timed.asked.fields, timed.time - loop.decider.arms.traffic.sticky)


def _repeated(loop: Loop, known: DecisionRecord, asked: Asked) -> Slate:
    before, now = json.loads(known.payload), asked.fields
    different = [field for field in dict.fromkeys((*now, *before)) if before.get(field) != now.get(field)]  # not of the text: 1 is 1.0
    if different:
        raise DecisionConflict(
            f"decision_id {known.decision_id!r} was used before with another {' and '.join(different)}: give each decision its own."
        )
    return loop.decider.slate(known)


def _name(record: DecisionRecord | None) -> str | None:
    return None if record is None else record.decision_id
