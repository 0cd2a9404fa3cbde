"""Laws of policies that are compiled: the same numbers as on NumPy, and on JAX strict types, and hands off the application's settings."""

from __future__ import annotations

from typing import Any

import numpy as np

from recsdk import arrays, fast
from recsdk.base import Interaction, Policy
from recsdk.drivers.loop import JaxRandom
from recsdk.drivers.replay import has_loops, replay
from recsdk.testing import answers, inputs, states
from recsdk.testing.inputs import DIM
from recsdk.testing.states import TOLERANCE, brief, distance, name, needs_jax

NUM_ROUNDS = 40


def check_engines(policy: Policy[Any], *, tolerance: float = TOLERANCE) -> None:
    """The compiled replay of a log gives the state that the live loop gives, and where Numba compiled it the same decisions too."""
    log = inputs.log(NUM_ROUNDS, 5, DIM)
    if has_loops(policy) and fast.enabled():
        _check_loops(policy, log, tolerance)
    needs_jax(policy)
    on_numpy = replay(states.on_numpy(policy), log, engine="numpy").state
    on_jax = replay(policy, log, engine="jax").state
    difference = states.difference(policy, on_jax, on_numpy, DIM, tolerance=tolerance)
    assert not difference, f"engines: {name(policy)}: JAX must learn what NumPy learns, but {difference}"


def _check_loops(policy: Policy[Any], log: Interaction, tolerance: float) -> None:
    for learn_from in ("all", "matched", "none"):
        one, other = (replay(policy, log, learn_from=learn_from, engine=engine) for engine in ("numpy", "numba"))
        difference = states.difference(policy, other.state, one.state, DIM, tolerance=tolerance)
        assert not difference, f"engines: {name(policy)}: Numba must learn what NumPy learns, but {difference}"
        for field, wanted, got in zip(one.decision._fields, one.decision, other.decision, strict=True):
            assert distance(got, wanted) <= tolerance, (
                f"engines: {name(policy)}: Numba must decide what NumPy decides, {field} {brief(wanted)}, got {brief(got)}"
            )


def check_batch(policy: Policy[Any], *, tolerance: float = TOLERANCE) -> None:
    """Compiled, and asked about many contexts at once, as in a sweep, it answers as one by one, given the same random numbers."""
    needs_jax(policy)
    import jax

    single = states.on_numpy(policy)
    state = states.learned(single, inputs.log(NUM_ROUNDS, 5, DIM))
    # Eight candidates fill a bucket of `Jitted`, so that alone and together the same random numbers are asked for.
    cases = [inputs.case(8, DIM, kind, padded=True) for kind in ("normal", "half tied", "zero")]
    tapes = [answers.Recorder(np.random.default_rng(seed)) for seed in range(len(cases))]
    wanted = [single.probs(state, tape, case.context) for tape, case in zip(tapes, cases, strict=True)]

    def answer(state: Any, numbers: Any, context: Any) -> Any:
        return policy.probs(state, answers.Tape(numbers), context)

    with jax.enable_x64(True):
        numbers = [np.stack(drawn) for drawn in zip(*(tape.given for tape in tapes), strict=True)]
        together = jax.jit(jax.vmap(answer, (None, 0, 0)))(state, numbers, arrays.stack([case.context for case in cases]))
    for got, alone, case in zip(np.asarray(together), wanted, cases, strict=True):
        assert distance(got, alone) <= tolerance, (
            f"batch: {name(policy)} on {case.name}: compiled and in a batch it must answer as alone, {brief(alone)}, got {brief(got)}"
        )


def check_strictness(policy: Policy[Any]) -> None:
    """It can be traced under strict dtype promotion and without rank promotion, to float64, and a state keeps its shapes and types."""
    needs_jax(policy)
    import jax

    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        try:
            probs, before, after = _traced(policy)
        except (TypeError, ValueError, jax.errors.JAXTypeError) as error:
            raise AssertionError(
                f"strictness: {name(policy)} must trace with strict dtype promotion and without rank promotion: {error}"
            ) from error
    assert (probs.dtype, probs.shape) == (np.float64, (5,)), f"strictness: {name(policy)}: probs must be float64[5], got {probs}"
    for was, is_now in zip(arrays.leaves(before), arrays.leaves(after), strict=True):
        assert (was.dtype, was.shape) == (is_now.dtype, is_now.shape), (
            f"strictness: {name(policy)}: an update must keep the shapes and types of the state's arrays, got {is_now} for {was}"
        )


def _traced(policy: Policy[Any]) -> tuple[Any, Any, Any]:
    """Traces a policy; returns what its probs, its first state and the next one would be."""
    import jax

    def traced(prior: Any, key: Any, context: Any, interaction: Any) -> Any:
        state = policy.init(prior)
        return policy.probs(state, JaxRandom(key), context), state, policy.update(state, interaction)

    case, row = inputs.case(5, DIM), inputs.at(inputs.log(1, 5, DIM), 0)
    with jax.enable_x64(True):
        return jax.eval_shape(traced, np.zeros(DIM), jax.random.key(0), case.context, row)  # type: ignore[no-any-return]


def check_settings(policy: Policy[Any]) -> None:
    """It leaves JAX's settings as the application has them; 64 bits are on inside the loop only."""
    needs_jax(policy)
    import jax

    original = dict(jax.config.values)
    jax.config.update("jax_enable_x64", False)  # type: ignore[no-untyped-call]  # JAX's default, whatever the application chose
    before = dict(jax.config.values)
    _traced(policy)
    replay(policy, inputs.log(NUM_ROUNDS, 5, DIM), engine="jax")
    changed = {key: value for key, value in jax.config.values.items() if before[key] != value}
    for key in {*changed, "jax_enable_x64"}:
        jax.config.update(key, original[key])  # type: ignore[no-untyped-call]
    assert not changed, f"settings: {name(policy)} must leave JAX's settings alone, but it set {changed}"
