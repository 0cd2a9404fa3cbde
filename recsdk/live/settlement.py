"""Feedback as it comes in: signals are kept, windows are closed, and what was learned is corrected."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from recsdk.checks import check_reward
from recsdk.errors import InvalidValue, RewardConflict, UnknownDecision, UnknownItem
from recsdk.ledger import PAGE, DecisionRecord, Ledger, RewardRecord, SignalRecord
from recsdk.live import base, intake, marks
from recsdk.live.places import Outcome, decided, free, known, missing, place, place_name, revision
from recsdk.live.rewards import CORRECT, RETRACT, SETTLED, Feedback, Receipt, join, standing, standing_rewards

EARLY = "early"
"""Where the ledger keeps the signals that wait for their decisions."""

MAX_EARLY = 1_000
"""So many signals wait at most, so that a flood of unknown ids does not fill the disk."""


class Told(NamedTuple):
    """A signal as the application tells it.

    Attributes:
        name: which kind of signal.
        value: what it is worth before the weight of its name.
        time: seconds since the epoch at which it arrived.
        decision_id: the decision that it is about, or None.
        user: the user's key, or None.
        item: which item, or None.
        position: where in the slate, or `PAGE`, or None.
        happened: seconds since the epoch at which it happened, where the application says so.
        signal_id: its name, or None for one made of decision, position and name.
        instead: what it was corrected to while it waited, in a list of one, None for nothing; None where it was not.
    """

    name: str
    value: float
    time: float
    decision_id: Any = None
    user: Any = None
    item: Any = None
    position: Any = None
    happened: Any = None
    signal_id: Any = None
    instead: Any = None

    def checked(self, feedback: Feedback) -> Told:
        """Returns it with a plain user's key, position and time.

        Raises:
            InvalidValue, InvalidRequest, UnknownItem: what `Recommender.signal` refuses before it looks for a decision.
        """
        if (self.decision_id is None) == (self.user is None):
            raise InvalidValue(f"signal must have a decision_id or a user, and not both, got {self.decision_id!r} and {self.user!r}.")
        if not isinstance(self.item, str | None):
            raise UnknownItem(f"item must be the id of an item, got {self.item!r}.")
        if self.user is not None and self.position is not None:
            raise InvalidValue(f"position goes with a decision_id, got {self.position!r} with user {self.user!r}.")
        if self.user is not None and self.item is None and feedback.per == "item":
            raise InvalidValue(f"item must be given with a user, since each item has its own reward, got user {self.user!r} alone.")
        return self._replace(
            value=float(self.value) + 0.0,
            user=None if self.user is None else intake.user(self.user, {}),
            position=intake.position(self.position),
            happened=intake.happened(self.happened, self.time),
            signal_id=None if self.signal_id is None else intake.name("signal_id", self.signal_id),
        )

    @property
    def moment(self) -> float:
        """When it happened."""
        return float(self.time if self.happened is None else self.happened)


class Settlement:
    """Takes signals, and closes the windows of decisions in the order in which they were made.

    All of its state is in the ledger. Time never goes back here: a clock that is set back does not reopen a window.
    """

    def __init__(self, feedback: Feedback, ledger: Ledger, ids_of: Callable[[DecisionRecord], Sequence[str]]) -> None:
        self.feedback = feedback
        self._ledger = ledger
        self._ids_of = ids_of
        stored = json.loads(ledger.get(SETTLED) or '{"num_decisions": 0, "time": 0.0}')
        self.num_settled: int = stored["num_decisions"]
        self._latest: float = stored["time"]
        self._due = self._oldest_due()
        self._until: float = stored.get("until", -math.inf)  # the latest time of a decision that is settled
        if self.num_settled and "until" not in stored:
            self._until = next(iter(ledger.decisions(self.num_settled - 1))).time
        self._early = [Told(*fields) for fields in json.loads(ledger.get(EARLY) or "[]")]

    def now(self, clock: float) -> float:
        """Returns the time of an event: that of the clock, or the latest so far where the clock has been set back."""
        self._latest = max(self._latest, clock)
        return self._latest

    def is_due(self, now: float) -> bool:
        """Tells whether a window has closed that is not settled."""
        return now > self._due

    def is_settled(self, decision: DecisionRecord) -> bool:
        """Tells whether the rewards of a decision have been learned."""
        return decision.time <= self._until

    def open(self, decision: DecisionRecord) -> list[tuple[Told, Receipt]]:
        """Puts a decision into the ledger, with the signals that have waited for it; inside a transaction. Returns what became of these."""
        mine, others, gone = list[Told](), list[Told](), list[Told]()
        for told in self._early:
            waits = decision.time <= told.moment - self.feedback.start
            (gone if not waits else mine if self._is_about(told, decision) else others).append(told)
        self._ledger.add_decision(decision)
        found = [(told, self._joined(told, marks.origin(self._ledger, decision))) for told in mine]
        if mine or gone:
            self._keep(others)
        self._early, self._due = others, min(self._due, self.feedback.due(decision))
        return [(told, Receipt.UNKNOWN) for told in gone] + found

    def take(self, told: Told) -> tuple[Receipt, list[Outcome]]:
        """Puts a signal into the ledger, unless it is there or fits no decision; inside a transaction.

        Returns:
            What became of it, and the corrections of rewards, to be learned.

        Raises:
            RewardConflict: a `signal_id` used before for something else.
            UnknownItem, InvalidValue: the decision has no such item or position.
        """
        told = told._replace(time=self.now(told.time))  # another thread may have closed the window meanwhile
        decision = self._decision_of(told)
        if decision is not None and told.decision_id is not None:
            told = told._replace(decision_id=decision.decision_id)
        if told.signal_id is not None and self._is_known(told, told.signal_id):
            return Receipt.DUPLICATE, []
        if decision is None:
            is_gone = told.decision_id is not None and missing(self._ledger, told.decision_id) is Receipt.EXPIRED
            return Receipt.EXPIRED if is_gone else self._wait(told), []
        signal = self._signal(told, decision)
        if told.signal_id is None and self._is_known(told._replace(decision_id=decision.decision_id), signal.signal_id):
            return Receipt.DUPLICATE, []
        if told.moment < decision.time + self.feedback.start:
            return Receipt.UNKNOWN, []
        late = told.time > self.feedback.due(decision)
        counts = self.is_settled(decision) and (self.feedback.late or not late)  # the second where the feedback has another window now
        if counts and base.is_fixed(self._ledger, decision.decision_id):
            return Receipt.EXPIRED, []
        self._ledger.add_signal(signal)
        return Receipt.LATE if late else Receipt.TAKEN, self._revised(decision, told.time) if counts else []

    def placed(self, told: Told) -> tuple[DecisionRecord, SignalRecord]:
        """Returns the decision that a signal was taken for, and the signal as it was kept; in the same turn."""
        decision = self._decision_of(told)
        assert decision is not None  # noqa: S101 -- it was taken
        return decision, self._signal(told, decision)

    def settle(self, now: float) -> Iterator[Outcome]:
        """Yields the outcomes of every window that has closed, and puts them into the ledger; use it up inside a transaction."""
        for decision, values in join(self.feedback, self._ledger.decisions(self.num_settled), self._ledger.signals_of, now):
            there = standing_rewards(self._ledger.rewards_of(decision.decision_id))  # from before the folder had a feedback
            for position, value in values.items():
                if position not in there and not (there and PAGE in (position, *there)):  # a page has one reward, or its items have
                    name, due = place_name(decision.decision_id, position), self.feedback.due(decision)
                    yield decision, self._add(RewardRecord(name, decision.decision_id, position, value, due))
            self.num_settled += 1
            self._until = max(self._until, decision.time)  # of two threads the first may be the later to write
        until = {"until": self._until} if self.num_settled else {}
        self._ledger.put(SETTLED, json.dumps({"num_decisions": self.num_settled, "time": now, **until}).encode())
        self._due = self._oldest_due()

    def correct(self, signal_id: Any, value: float | None, now: float) -> tuple[Receipt, list[Outcome]]:
        """Corrects a signal, or retracts it; inside a transaction. Returns what `take` returns.

        Raises:
            InvalidReward: a value that is not a finite number, or whose worth is beyond 1e15.
        """
        if value is not None:
            check_reward(value)
        if not isinstance(signal_id, str):
            return Receipt.UNKNOWN, []
        waiting = next((told for told in self._early if told.signal_id == signal_id), None)
        if waiting is not None:
            return self._corrected_waiting(waiting, value), []
        signal = self._ledger.signal(signal_id)
        if signal is None or signal.name.startswith("@"):
            return Receipt.EXPIRED if base.was_dropped(self._ledger, self._ledger.signal, signal_id) else Receipt.UNKNOWN, []
        if value is not None:
            self.feedback.worth(signal.name, value)
        about = self._ledger.signals_of(signal.decision_id)
        present = next((s.value for s in standing(about) if s.signal_id == signal_id), None)
        if present == value:
            return Receipt.DUPLICATE, []
        if base.is_fixed(self._ledger, signal.decision_id):
            return Receipt.EXPIRED, []
        self._add_correction(signal, value, now)
        decision = known(self._ledger, signal.decision_id)
        return Receipt.TAKEN, self._revised(decision, now) if self.is_settled(decision) else []

    def _corrected_waiting(self, told: Told, value: float | None) -> Receipt:
        """Notes the correction of a signal that waits; told once more as it was, it is still the same signal."""
        if value is not None:
            self.feedback.worth(told.name, value)
        if value == (told.value if told.instead is None else told.instead[0]):
            return Receipt.DUPLICATE
        corrected = told._replace(instead=[None if value is None else value + 0.0])
        early = [corrected if other is told else other for other in self._early]
        self._keep(early)
        self._early = early
        return Receipt.TAKEN

    def _add_correction(self, signal: SignalRecord, value: float | None, now: float) -> None:
        name = free(signal.signal_id, self._ledger.signal)
        kind, number = (RETRACT, 0.0) if value is None else (CORRECT, value + 0.0)
        self._ledger.add_signal(SignalRecord(name, signal.decision_id, signal.position, kind, number, now, about=signal.signal_id))

    def _revised(self, decision: DecisionRecord, now: float) -> list[Outcome]:
        """Puts the corrections into the ledger that make the rewards of a settled decision what its signals say now."""
        values = self.feedback.outcomes(decision, self._ledger.signals_of(decision.decision_id))
        there = standing_rewards(self._ledger.rewards_of(decision.decision_id))
        found = []
        for position in sorted({*values, *there}):
            reward = revision(self._ledger, decision, position, there.get(position), values.get(position), now)
            if reward is not None:
                found.append((decision, self._add(reward)))
        return found

    def _add(self, reward: RewardRecord) -> RewardRecord:
        self._ledger.add_reward(reward)
        return reward

    def _decision_of(self, told: Told) -> DecisionRecord | None:
        if told.decision_id is not None:
            named = decided(self._ledger, told.decision_id)
            return None if named is None else marks.origin(self._ledger, named)
        later = None
        for decision in self._ledger.decisions_of(str(told.user)):  # newest first
            if told.moment > self.feedback.due(decision):
                break
            if marks.read(decision).repeats is not None:
                continue  # the one that drew its slate is older
            if self.feedback.fits(decision, told.moment) and self._shows(told, decision):
                if decision.time <= told.moment:
                    return decision
                later = decision
        return later

    def _is_about(self, told: Told, decision: DecisionRecord) -> bool:
        if told.decision_id is not None:
            return bool(told.decision_id == decision.decision_id)
        return told.user == decision.user and self._shows(told, decision)

    def _shows(self, told: Told, decision: DecisionRecord) -> bool:
        return told.item in self._ids_of(decision) or (told.item is None and self.feedback.per == "page")

    def _signal(self, told: Told, decision: DecisionRecord) -> SignalRecord:
        position = self._position(told, decision)
        name = f"{place_name(decision.decision_id, position)}/{told.name}" if told.signal_id is None else told.signal_id
        return SignalRecord(name, decision.decision_id, position, told.name, told.value + 0.0, told.time, told.happened)

    def _position(self, told: Told, decision: DecisionRecord) -> int:
        if self.feedback.per == "page" and told.item is None and told.position in (None, PAGE):
            return PAGE
        position = place(decision.decision_id, self._ids_of(decision), told.item, told.position)
        if position == PAGE:
            raise InvalidValue("position must not be 'page' where each item has its own reward: open with Feedback(per='page').")
        return position

    def _is_known(self, told: Told, signal_id: str) -> bool:
        """Tells whether a signal is in the ledger; told again by user, it may fit another decision by now.

        Raises:
            RewardConflict: its id was used for something else.
        """
        before = self._ledger.signal(signal_id)
        if before is None:
            return False
        with contextlib.suppress(UnknownDecision, UnknownItem, InvalidValue):  # of another decision than that
            decision = known(self._ledger, before.decision_id)
            again = self._signal(told, decision)._replace(signal_id=signal_id, time=before.time, happened=before.happened)
            if again == before and told.decision_id in (None, decision.decision_id) and told.user in (None, decision.user):
                return True
        raise RewardConflict(f"signal_id {signal_id!r} was used before for {before}, got {told}: give each its own.")

    def _joined(self, told: Told, decision: DecisionRecord) -> Receipt:
        """Puts a signal that has waited into the ledger; there is nobody any more to whom an error could be told."""
        try:
            signal = self._signal(told, decision)
        except (UnknownItem, InvalidValue):
            return Receipt.UNKNOWN
        if self._ledger.signal(signal.signal_id) is not None:
            return Receipt.DUPLICATE
        self._ledger.add_signal(signal)
        if told.instead is not None:
            self._add_correction(signal, told.instead[0], told.time)
        return Receipt.TAKEN

    def _wait(self, told: Told) -> Receipt:
        """Keeps a signal until its decision comes, if there is room and it may come before it."""
        if not self.feedback.start or (told.user is None and not intake.is_name(told.decision_id)):
            return Receipt.UNKNOWN
        waiting = [other for other in self._early if told.time <= other.moment - self.feedback.start]
        for other in waiting:
            if told.signal_id is None and other.signal_id is None and _unnamed(told) == _unnamed(other)._replace(value=told.value):
                return Receipt.DUPLICATE
            if told.signal_id is not None and told.signal_id == other.signal_id:
                if _unnamed(told) != _unnamed(other):
                    raise RewardConflict(f"signal_id {told.signal_id!r} was used before for {other}, got {told}: give each its own.")
                return Receipt.DUPLICATE
        if told.time > told.moment - self.feedback.start or len(waiting) >= MAX_EARLY:
            return Receipt.UNKNOWN
        self._keep([*waiting, told])
        self._early = [*waiting, told]
        return Receipt.EARLY

    def _keep(self, early: list[Told]) -> None:
        self._ledger.put(EARLY, json.dumps(early).encode())

    def _oldest_due(self) -> float:
        oldest = next(iter(self._ledger.decisions(self.num_settled)), None)
        return math.inf if oldest is None else self.feedback.due(oldest)


def _unnamed(told: Told) -> Told:
    """Returns what is said of a signal but its id and times, and corrections."""
    return told._replace(time=0.0, happened=None, signal_id=None, instead=None)
