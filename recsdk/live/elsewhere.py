"""The recommender's side of decisions that are made elsewhere: what it exports, and what it takes.

It makes each decision again, from the export that it was made by, and takes it only when it gives the same distributions and the same
slate. So what is logged is what the recommender itself would have decided, and nobody has to be believed.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Sequence
from typing import Any

from recsdk.checks import require_number
from recsdk.errors import (
    CheckpointError,
    CheckpointMismatch,
    DecisionConflict,
    ExpiredDecision,
    InvalidRequest,
    InvalidValue,
    LedgerMismatch,
    ModelRefused,
    RecsdkError,
)
from recsdk.ledger import DecisionRecord
from recsdk.live import answering, asking, base, exported, intake, made, marks, models
from recsdk.live.arithmetic import arithmetic
from recsdk.live.base import BASE, EXPORT
from recsdk.live.identity import identity
from recsdk.live.local import Answer, LocalDecision, digest, tried
from recsdk.live.loop import Loop
from recsdk.live.models import Staged
from recsdk.live.observe import Decided


def export(loop: Loop) -> bytes:
    """Returns what decides now, as a file, and keeps it in the ledger; in a turn.

    Raises:
        InvalidValue: a recommender of which another process would not know enough.
        ModelRefused: parts that another process could not make.
    """
    _require_plain(loop)
    data = _file(loop)
    try:
        found = exported.opened(data)
    except (LedgerMismatch, CheckpointMismatch) as error:
        raise ModelRefused(f"Another process could not decide as this recommender does: {error}") from error
    exported.keep(loop.ledger, found, data)
    found.close()
    return data


def take(loop: Loop, decisions: Sequence[LocalDecision]) -> list[Answer]:
    """Makes decisions again that another process has made, and writes those that are the same; each is taken or refused by itself."""
    began = time.perf_counter()
    made = [tried(functools.partial(_made, loop, one)) for one in decisions]

    def written() -> list[Answer]:
        with loop.turns.transaction():
            return [
                made_one if isinstance(made_one, RecsdkError) else tried(functools.partial(_written, loop, made_one)) for made_one in made
            ]

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


def _file(loop: Loop) -> bytes:
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
    return exported.written(header, named, [model.rows[slot] for slot in range(len(shelf.active))], shelf)


def _made(loop: Loop, one: LocalDecision) -> DecisionRecord:
    """Makes a decision again.

    Raises:
        InvalidValue: it is not the same, or cannot be made.
        Unknown: the export is not kept.
    """
    if not set(one.arguments) <= asking.ARGUMENTS - {"decision_id"} or "request" not in one.arguments:
        raise InvalidRequest(f"arguments must be those of recommend, got {sorted(one.arguments)}.")
    asked = asking.asked(**one.arguments, decision_id=intake.name("decision_id", one.decision_id))
    require_number("time", one.time)
    intake.happened(one.time, intake.seconds(loop.options.clock()))
    if loop.settlement is not None:
        raise InvalidValue("This folder has a feedback by now, whose windows close in the order in which decisions are made.")
    try:
        ready = loop.exports.made(
            one.export, lambda: _read(loop, one.export), lambda found: answering.made_alone(found.decider, asked, one.time)
        )
    except (CheckpointError, LedgerMismatch) as error:
        raise InvalidValue(f"export {one.export!r} cannot be opened here any more: {error}") from error
    again = None if ready is None else digest(ready.record)
    if ready is None or again != one.digest:
        told = f"digest must be {again}, that of the decision which export {one.export!r} makes of this request, got {one.digest!r:.100}"
        raise InvalidValue(f"{told}: it was made by another state, kind of processor, or version of NumPy or recsdk.")
    return ready.record._replace(marks=marks.read(ready.record)._replace(local=one.export).dumps())


def _read(loop: Loop, name: str) -> bytes | None:
    return loop.turns.read(lambda: loop.ledger.get(EXPORT + name) if exported.is_kept(loop.ledger, name) else None)


def _written(loop: Loop, record: DecisionRecord) -> bool:
    """Writes a decision, in a turn; tells whether it is new.

    Raises:
        DecisionConflict: another decision has its id.
        ExpiredDecision: it was here, and has been dropped.
        Unknown: its export is not kept any more: somebody was forgotten meanwhile.
    """
    name, ledger = record.decision_id, loop.ledger
    known = ledger.decision(name)
    if known is not None:
        if (known.payload, known.time, known.marks, digest(known)) != (record.payload, record.time, record.marks, digest(record)):
            raise DecisionConflict(f"decision_id {name!r} was used before for another decision: give each its own.")
        return False
    if base.was_dropped(ledger, ledger.decision, name):
        raise ExpiredDecision(f"Decision {name!r} was dropped by its age: it was taken before.")
    export = marks.read(record).local
    if not exported.is_kept(ledger, export):
        raise exported.unknown(export)
    ledger.add_decision(record)
    return True
