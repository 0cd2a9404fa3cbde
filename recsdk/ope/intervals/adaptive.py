"""Intervals for the log of a policy that learned: rounds are weighted so that all have the same expected variance."""

from __future__ import annotations

import numpy as np

from recsdk.errors import InvalidValue
from recsdk.ope.terms import Estimate, Terms, delta


def adaptively_weighted(terms: Terms, variance: np.ndarray, *, level: float = 0.95) -> Estimate:
    """Weights each round by 1 over its expected standard deviation, and returns the delta method's interval of the weighted mean.

    A logging policy that learns may take an action ever more rarely. The rounds that still have it get growing weights, and their plain
    average is not normal. These weights give each round the same variance, which makes the average normal. Prefer `dr` to `ips`, and log
    with a floor: for the worse of two actions, 95 % intervals covered 95 % at a floor of 0.05, and 90 % at 0.005.

    Args:
        terms: from an estimator, in the order of time.
        variance: f64[T], > 0, each round's variance given the rounds before it, up to a factor: `trailing_variance`. It must not
            depend on the round itself.
        level: nominal coverage of the interval. It is asymptotic.

    Raises:
        InsufficientOverlap: when no round has weight.
        InvalidValue: `level` outside (0, 1), or a `variance` that is not finite and > 0, by its row.

    Example:
        >>> from recsdk.ope import average
        >>> terms = average(np.array([0.0, 1.0] * 50), np.ones(100))
        >>> adaptively_weighted(terms, np.linspace(1, 4, 100)).value.__round__(2)
        0.5

    References:
        Hadad, Hirshberg, Zhan, Wager and Athey, "Confidence intervals for policy evaluation in adaptive experiments", PNAS, 2021.
        Zhan, Hadad, Hirshberg and Athey, "Off-policy evaluation via adaptive weighting with data from contextual bandits", KDD, 2021.
        Bibaut, Chambaz, Dimakopoulou, Kallus and van der Laan, "Post-contextual-bandit inference", NeurIPS, 2021.
    """
    bad = ~((variance > 0) & (variance < np.inf))
    if variance.shape != (len(terms.numerator),):
        raise InvalidValue(f"variance must be float64[{len(terms.numerator)}], one for each round, got {list(variance.shape)}.")
    if bad.any():
        row = int(bad.argmax())
        raise InvalidValue(f"variance[{row}] must be finite and > 0, got {variance[row]}.")
    share = 1 / np.sqrt(variance)[:, None]
    return delta(Terms(terms.numerator * share, terms.denominator * share), level=level)


def trailing_variance(spread: np.ndarray, *, window: int = 1) -> np.ndarray:
    """Averages the spread of the rounds before each round, so that the weight does not depend on the round itself.

    Args:
        spread: f64[T], > 0, in the order of time: the sum over actions of pi^2 / e, where pi is the target's distribution and e the
            logger's whole one. The square of importance, which is this in the mean, is too uneven to take its place.
        window: rounds to average over. One is enough where contexts are alike; more where they differ, fewer where the logger learns fast.

    Returns:
        f64[T]; the first round has the second's, since nothing comes before it.

    Raises:
        InvalidValue: `window` below 1, or `spread` of fewer than two rounds.

    Example:
        >>> trailing_variance(np.array([1.0, 2.0, 4.0]))
        array([1., 1., 2.])
    """
    if window < 1 or len(spread) < 2:
        raise InvalidValue(f"window must be >= 1 and spread have 2 rounds or more, got window {window} and {len(spread)} rounds.")
    sums = np.concatenate([[0.0], spread.cumsum()])
    end = np.maximum(np.arange(len(spread)), 1)
    start = np.maximum(end - window, 0)
    means: np.ndarray = (sums[end] - sums[start]) / (end - start)
    return means
