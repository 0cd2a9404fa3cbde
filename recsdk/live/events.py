"""What an application tells of a decision: rewards, signals and corrections are written, and learned at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from recsdk.errors import ExpiredDecision, InvalidValue, UnknownDecision
from recsdk.ledger import PAGE, DecisionRecord, RewardRecord, SignalRecord
from recsdk.live import base, intake, places
from recsdk.live.loop import Loop
from recsdk.live.observe import Corrected, Rewarded, Signalled
from recsdk.live.places import Outcome
from recsdk.live.published import Published
from recsdk.live.rewards import NOT_SHOWN, SHOWN, Receipt, happened, was_shown
from recsdk.live.settlement import Told


class Worth(NamedTuple):
    """A reward as the application gave it."""

    place: int
    value: float
    reward_id: str | None = None


def reward(loop: Loop, decision_id: str, given: Callable[[DecisionRecord], list[Worth]], *, is_one: bool = False) -> bool:
    """Takes rewards of a decision, all or none; tells whether any of them was new.

    Args:
        loop: what serves.
        decision_id: of the decision.
        given: returns the rewards.
        is_one: whether that is one: by itself it needs no transaction.
    """
    now, keep = loop.now(), loop.turns.learn if is_one and loop.learner.contest is None else loop.turns.write

    def taken() -> tuple[DecisionRecord, list[RewardRecord], int, list[Published]]:
        learned = loop.learner.num_learned
        with loop.turns.refusing():
            record = places.known_and_shown(loop.ledger, decision_id)
            named = [_named(record, one, now) for one in given(record)]
            fresh = [reward for reward in named if places.is_new(loop.ledger, reward)]
            for reward in fresh[:1]:  # before it is written: a policy that refuses it has changed nothing
                loop.learner.learn(record, reward)
                loop.ledger.add_reward(reward)
        for reward in fresh[1:]:
            loop.learner.learn(record, reward)
            loop.ledger.add_reward(reward)
        for reward in fresh:
            loop.histories.add(record, reward.position, reward.value, reward.time)
        return record, fresh, learned, loop.publish_when_due()

    try:
        record, fresh, learned, changes = keep(taken)
    except UnknownDecision as error:
        loop.tally.count(Receipt.EXPIRED if isinstance(error, ExpiredDecision) else Receipt.UNKNOWN)
        raise
    loop.learned(learned, len(fresh), changes)
    loop.tell(Rewarded(decision_id, len(fresh), sum(reward.value for reward in fresh), record.user))
    return bool(fresh)


def _named(record: DecisionRecord, given: Worth, now: float) -> RewardRecord:
    place, value, reward_id = given
    name = places.place_name(record.decision_id, place) if reward_id is None else intake.name("reward_id", reward_id)
    return RewardRecord(name, record.decision_id, place, float(value) + 0.0, now)  # a ledger need not tell -0.0 from 0.0


def refuse_with_feedback(loop: Loop) -> None:
    """Refuses rewards where signals make them."""
    if loop.settlement is not None:
        raise InvalidValue("This folder has a feedback, which makes the rewards: tell what happened by `signal`.")


def signal(loop: Loop, told: Told) -> Receipt:
    """Takes a signal, whose time is still to be set; returns what became of it."""
    settlement = loop.settlement
    if settlement is None:
        raise InvalidValue("signal needs a recommender with a feedback: open it with feedback=recsdk.Feedback(window=...).")
    settlement.feedback.worth(told.name, told.value)
    now = loop.now()
    checked = told._replace(time=now).checked(settlement.feedback)
    loop.catch_up(now)

    def taken() -> tuple[Receipt, list[Outcome], int, list[Published]]:
        assert loop.settlement is not None  # noqa: S101 -- refused above; not the one of before, which a failure may have replaced
        learned = loop.learner.num_learned
        with loop.turns.refusing():
            receipt, outcomes = loop.settlement.take(checked)
        loop.learner.learn_all(outcomes)
        if loop.histories.length and receipt in (Receipt.TAKEN, Receipt.LATE):
            decision, kept = loop.settlement.placed(checked)
            if was_shown(decision, loop.ledger.signals_of(decision.decision_id)):
                loop.histories.add(decision, kept.position, settlement.feedback.worth(kept.name, kept.value), happened(kept))
        return receipt, outcomes, learned, loop.publish_when_due()

    receipt, outcomes, learned, changes = loop.turns.write(taken)
    loop.learned(learned, len(outcomes), changes)
    loop.tell(Signalled(told.name, str(receipt), 0.0 if told.happened is None else now - told.happened))
    return receipt


def correct(loop: Loop, event_id: Any, value: float | None) -> Receipt:
    """Corrects a signal or a reward; returns what became of that."""
    now = loop.now()
    loop.settle(now)
    if loop.settlement is None and value is not None:
        intake.reward(value, loop.reward_range)

    def corrected() -> tuple[Receipt, list[Outcome]]:
        loop.histories.clear()
        if loop.settlement is None:
            return places.corrected(loop.ledger, event_id, value, now)
        return loop.settlement.correct(event_id, value, now)

    receipt, outcomes = loop.revised(corrected)
    loop.tell(Corrected(str(event_id), str(receipt), len(outcomes), outcomes[0][0].user if outcomes else None))
    return receipt


def say(loop: Loop, name: str, decision_id: str) -> Receipt:
    """Notes that a decision was shown, or was not; returns what became of that."""
    now = loop.now()
    loop.settle(now)
    receipt, _ = loop.revised(lambda: _said(loop, name, decision_id, now))
    loop.tell(Signalled(name, str(receipt), 0.0))
    return receipt


def _said(loop: Loop, name: str, decision_id: Any, now: float) -> tuple[Receipt, list[Outcome]]:
    """Notes what was said, inside a transaction. Returns what `Settlement.take` returns."""
    decision = places.decided(loop.ledger, decision_id)
    if decision is None:
        return places.missing(loop.ledger, decision_id), []
    if was_shown(decision, loop.ledger.signals_of(decision_id)) == (name == SHOWN):
        return Receipt.DUPLICATE, []
    loop.histories.clear()
    if name == SHOWN and loop.settlement is not None and loop.settlement.is_settled(decision):
        return Receipt.LATE, []
    if base.is_fixed(loop.ledger, decision.decision_id):
        return Receipt.EXPIRED, []
    signal_id = places.free(f"{decision_id}/{name}", loop.ledger.signal)
    loop.ledger.add_signal(SignalRecord(signal_id, decision_id, PAGE, name, 1.0, now))
    outcomes = [(decision, reward) for reward in places.all_void(loop.ledger, decision, now)] if name == NOT_SHOWN else []
    for _, reward in outcomes:
        loop.ledger.add_reward(reward)
    return Receipt.TAKEN, outcomes
