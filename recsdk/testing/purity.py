"""Laws of what a call may touch: nothing but what it returns, whatever else goes on in the process."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from recsdk.base import Policy
from recsdk.testing import inputs, states
from recsdk.testing.inputs import DIM
from recsdk.testing.states import brief, name, on_numpy

NUM_ROUNDS = 40
NUM_THREADS = 2


def check_inputs(policy: Policy[Any]) -> None:
    """It writes to none of the prior, contexts and interactions that it is given."""
    policy = on_numpy(policy)
    prior, log, context = inputs.frozen((np.linspace(-1, 1, DIM), inputs.log(3, 5, DIM), inputs.case(5, DIM, padded=True).context))
    try:
        state = policy.init(prior)
        for row in range(3):
            state = policy.update(state, inputs.at(log, row))
            policy.probs(state, np.random.default_rng(0), context)
    except ValueError as error:
        if "read-only" not in str(error):
            raise
        raise AssertionError(f"inputs: {name(policy)} must not write to the prior, context or interaction it is given: {error}") from error
    states.close(policy, state)


def check_purity(policy: Policy[Any]) -> None:
    """`probs` is a function of its arguments: asked again it says the same, and neither its earlier answer nor the state has changed."""
    policy = on_numpy(policy)
    state = states.learned(policy, inputs.log(NUM_ROUNDS, 5, DIM))
    before = states.dumps(policy, state)
    one, other = inputs.case(5, DIM).context, inputs.case(5, DIM, seed=1).context
    first = policy.probs(state, np.random.default_rng(3), one)
    kept = first.copy()
    policy.probs(state, np.random.default_rng(4), other)
    _assert_same("purity", "its earlier answer must not change when it is asked again", name(policy), first, kept)
    second = policy.probs(state, np.random.default_rng(3), one)
    _assert_same("purity", "the same state, seed and context must give the same answer", name(policy), second, kept)
    saved = states.loads(policy, DIM, before)
    difference = states.difference(policy, state, saved, DIM)
    assert not difference, f"purity: {name(policy)}: `probs` must leave the state as it is, but {difference}"
    states.close(policy, state, saved)


def check_randomness(policy: Policy[Any]) -> None:
    """All its random numbers come from the rng that it is given; the generators of `numpy.random` and `random` are left alone."""
    policy = on_numpy(policy)
    assert_no_global_randomness(name(policy), lambda: lived(policy))


def assert_no_global_randomness(called: str, live: Callable[[], np.ndarray]) -> None:
    """Asserts that `live` neither uses nor changes the global generators."""
    live()  # imports and compilation, which may use them, are no part of it
    numpys, pythons = np.random.get_state(), random.getstate()  # noqa: NPY002  # the law is that nobody uses these
    results = []
    try:
        for seed in (1, 2):
            np.random.seed(seed)  # noqa: NPY002
            random.seed(seed)
            before = repr(np.random.get_state()), random.getstate()  # noqa: NPY002
            results.append(live())
            after = repr(np.random.get_state()), random.getstate()  # noqa: NPY002
            assert before == after, f"randomness: {called} must take random numbers from the rng or seed it is given only"
    finally:
        np.random.set_state(numpys)  # noqa: NPY002
        random.setstate(pythons)
    _assert_same("randomness", "the global generators of `numpy.random` and `random` must not matter", called, results[1], results[0])


def check_threads(policy: Policy[Any]) -> None:
    """A state may go from thread to thread, and others may be used in other threads at the same time."""
    policy = on_numpy(policy)
    state = states.learned(policy, inputs.log(NUM_ROUNDS, 5, DIM))
    one = inputs.case(17, DIM).context
    wanted = policy.probs(state, np.random.default_rng(0), one)
    (got,) = in_threads([lambda: policy.probs(state, np.random.default_rng(0), one)])
    _assert_same("threads", "a state must give the same answer in another thread", name(policy), got, wanted)
    states.close(policy, state)
    alone = [lived(policy, seed=seed) for seed in range(NUM_THREADS)]
    together = in_threads([lambda seed=seed: lived(policy, seed=seed) for seed in range(NUM_THREADS)])  # type: ignore[misc]
    for answered, expected in zip(together, alone, strict=True):
        _assert_same("threads", "two threads with a state each must not disturb each other", name(policy), answered, expected)


def lived(policy: Policy[Any], *, seed: int = 0) -> np.ndarray:
    """Lets a policy learn a log and answer in every round; returns the answers, f64[T, 5]."""
    log, rng = inputs.log(NUM_ROUNDS, 5, DIM, seed=seed), np.random.default_rng(seed)
    state, answers = states.init(policy, DIM), []
    for row in range(NUM_ROUNDS):
        here = inputs.at(log, row)
        answers.append(np.array(policy.probs(state, rng, here.context)))
        state = policy.update(state, here)
    states.close(policy, state)
    return np.stack(answers)


def in_threads(calls: Sequence[Callable[[], np.ndarray]]) -> list[np.ndarray]:
    """Calls each in a thread of its own, all at once, and returns what they return or raises what one of them raises."""
    results: list[Any] = [None] * len(calls)
    start = threading.Barrier(len(calls))

    def run(place: int) -> None:
        start.wait()
        try:
            results[place] = calls[place]()
        except BaseException as error:  # raised below, in the caller's thread
            results[place] = error

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


def _assert_same(law: str, claim: str, called: str, got: np.ndarray, wanted: np.ndarray) -> None:
    assert np.array_equal(got, wanted), f"{law}: {called}: {claim}, got {brief(got)} after {brief(wanted)}"
