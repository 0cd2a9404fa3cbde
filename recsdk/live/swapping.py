"""Another model, or the one before, in the place of what serves."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from recsdk.base import Encoder, Scorer
from recsdk.errors import InvalidValue
from recsdk.ledger import Ledger
from recsdk.live import functions, intake, models, published
from recsdk.live.contest import Change
from recsdk.live.deciding import Decider
from recsdk.live.evidence import Evidence
from recsdk.live.learner import Learner
from recsdk.live.loop import Loop
from recsdk.live.opening import Given
from recsdk.live.published import Published
from recsdk.live.traffic import Arms


def swap(loop: Loop, encoder: Encoder | None, scorers: Sequence[Scorer] | None, given: Given) -> None:
    """Makes a model of other parts, and lets it serve, unless it is the same."""
    with contextlib.closing(reading(loop)) as stored:
        present, now = loop.evidence, intake.seconds(loop.options.clock())
        evidence = Evidence(encoder or present.encoder, present.scorers if scorers is None else scorers)
        model = models.prepared(stored, loop.learner, lambda learner: _decider(loop, learner), evidence, given, now)
        if model.evidence.model == present.model:
            model.close()
        else:
            _serve(loop, model, "swapped")


def rollback(loop: Loop, changes: Sequence[Published]) -> None:
    """Goes back to what served before the last swap or promotion.

    Args:
        loop: whose.
        changes: all that have served so far.
    """
    models.refuse_nothing_to_go_back_to([change.reason for change in changes])
    if changes[-1].reason == "promoted":
        loop.change(lambda: _promoted_before(loop))
        return
    before, loop.before = loop.before, None
    if before is None:
        with contextlib.closing(reading(loop)) as stored:
            before = models.brought_back(stored, loop.learner, lambda learner: _decider(loop, learner), changes[-2].model)
    _serve(loop, before, "rolled back")


def _promoted_before(loop: Loop) -> Change:
    before = loop.contest.before
    if before is None:
        raise InvalidValue("There is nothing to go back to: the policy before is not among the challengers.")
    return Change("rolled back", before)


def reading(loop: Loop) -> Ledger:
    """Opens the ledger to read in this thread, as it is at this moment; writers go on."""
    found: Ledger = loop.options.store.read(loop.options.folder)
    return found


def _decider(loop: Loop, learner: Learner) -> Decider:
    return Decider(learner, loop.options.choice, Arms(loop.decider.arms.traffic))


def _serve(loop: Loop, model: models.Model, reason: str) -> None:
    """Puts a model in the place of the one that serves; what was decided by that one and is not written yet is decided anew."""

    def served() -> Published:
        replaced = models.serving(loop.ledger, loop.learner, loop.decider)
        try:
            with loop.ledger.transaction():
                models.publish(model, loop.ledger, loop.learner, encodes=reason == "swapped")
                change = published.add(loop.ledger, reason, model.evidence.model, model.learner.deciding()[0], loop.now())
            model.decider.start(loop.ledger)
        except BaseException:
            model.close()
            raise
        loop.serve(model)
        loop.before, loop.retired = (replaced, None) if reason == "swapped" else (None, replaced)
        functions.notice(loop.ledger, loop.evidence.scorers)
        return change

    with loop.changing_items:
        change = loop.turns.alone(served)
    loop.tell(change)
