"""Laws of policies that run on JAX: the same numbers as on NumPy, strict types, and hands off the application's settings."""

from __future__ import annotations

import unittest
from typing import Any

import numpy as np

from recsdk import _tree
from recsdk._loop import JaxRandom
from recsdk._replay import replay
from recsdk.base import Policy
from recsdk.testing import inputs, states
from recsdk.testing.states import TOLERANCE, OnNumpy, brief, distance, name, needs_jax

DIM = 5
NUM_ROUNDS = 40


def check_engines(policy: Policy[Any], *, tolerance: float = TOLERANCE) -> None:
    """The compiled replay of a log gives NumPy's state, and given the same random numbers the same probabilities."""
    needs_jax(policy)
    if "numpy" not in policy.runs_on:
        raise unittest.SkipTest(f"{name(policy)} does not run on NumPy")
    log = inputs.log(NUM_ROUNDS, 5, DIM)
    on_numpy = replay(policy, log, engine="numpy").state
    on_jax = replay(policy, log, engine="jax").state
    difference = states.difference(policy, on_jax, on_numpy, DIM, tolerance=tolerance)
    assert not difference, f"engines: {name(policy)}: JAX must learn what NumPy learns, but {difference}"
    eager = OnNumpy(policy)
    for seed, case in enumerate(inputs.case(5, DIM, kind, padded=True) for kind in ("normal", "half tied", "zero")):
        got = eager.probs(on_numpy, np.random.default_rng(seed), case.context)
        wanted = policy.probs(on_numpy, np.random.default_rng(seed), case.context)
        assert distance(got, wanted) <= tolerance, (
            f"engines: {name(policy)} on {case.name}: JAX must answer as NumPy does, {brief(wanted)}, got {brief(got)}"
        )


def check_strictness(policy: Policy[Any]) -> None:
    """It can be traced under strict dtype promotion and without rank promotion, to float64, and a state keeps its shapes and types."""
    needs_jax(policy)
    import jax

    case, row = inputs.case(5, DIM), inputs.at(inputs.log(1, 5, DIM), 0)

    def traced(prior: Any, key: Any, context: Any, interaction: Any) -> Any:
        state = policy.init(prior)
        return policy.probs(state, JaxRandom(key), context), state, policy.update(state, interaction)

    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        try:
            probs, before, after = jax.eval_shape(traced, np.zeros(DIM), jax.random.key(0), case.context, row)
        except (TypeError, ValueError, jax.errors.JAXTypeError) as error:
            raise AssertionError(
                f"strictness: {name(policy)} must trace with strict dtype promotion and without rank promotion: {error}"
            ) from error
    assert (probs.dtype, probs.shape) == (np.float64, (5,)), f"strictness: {name(policy)}: probs must be float64[5], got {probs}"
    for was, is_now in zip(_tree.leaves(before), _tree.leaves(after), strict=True):
        assert (was.dtype, was.shape) == (is_now.dtype, is_now.shape), (
            f"strictness: {name(policy)}: an update must keep the shapes and types of the state's arrays, got {is_now} for {was}"
        )


def check_settings(policy: Policy[Any]) -> None:
    """It leaves JAX's settings as the application has them; 64 bits are on inside the loop only."""
    needs_jax(policy)
    import jax

    original = dict(jax.config.values)
    jax.config.update("jax_enable_x64", False)  # type: ignore[no-untyped-call]  # JAX's default, whatever the application chose
    before = dict(jax.config.values)
    eager = OnNumpy(policy)
    log = inputs.log(NUM_ROUNDS, 5, DIM)
    eager.probs(states.learned(eager, inputs.at(log, slice(1))), np.random.default_rng(0), inputs.case(5, DIM).context)
    replay(policy, log, engine="jax")
    changed = {key: value for key, value in jax.config.values.items() if before[key] != value}
    for key in {*changed, "jax_enable_x64"}:
        jax.config.update(key, original[key])  # type: ignore[no-untyped-call]
    assert not changed, f"settings: {name(policy)} must leave JAX's settings alone, but it set {changed}"
