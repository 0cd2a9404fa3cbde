"""From scores to probabilities: pure functions of arrays, shared by policies.

Each takes f64[K] and bool[K] and returns f64[K] that is zero where the mask is false. Ties share, so the order of candidates is moot.
"""

from __future__ import annotations

from recsdk.base import Array

TIE = 1e-12
"""Scores closer than this, relative to 1 + |best|, tie: the last bits of a matrix product depend on where a row stands in it."""


def uniform(mask: Array) -> Array:
    """Spreads the mass evenly over the true places of bool[K]."""
    places = mask.astype(float)
    return places / places.dot(places)  # their number: of zeros and ones NumPy takes the squares' sum in half the time of the sum


def greedy(scores: Array, mask: Array) -> Array:
    """Puts all mass on the best candidate; ties share it."""
    xp = scores.__array_namespace__()
    scores = xp.where(mask, scores, -xp.inf)
    top = scores[scores.argmax()]  # NumPy finds argmax four times faster than max
    return uniform(scores >= top - TIE * (1 + abs(top)))


def votes(scores: Array, mask: Array) -> Array:
    """Returns how often each candidate is best over draws of the scores, f64[M, K] -> f64[K].

    A tie within a draw is split. An action drawn from the result is distributed as one chosen by a random draw's argmax: with posterior
    draws, it is Thompson's action, and the frequency is its exact probability given the draws.
    """
    xp = scores.__array_namespace__()
    scores = xp.where(mask, scores, -xp.inf)
    top = scores.max(axis=1, keepdims=True)
    best = (scores >= top - TIE * (1 + abs(top))).astype(xp.float64)
    num_best = best.dot(mask.astype(xp.float64))  # in half the time of the sum
    return (1 / num_best).dot(best) / scores.shape[0]


def mix(probs: Array, mask: Array, share: float) -> Array:
    """Gives `share` of the mass to uniform exploration."""
    return (1 - share) * probs + share * uniform(mask)


def softmax(scores: Array, mask: Array, temperature: float) -> Array:
    """Returns the Boltzmann distribution, exp(score / temperature) normalised."""
    xp = scores.__array_namespace__()
    scores = xp.where(mask, scores / temperature, -xp.inf)
    weights = xp.exp(scores - scores.max())
    return weights / weights.sum()


def inverse_gap(scores: Array, mask: Array, gamma: Array) -> Array:
    """Gives a candidate 1 / (K + gamma gap) of the mass, K of them, and the rest to the best, whose gap is 0; ties share it.

    Args:
        scores: f64[K].
        mask: bool[K].
        gamma: f64[], >= 0: 0 is uniform, larger is greedier.

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
