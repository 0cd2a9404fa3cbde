"""Laws of what a call costs: it leaves nothing behind in memory, and is done in time."""

from __future__ import annotations

import contextlib
import gc
import math
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from recsdk import base
from recsdk.base import Policy
from recsdk.testing import inputs, states
from recsdk.testing.inputs import DIM
from recsdk.testing.states import name, on_numpy

NUM_ROUNDS = 400
NUM_TRIES = 3
MOST_LEFT = 8 * 1024
"""Bytes that `NUM_ROUNDS` rounds may leave behind: less than a Python float each. JAX's own pools take more while they fill, in one try."""

MOST_NEEDED = 64 * 1024**2
"""Bytes that one round may need at its height, of 100 candidates with 64 features."""

MOST_SECONDS = 0.05
"""Of one round, of 100 candidates with 64 features: what a page's reader does not notice. The quickest of `NUM_TIMED` counts."""

NUM_TIMED = 8


def check_memory(policy: Policy[Any]) -> None:
    """Deciding and learning leave nothing behind beside the state, which does not grow, and need at most 64 MiB at a time."""
    policy = on_numpy(policy)
    log, rng = inputs.log(40, 5, DIM), np.random.default_rng(0)
    kept = [states.init(policy, DIM), states.init(policy, 64)]

    def live(number: int) -> None:
        kept[0] = _round(policy, kept[0], rng, inputs.at(log, number % 40))

    assert_nothing_left(name(policy), live)
    wide = inputs.log(2, 100, 64)

    def live_widely(row: int) -> None:
        kept[1] = _round(policy, kept[1], rng, inputs.at(wide, row))

    assert_little_needed(f"{name(policy)} in a round of 100 candidates of 64 features", live_widely)
    states.close(policy, *kept)


def assert_nothing_left(called: str, live: Callable[[int], None]) -> None:
    """Asserts that `NUM_ROUNDS` calls leave at most `MOST_LEFT` bytes behind; what the process does beside, it does not every time."""

    def held(num_rounds: int) -> int:
        for number in range(num_rounds):
            live(number)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    with _traced():
        before, least = held(NUM_ROUNDS // 2), math.inf
        for _ in range(NUM_TRIES):
            after = held(NUM_ROUNDS)
            least, before = min(least, after - before), after
            if least <= MOST_LEFT:
                return
    raise AssertionError(f"memory: {called}: {NUM_ROUNDS} rounds must leave at most {MOST_LEFT} bytes behind, got {least}")


def assert_little_needed(called: str, live: Callable[[int], None]) -> None:
    """Asserts that the second of two calls needs at most `MOST_NEEDED` bytes at its height."""
    with _traced():
        live(0)
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        live(1)
        needed = tracemalloc.get_traced_memory()[1] - before
    assert needed <= MOST_NEEDED, f"memory: {called} must need at most {MOST_NEEDED} bytes, got {needed}"


@contextlib.contextmanager
def _traced() -> Iterator[None]:
    """Counts the bytes that Python and NumPy hold."""
    was_on = tracemalloc.is_tracing()
    if not was_on:
        tracemalloc.start()
    try:
        yield
    finally:
        if not was_on:
            tracemalloc.stop()


def check_speed(policy: Policy[Any]) -> None:
    """Deciding and learning once take at most 50 ms together, for 100 candidates of 64 features."""
    policy = on_numpy(policy)
    log, rng = inputs.log(NUM_TIMED, 100, 64), np.random.default_rng(0)
    state = states.init(policy, 64)

    def live(row: int) -> None:
        nonlocal state
        state = _round(policy, state, rng, inputs.at(log, row))

    assert_in_time(f"{name(policy)} in a round of 100 candidates of 64 features", live)
    states.close(policy, state)


def assert_in_time(called: str, live: Callable[[int], None]) -> None:
    """Asserts that the quickest of `NUM_TIMED` calls takes at most `MOST_SECONDS`."""
    taken = []
    for number in range(NUM_TIMED):
        start = time.perf_counter()
        live(number)
        taken.append(time.perf_counter() - start)
    least = min(taken)
    assert least <= MOST_SECONDS, (
        f"speed: {called} must take at most {1e3 * MOST_SECONDS:g} ms, the quickest of {NUM_TIMED} took {1e3 * least:.1f} ms"
    )


def _round(policy: Policy[Any], state: Any, rng: np.random.Generator, here: base.Interaction) -> Any:
    base.decide(policy, state, rng, here.context)
    return policy.update(state, here)
