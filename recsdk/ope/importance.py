"""Estimators that weight what was logged by how much likelier the target policy makes it."""

from __future__ import annotations

import numpy as np

from recsdk.errors import InsufficientOverlap
from recsdk.ope.estimate import Estimate, weighted_mean
from recsdk.ope.rounds import Rounds


def importance(rounds: Rounds) -> np.ndarray:
    """Returns f64[T], target probability over propensity; its mean is 1 when the log covers the target and tells true.

    Raises:
        InsufficientOverlap: when it is 0 everywhere, so that IPS would say 0.0 of a policy about which it knows nothing.
    """
    weights: np.ndarray = rounds.target / rounds.propensity
    if not (weights * rounds.weight).any():
        raise InsufficientOverlap(f"None of {len(weights)} rounds has an action that the target policy could have taken.")
    return weights


def ips(rounds: Rounds, *, level: float = 0.95) -> Estimate:
    """Inverse propensity scoring: unbiased where the log covers the target, and of a variance that grows with the weights.

    References:
        Horvitz and Thompson, "A generalization of sampling without replacement from a finite universe", JASA, 1952.
    """
    return weighted_mean(importance(rounds) * rounds.reward, rounds.weight, level=level)


def snips(rounds: Rounds, *, level: float = 0.95) -> Estimate:
    """Self-normalised IPS: biased by O(1/T), of less variance, within the range of the rewards, moved along when they shift.

    References:
        Swaminathan and Joachims, "The self-normalized estimator for counterfactual learning", NIPS, 2015.
    """
    return weighted_mean(rounds.reward, rounds.weight * importance(rounds), level=level)
