"""How `recommend` answers: what was asked for is decided and written."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from recsdk.base import Request
from recsdk.errors import DecisionConflict, EmptyCandidates, LedgerError, TooFewCandidates
from recsdk.ledger import DecisionRecord
from recsdk.live import intake, marks, sticky
from recsdk.live.asking import Asked, naming
from recsdk.live.catalogue import Moved
from recsdk.live.deciding import Decider, Found, Ready, Slate
from recsdk.live.faults import STRICT, Asking
from recsdk.live.histories import KEPT
from recsdk.live.loop import Loop
from recsdk.live.observe import Decided, Signalled
from recsdk.live.rewards import Receipt
from recsdk.live.settlement import Told
from recsdk.live.traffic import is_draw
from recsdk.live.turns import CLOSED

NUM_TRIES = 3
"""How often a decision is made anew since the catalogue changed meanwhile, before it is made while the catalogue cannot change."""


class _Timed(NamedTuple):
    """What is to be decided now.

    Attributes:
        asked: what for.
        num_works: of the ledger when the decision's id was not known there; None where it is made up, and known to nobody.
        payload: the arguments in canonical JSON, as the ledger keeps them.
        time: of the request.
        generation: of the histories, one of which may be among the arguments.
    """

    asked: Asked
    num_works: int | None = None
    payload: str = ""
    time: float = 0.0
    generation: int = 0


class _Search(NamedTuple):
    """A search for the candidates of a request.

    Attributes:
        decider: the same to the end, whatever serves by then.
        asking: how the parts are asked, and which of them have failed.
        find: gives the candidates; None where there need not be any.
    """

    decider: Decider
    asking: Asking
    find: Callable[[], Found | None]

    def done(self) -> _Search:
        """Finds them now."""
        found = self.find()
        return self._replace(find=lambda: found)


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


def answered(loop: Loop, asked: Asked) -> Slate:
    """Returns what to show; the decision is in the ledger, durable, then."""
    began, name, num_works = time.perf_counter(), asked.decision_id, None
    if asked.is_named:
        known, num_works = loop.turns.read(lambda: (loop.ledger.decision(name), loop.turns.num_works))
        if known is not None:
            return _repeated(loop, known, asked)
    now = loop.now()
    try:
        loop.catch_up(now)
        (timed,) = _remembering(loop, [_Timed(asked, num_works)], now)
        answer = _decided(loop, timed)
    finally:
        _tell_failures(loop)
    _tell(loop, timed.asked, answer, time.perf_counter() - began)
    return answer.slate


def _remembering(loop: Loop, timed: Sequence[_Timed], now: float) -> list[_Timed]:
    """Returns what is to be decided, at another time, with histories that hold then, for users who have none of the application's."""
    again = functools.partial(_all_remembering, loop, timed, now)
    return loop.turns.read(again) if any(loop.histories.wanted(one.asked) for one in timed) else again()


def _all_remembering(loop: Loop, timed: Sequence[_Timed], now: float) -> list[_Timed]:
    """Is `_remembering` for the thread that has its turn."""
    histories, feedback, found = loop.histories, None if loop.settlement is None else loop.settlement.feedback, list[_Timed]()
    for one in timed:
        is_stale = not one.payload or one.generation != histories.generation
        asked = histories.given(one.asked, loop.ledger, feedback) if is_stale and histories.wanted(one.asked) else one.asked
        payload = intake.canonical(asked.fields) if is_stale else one.payload
        found.append(_Timed(asked, one.num_works, payload, now, histories.generation))
    return found


def _tell_failures(loop: Loop) -> None:
    for failure in loop.options.faults.told():
        loop.tell(failure)


def _tell(loop: Loop, asked: Asked, answer: _Answer, seconds: float) -> None:
    """Counts a decision that is in the ledger, and tells of it."""
    slate, ready, joined = answer
    for waited, receipt in joined:
        loop.tell(Signalled(waited.name, str(receipt), waited.time - waited.moment))
    if ready is not None:
        loop.decider.observe(ready, asked.features)
        failed = marks.read(ready.record).failed
        loop.tell(Decided(asked.decision_id, asked.user, len(ready.record.slots), len(slate.ids), seconds, failed))


