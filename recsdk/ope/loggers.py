"""Logs that several policies wrote.

Each row's own propensity gives unbiased estimates. These functions reduce their variance where some of the logging policies are far from
the target.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from recsdk.errors import InvalidLog, InvalidPropensity
from recsdk.ope.checked import Rounds, take
from recsdk.ope.terms import Terms, influence
from recsdk.ope.weighting import ips


def balanced(rounds: Rounds, *, logger: Any, chances: Any) -> Rounds:
    """Replaces propensities by those of the mixture of logging policies, sum_l (n_l / n) p_l(a): unbiased, and never of higher variance.

    Args:
        rounds: from `rounds`.
        logger: i64[T], the number of the policy that wrote each row, from 0.
        chances: f64[T, L], each logger's probability of the logged action; the writer's own is the propensity.

    Returns:
        Rounds for any estimator.

    Raises:
        InvalidLog: a bad `logger`.
        InvalidPropensity: `chances` that are no probabilities, or do not agree with the log.

    Example:
        >>> from recsdk.datasets import log_from_frame
        >>> from recsdk.ope import rounds
        >>> log = log_from_frame({"action": [0, 1, 1, 0], "reward": [1.0, 0.0, 1.0, 0.0], "propensity": [0.5] * 4})
        >>> beside = rounds(log, [[0.25, 0.75]] * 4, q_hat=[[0.5, 0.5]] * 4)
        >>> chances = np.array([[0.5, 0.9]] * 4)  # of the logged action, by either logger
        >>> balanced(beside, logger=np.zeros(4, np.int64), chances=chances).propensity
        array([0.5, 0.5, 0.5, 0.5])

    References:
        Agarwal, Basu, Schnabel, Joachims, "Effective evaluation using logged bandit feedback from multiple loggers", KDD, 2017:
        balanced IPS.
    """
    chances = np.asarray(chances, np.float64)
    logger = _checked(logger, rounds)
    rows = np.arange(len(logger))
    if chances.ndim != 2 or len(chances) != len(logger) or logger.max() >= chances.shape[1]:
        raise InvalidPropensity(f"chances must be float64[{len(logger)}, {logger.max() + 1}], got {list(chances.shape)}.")
    bad = ~((chances >= 0) & (chances <= 1)).all(1) | ~np.isclose(chances[rows, logger], rounds.propensity, rtol=1e-6, atol=0)
    if bad.any():
        row = int(bad.argmax())
        raise InvalidPropensity(
            f"chances[{row}] must be in [0, 1], with the row's propensity {rounds.propensity[row]:.6g} at its logger {logger[row]}, "
            f"got {chances[row]}."
        )
    shares = np.bincount(logger, weights=rounds.weight, minlength=chances.shape[1]) / rounds.weight.sum()
    return rounds._replace(propensity=chances @ shares)


def weighted(rounds: Rounds, *, logger: Any, estimator: Callable[[Rounds], Terms] = ips) -> Rounds:
    """Weights the rounds of each logging policy by the precision, 1 / variance, of the estimate from its rounds alone.

    It needs no probabilities of the other policies. The variances are estimated on the same rounds. This biases the value a little towards
    policies whose rounds happened to have few rewards; with fewer than about 100 rounds of a policy use `balanced`.

    Args:
        rounds: from `rounds`.
        logger: i64[T], the number of the policy that wrote each row, from 0.
        estimator: the estimator that will use these rounds.

    Returns:
        Rounds for `estimator`, with other weights.

    Raises:
        InvalidLog: a bad `logger`, or one whose rounds show no variance.

    Example:
        >>> from recsdk.datasets import log_from_frame
        >>> from recsdk.ope import rounds
        >>> log = log_from_frame({"action": [0, 1, 1, 0], "reward": [1.0, 0.0, 1.0, 0.0], "propensity": [0.5] * 4})
        >>> beside = rounds(log, [[0.25, 0.75]] * 4, q_hat=[[0.5, 0.5]] * 4)
        >>> beside = beside._replace(reward=np.array([1.0, 0.0, 0.0, 0.5]))
        >>> weighted(beside, logger=np.array([0, 0, 1, 1])).weight.sum().round(9)
        np.float64(4.0)

    References:
        Agarwal, Basu, Schnabel, Joachims, "Effective evaluation using logged bandit feedback from multiple loggers", KDD, 2017:
        weighted IPS.
    """
    logger = _checked(logger, rounds)
    weight = np.zeros_like(rounds.weight)
    for number in np.unique(logger):
        own = logger == number
        part = take(rounds, own)
        variance = float((influence(estimator(part)) ** 2).sum())  # of this logger's estimate; an infinite one weighs nothing
        if not variance > 0:
            raise InvalidLog(f"logger {number} must have rounds whose terms differ, got {int(own.sum())} of no variance. Use balanced.")
        weight[own] = part.weight / (part.weight.sum() * variance)
    return rounds._replace(weight=weight / weight.sum() * rounds.weight.sum())


def _checked(given: Any, rounds: Rounds) -> np.ndarray:
    logger: np.ndarray = np.asarray(given)
    if logger.shape != rounds.action.shape or logger.dtype != np.int64 or logger.min() < 0:
        raise InvalidLog(f"logger must be int64[{len(rounds.action)}] >= 0, got {logger.dtype}{list(logger.shape)}.")
    return logger
