"""Online ridge regression: what the linear policies know.

The posterior of the weights is N(mean, scale^2 root root^T). The state keeps a square root of the covariance, for three reasons: an update
costs the same as one of the covariance; the covariance cannot lose positive definiteness; and both an upper confidence bound (|root^T x|)
and Thompson sampling (root z) use the root directly, without a factorisation.

Beliefs also add up: beyond the prior, the precision, and the precision times the mean, are sums over rounds. `merge`, `weigh` and
`subtract` go from the root to these sums, add or subtract there, and take a root again, in O(D^3), exact up to rounding.

References:
    Potter's square-root update for a scalar observation: Bierman, Factorization Methods for Discrete Sequential Estimation, 1977, ch. II.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from recsdk import explore
from recsdk.base import Array, Context, Interaction, Rng, Scores
from recsdk.checks import require_number
from recsdk.errors import InvalidValue

TINY = 1e-300
"""Prevents 0 / 0; it is lost beside any other number."""

ROUNDING = 1e-9
"""By rounding, the remainder of a subtraction may be negative by this share of the whole."""


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


def start(policy: Any, prior: Array) -> Ridge:
    """Is the `init` of each policy that has a field `ridge`."""
    return init(prior, policy.ridge)


def estimates(state: Ridge, context: Context) -> Scores:
    """Is the `scores` of each policy that explores without regard to uncertainty."""
    mean = context.features.dot(state.mean)
    return Scores(mean, 0.0 * mean)


def optimistic(policy: Any, state: Any, rng: Rng, context: Context) -> Array:
    """Is the `probs` of each policy that shows the candidate with the highest upper confidence bound, of its `scores`."""
    del rng
    mean, bonus = policy.scores(state, context)
    return explore.greedy(mean + bonus, context.mask)


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


class _Sums(NamedTuple):
    """Sums over interactions, of which a ridge regression is made.

    Attributes:
        gram: f64[D, D], sum_t w_t x_t x_t^T.
        moment: f64[D], sum_t w_t x_t (r_t - x_t.prior).
        total: f64[], sum_t w_t.
    """

    gram: Array
    moment: Array
    total: Array


def merge(a: Ridge, b: Ridge) -> Ridge:
    """Returns the belief of one who has seen the rounds of both; O(D^3).

    Raises:
        InvalidValue: on NumPy, when the two did not start from one prior.
    """
    _require_one_prior(a, b)
    one, other = _sums(a), _sums(b)
    return _solved(_Sums(one.gram + other.gram, one.moment + other.moment, one.total + other.total), a)


def weigh(state: Ridge, weight: float) -> Ridge:
    """Returns the belief with every round at `weight` times its weight, the prior as it is; O(D^3).

    Raises:
        InvalidValue: on NumPy, when `weight` is negative or not finite.
    """
    if isinstance(state.root, np.ndarray):
        require_number("weight", weight, at_least=0)
    sums = _sums(state)
    return _solved(_Sums(weight * sums.gram, weight * sums.moment, weight * sums.total), state)


def subtract(whole: Ridge, part: Ridge) -> Ridge:
    """Returns the belief without the rounds of `part`, which `whole` has seen among others; O(D^3).

    Raises:
        InvalidValue: on NumPy, when the two did not start from one prior, or `part` has rounds that `whole` has not.
    """
    _require_one_prior(whole, part)
    one, other = _sums(whole), _sums(part)
    rest = _Sums(one.gram - other.gram, one.moment - other.moment, one.total - other.total)
    if isinstance(rest.gram, np.ndarray):
        least = float(np.linalg.eigvalsh(rest.gram).min())
        rounding = min(ROUNDING * (float(np.trace(one.gram)) + float(whole.ridge)), float(whole.ridge) / 2)
        if least < -rounding or rest.total < -ROUNDING * (1 + one.total):
            raise InvalidValue(
                f"part must hold only rounds that whole has seen, got one of weight {part.total} for a whole of {whole.total}, "
                f"which leaves {least:.3g} as the least eigenvalue of what must be a sum of squares."
            )
    return _solved(rest, whole)


def _require_one_prior(a: Ridge, b: Ridge) -> None:
    if isinstance(a.root, np.ndarray) and not (np.array_equal(a.prior, b.prior) and a.ridge == b.ridge):
        raise InvalidValue(f"the states must have one prior and ridge, got {a.prior} of {a.ridge} and {b.prior} of {b.ridge}.")


def _sums(state: Ridge) -> _Sums:
    xp = state.root.__array_namespace__()
    half = xp.linalg.inv(state.root)
    precision = half.T @ half
    prior_precision = state.ridge * xp.eye(precision.shape[0], dtype=xp.float64)
    return _Sums(precision - prior_precision, half.T @ (half @ (state.mean - state.prior)), state.total)


def _solved(sums: _Sums, like: Ridge) -> Ridge:
    xp = like.root.__array_namespace__()
    gram, moment, total = sums
    half = xp.linalg.cholesky(gram + like.ridge * xp.eye(gram.shape[0], dtype=xp.float64))
    root = xp.linalg.inv(half).T
    return Ridge(like.prior + root @ (root.T @ moment), root, like.prior, like.ridge, total)
