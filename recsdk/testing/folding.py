"""Laws of learning: the state is a fold over the log, and depends on nothing else."""

from __future__ import annotations

import unittest
from typing import Any

import numpy as np

from recsdk import base
from recsdk.base import Forgettable, Interaction, Mergeable, Policy
from recsdk.drivers.replay import replay
from recsdk.testing import inputs, states
from recsdk.testing.inputs import DIM
from recsdk.testing.states import TOLERANCE, brief, name, on_numpy

NUM_ROUNDS = 40
NUM_SNAPSHOT = 1000


def check_update(policy: Policy[Any]) -> None:
    """`update` returns the next state."""
    policy = on_numpy(policy)
    state = states.init(policy, DIM)
    after = policy.update(state, inputs.at(inputs.log(NUM_ROUNDS, 5, DIM), 0))
    assert after is not None or state is None, f"update: {name(policy)}: update must return the state after the round, got None"
    states.close(policy, after)


def check_fold(policy: Policy[Any]) -> None:
    """A log learned live, at once by `fold`, replayed in one go, in parts, or alternately with another log, gives one state."""
    policy = on_numpy(policy)
    log = inputs.log(NUM_ROUNDS, 5, DIM)
    live = states.init(policy, DIM)
    for row in range(NUM_ROUNDS):
        live = base.learn(policy, live, inputs.at(log, row))
    at_once = base.fold(policy, base.fold(policy, states.init(policy, DIM), inputs.at(log, slice(7))), inputs.at(log, slice(7, None)))
    _assert_equal("fold: learned at once", policy, at_once, live)
    whole = replay(policy, log, engine="numpy").state
    _assert_equal("fold: replayed in one go", policy, whole, live)
    part = replay(policy, inputs.at(log, slice(13)), engine="numpy").state
    parts = replay(policy, inputs.at(log, slice(13, None)), state=part, seed=1, engine="numpy").state
    _assert_equal("fold: replayed in parts", policy, parts, live)
    one, other = states.init(policy, DIM), states.init(policy, DIM)
    for row, elsewhere in enumerate(range(NUM_ROUNDS)[::-1]):
        one = policy.update(one, inputs.at(log, row))
        other = policy.update(other, inputs.at(log, elsewhere))
    _assert_equal("fold: learned alternately with another log", policy, one, live)
    states.close(policy, live, at_once, whole, parts, one, other)


def check_weight(policy: Policy[Any]) -> None:
    """A round of weight 0 leaves the state as it was, before and after others."""
    policy = on_numpy(policy)
    log = inputs.log(NUM_ROUNDS, 5, DIM)
    for num_updates in (0, NUM_ROUNDS):
        state = states.learned(policy, inputs.at(log, slice(num_updates)))
        before = states.loads(policy, DIM, states.dumps(policy, state))
        state = policy.update(state, inputs.at(log, 3)._replace(weight=np.float64(0)))
        _assert_equal(f"weight: with a round of weight 0 after {num_updates} updates", policy, state, before)
        states.close(policy, state, before)


def check_chosen(policy: Policy[Any], *, tolerance: float = TOLERANCE) -> None:
    """A policy that says it learns from the chosen candidate gets the same state when the other rows are others, or dropped."""
    if policy.learns_from != "chosen":
        raise unittest.SkipTest("it learns from all candidates")
    policy = on_numpy(policy)
    log = inputs.log(NUM_ROUNDS, 5, DIM)
    rows = np.arange(NUM_ROUNDS)
    elsewhere = np.arange(5) != log.action[:, None]
    others = log._replace(
        context=log.context._replace(
            features=np.where(elsewhere[:, :, None], log.context.features[::-1], log.context.features),
            item=np.where(elsewhere, log.context.item[::-1], log.context.item),
        )
    )
    alone = log._replace(
        context=base.Context(*(field[rows, log.action][:, None] for field in log.context)), action=np.zeros_like(log.action)
    )
    whole = states.learned(policy, log)
    for how, changed in (("with other candidates beside the chosen one", others), ("with the chosen candidate alone", alone)):
        state = states.learned(policy, changed)
        _assert_equal(f"chosen: learned {how}", policy, state, whole, tolerance)
        states.close(policy, state)
    states.close(policy, whole)


