"""Estimators with a reward model: alone, and corrected by what was logged."""

from __future__ import annotations

import numpy as np

from recsdk.ope._importance import importance
from recsdk.ope._rounds import Rounds, need
from recsdk.ope.shrinkage import Shrink, unshrunk
from recsdk.ope.terms import Terms, add, average


def dm(rounds: Rounds) -> Terms:
    """The direct method, mean(sum_a pi(a) q(a)): what the reward model expects of the target policy.

    An interval of it is that of the average over contexts. It knows nothing of the model's own error, which no number of rounds
    removes: DM is here to be compared with DR, not to be believed alone.
    """
    return average(_expected(rounds, "dm"), rounds.weight)


def dr(rounds: Rounds, *, shrink: Shrink = unshrunk) -> Terms:
    """Doubly robust, mean(sum_a pi(a) q(a) + rho (r - q)): the direct method plus the weighted error of its model on what was logged.

    Unbiased with true propensities whatever the model says of rounds it has not seen; a good model takes the variance away. With
    `Switch` it is Switch-DR, with `Optimistic` DRos; with a model fitted for it, `more_robust`, it is MRDR.

    Args:
        rounds: from `rounds`, with the target's whole distribution and q_hat.
        shrink: how to make weights smaller, for some bias.

    References:
        Dudik, Langford, Li, "Doubly robust policy evaluation and learning", ICML, 2011.
    """
    return average(_expected(rounds, "dr") + shrink(importance(rounds)) * _residual(rounds, "dr"), rounds.weight)


def sndr(rounds: Rounds, *, shrink: Shrink = unshrunk) -> Terms:
    """Self-normalised DR, mean(sum_a pi(a) q(a)) + sum(rho (r - q)) / sum(rho): of less variance where weights are large.

    Args:
        rounds: as in `dr`.
        shrink: as in `dr`.

    References:
        Thomas, Brunskill, "Data-efficient off-policy policy evaluation for reinforcement learning", ICML, 2016: their weighted doubly
        robust estimator, for one step.
    """
    correction = average(_residual(rounds, "sndr"), rounds.weight * shrink(importance(rounds)))
    return add(average(_expected(rounds, "sndr"), rounds.weight), correction)


def _expected(rounds: Rounds, estimator: str) -> np.ndarray:
    """Returns f64[T], what the model expects of the target policy."""
    probs = need("the target's whole distribution, float64[T, K]", rounds.probs, estimator)
    expected: np.ndarray = np.vecdot(probs, need("q_hat", rounds.q_hat, estimator))
    return expected


def _residual(rounds: Rounds, estimator: str) -> np.ndarray:
    """Returns f64[T], by how much what was logged is above what the model expected."""
    q_hat = need("q_hat", rounds.q_hat, estimator)
    residual: np.ndarray = rounds.reward - q_hat.take(np.arange(0, q_hat.size, q_hat.shape[1]) + rounds.action)
    return residual
