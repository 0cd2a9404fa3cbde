"""Tests of logged propensities that hold for policies that learn, and for logs of any size.

If propensities are true, the ratio 1[item was taken] / propensity has expectation 1 in every round, whatever happened before. So no
bet on the ratio wins on average, and a large fortune is evidence of false propensities: it reaches 1 / p by chance with probability p at
most. A normal test of the mean ratio has no such guarantee: a rarely taken item has almost no observed variance when it was not taken.

References:
    Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS B, 2024.
    Waudby-Smith, Wu, Ramdas, Karampatziakis and Mineiro, "Anytime-valid off-policy inference for contextual bandits", ACM/IMS JDS, 2024.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

STAKES = 0.5 * 0.25 ** np.arange(8)
"""Shares of the fortune that are bet in each round, on ratios above 1 and as many on ratios below. The fortune is split among them."""
NUM_BETS = 2 * len(STAKES)
GROUP, LARGEST = 16, 1e15
"""The number of factors that are multiplied before the logarithm is taken, and the ratio up to which this cannot overflow."""
SLACK = 2.0
"""Bets on ratios below 1 allow for unseen ratios up to this many times the largest seen; larger ones are a lack of exploration."""


def log_factors(ratio: np.ndarray) -> np.ndarray:
    """Returns f64[NUM_BETS, T], the logarithm of what each bet multiplies its fortune by; of f64[T] ratios.

    A bet that loses everything has -inf.
    """
    gain = np.multiply.outer(np.concatenate([STAKES, -STAKES]), ratio - 1)
    with np.errstate(divide="ignore"):
        factors: np.ndarray = np.log1p(np.maximum(gain, -1.0))
    return factors


def total_log_factors(ratio: np.ndarray) -> np.ndarray:
    """Returns f64[NUM_BETS], the sum of `log_factors` over rounds, computed with fewer logarithms and equal within rounding."""
    if not ratio.size or ratio.max() > LARGEST:
        one_by_one: np.ndarray = log_factors(ratio).sum(1)
        return one_by_one
    padded = np.ones(-(-len(ratio) // GROUP) * GROUP)  # a ratio of 1 wins nothing
    padded[: len(ratio)] = ratio
    total: np.ndarray = _log_products(padded.reshape(GROUP, -1)).sum(1)
    return total


def log_factors_by(place: np.ndarray, ratio: np.ndarray, num_places: int) -> np.ndarray:
    """Returns f64[NUM_BETS, N], sums of `log_factors` over the rounds of each place, computed with fewer logarithms.

    Args:
        place: i64[T], in [0, N).
        ratio: f64[T].
        num_places: N.
    """
    if not ratio.size or ratio.max() > LARGEST or len(ratio) < GROUP * num_places:
        return np.stack([np.bincount(place, column, num_places) for column in log_factors(ratio)])
    order = np.argsort(place.astype(np.uint16) if num_places <= 2**16 else place, kind="stable")  # of two bytes: in one pass
    counts = np.bincount(place, minlength=num_places)
    groups = -(-counts // GROUP)
    ends, starts = groups.cumsum() * GROUP, counts.cumsum() - counts
    padded = np.ones(ends[-1])
    padded[np.arange(len(ratio)) + np.repeat(ends - groups * GROUP - starts, counts)] = ratio[order]
    products = _log_products(np.ascontiguousarray(padded.reshape(-1, GROUP).T))
    of_group = np.repeat(np.arange(num_places), groups)
    return np.stack([np.bincount(of_group, column, num_places) for column in products])


def _log_products(ratio: np.ndarray) -> np.ndarray:
    """Returns f64[NUM_BETS, G], the logarithms of the products of the factors of f64[GROUP, G] ratios."""
    found, factors = np.empty((NUM_BETS, ratio.shape[1])), np.empty_like(ratio)
    largest = ratio.max(initial=0.0)
    for bet, stake in enumerate((*STAKES, *-STAKES)):
        np.multiply(ratio, stake, out=factors)
        factors += 1 - stake
        if stake * (largest - 1) < -1:  # else none is negative
            np.maximum(factors, 0.0, out=factors)
        size = GROUP
        while size > 1:  # in halves: a product along an axis takes half as long again
            size //= 2
            factors[:size] *= factors[size : 2 * size]
        found[bet] = factors[0]
    with np.errstate(divide="ignore"):
        return np.log(found, out=found)


NOT_TAKEN = log_factors(np.zeros(1))[:, 0]
"""f64[NUM_BETS], the same for an item that was not taken."""


def log_fortune(log_wealth: np.ndarray, largest: float) -> np.ndarray:
    """Returns f64[...], the logarithm of the fortune over all bets.

    Args:
        log_wealth: f64[..., NUM_BETS], sums of `log_factors` over rounds.
        largest: ratio in the log.
    """
    fair = np.concatenate([np.ones(len(STAKES), np.bool_), STAKES * (SLACK * largest - 1) <= 1])
    counted = np.where(fair, log_wealth, -np.inf)
    best = counted.max(-1)
    finite = np.where(np.isfinite(best), best, 0.0)
    with np.errstate(over="ignore", divide="ignore"):
        total: np.ndarray = finite + np.log(np.exp(counted - finite[..., None]).mean(-1))
    return total


def z_score(log_wealth: np.ndarray, largest: float, num_tests: int = 1) -> float:
    """Returns the z of a normal test that is as unlikely by chance as this fortune; negative for ratios below 1.

    Args:
        log_wealth: f64[NUM_BETS], sums of `log_factors` over rounds.
        largest: ratio in the log.
        num_tests: number of tests of which this is the most extreme.
    """
    surprise = float(log_fortune(log_wealth, largest)) - math.log(num_tests)
    above, below = np.split(log_wealth, 2)
    return math.copysign(_normal_quantile(surprise), above.max() - below.max()) if surprise > 0 else 0.0


def _normal_quantile(surprise: float) -> float:
    """Returns the z that a normal variable exceeds in absolute value with probability exp(-surprise)."""
    if surprise < 600:
        return -NormalDist().inv_cdf(math.exp(-surprise) / 2)
    return math.sqrt(2 * surprise - math.log(math.pi * surprise))  # the tail's leading terms
