"""The recommender's side of decisions that are made elsewhere: what it exports, and what it takes.

It makes each decision again, from the export that it was made by, and takes it only when it gives the same distributions and the same
slate. So what is logged is what the recommender itself would have decided, and nobody has to be believed.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from recsdk.checks import require_integer, require_number
from recsdk.errors import (
    CheckpointError,
    CheckpointMismatch,
    DecisionConflict,
    EarlyDecision,
    ExpiredDecision,
    InvalidRequest,
    InvalidValue,
    LedgerMismatch,
    ModelRefused,
)
from recsdk.ledger import DecisionRecord, Ledger
from recsdk.live import answering, asking, base, exported, intake, made, marks, models
from recsdk.live.arithmetic import arithmetic
from recsdk.live.base import BASE
from recsdk.live.deciding import Ready
from recsdk.live.identity import identity
from recsdk.live.local import Answer, LocalDecision, digest, tried
from recsdk.live.loop import Loop
from recsdk.live.models import Staged
from recsdk.live.observe import Decided

ARGUMENTS = asking.ARGUMENTS - {"decision_id", "deferred"}
"""Of a decision that is made elsewhere: it has been shown."""


def export(loop: Loop, num: int) -> bytes:
    """Returns what decides now, as a file, which is one of `num` that the ledger keeps; decisions wait only while that is read.

    Raises:
        InvalidValue: a recommender of which another process would not know enough; a number that is none.
        ModelRefused: parts that another process could not make.
    """
    require_integer("keep", num, at_least=1)
    while True:
        data = _exported(loop, num, *loop.turns.alone(functools.partial(_begun, loop)))
        if data is not None:
            return data


def _begun(loop: Loop) -> tuple[Callable[[float], bytes], dict[str, float], int]:
    """Returns what makes the file, the times of those that are kept, and how often all were removed; in a turn."""
    _require_plain(loop)
    return _file(loop), exported.kept(loop.ledger), loop.exports.num_cleared


def _exported(loop: Loop, num: int, written: Callable[[float], bytes], kept: dict[str, float], num_cleared: int) -> bytes | None:
    """Returns a file that is kept; None where a user was forgotten meanwhile, of whom it may have learned."""
    last = next(reversed(kept.values()), None)
    if last is not None and exported.name(data := written(last)) in kept:
        return data  # nothing has changed
    data = written(intake.seconds(loop.options.clock()))
    try:
        found = exported.opened(data)
    except (LedgerMismatch, CheckpointMismatch) as error:
        raise ModelRefused(f"Another process could not decide as this recommender does: {error}") from error
    found.close()

    def keep() -> bool:
        if loop.exports.num_cleared == num_cleared:
            exported.keep(loop.ledger, found, data, num)
        return loop.exports.num_cleared == num_cleared

    return data if loop.turns.alone(keep) else None


def take(loop: Loop, decisions: Sequence[LocalDecision]) -> list[Answer]:
    """Makes decisions again that another process has made, and writes those that are the same; each is taken or refused by itself."""
    began = time.perf_counter()
    made = [tried(functools.partial(_made, loop, one)) for one in decisions]

    def written() -> list[Answer]:
        with loop.turns.transaction():
            return [tried(functools.partial(_written, loop, one)) if isinstance(one, DecisionRecord) else one for one in made]

    answers = loop.turns.alone(written)
    seconds = (time.perf_counter() - began) / max(len(decisions), 1)
    for record, answer in zip(made, answers, strict=True):
        if answer is True and isinstance(record, DecisionRecord):
            loop.tell(Decided(record.decision_id, record.user, len(record.slots), len(record.action), seconds, ()))
    return answers


def _require_plain(loop: Loop) -> None:
    """Refuses to export where decisions depend on what another process does not have."""
    arms, contest = loop.decider.arms, loop.learner.contest
    reasons = {
        "without a feedback: windows close in the order in which decisions are made": loop.settlement is not None,
        "without rules, which are functions of the application": bool(loop.options.choice.rules),
        "without sticky slates or a holdout, which need the log": bool(arms.traffic.sticky or arms.traffic.holdout),
        "after its burn-in": arms.num_drawn < arms.traffic.burn_in,
        "without a challenger that decides a share": contest is not None and contest.ramp is not None,
    }
    wanted = [told for told, is_wrong in reasons.items() if is_wrong]
    if wanted:
        raise InvalidValue(f"export needs a recommender {'; and '.join(wanted)}.")


def _file(loop: Loop) -> Callable[[float], bytes]:
    """Returns what makes a file of what decides now and of a time."""
    staged: Any = Staged(loop.ledger, {})
    loop.learner.keep_base(staged)
    model, given = models.serving(loop.ledger, loop.learner, loop.decider), loop.catalogue.given
    shelf = loop.catalogue.shelf
    header = {
        "choice": loop.options.choice[1:],
        "retriever": None if given is None else identity(given),
        "reward_range": loop.reward_range,
        "arithmetic": arithmetic(loop.learner.policy),
    }
    states = {name: data for name, data in staged.fitted.items() if not name.startswith(f"{BASE}/challenger/")}
    named = {**model.fitted, **states, "salt": loop.ledger.get("salt") or b"", "made": json.dumps(made.to_json(model.known)).encode()}
    rows = [model.rows[slot] for slot in range(len(shelf.active))]
    return functools.partial(exported.written, header, named, rows, shelf)


def _made(loop: Loop, one: LocalDecision) -> DecisionRecord | Literal[False]:
    """Makes a decision again; False where the ledger has it already.

    Raises:
        InvalidValue: it is not the same, or cannot be made.
        DecisionConflict, ExpiredDecision: see `_is_known`.
        Unknown: the export is not kept.
    """
    asked = _asked(one)
    told = _Told(intake.canonical(asked.fields), one.time, one.export, one.digest)
    if loop.turns.read(lambda: _is_known(loop.ledger, one.decision_id, told)):
        return False
    now = intake.seconds(loop.options.clock())
    if one.time > now + exported.SKEW:
        raise EarlyDecision(f"time must be at most {now}, as the recommender's clock says, got {one.time!r}: send it again later.")
    if loop.settlement is not None:
        raise InvalidValue("This folder has a feedback by now, whose windows close in the order in which decisions are made.")

    def decided(found: exported.Exported) -> Ready | None:
        exported.require_after(found, "time", one.time)
        return answering.made_alone(found.decider, asked, one.time)

    try:
        ready = loop.exports.made(one.export, lambda: _read(loop, one.export), decided)
    except (CheckpointError, LedgerMismatch) as error:
        raise InvalidValue(f"export {one.export!r} cannot be opened here any more: {error}") from error
    if ready is None or digest(ready.record) != one.digest:
        made_by = "by another state, kind of processor, or version of NumPy or recsdk"
        raise InvalidValue(
            f"digest must be that of what export {one.export!r} decides on this request, got {one.digest!r}: made {made_by}."
        )
    return ready.record._replace(marks=marks.read(ready.record)._replace(local=one.export).dumps())


def _asked(one: LocalDecision) -> asking.Asked:
    """Returns what a decision was asked for.

    Raises:
        InvalidRequest, InvalidValue: a field of another type than it has.
    """
    for field in ("export", "digest"):
        if not intake.is_name(getattr(one, field)):
            raise InvalidRequest(f"{field} must be a str of 1 to 128 bytes, got {getattr(one, field)!r:.200}.")
    given = one.arguments
    if not isinstance(given, Mapping) or "request" not in given or not set(given) <= ARGUMENTS:
        raise InvalidRequest(f"arguments must be a mapping of 'request' and any of {sorted(ARGUMENTS)}, got {given!r:.200}.")
    require_number("time", one.time)
    return asking.asked(**given, decision_id=intake.name("decision_id", one.decision_id))


def _read(loop: Loop, name: str) -> bytes | None:
    return loop.turns.read(lambda: exported.read(loop.ledger, name))


class _Told(NamedTuple):
    """What tells a decision by an export from others of its name.

    Attributes:
        payload: what was asked for, in canonical JSON.
        time: of the request.
        export: name of the export; "" for none.
        digest: of what was decided.
    """

    payload: str
    time: float
    export: str
    digest: str


def _told(record: DecisionRecord) -> _Told:
    return _Told(record.payload, record.time, marks.read(record).local, digest(record))


def _is_known(ledger: Ledger, name: str, told: _Told) -> bool:
    """Tells whether the ledger has a decision; in a turn.

    Raises:
        DecisionConflict: another decision has its id.
        ExpiredDecision: it was here, and has been dropped.
    """
    known = ledger.decision(name)
    if known is not None and _told(known) != told:
        raise DecisionConflict(f"decision_id {name!r} was used before for another decision: give each its own.")
    if known is None and base.was_dropped(ledger, ledger.decision, name):
        raise ExpiredDecision(f"Decision {name!r} was dropped by its age: it was taken before.")
    return known is not None


def _written(loop: Loop, record: DecisionRecord) -> bool:
    """Writes a decision, in a turn; tells whether it is new.

    Raises:
        DecisionConflict, ExpiredDecision: see `_is_known`.
        Unknown: its export is not kept any more: somebody was forgotten meanwhile.
    """
    told = _told(record)
    if _is_known(loop.ledger, record.decision_id, told):
        return False
    if not exported.is_kept(loop.ledger, told.export):
        raise exported.unknown(told.export)
    loop.ledger.add_decision(record)
    return True
