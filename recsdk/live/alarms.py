"""Alarms: the sentences, with their thresholds. What is measured for them stands in `health`, `drift`, `skew` and `tally`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from recsdk.live.drift import Drifted
from recsdk.live.honesty import chance
from recsdk.live.tally import FAR

FEWEST = 100
"""Decisions, draws or events below which no alarm is on."""
LEAST_ITEMS = 1.1
"""Effective number of items below which exploration has collapsed: with two candidates or more, a floor of .05 keeps it above."""
STALLED = 20
"""So many times the usual number of decisions from reward to reward, without one, are a stalled stream."""
MOST_FAILED = 0.01
"""Share of the last decisions that may lack a part."""
MOST_UNKNOWN = 0.05
"""Share of events about decisions that nobody made, or that they do not fit: where all is well there are none but from forged calls."""
MOST_DUPLICATES = 0.5
"""Share of repeated events: below it, each event is told twice at most, as one that is tried again after a time-out."""
MOST_AHEAD = 0.01
"""Share of signals from the future."""


def of_joins(join_rate: float | None, num: int, least: float) -> Iterator[str]:
    """Compares the share of `num` decisions that were answered with the least that it may be."""
    if join_rate is not None and num >= FEWEST and join_rate < least:
        yield f"low join rate: {join_rate:.2%} of {num:,} decisions were answered; the alarm is on below {least:.2%}"


def of_stream(times: Sequence[float], heard: Sequence[float]) -> Iterator[str]:
    """Counts the decisions since the last reward, given the times of all decisions and of all that was heard."""
    if not heard or len(times) < FEWEST:
        return
    came = np.searchsorted(np.sort(times), np.sort(heard), side="right")  # decisions before each
    since, usual = len(times) - int(came[-1]), max(int(came[-1]) / len(heard), 1.0)
    least = max(STALLED * usual, 2 * int(np.diff(came, prepend=0).max()))
    if since > least:
        yield f"reward stream stalled: {since:,} decisions since the last reward; the alarm is on above {least:,.0f}"


def of_exploration(effective_items: float | None, num: int) -> Iterator[str]:
    """Judges the entropy of the last `num` draws."""
    if effective_items is not None and num >= FEWEST and effective_items < LEAST_ITEMS:
        text = f"exploration collapsed: {effective_items:.3f} effective items in the last {num:,} choices"
        yield f"{text}; the alarm is on below {LEAST_ITEMS}"


def of_parts(failed: Mapping[str, int], num: int) -> Iterator[str]:
    """Names the parts without which decisions were made, given how many of the last `num`."""
    for part, times in failed.items():
        if num >= FEWEST and times > MOST_FAILED * num:
            text = f"{part} failed: {times / num:.2%} of the last {num:,} decisions were made without it"
            yield f"{text}; the alarm is on above {MOST_FAILED:.0%}"


def of_floor(at_floor: Sequence[tuple[bool, float]]) -> Iterator[str]:
    """Compares how often items were drawn that had only the floor's share with how often they should have been.

    Args:
        at_floor: for each draw, whether it was of such an item, and how probable that was by the logged probabilities.
    """
    if len(at_floor) < FEWEST:
        return
    found, expected = np.array(at_floor, float).T
    allowed = chance(float((expected * (1 - expected)).sum()), 1.0)
    if abs(found.sum() - expected.sum()) > allowed:
        text = f"floor hits: {found.sum():,.0f} of {len(found):,} drawn items had only the floor's share, of {expected.sum():,.1f} expected"
        yield f"{text}; the alarm is on beyond +- {allowed:,.1f}"


def of_clocks(times: Sequence[float], last_event: float, now: float) -> Iterator[str]:
    """Compares the times of a folder with each other, and with this machine's.

    Args:
        times: of the last decisions, in their order.
        last_event: the latest time in the folder.
        now: seconds since the epoch, by this machine's clock.
    """
    if last_event > now + FAR:
        yield f"clock far off: the last event is {last_event - now:,.0f} s ahead of this machine's clock; the alarm is on above {FAR:g}"
    back = max(-np.diff(times), default=0.0)
    if back > FAR:
        yield f"clock set back: a decision is {back:,.0f} s older than the one before it; the alarm is on above {FAR:g}"


def of_drift(found: Mapping[str, Drifted]) -> Iterator[str]:
    """Names the features that are no longer as they were."""
    for name, one in found.items():
        if one.is_on:
            yield f"feature drift: {name} has a population stability index of {one.psi:.2f}; the alarm is on above {one.most:.2f}"


def of_events(counts: Mapping[str, int]) -> Iterator[str]:
    """Judges what became of the last events, as `tally` counts them."""
    num = sum(counts.values()) - counts.get("ahead", 0)
    if num < FEWEST:
        return
    limits = {
        "unknown": (MOST_UNKNOWN, "unknown ids", "were about no decision"),
        "duplicate": (MOST_DUPLICATES, "duplicates", "had been told before"),
        "ahead": (MOST_AHEAD, "clock far off", f"happened over {FAR:g} s in the future, by the application's clock"),
    }
    for name, (most, title, what) in limits.items():
        share = counts.get(name, 0) / num
        if share > most:
            yield f"{title}: {share:.1%} of the last {num:,} events {what}; the alarm is on above {most:.0%}"


def of_skew(num_same: int, different: Mapping[str, str]) -> Iterator[str]:
    """Tells of decisions that do not come out as they were, given what differs in each."""
    if different:
        num, (name, what) = len(different), next(iter(different.items()))
        text = f"train/serve skew: {num:,} of {num_same + num:,} decisions come out otherwise when they are made again"
        yield f"{text}, the first {name!r} in its {what}; the alarm is on above 0"
