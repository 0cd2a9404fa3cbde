"""Online ridge regression in square-root form: what the linear policies know.

The posterior of the weights is N(mean, scale^2 root root^T). Keeping a square root of the covariance, and not the covariance, costs the
same per update, can by construction not lose positive definiteness, and gives both what an upper confidence bound needs (|root^T x|) and
what Thompson sampling needs (root z) without a factorisation.

References:
    Potter's square-root update for a scalar observation: Bierman, Factorization Methods for Discrete Sequential Estimation, 1977, ch. II.
"""

from __future__ import annotations

from typing import NamedTuple

from recsdk.base import Array, Interaction

TINY = 1e-300
"""Keeps 0 / 0 from being asked for, and is lost beside anything else."""


class Ridge(NamedTuple):
    """Posterior of a linear reward model.

    Attributes:
        mean: f64[D], the weights' posterior mean: the ridge solution shrunk to the prior.
        root: f64[D, D], R with R R^T = (ridge I + sum_t w_t x_t x_t^T)^-1.
        prior: f64[D], what the weights were believed to be before any data.
        ridge: f64[], weight of the prior.
        total: f64[], sum of the weights w_t learned.
    """

    mean: Array
    root: Array
    prior: Array
    ridge: Array
    total: Array


def init(prior: Array, ridge: float) -> Ridge:
    """Returns the belief before any data: N(prior, I / ridge)."""
    xp = prior.__array_namespace__()
    root = xp.eye(prior.shape[0], dtype=xp.float64) * ridge**-0.5
    return Ridge(prior * 1.0, root, prior * 1.0, xp.ones((), dtype=xp.float64) * ridge, xp.zeros((), dtype=xp.float64))


def widths(state: Ridge, features: Array) -> Array:
    """Returns f64[K], the posterior standard deviation of each candidate's mean reward, in units of the noise."""
    xp = features.__array_namespace__()
    spread = features.dot(state.root)  # on small arrays NumPy calls `dot` in half the time of `@`
    return xp.sqrt(xp.vecdot(spread, spread))


def update(state: Ridge, interaction: Interaction) -> Ridge:
    """Conditions the belief on one observed reward; O(D^2)."""
    context, action, reward, _, weight = interaction
    mean, root, prior, ridge, total = state
    x = context.features[action]
    mean, root = condition(mean, root, x.dot(root), weight * (reward - x.dot(mean)), weight)
    return Ridge(mean, root, prior, ridge, total + weight)


def condition(mean: Array, root: Array, direction: Array, pull: Array, weight: Array) -> tuple[Array, Array]:
    """Adds `weight` x x^T to the precision by Potter's update.

    Args:
        mean: f64[D].
        root: f64[D, D].
        direction: f64[D], root^T x.
        pull: f64[], `weight` times how far the observation lies above x.mean.
        weight: f64[]; 0 changes nothing, not a bit.

    Returns:
        The new mean and root.
    """
    gain = root.dot(direction)
    return _moved(mean, root, gain, direction, pull, weight, 1 + weight * direction.dot(direction))


def _moved(mean: Array, root: Array, gain: Array, direction: Array, pull: Array, weight: Array, ratio: Array) -> tuple[Array, Array]:
    shrink = 1 / ratio
    step = (weight * shrink / (1 + shrink**0.5)) * gain
    return mean + (pull * shrink) * gain, root - step[:, None].dot(direction[None, :])  # NumPy: half the time of `*`, the same bits


def forget(state: Ridge, interaction: Interaction) -> Ridge:
    """Takes one round out of the belief again; O(D^2).

    Each call costs digits, the more the less is left in the round's direction: after many, start again from the rounds that remain.
    """
    context, action, reward, _, weight = interaction
    mean, root, prior, ridge, total = state
    x = context.features[action]
    direction = x.dot(root)
    gain = root.dot(direction)
    known = direction.dot(direction)
    # No variance exceeds the prior's, 1 / ridge: rounding must not make it so where the round was nearly all that was known.
    least = ridge * gain.dot(gain) / (known + TINY)
    ratio = x.__array_namespace__().maximum(1 - weight * known, least)
    mean, root = _moved(mean, root, gain, direction, -weight * (reward - x.dot(mean)), -weight, ratio)
    return Ridge(mean, root, prior, ridge, total - weight)


def fade(state: Ridge, keep: Array, turn: Array) -> Ridge:
    """Discounts what was learned by `keep` in (0, 1]; O(D^2).

    A discount takes from the prior too. One coordinate a call is given back what all of them lose, so the calls must take turns: over D
    calls the prior keeps its weight on average, and within D (1 - keep) of it, relative, at any time. To give all of it back in every call
    would be exact, but takes a factorisation, O(D^3), and the loss of half the digits.
    """
    mean, root, prior, ridge, total = state
    root = root / keep**0.5
    weight = mean.shape[0] * (1 - keep) * ridge
    mean, root = condition(mean, root, root[turn], weight * (prior[turn] - mean[turn]), weight)
    return Ridge(mean, root, prior, ridge, keep * total)