def all_answered(loop: Loop, asked: Sequence[Asked]) -> list[Slate]:
    """Returns what `answered` would return for each, one after the other; all their decisions are in the ledger then, or none."""
    if not asked:
        return []
    began, now = time.perf_counter(), loop.now()
    try:
        loop.catch_up(now)
        timed = _remembering(loop, [_Timed(one) for one in asked], now)
        answers = _all_decided(loop, timed)
    finally:
        _tell_failures(loop)
    seconds = (time.perf_counter() - began) / len(asked)
    for one, answer in zip(timed, answers, strict=True):
        _tell(loop, one.asked, answer, seconds)
    return [answer.slate for answer in answers]


def _all_decided(loop: Loop, timed: Sequence[_Timed]) -> list[_Answer]:
    """Finds the candidates of all while others may write, and then draws and writes in one turn."""
    for _ in range(NUM_TRIES if loop.evidence.is_shared else 0):
        there = loop.turns.read(functools.partial(_there, loop, timed))
        searches = [_search(loop, one) for one in timed]
        try:
            for index, is_there in enumerate(there):
                with naming(index):
                    searches[index] = searches[index] if is_there else searches[index].done()
            return loop.turns.alone(functools.partial(_all_kept, loop, timed, searches))
        except Moved:
            timed = _remembering(loop, timed, loop.now())
        except Exception as error:
            if loop.is_open:
                raise
            raise LedgerError(CLOSED) from error  # another thread has closed it meanwhile, and its models are gone

    def decided() -> list[_Answer]:
        again = _all_remembering(loop, timed, timed[0].time if loop.settlement is None else loop.now())  # no window is closed on it yet
        return _all_kept(loop, again, [_search(loop, one) for one in again])

    return loop.turns.alone(decided)


def _there(loop: Loop, timed: Sequence[_Timed]) -> list[bool]:
    """Tells of each whether the ledger, or one before it, may have its answer, so that it needs no candidates; in a turn."""
    known = {one.asked.decision_id for one in timed if one.asked.is_named and loop.ledger.decision(one.asked.decision_id) is not None}
    there = list[bool]()
    for one in timed:
        there.append(one.asked.decision_id in known or _standing(loop, one) is not None)
        known.add(one.asked.decision_id)
    return there


def _search(loop: Loop, timed: _Timed) -> _Search:
    decider, asking = loop.decider, loop.options.faults.asking(timed.time)
    return _Search(decider, asking, functools.partial(_found, decider, timed, asking))


def _all_kept(loop: Loop, timed: Sequence[_Timed], searches: Sequence[_Search]) -> list[_Answer]:
    """Draws and writes all decisions, in a turn and a transaction.

    Raises:
        Moved: all must be made anew; nothing is written then.
    """
    answers, num_drawn = list[_Answer](), 0
    with loop.turns.transaction():
        for index, (one, search) in enumerate(zip(timed, searches, strict=True)):
            with naming(index):
                known = loop.ledger.decision(one.asked.decision_id) if one.asked.is_named else None
                if known is not None:
                    answers.append(_Answer(_repeated(loop, known, one.asked)))
                    continue
                answer = _kept(loop, one, _ready(loop, one, _standing(loop, one), search, num_drawn))
            if answer is None:
                raise Moved
            num_drawn += answer.ready is not None and is_draw(marks.read(answer.ready.record))
            answers.append(answer)
    return answers


