"""From events to outcomes: decisions are joined with the signals about them when their windows close.

An event is a fact, such as "clicked at 12:03". An outcome is what a policy learns: the reward of one shown item or page, once. How the
first become the second is a `Feedback`, and nothing else decides it, so the same events give the same outcomes in any order of arrival.
Here is what is pure of it; `recsdk.live.settlement` keeps the events and does the rest.
"""

from __future__ import annotations

import enum
import json
import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

import attrs

from recsdk.checks import check_reward, number, require_number
from recsdk.errors import InvalidReward, InvalidValue, one_of
from recsdk.ledger import PAGE, DecisionRecord, Ledger, RewardRecord, SignalRecord
from recsdk.live import marks
from recsdk.live.intake import LARGEST_REWARD
from recsdk.validators import choice

FEEDBACK = "feedback"
"""Where the ledger keeps the feedback."""

SETTLED = "settled"
"""Where the ledger keeps how many decisions are settled, and until when."""

SHOWN, NOT_SHOWN, CORRECT, RETRACT = "@shown", "@not_shown", "@correct", "@retract"
"""Names of the signals that are the recommender's own."""

Aggregation = Literal["sum", "mean", "median", "earliest", "latest", "max", "min"]


class Receipt(enum.StrEnum):
    """The outcome of a signal, or of another event about a decision.

    Attributes:
        TAKEN: it is in the ledger, and counts.
        DUPLICATE: the same had been taken before; nothing has changed.
        EARLY: no decision fits it yet; it waits for one as long as `Feedback.start` says.
        LATE: its decision's window has closed. A signal is in the ledger, and counts as much as `Feedback.late` says.
        UNKNOWN: no decision fits it; nothing has changed.
        EXPIRED: its decision was dropped by its age, or what was learned of it was learned before the last that was dropped and cannot be
            corrected any more; nothing has changed.

    Example:
        >>> Receipt("late") is Receipt.LATE, Receipt.LATE == "late"
        (True, True)
    """

    TAKEN = "taken"
    DUPLICATE = "duplicate"
    EARLY = "early"
    LATE = "late"
    UNKNOWN = "unknown"
    EXPIRED = "expired"


def _checked_signals(instance: Any, field: Any, value: Any) -> None:
    del instance
    if not isinstance(value, tuple) or not value or not all(isinstance(pair, tuple) and len(pair) == 2 for pair in value):
        raise InvalidValue(f"{field.name} must map at least one name of a signal to its weight, got {value!r}.")
    for name, weight in value:
        if not isinstance(name, str) or not name:
            raise InvalidValue(f"{field.name} must have names that are texts, got {name!r}.")
        if name.startswith("@"):
            raise InvalidValue(f"{field.name} must have names that do not begin with '@', as the recommender's own do, got {name!r}.")
        require_number(f"{field.name}[{name!r}]", weight)


def _checked_caps(instance: Feedback, field: Any, value: Any) -> None:
    if value and instance.aggregation != "sum":
        raise InvalidValue(f"{field.name} must be empty where aggregation is not 'sum', got {value!r}.")
    for name, most in value:
        one_of(f"{field.name}, a name of signals,", name, tuple(dict(instance.signals)))
        require_number(f"{field.name}[{name!r}]", most, above=0)


