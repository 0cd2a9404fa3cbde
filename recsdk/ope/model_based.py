"""Estimators with a reward model: alone, and corrected by what was logged."""

from __future__ import annotations

import numpy as np

from recsdk.ope._importance import importance
from recsdk.ope._rounds import Rounds, need
from recsdk.ope.terms import Terms, average


def dm(rounds: Rounds) -> Terms:
    """The direct method: what the reward model expects of the target policy.

    The interval is that of the average over contexts. It knows nothing of the model's own error, which no number of rounds
    removes: DM is here to be compared with DR, not to be believed alone.
    """
    return average(_expected(rounds, "dm"), rounds.weight)


def dr(rounds: Rounds) -> Terms:
    """Doubly robust: the direct method plus the importance-weighted error of its model on what was logged.

    Unbiased with true propensities whatever the model says of rounds it has not seen; a good model takes the variance away.

    References:
        Dudik, Langford and Li, "Doubly robust policy evaluation and learning", ICML, 2011.
    """
    expected = _expected(rounds, "dr")
    predicted = need("q_hat", rounds.q_hat, "dr")[np.arange(len(rounds.action)), rounds.action]
    return average(expected + importance(rounds) * (rounds.reward - predicted), rounds.weight)


def _expected(rounds: Rounds, estimator: str) -> np.ndarray:
    probs = need("the target's whole distribution, float64[T, K]", rounds.probs, estimator)
    expected: np.ndarray = (probs * need("q_hat", rounds.q_hat, estimator)).sum(1)
    return expected
