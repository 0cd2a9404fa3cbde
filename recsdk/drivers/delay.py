"""Rewards that come late: the order of decisions and arrivals, known before the first round, since no delay depends on what was shown."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import attrs
import numpy as np

from recsdk.base import Array
from recsdk.checks import number
from recsdk.errors import InvalidValue


class Delay(Protocol):
    """When rewards arrive."""

    def rounds(self, num_rounds: int, seed: int) -> np.ndarray:
        """Returns i64[T], how many rounds after its decision each reward arrives; 0 is before the next decision."""


@attrs.frozen(kw_only=True)
class GeometricDelay:
    """A reward that has not arrived arrives in each round with the same probability, 1 / (1 + mean).

    Attributes:
        mean: of the delay, in rounds; 0 for none.
    """

    mean: float = attrs.field(validator=number(at_least=0))

    def rounds(self, num_rounds: int, seed: int) -> np.ndarray:
        """See `Delay`."""
        return np.random.default_rng([seed, *b"delay"]).geometric(1 / (1 + self.mean), num_rounds) - 1


class Event(NamedTuple):
    """A decision, or the arrival of a reward; E of them are a schedule.

    Attributes:
        time: i64[E], the round of the decision, also for its reward.
        slot: i64[E], where the interaction waits in between.
        decides: bool[E], true for a decision.
    """

    time: Array
    slot: Array
    decides: Array


class Schedule(NamedTuple):
    """What happens, in order.

    Attributes:
        events: T decisions, and the rewards that arrive by the end of round T - 1; one for a round comes after its decision.
        num_slots: how many interactions wait at most at once.
    """

    events: Event
    num_slots: int


def schedule(delays: Any) -> Schedule:
    """Orders the decisions and arrivals of i64[T] delays; rewards of one round arrive in the order of their decisions.

    Raises:
        InvalidValue: delays that are not whole numbers >= 0.
    """
    if not isinstance(delays, np.ndarray) or delays.ndim != 1 or delays.dtype != np.int64 or (len(delays) and delays.min() < 0):
        raise InvalidValue(f"delay must give int64[T] >= 0, got {delays!r}.")
    rounds = np.arange(len(delays))
    arrives = rounds + delays
    seen = arrives < len(delays)
    time, at = np.concatenate([rounds, rounds[seen]]), np.concatenate([rounds, arrives[seen]])
    decides = np.arange(len(time)) < len(rounds)
    order = np.lexsort((time, ~decides, at))
    time, decides = time[order], decides[order]
    slot, num_slots = _slots(time, decides, seen)
    return Schedule(Event(time, slot, decides), num_slots)


def _slots(time: np.ndarray, decides: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, int]:
    """Gives each interaction a slot from its decision to its arrival, and then to another; at once where it will not be seen."""
    of_round, slots = np.zeros(len(seen), np.int64), np.zeros(len(time), np.int64)
    free: list[int] = []
    num_slots = 0
    for event, (index, is_decision) in enumerate(zip(time.tolist(), decides.tolist(), strict=True)):
        if is_decision:
            if not free:
                free.append(num_slots)
                num_slots += 1
            of_round[index] = free.pop()
        if not (is_decision and seen[index]):
            free.append(int(of_round[index]))
        slots[event] = of_round[index]
    return slots, num_slots
