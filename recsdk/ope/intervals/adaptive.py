"""Intervals for the log of a logger that learned: rounds weighted so that each says equally much, as far as it was known beforehand."""

from __future__ import annotations

import numpy as np

from recsdk.errors import InvalidValue
from recsdk.ope.terms import Estimate, Terms, delta


def adaptively_weighted(terms: Terms, variance: np.ndarray, *, level: float = 0.95) -> Estimate:
    """Weights each round by one over the standard deviation that was to be expected of it, and takes the delta method of that.

    While a logger learns, it may take an action less and less: the few rounds that still have it get weights that grow, and a plain
    average of them is neither normal nor of a known variance. These weights give each round the same variance, so that it is. Use it with
    `dr` before `ips`, and with a floor: of two arms of which the worse is evaluated, 95 % covered 95 % at a floor of .05, 90 % at .005.

    Args:
        terms: from an estimator, in the order of time.
        variance: f64[T], > 0, each round's variance given the rounds before it, up to a factor: `trailing_variance`. It may depend on
            nothing of the round itself.
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
    """Averages the rounds before each, so that a round's weight is known before it.

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
