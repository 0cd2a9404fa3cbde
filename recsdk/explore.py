"""Exploration rules: pure functions from scores to probabilities, for policies to share.

Each takes f64[K] and bool[K] and returns f64[K] that is zero where the mask is false. Ties share probability, so the order of candidates
does not matter.
"""

from __future__ import annotations

from recsdk.base import Array
from recsdk.errors import InvalidProbs

TIE = 1e-12
"""Scores that differ by less than this, relative to 1 + |best|, tie: the last bits of a matrix product depend on the position of a row."""


def uniform(mask: Array) -> Array:
    """Gives every real candidate of bool[K] the same probability.

    Example:
        >>> import numpy as np
        >>> uniform(np.array([True, True, False]))
        array([0.5, 0.5, 0. ])
    """
    places = mask.astype(float)
    return places / places.dot(places)  # their number: of zeros and ones NumPy takes the squares' sum in half the time of the sum


def greedy(scores: Array, mask: Array) -> Array:
    """Puts all probability on the best candidate; ties share it.

    Example:
        >>> import numpy as np
        >>> greedy(np.array([0.1, 0.7, 0.7]), np.ones(3, bool))
        array([0. , 0.5, 0.5])
    """
    xp = scores.__array_namespace__()
    scores = xp.where(mask, scores, -xp.inf)
    top = scores[scores.argmax()]  # NumPy finds argmax four times faster than max
    return uniform(scores >= top - TIE * (1 + abs(top)))


def votes(scores: Array, mask: Array) -> Array:
    """Returns how often each candidate is the best one over draws of the scores, f64[M, K] -> f64[K].

    A tie within a draw is split. An action drawn from the result is distributed as the argmax of a random draw: with posterior draws it is
    the action of Thompson sampling, and the frequency is its exact probability given the draws.

    Example:
        >>> import numpy as np
        >>> votes(np.array([[0.1, 0.7], [0.9, 0.2], [0.3, 0.8], [0.2, 0.5]]), np.ones(2, bool))
        array([0.25, 0.75])
    """
    xp = scores.__array_namespace__()
    scores = xp.where(mask, scores, -xp.inf)
    top = scores.max(axis=1, keepdims=True)
    best = (scores >= top - TIE * (1 + abs(top))).astype(xp.float64)
    num_best = best.dot(mask.astype(xp.float64))  # in half the time of the sum
    return (1 / num_best).dot(best) / scores.shape[0]


def mix(probs: Array, mask: Array, share: float) -> Array:
    """Gives `share` of the probability to uniform exploration, and the rest to `probs`.

    Raises:
        InvalidProbs: `probs` that is no array of the mask's shape.

    Example:
        >>> import numpy as np
        >>> mix(np.array([1.0, 0.0]), np.ones(2, bool), 0.1)
        array([0.95, 0.05])
    """
    if getattr(probs, "shape", None) != mask.shape:
        raise InvalidProbs(f"probs must be float64{list(mask.shape)}, got {probs!r:.200}.")
    return (1 - share) * probs + share * uniform(mask)


def softmax(scores: Array, mask: Array, temperature: float) -> Array:
    """Returns the Boltzmann distribution, exp(score / temperature) normalised.

    Example:
        >>> import numpy as np
        >>> softmax(np.log([1.0, 3.0]), np.ones(2, bool), 1.0)
        array([0.25, 0.75])
    """
    xp = scores.__array_namespace__()
    scores = xp.where(mask, scores / temperature, -xp.inf)
    weights = xp.exp(scores - scores.max())
    return weights / weights.sum()


def inverse_gap(scores: Array, mask: Array, gamma: Array) -> Array:
    """Gives a candidate the probability 1 / (K + gamma gap), where the gap is its distance from the best score, and the rest to the best.

    Candidates that tie for the best share what is left.

    Args:
        scores: f64[K].
        mask: bool[K]; K in the formula is the number of real candidates.
        gamma: f64[], >= 0: 0 is uniform, larger is greedier.

    Example:
        >>> import numpy as np
        >>> inverse_gap(np.array([1.0, 0.0]), np.ones(2, bool), 3.0)
        array([0.8, 0.2])

    References:
        Foster, Rakhlin, Beyond UCB: Optimal and Efficient Contextual Bandits with Regression Oracles, ICML 2020, algorithm 1; after
        Abe, Long, Associative Reinforcement Learning using Linear Probabilistic Concepts, ICML 1999.
    """
    xp = scores.__array_namespace__()
    masked = xp.where(mask, scores, -xp.inf)
    top = masked[masked.argmax()]
    best = masked >= top - TIE * (1 + abs(top))
    others = mask & ~best
    num = mask.astype(xp.float64).sum()
    shares = xp.where(others, 1 / (num + gamma * xp.where(others, top - scores, 0.0)), 0.0)
    return shares + (1 - shares.sum()) * uniform(best)
