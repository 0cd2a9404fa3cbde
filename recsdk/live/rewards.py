"""From events to outcomes: decisions are joined with the signals about them when their windows close.

An event is a fact, such as "clicked at 12:03". An outcome is what a policy learns: the reward of one shown item, once. How the first
become the second is a `Feedback`, and nothing else decides it, so the same events give the same outcomes in any order of arrival.
"""

from __future__ import annotations

import enum
import json
import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import attrs

from recsdk.checks import check_reward, number, require_number
from recsdk.errors import InvalidReward, InvalidValue, RewardConflict, UnknownDecision, UnknownItem, nearest, one_of
from recsdk.ledger import DecisionRecord, Ledger, RewardRecord, SignalRecord
from recsdk.live import intake
from recsdk.live.deciding import Slate
from recsdk.live.intake import LARGEST_REWARD

FEEDBACK = "feedback"
"""Where the ledger keeps the feedback."""

SETTLED = "settled"
"""Where the ledger keeps how many decisions are settled, and until when."""

SEVERAL = "To join several signals about one item, such as a click and a purchase, open a folder with feedback=recsdk.Feedback(window=...)."

Aggregation = Literal["sum", "mean", "median", "earliest", "latest", "max", "min"]


class Receipt(enum.StrEnum):
    """The outcome of a signal.

    Attributes:
        TAKEN: it is in the ledger, and will count when its decision's window closes.
        DUPLICATE: a signal with its id had been taken before; nothing has changed.
        LATE: the window has closed; nothing has changed.
        UNKNOWN: no decision fits it; nothing has changed.

    Example:
        >>> Receipt("late") is Receipt.LATE, Receipt.LATE == "late"
        (True, True)
    """

    TAKEN = "taken"
    DUPLICATE = "duplicate"
    LATE = "late"
    UNKNOWN = "unknown"


def _checked_signals(instance: Any, field: Any, value: Any) -> None:
    del instance
    if not isinstance(value, tuple) or not value or not all(isinstance(pair, tuple) and len(pair) == 2 for pair in value):
        raise InvalidValue(f"{field.name} must map at least one name of a signal to its weight, got {value!r}.")
    for name, weight in value:
        if not isinstance(name, str) or not name:
            raise InvalidValue(f"{field.name} must have names that are texts, got {name!r}.")
        require_number(f"{field.name}[{name!r}]", weight)


def _number_or_none(instance: Any, field: Any, value: Any) -> None:
    if value is not None:
        number()(instance, field, value)


def _known_aggregation(instance: Any, field: Any, value: Any) -> None:
    del instance
    one_of(f"Feedback.{field.name}", value, tuple(AGGREGATIONS))


def _pairs(signals: Any) -> Any:
    return tuple(signals.items()) if isinstance(signals, Mapping) else signals


@attrs.frozen(kw_only=True)
class Feedback:
    """How signals become rewards.

    A decision is open for `window` seconds. Signals that arrive in time are weighted by their name and aggregated into one reward for
    each shown item; an item without a signal earns `default`. The policy learns all rewards of a decision when its window closes.

    Attributes:
        window: seconds after a decision in which its signals count; the last moment counts.
        default: the reward of a shown item of which nothing was heard; None teaches nothing then.
        aggregation: how several signals of one item become one reward. "earliest" and "latest" go by the time of arrival.
        signals: the weight of each kind of signal, by its name; given as a mapping.
        cap: the largest absolute value of a reward that "sum" makes; None for no cap.

    Example:
        >>> feedback = Feedback(window=600, signals={"click": 1, "purchase": 5, "hide": -2})
        >>> click = SignalRecord("s1", "d", position=0, name="click", value=1.0, time=10.0)
        >>> feedback.value([click, SignalRecord("s2", "d", position=0, name="purchase", value=1.0, time=60.0)])
        6.0
    """

    window: float = attrs.field(validator=number(above=0))
    default: float | None = attrs.field(default=0.0, validator=_number_or_none)
    aggregation: Aggregation = attrs.field(default="sum", validator=_known_aggregation)
    signals: tuple[tuple[str, float], ...] = attrs.field(default=(("reward", 1.0),), converter=_pairs, validator=_checked_signals)
    cap: float | None = attrs.field(default=None, validator=attrs.validators.optional(number(above=0)))

    def weight(self, name: str) -> float:
        """Returns the weight of a kind of signal.

        Raises:
            InvalidValue: a name that is not among `signals`.
        """
        weights = dict(self.signals)
        one_of("signal", name, tuple(weights))
        return weights[name]

    def worth(self, name: str, value: float) -> float:
        """Returns what a signal is worth: its value times the weight of its name.

        Raises:
            InvalidValue: a name that is not among `signals`.
            InvalidReward: a value that is not a finite number, or whose worth is beyond 1e15.
        """
        check_reward(value)
        worth = self.weight(name) * value
        if not abs(worth) <= LARGEST_REWARD:
            raise InvalidReward(f"value must be worth at most {LARGEST_REWARD:g} after its weight {self.weight(name)}, got {value!r}.")
        return worth

    def dumps(self) -> bytes:
        """Returns the settings as JSON."""
        return json.dumps(attrs.asdict(self) | {"signals": dict(self.signals)}).encode()

    def value(self, signals: Iterable[SignalRecord]) -> float:
        """Returns the reward that at least one signal of one item makes, whatever their order."""
        ordered = sorted(signals, key=lambda signal: (signal.time, signal.signal_id))
        reward = AGGREGATIONS[self.aggregation]([self.worth(signal.name, signal.value) for signal in ordered])
        return reward if self.cap is None else max(-self.cap, min(self.cap, reward))

    def outcomes(self, decision: DecisionRecord, signals: Iterable[SignalRecord]) -> list[RewardRecord]:
        """Joins a decision whose window has closed with its signals: at most one reward for each position, from the top."""
        due, by_position = decision.time + self.window, dict[int, list[SignalRecord]]()
        for signal in signals:
            if signal.time <= due:
                by_position.setdefault(signal.position, []).append(signal)
        rewards = []
        for position in range(len(decision.action)):
            value = self.value(by_position[position]) if position in by_position else self.default
            if value is not None:
                name = f"{decision.decision_id}/{position}"
                rewards.append(RewardRecord(name, decision.decision_id, position, value + 0.0, due))
        return rewards


