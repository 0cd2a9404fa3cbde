"""The law of explanations: a policy that offers `scores` answers each candidate by itself."""

from __future__ import annotations

import unittest
from typing import Any

import numpy as np

from recsdk.base import Context, Explained, Policy
from recsdk.testing import inputs, states
from recsdk.testing.states import TOLERANCE, brief, name, on_numpy

NUM_UPDATES = 40
DIM = 7


def check_scores(policy: Policy[Any]) -> None:
    """Where it is offered, scores are finite float64[K], the bonus >= 0, and a candidate's do not depend on its place or on the others."""
    if not isinstance(policy, Explained):
        raise unittest.SkipTest("it does not offer scores")
    policy = on_numpy(policy)
    state = states.learned(policy, inputs.log(NUM_UPDATES, 5, DIM))
    for num in inputs.SIZES:
        context = inputs.case(num, DIM).context
        whole = policy.scores(state, context)  # type: ignore[attr-defined]
        for field, array in zip(whole._fields, whole, strict=True):
            is_right = isinstance(array, np.ndarray) and array.dtype == np.float64 and array.shape == (num,) and np.isfinite(array).all()
            assert is_right, f"scores: {name(policy)}: {field} must be finite float64[{num}], got {brief(array)}"
        assert (whole.bonus >= 0).all(), f"scores: {name(policy)}: bonus must be >= 0, got {brief(whole.bonus)}"
        order = np.arange(num)[::-1][: 1 + num // 2]
        some = policy.scores(state, Context(*(field[order] for field in context)))  # type: ignore[attr-defined]
        for field, got, wanted in zip(whole._fields, some, whole, strict=True):
            assert np.allclose(got, wanted[order], rtol=TOLERANCE, atol=TOLERANCE), (
                f"scores: {name(policy)}: {field} of half of {num} candidates in another order must be "
                f"{brief(wanted[order])}, got {brief(got)}"
            )
    states.close(policy, state)