def check_commutes(policy: Policy[Any], *, tolerance: float = TOLERANCE) -> None:
    """Where merge is offered, which says that the order of rounds is moot, two orders of a log give one state."""
    if not isinstance(policy, Mergeable):
        raise unittest.SkipTest("it does not offer merge, so that the order of rounds may matter")
    log = inputs.log(NUM_ROUNDS, 5, DIM)
    wanted = policy.weigh(states.learned(policy, log), 1.0)
    for how, order in (("backwards", np.arange(NUM_ROUNDS)[::-1]), ("shuffled", np.random.default_rng(0).permutation(NUM_ROUNDS))):
        state = policy.weigh(states.learned(policy, inputs.at(log, order)), 1.0)
        _assert_equal(f"commutes: learned {how}", policy, state, wanted, tolerance)


def check_snapshot(policy: Policy[Any]) -> None:
    """A state saved, and loaded by another process in the middle of a log, is bit for bit the one that went straight through."""
    policy = on_numpy(policy)
    log = inputs.log(NUM_SNAPSHOT, 5, DIM)
    half = NUM_SNAPSHOT // 2
    straight = states.learned(policy, inputs.at(log, slice(half)))
    data = states.dumps(policy, straight)
    other_process = states.rebuilt(policy)
    loaded = states.loads(other_process, DIM, data)
    _assert_equal("snapshot: saved and loaded", policy, loaded, straight)
    straight = states.learned(policy, inputs.at(log, slice(half, None)), straight)
    resumed = states.learned(other_process, inputs.at(log, slice(half, None)), states.loads(other_process, DIM, data))
    _assert_equal("snapshot: saved and loaded in the middle of a log", policy, resumed, straight)
    answers = zip(states.answers(other_process, resumed, DIM), states.answers(policy, straight, DIM), strict=True)
    for probe, (got, wanted) in enumerate(answers):
        assert np.array_equal(got, wanted), (
            f"snapshot: {name(policy)}: saved and loaded in the middle of a log, it must answer probe {probe} with {brief(wanted)}, "
            f"got {brief(got)}: is something kept beside the state?"
        )
    states.close(policy, straight, loaded, resumed)


def check_merge(policy: Policy[Any], *, tolerance: float = TOLERANCE) -> None:
    """Where it is offered, merge(fold(a), fold(b)) is fold(a + b), and weighing by 2 is merging with oneself.

    States are compared weighed by 1, which brings those that say the same in other numbers, such as roots of one matrix, into one form.
    """
    if not isinstance(policy, Mergeable):
        raise unittest.SkipTest("it does not offer merge and weigh")
    log = inputs.log(NUM_ROUNDS, 5, DIM)
    first, second = inputs.at(log, slice(13)), inputs.at(log, slice(13, None))
    whole = policy.weigh(states.learned(policy, log), 1.0)

    def merged(one: Interaction, other: Interaction) -> Any:
        return policy.weigh(policy.merge(*_folds(policy, one, other)), 1.0)

    _assert_equal("merge: of two parts", policy, merged(first, second), whole, tolerance)
    _assert_equal("merge: of two parts in the other order", policy, merged(second, first), whole, tolerance)
    weighed, doubled = policy.weigh(states.learned(policy, first), 2.0), merged(first, first)
    _assert_equal("merge: weighed by 2, against merged with itself,", policy, weighed, doubled, tolerance)


def check_forget(policy: Policy[Any], *, tolerance: float = TOLERANCE) -> None:
    """Where it is offered, subtract(fold(a + b), fold(b)) is fold(a), and so is forgetting the rounds of b, the first first."""
    if not (isinstance(policy, Forgettable) and isinstance(policy, Mergeable)):
        raise unittest.SkipTest("it does not offer subtract and forget beside merge and weigh")
    log = inputs.log(NUM_ROUNDS, 5, DIM)
    kept, dropped = inputs.at(log, slice(27)), inputs.at(log, slice(27, None))
    wanted = policy.weigh(states.learned(policy, kept), 1.0)
    subtracted = policy.subtract(*_folds(policy, log, dropped))
    _assert_equal("forget: of the whole less a part", policy, policy.weigh(subtracted, 1.0), wanted, tolerance)
    state = states.learned(policy, log)
    for row in range(len(dropped.reward)):
        state = policy.forget(state, inputs.at(dropped, row))
    _assert_equal("forget: that forgot a part round by round", policy, policy.weigh(state, 1.0), wanted, tolerance)


def _folds(policy: Policy[Any], *logs: Interaction) -> list[Any]:
    return [states.learned(policy, log) for log in logs]


def _assert_equal(how: str, policy: Policy[Any], got: Any, wanted: Any, tolerance: float = 0.0) -> None:
    law, _, what = how.partition(": ")
    difference = states.difference(policy, got, wanted, DIM, tolerance=tolerance)
    assert not difference, f"{law}: {name(policy)}: the state {what} must be the same, but {difference}"
