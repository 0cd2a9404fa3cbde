"""How `LinTS` counts its votes where there is a compiled loop for it: in half of NumPy's time."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np

from recsdk import fast
from recsdk.base import Array, Context
from recsdk.policies._ridge import Ridge


def load(policy: Any, state: Ridge) -> None:
    """Compiles the loop for a new state, or finds it where Numba keeps it, so that no request waits for that."""
    if isinstance(state.mean, np.ndarray):
        rows = np.zeros((1, len(state.mean)))
        one = attrs.evolve(policy, num_draws=1)  # to count few is enough
        votes(one, state, rows, Context(rows, np.ones(1, bool), np.zeros(1, np.int64)))


def votes(policy: Any, state: Ridge, noise: Array, context: Context) -> np.ndarray | None:
    """Is `LinTS.probs` after its draw of `noise`, f64[ceil(M / 2), D]; None where there is no loop, or arrays do not fit together."""
    loops, (num_candidates, dim) = fast.kernels(policy, noise), context.features.shape
    fits = state.mean.shape == (dim,) and state.root.shape == (dim, dim) and context.mask.shape == (num_candidates,)
    fits &= noise.shape == ((policy.num_draws + 1) // 2, dim)  # the loop would read past the arrays' ends
    if loops is None or not fits:
        return None
    mean, root, x, mask = map(fast.given, (state.mean, state.root, context.features, context.mask))
    counted: np.ndarray = loops.thompson(mean, root, noise, x, mask, float(policy.scale), int(policy.num_draws))
    return counted
