"""The loop of `recsdk.drivers.loop` for many settings and seeds at once: one program, compiled and mapped."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from recsdk import arrays
from recsdk.base import Array
from recsdk.drivers import loop
from recsdk.drivers.loop import Step

Begin = Callable[[Any, Any, Any], tuple[Step, Any]]


def run_many(
    begin: Begin, settings: Sequence[Sequence[float]], shared: Any, worlds: Any, rounds: Any, *, seeds: Sequence[int], stream: int
) -> Any:
    """Walks the rounds once for each of C settings and S seeds, all together, on JAX.

    What does not depend on the setting is computed once for all settings, and likewise for the seeds: settings of `alpha` alone share one
    posterior while they watch another's log. Each walk has the random numbers that `loop.run` gives to its seed.

    Args:
        begin: `(setting, shared, world) -> (step, carry)` of one walk; a carry is (what it lives by, its answer).
            Compiled once per function object: keep it, do not remake it.
        settings: C settings of as many floats each, which reach `begin` as scalars that behave as Python's.
        shared: a record of arrays, the same for all walks.
        worlds: a record of arrays with a leading S, one for each seed.
        rounds: a record of arrays with a leading T >= 1.
        seeds: S of them, each >= 0.
        stream: `loop.REPLAY` or `loop.SIMULATE`.

    Returns:
        The last answers, with leading S and C; NumPy's arrays.
    """
    import jax
    import jax.numpy as jnp

    with jax.enable_x64(True):
        keys = jnp.stack([jax.random.fold_in(jax.random.key(seed), stream) for seed in seeds])
        # Made of one scalar each, the columns are weakly typed: float32 times a hyper-parameter stays float32, as with Python's floats.
        scalars = [[jnp.asarray(float(value)) for value in column] for column in zip(*settings, strict=True)]
        varies = tuple(len(set(column)) > 1 for column in zip(*settings, strict=True))
        columns = tuple(jnp.stack(column) if differs else column[0] for column, differs in zip(scalars, varies, strict=True))
        answers = _compiled(begin, len(settings), varies)(columns, shared, worlds, rounds, keys)
        return arrays.tree_map(np.asarray, answers)


@functools.lru_cache(maxsize=128)
def _compiled(begin: Begin, num_settings: int, varies: tuple[bool, ...]) -> Callable[..., Any]:
    import jax

    def walk(setting: Any, shared: Any, world: Any, rounds: Any, key: Array) -> Any:
        step, carry = begin(setting, shared, world)
        randoms = loop.randoms(key, 0, len(next(arrays.leaves(rounds))))

        def body(carry: Any, row: Any) -> tuple[Any, None]:
            random, here = row
            return step(carry, loop.JaxRandom(*random), here)[0], None

        (_, answer), _ = jax.lax.scan(body, carry, (randoms, rounds))
        return answer

    # The inner map is over the settings, so that what a seed draws is drawn once for all of them.
    own = tuple(0 if differs else None for differs in varies)  # what is the same for all settings is no reason to compute anything twice
    over_settings = jax.vmap(walk, in_axes=(own, None, None, None, None), axis_size=num_settings)
    return jax.jit(jax.vmap(over_settings, in_axes=(None, None, 0, None, 0)))
