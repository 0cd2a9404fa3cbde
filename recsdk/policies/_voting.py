"""How `LinTS` counts its votes where there is a compiled loop for it: in half of NumPy's time."""

from __future__ import annotations

from typing import Any

import numpy as np

from recsdk import fast
from recsdk.base import Context
from recsdk.policies._ridge import Ridge


def load(policy: Any, state: Ridge) -> None:
    """Compiles the loop for a new state, or finds it where Numba keeps it, so that no request waits for that."""
    if loops := fast.kernels(policy, state.mean):
        rows = np.zeros((1, len(state.mean)))
        votes(loops, policy, state, rows, Context(rows, np.ones(1, bool), np.zeros(1, np.int64)))


def votes(loops: Any, policy: Any, state: Ridge, noise: np.ndarray, context: Context) -> np.ndarray:
    """Is `LinTS.probs` after its draw of `noise`, f64[ceil(M / 2), D]."""
    mean, root, x, mask = map(fast.given, (state.mean, state.root, context.features, context.mask))
    counted: np.ndarray = loops.thompson(mean, root, noise, x, mask, float(policy.scale), int(policy.num_draws))
    return counted
