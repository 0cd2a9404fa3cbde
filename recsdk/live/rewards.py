"""From events to outcomes: the pure join of decisions with the signals about them.

An event is a fact, such as "clicked at 12:03". An outcome is what a policy learns: the reward of one shown item, once. How the first
become the second is a `Feedback`, and nothing else decides it, so the same events give the same outcomes in any order of arrival.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import attrs

from recsdk.checks import number, require_number
from recsdk.errors import InvalidValue, one_of

Aggregation = Literal["sum", "mean", "median", "earliest", "latest", "max", "min"]


class Signal(NamedTuple):
    """Something that happened to a shown item.

    Attributes:
        signal_id: unique in the ledger; a repeated one is the same signal.
        decision_id: the decision that showed the item.
        position: where in the slate, from 0; -1 for the page as a whole.
        name: which kind of signal, such as "click".
        value: finite; what the signal is worth before its weight.
        time: seconds since the epoch at which the server received it.
    """

    signal_id: str
    decision_id: str
    position: int
    name: str
    value: float
    time: float


class Outcome(NamedTuple):
    """The reward of one shown item, as a policy learns it.

    Attributes:
        decision_id: the decision that showed the item.
        position: where in the slate, from 0; -1 for the page as a whole.
        value: f64, finite.
        num_signals: how many signals it was made of; 0 for the default reward.
    """

    decision_id: str
    position: int
    value: float
    num_signals: int


def _checked_signals(instance: Any, field: Any, value: Any) -> None:
    del instance
    if not isinstance(value, tuple) or not value:
        raise InvalidValue(f"{field.name} must map at least one name of a signal to its weight, got {value!r}.")
    for name, weight in value:
        if not isinstance(name, str) or not name:
            raise InvalidValue(f"{field.name} must have names that are texts, got {name!r}.")
        require_number(f"{field.name}[{name!r}]", weight)


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
        >>> feedback.value([Signal("s1", "d", 0, "click", 1.0, 10.0), Signal("s2", "d", 0, "purchase", 1.0, 60.0)])
        6.0
    """

    window: float = attrs.field(validator=number(above=0))
    default: float | None = attrs.field(default=0.0, validator=attrs.validators.optional(number()))
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

    def value(self, signals: Iterable[Signal]) -> float:
        """Returns the reward that at least one signal of one item makes, whatever their order."""
        ordered = sorted(signals, key=lambda signal: (signal.time, signal.signal_id))
        reward = AGGREGATIONS[self.aggregation]([self.weight(signal.name) * signal.value for signal in ordered])
        return reward if self.cap is None else max(-self.cap, min(self.cap, reward))


AGGREGATIONS: dict[str, Callable[[Sequence[float]], float]] = {
    "sum": math.fsum,
    "mean": lambda worths: math.fsum(worths) / len(worths),
    "median": statistics.median,
    "earliest": lambda worths: worths[0],
    "latest": lambda worths: worths[-1],
    "max": max,
    "min": min,
}
