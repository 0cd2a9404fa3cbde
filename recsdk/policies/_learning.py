"""How the linear policies learn: by `_ridge.update`, or by its compiled loop where there is one. Live and in a fold by the same."""

from __future__ import annotations

from typing import Any

import numpy as np

from recsdk import fast
from recsdk.base import Array, Interaction, rounds
from recsdk.policies import _ridge
from recsdk.policies._ridge import Ridge

LOOPS = "recsdk.policies._ridge_loops"


def start(policy: Any, prior: Array) -> Ridge:
    """Is the `init` of each linear policy."""
    state = _ridge.start(policy, prior)
    if loops := fast.kernels(policy, prior):
        nothing = np.zeros(0)
        _learned(loops, state, np.zeros((0, len(prior))), nothing, nothing)  # compiles, so that no request waits for it
    return state


def update(policy: Any, state: Ridge, interaction: Interaction) -> Ridge:
    """Is the `update` of each linear policy."""
    context, action, reward, _, weight = interaction
    x = context.features[action]
    loops = fast.kernels(policy, x)
    if loops is None or not _fits(state, x.shape[0]):
        return _ridge.update(state, interaction)
    return _learned(loops, state, np.array(x[None], np.float64), np.array([reward], np.float64), np.array([weight], np.float64))


def fold(policy: Any, state: Ridge, log: Interaction) -> Ridge:
    """Is the `fold` of each linear policy; see `recsdk.base.Folds`."""
    (features, _, _), action, reward, _, weight = log
    loops = fast.kernels(policy, features)
    if loops is None or not _fits(state, features.shape[2]):
        for interaction in rounds(log):
            state = _ridge.update(state, interaction)
        return state
    x = features[np.arange(len(action)), action]
    return _learned(loops, state, np.asarray(x, np.float64), np.array(reward, np.float64), np.array(weight, np.float64))


def _fits(state: Ridge, dim: int) -> bool:
    """Tells whether the loop may write into a state; NumPy refuses one of another length."""
    return isinstance(state.root, np.ndarray) and state.mean.shape == (dim,) and state.root.shape == (dim, dim)


def _learned(loops: Any, state: Ridge, x: np.ndarray, reward: np.ndarray, weight: np.ndarray) -> Ridge:
    """Learns x f64[T, D] by the loop; the arrays of `state` stay as they are."""
    mean, root = np.array(state.mean, np.float64), np.array(state.root, np.float64, order="C")
    total = loops.learn(mean, root, float(state.total), x, reward, weight)
    return Ridge(mean, root, state.prior, state.ridge, np.float64(total))
