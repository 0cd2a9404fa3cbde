"""Timing contestants side by side, so that a busy machine is unfair to all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple


class Quartiles(NamedTuple):
    """The middle of what was measured."""

    low: float
    median: float
    high: float


def interleave(
    runs: Mapping[str, Callable[[], object]], rounds: int, tick: Callable[[], None], clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Times every run once in every round, each round beginning with the next one, and returns the seconds by name."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for _ in range(rounds):
        for name in names:
            start = clock()
            runs[name]()
            seconds[name].append(clock() - start)
        names.append(names.pop(0))
        tick()
    return seconds


def quartiles(values: Sequence[float]) -> Quartiles:
    """Returns the quartiles of at least two values."""
    return Quartiles(*statistics.quantiles(values, n=4, method="inclusive"))


def ratio(these: Sequence[float], those: Sequence[float]) -> float:
    """Returns the median, over the rounds, of how many times longer one took than the other in the same round."""
    return statistics.median(this / that for this, that in zip(these, those, strict=True))
