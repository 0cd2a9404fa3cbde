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


class Ridge(NamedTuple):
    """Posterior of a linear reward model.

    Attributes:
        mean: f64[D], the weights' posterior mean: the ridge solution shrunk to the prior.
        root: f64[D, D], R with R R^T = (ridge I + sum_t w_t x_t x_t^T)^-1.
    """

    mean: Array
    root: Array


def init(prior: Array, ridge: float) -> Ridge:
    """Returns the belief before any data: N(prior, I / ridge)."""
    xp = prior.__array_namespace__()
    return Ridge(prior * 1.0, xp.eye(prior.shape[0], dtype=xp.float64) * ridge**-0.5)


def widths(state: Ridge, features: Array) -> Array:
    """Returns f64[K], the posterior standard deviation of each candidate's mean reward, in units of the noise."""
    xp = features.__array_namespace__()
    spread = features @ state.root
    return xp.sqrt(xp.vecdot(spread, spread))


def update(state: Ridge, interaction: Interaction) -> Ridge:
    """Conditions the belief on one observed reward; O(D^2)."""
    context, action, reward, _, weight = interaction
    mean, root = state
    x = context.features[action]
    direction = x @ root
    shrink = 1 / (1 + weight * (direction @ direction))
    gain = root @ direction
    step = (weight * shrink / (1 + shrink**0.5)) * gain
    return Ridge(mean + (weight * shrink * (reward - x @ mean)) * gain, root - step[:, None] * direction[None, :])