def _number_or_none(instance: Any, field: Any, value: Any) -> None:
    if value is not None:
        number()(instance, field, value)


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
        aggregation: how several signals of one item become one reward. "earliest" and "latest" go by the time at which they happened.
        signals: the weight of each kind of signal, by its name; given as a mapping.
        cap: the largest absolute value of a reward that "sum" makes; None for no cap.
        start: where the window begins, in seconds after the decision: 0, or below it for signals that come before their decision. So long
            they wait for one.
        late: what a signal that comes after the window is worth, as a share: the reward that was learned is corrected by so much. With
            0 the ledger keeps the signal, and nothing is learned.
        caps: the largest absolute sum that all signals of one name make of one item, by name, given as a mapping; with "sum" only.
        per: "item": each shown item has a reward of its own; "page": the whole page has one, whatever item a signal names.

    Example:
        >>> feedback = Feedback(window=600, signals={"click": 1, "purchase": 5, "hide": -2}, caps={"click": 2})
        >>> click = SignalRecord("s1", "d", position=0, name="click", value=1.0, time=10.0)
        >>> feedback.value([click, SignalRecord("s2", "d", position=0, name="purchase", value=1.0, time=60.0)])
        6.0
    """

    window: float = attrs.field(validator=number(above=0))
    default: float | None = attrs.field(default=0.0, validator=_number_or_none)
    aggregation: Aggregation = attrs.field(default="sum", validator=choice(*get_args(Aggregation)))
    signals: tuple[tuple[str, float], ...] = attrs.field(default=(("reward", 1.0),), converter=_pairs, validator=_checked_signals)
    cap: float | None = attrs.field(default=None, validator=attrs.validators.optional(number(above=0)))
    start: float = attrs.field(default=0.0, validator=number(at_most=0))
    late: float = attrs.field(default=0.0, validator=number(at_least=0, at_most=1))
    caps: tuple[tuple[str, float], ...] = attrs.field(default=(), converter=_pairs, validator=_checked_caps)
    per: Literal["item", "page"] = attrs.field(default="item", validator=choice("item", "page"))

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
        return json.dumps(attrs.asdict(self) | {"signals": dict(self.signals), "caps": dict(self.caps)}).encode()

    def due(self, decision: DecisionRecord) -> float:
        """Returns when the window of a decision closes."""
        return decision.time + self.window

    def fits(self, decision: DecisionRecord, happened: float) -> bool:
        """Tells whether a moment lies in the window of a decision."""
        return decision.time + self.start <= happened <= self.due(decision)

    def value(self, signals: Iterable[SignalRecord], due: float = math.inf) -> float | None:
        """Returns the reward that signals of one item or page make, whatever their order, or `default` when none of them counts.

        Args:
            signals: in any order.
            due: when the window closed: what arrived later counts as `late` says.
        """
        counting = [signal for signal in signals if signal.time <= due or self.late]
        ordered = sorted(counting, key=lambda signal: (happened(signal), signal.signal_id))
        worths: dict[str, list[float]] = {}
        all_worths = []
        for signal in ordered:
            worth = self.worth(signal.name, signal.value) * (1.0 if signal.time <= due else self.late)
            worths.setdefault(signal.name, []).append(worth)
            all_worths.append(worth)
        if not all_worths:
            return self.default
        for name, most in self.caps:
            if abs(total := math.fsum(worths.get(name, ()))) > most:
                worths[name] = [math.copysign(most, total)]
        reward = AGGREGATIONS[self.aggregation]([worth for kind in worths.values() for worth in kind] if self.caps else all_worths)
        return reward if self.cap is None else max(-self.cap, min(self.cap, reward))

    def outcomes(self, decision: DecisionRecord, signals: Sequence[SignalRecord]) -> dict[int, float]:
        """Joins a decision whose window has closed with all signals about it: the reward of each position that has one, from the top.

        Nothing comes of a decision that was not shown, of an emptied one, or of a slate that was served again. Signals count as they were
        corrected last; those of a name that is not among `self.signals` any more do not.
        """
        if not len(decision.action) or marks.read(decision).repeats is not None or not was_shown(decision, signals):
            return {}
        places, by_place = (PAGE,) if self.per == "page" else range(len(decision.action)), dict[int, list[SignalRecord]]()
        for signal in standing(signals):
            if signal.name in dict(self.signals):
                by_place.setdefault(PAGE if self.per == "page" else signal.position, []).append(signal)
        values = {place: self.value(by_place.get(place, ()), self.due(decision)) for place in places}
        return {place: value + 0.0 for place, value in values.items() if value is not None}


AGGREGATIONS: dict[str, Callable[[Sequence[float]], float]] = {
    "sum": math.fsum,
    "mean": lambda worths: math.fsum(worths) / len(worths),
    "median": statistics.median,
    "earliest": lambda worths: worths[0],
    "latest": lambda worths: worths[-1],
    "max": max,
    "min": min,
}


def join(
    feedback: Feedback, decisions: Iterable[DecisionRecord], signals_of: Callable[[str], Sequence[SignalRecord]], now: float
) -> Iterator[tuple[DecisionRecord, dict[int, float]]]:
    """Yields the decisions whose windows have closed, with the reward of each position.

    Args:
        feedback: how signals become rewards.
        decisions: oldest first.
        signals_of: gives the signals about a decision, by its id.
        now: seconds since the epoch.
    """
    for decision in decisions:
        if now <= feedback.due(decision):
            return
        yield decision, feedback.outcomes(decision, signals_of(decision.decision_id))


def happened(signal: SignalRecord) -> float:
    """Returns when something happened: when the application says, or when it was told."""
    return signal.time if signal.happened is None else signal.happened


def standing(signals: Iterable[SignalRecord]) -> list[SignalRecord]:
    """Returns what happened, as it was corrected last; what was retracted is left out."""
    found, values = list[SignalRecord](), dict[str, float | None]()
    for signal in signals:
        if signal.about is not None:
            values[signal.about] = None if signal.name == RETRACT else signal.value
        elif signal.name not in (SHOWN, NOT_SHOWN):
            found.append(signal)
    corrected = ((signal, values.get(signal.signal_id, signal.value)) for signal in found)
    return [signal._replace(value=value) for signal, value in corrected if value is not None]


def was_shown(decision: DecisionRecord, signals: Iterable[SignalRecord]) -> bool:
    """Tells whether a decision was shown: what was said last counts, and otherwise whether it was to be shown at once."""
    said = said_shown(signals).get(decision.decision_id)
    return not is_deferred(decision) if said is None else said


def said_shown(signals: Iterable[SignalRecord]) -> dict[str, bool]:
    """Returns for each decision of which it was said, whether it was shown, as was said last."""
    return {signal.decision_id: signal.name == SHOWN for signal in signals if signal.name in (SHOWN, NOT_SHOWN)}


def is_deferred(decision: DecisionRecord) -> bool:
    """Tells whether a decision is not shown before `Recommender.shown` says so."""
    return "deferred" in decision.payload and bool(json.loads(decision.payload).get("deferred"))


def standing_rewards(rewards: Iterable[RewardRecord]) -> dict[int, RewardRecord]:
    """Returns the last reward of each position, given those of one decision in the order of the log; it may be void."""
    return {reward.position: reward for reward in rewards}


def standing_values(rewards: Iterable[RewardRecord]) -> dict[tuple[str, int], float]:
    """Returns the reward of each decision and position as it was corrected last, without those taken back.

    They are in the order in which each had its first reward. Of a record only the number stays in memory.
    """
    last = {(reward.decision_id, reward.position): math.nan if reward.void else reward.value for reward in rewards}
    return {place: value for place, value in last.items() if not math.isnan(value)}


def stored_feedback(ledger: Ledger) -> Feedback | None:
    """Returns the feedback that a ledger keeps."""
    stored = ledger.get(FEEDBACK)
    return None if stored is None else Feedback(**json.loads(stored))


def num_settled(ledger: Ledger) -> int | None:
    """Returns how many decisions, from the first on, have all their rewards; None where no feedback says so."""
    if ledger.get(FEEDBACK) is None:
        return None
    return int(json.loads(ledger.get(SETTLED) or '{"num_decisions": 0}')["num_decisions"])
