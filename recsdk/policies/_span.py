"""The range of the rewards so far, which one outlier does not stretch."""

from __future__ import annotations

from typing import Any, NamedTuple

from recsdk.base import Array


class Span(NamedTuple):
    """The scale on which a model sees rewards: 0 is `low`, 1 is `high`, and a reward beyond counts as the end that it passed.

    An end moves out to where two rewards have been: it is the second most extreme reward, so that a single outlier leaves it in place.

    Attributes:
        low: f64[], the second least reward so far, at most 0.
        high: f64[], the second largest reward so far, at least 1.
        least: f64[], the least reward so far, at most 0.
        most: f64[], the largest reward so far, at least 1.
    """

    low: Array
    high: Array
    least: Array
    most: Array


def init(xp: Any) -> Span:
    """Returns the range from 0 to 1 of the array library `xp`."""
    low, least = (xp.zeros((), dtype=xp.float64) for _ in range(2))
    high, most = (xp.ones((), dtype=xp.float64) for _ in range(2))
    return Span(low, high, least, most)


def widen(span: Span, reward: Array, learns: Array) -> Span:
    """Returns the range after one more reward; the same where `learns`, bool[], is false."""
    xp = span.low.__array_namespace__()
    low, high, least, most = span
    low, high = xp.minimum(low, xp.maximum(least, reward)), xp.maximum(high, xp.minimum(most, reward))
    wider = Span(low, high, xp.minimum(least, reward), xp.maximum(most, reward))
    return Span(*(xp.where(learns, new, old) for new, old in zip(wider, span, strict=True)))


def share(span: Span, reward: Array) -> Array:
    """Returns each reward as its place in the range, in [0, 1]."""
    return span.low.__array_namespace__().clip((reward - span.low) / (span.high - span.low), 0.0, 1.0)
