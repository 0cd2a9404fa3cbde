"""Estimators that weight what was logged by how much likelier the target policy makes it."""

from __future__ import annotations

import numpy as np

from recsdk.ope._rounds import Rounds
from recsdk.ope.shrinkage import Shrink, unshrunk
from recsdk.ope.terms import Terms, average


def importance(rounds: Rounds) -> np.ndarray:
    """Returns f64[T], rho: target probability over propensity; its mean is 1 when the log covers the target and tells true."""
    ratio: np.ndarray = rounds.target / rounds.propensity
    return ratio


def ips(rounds: Rounds, *, shrink: Shrink = unshrunk) -> Terms:
    """Inverse propensity scoring, mean(rho r): unbiased where the log covers the target, and of a variance that grows with the weights.

    It says 0 of a policy that does nothing of what was logged: `evaluate` refuses that.

    Args:
        rounds: from `rounds`.
        shrink: how to make weights smaller, for some bias: `Clip`, `Switch`, `Optimistic`, `SubGaussian`.

    References:
        Horvitz and Thompson, "A generalization of sampling without replacement from a finite universe", JASA, 1952.
    """
    return average(shrink(importance(rounds)) * rounds.reward, rounds.weight)


def snips(rounds: Rounds, *, shrink: Shrink = unshrunk) -> Terms:
    """Self-normalised IPS, sum(rho r) / sum(rho): biased by O(1/T), of less variance.

    It stays within the range of the rewards, and moves along when they shift.

    Args:
        rounds: from `rounds`.
        shrink: as in `ips`.

    References:
        Swaminathan and Joachims, "The self-normalized estimator for counterfactual learning", NIPS, 2015.
    """
    return average(rounds.reward, rounds.weight * shrink(importance(rounds)))