AGGREGATIONS: dict[str, Callable[[Sequence[float]], float]] = {
    "sum": math.fsum,
    "mean": lambda worths: math.fsum(worths) / len(worths),
    "median": statistics.median,
    "earliest": lambda worths: worths[0],
    "latest": lambda worths: worths[-1],
    "max": max,
    "min": min,
}


def stored_feedback(ledger: Ledger) -> Feedback | None:
    """Returns the feedback that a ledger keeps."""
    stored = ledger.get(FEEDBACK)
    return None if stored is None else Feedback(**json.loads(stored))


def num_settled(ledger: Ledger) -> int | None:
    """Returns how many decisions, from the first on, have all their rewards; None where no feedback says so."""
    if ledger.get(FEEDBACK) is None:
        return None
    return int(json.loads(ledger.get(SETTLED) or '{"num_decisions": 0}')["num_decisions"])


class Settlement:
    """Takes signals, and closes the windows of decisions in the order in which they were made.

    Time never goes back here: a clock that is set back does not reopen a window.
    """

    def __init__(self, feedback: Feedback, ledger: Ledger) -> None:
        self.feedback = feedback
        self._ledger = ledger
        stored = json.loads(ledger.get(SETTLED) or '{"num_decisions": 0, "time": 0.0}')
        self.num_settled: int = stored["num_decisions"]
        self._latest: float = stored["time"]
        self._due = self._oldest_due()

    def now(self, clock: float) -> float:
        """Returns the time of an event: that of the clock, or the latest so far where the clock has been set back."""
        self._latest = max(self._latest, clock)
        return self._latest

    def opened(self, decision: DecisionRecord) -> None:
        """Hears of a new decision."""
        self._due = min(self._due, decision.time + self.feedback.window)

    def is_due(self, now: float) -> bool:
        """Tells whether a window has closed that is not settled."""
        return now > self._due

    def take(self, signal: SignalRecord, decision: DecisionRecord) -> Receipt:
        """Puts a signal into the ledger, unless it is there or late.

        Raises:
            RewardConflict: a `signal_id` used before for something else.
        """
        before = self._ledger.signal(signal.signal_id)
        if before is not None:
            if before._replace(time=signal.time) != signal:
                raise RewardConflict(f"signal_id {signal.signal_id!r} was used before for {before}, got {signal}: give each its own.")
            return Receipt.DUPLICATE
        if signal.time > decision.time + self.feedback.window:
            return Receipt.LATE
        self._ledger.add_signal(signal)
        return Receipt.TAKEN

    def settle(self, now: float) -> Iterator[tuple[DecisionRecord, RewardRecord]]:
        """Yields the outcomes of every window that has closed, and puts them into the ledger; use it up inside a transaction."""
        for decision in self._ledger.decisions(self.num_settled):
            due = decision.time + self.feedback.window
            if now <= due:
                break
            for reward in self.feedback.outcomes(decision, self._ledger.signals_of(decision.decision_id)):
                self._ledger.add_reward(reward)
                yield decision, reward
            self.num_settled += 1
        self._ledger.put(SETTLED, json.dumps({"num_decisions": self.num_settled, "time": now}).encode())
        self._due = self._oldest_due()

    def _oldest_due(self) -> float:
        oldest = next(iter(self._ledger.decisions(self.num_settled)), None)
        return math.inf if oldest is None else oldest.time + self.feedback.window


def known(ledger: Ledger, decision_id: Any) -> DecisionRecord:
    """Returns the decision of a name.

    Raises:
        UnknownDecision: a name that is not in the ledger.
    """
    record = ledger.decision(decision_id) if intake.is_name(decision_id) else None
    if record is None:
        raise UnknownDecision(f"No decision {decision_id!r:.200} is in the ledger: give the decision_id that recommend returned.")
    return record


def position(slate: Slate, item: Any) -> int:
    """Returns where an item stands in a slate.

    Raises:
        UnknownItem: an item that it does not show.
    """
    if not isinstance(item, str) or item not in slate.ids:
        told = f"item must be one of {slate.ids}, shown in decision {slate.decision_id!r}, got {item!r}"
        raise UnknownItem(f"{told}.{nearest(str(item), slate.ids)}")
    return slate.ids.index(item)


def is_new(ledger: Ledger, reward: RewardRecord) -> bool:
    """Tells whether a reward is not in the ledger yet.

    Raises:
        RewardConflict: its name was used for another reward, or its item has one by another name.
    """
    same = ledger.reward(reward.reward_id)
    if same is not None:
        if same._replace(time=reward.time) == reward:
            return False
        raise RewardConflict(f"reward_id {reward.reward_id!r} was used before for {_told(same)}, got {_told(reward)}. {SEVERAL}")
    for other in ledger.rewards_of(reward.decision_id):
        if other.position == reward.position:
            raise RewardConflict(
                f"One shown item has one reward, {_told(other)} by reward_id {other.reward_id!r}, got {_told(reward)} too. {SEVERAL}"
            )
    return True


def _told(reward: RewardRecord) -> str:
    return f"{reward.value} at position {reward.position} of decision {reward.decision_id!r}"