def _decided(loop: Loop, timed: _Timed) -> _Answer:
    """Decides, and writes the decision; where several threads may ask the models at once, nobody waits while they work."""
    for _ in range(NUM_TRIES if loop.evidence.is_shared else 0):
        try:
            standing = loop.turns.read(functools.partial(_standing, loop, timed)) if _is_sticky(loop, timed) else None
            ready = _ready(loop, timed, standing, _search(loop, timed))
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
        (timed,) = _remembering(loop, [timed], loop.now())

    def decided() -> _Answer | None:
        with loop.turns.refusing():
            (now,) = _all_remembering(loop, [timed], timed.time if loop.settlement is None else loop.now())  # no window is closed on it yet
            ready = _ready(loop, now, _standing(loop, now), _search(loop, now))
        with loop.turns.transaction():
            return _kept(loop, now, ready)

    answer = loop.turns.alone(decided)
    assert answer is not None  # noqa: S101 -- in a turn nothing changes meanwhile
    return answer


def _found(decider: Decider, timed: _Timed, asking: Asking) -> Found | None:
    """Returns the candidates; None where `at_most` allows that there are none."""
    fields, request = timed.asked.fields, Request(timed.asked.features, timed.time)
    try:
        return decider.candidates(timed.asked.decision_id, request, fields["candidates"], fields["seen"], timed.asked.placing, asking)
    except EmptyCandidates:
        if "at_most" in fields:
            return None
        raise


def _ready(loop: Loop, timed: _Timed, standing: DecisionRecord | None, search: _Search, num_before: int = 0) -> Ready | None:
    """Draws a slate, or takes the one that is to be served again; None where `at_most` allows that nothing is left to show.

    Args:
        loop: whose parts decide.
        timed: what for.
        standing: the slate that the user is to be served again, if it may be shown.
        search: gives the candidates.
        num_before: slates that are drawn before this one and not counted yet.
    """
    (decision_id, _, fields, features, *_), _, payload, time, _ = timed
    learner, decider = loop.learner, search.decider
    shelf = decider.shelf
    if standing is not None and decider.may_show(standing, Request(features, time), fields, shelf):
        record = sticky.again(standing, decision_id, time, payload, learner.num_learned)
        return Ready(record, shelf, learner.num_recoveries, standing, is_new=False)
    ready = _drawn(timed, search, num_before)
    return ready if standing is None or ready is None else ready._replace(standing=standing)


def made_alone(decider: Decider, asked: Asked, time: float) -> Ready | None:
    """Returns a decision that no ledger knows of, made as all are; None where `at_most` allows that nothing is left to show."""
    timed = _Timed(asked, payload=intake.canonical(asked.fields), time=time)
    return _drawn(timed, _Search(decider, STRICT, functools.partial(_found, decider, timed, STRICT)))


def _drawn(timed: _Timed, search: _Search, num_before: int = 0) -> Ready | None:
    """Is `_ready` for a slate that is drawn."""
    (decision_id, _, fields, _, user, placing), _, payload, time, _ = timed
    found = search.find()
    if found is None:
        return None
    size, most = fields["size"], len(found.slots)
    shown = min(size, most) if "at_most" in fields else size
    if shown > most:
        raise TooFewCandidates(f"size must be in [1, {most}], the number of candidates, got {size}; at_most=True shows fewer.")
    if placing.pinned and placing.pinned[-1][0] >= shown:
        raise TooFewCandidates(f"pinned must have positions below {shown}, the number of items to show, got {dict(placing.pinned)}.")
    return search.decider.decide(decision_id, time, shown, found, payload, user, placing, search.asking, num_before)


def _kept(loop: Loop, timed: _Timed, ready: Ready | None) -> _Answer | None:
    """Writes a decision, in a turn; None when it must be made anew."""
    name = timed.asked.decision_id
    if ready is None:
        return _Answer(Slate(name, (), ()))
    is_current = timed.generation == loop.histories.generation and loop.decider.is_current(ready)
    if not is_current or (loop.settlement is not None and loop.settlement.is_settled(ready.record)):
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
        if joined:
            loop.histories.clear()
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
    different = [field for field in dict.fromkeys((*now, *before)) if field != KEPT and before.get(field) != now.get(field)]
    if different:
        raise DecisionConflict(
            f"decision_id {known.decision_id!r} was used before with another {' and '.join(different)}: give each decision its own."
        )
    return loop.decider.slate(known)


def _name(record: DecisionRecord | None) -> str | None:
    return None if record is None else record.decision_id
