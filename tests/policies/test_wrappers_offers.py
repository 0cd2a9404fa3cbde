"""Wrappers offer what their policies do, and claim nothing else: `isinstance` tells the truth."""

import copy
import pickle
import unittest

import attrs
import numpy as np
import pytest

from recsdk import (
    Budgeted,
    Context,
    Discounted,
    Explained,
    Forgettable,
    LinTS,
    LinUCB,
    LogisticTS,
    Mergeable,
    Mixture,
    OnColumns,
    Uniform,
    WideDeep,
    Windowed,
    WithFloor,
    replay,
    simulate,
    sweep,
)
from recsdk.environments import LinearWorld
from recsdk.testing.explaining import check_scores
from recsdk.testing.folding import check_commutes, check_forget, check_merge

MERGEABLE = [
    WithFloor(policy=LinTS()),
    OnColumns(policy=LinUCB(), columns=(0, -1)),
    WithFloor(policy=OnColumns(policy=LinTS(), columns=(1, 2))),
    Mixture(policies=(LinTS(), LinUCB()), shares=(0.5, 0.5)),
]
OTHERS = [
    WithFloor(policy=WideDeep(num_items=8, memory=8)),
    OnColumns(policy=LogisticTS(), columns=(0,)),
    Mixture(policies=(LinTS(), Uniform()), shares=(0.5, 0.5)),
    Budgeted(policy=LinTS(), cap=1, window=5),
    Discounted(policy=LinUCB()),
]


@pytest.mark.parametrize("policy", MERGEABLE, ids=repr)
def test_a_wrapper_of_a_policy_whose_states_add_up_adds_them_up(policy):
    assert isinstance(policy, Mergeable)
    assert isinstance(policy, Forgettable)
    for check in (check_merge, check_forget, check_commutes):
        check(policy)


@pytest.mark.parametrize("policy", OTHERS, ids=repr)
def test_a_wrapper_claims_nothing_that_its_policy_or_its_own_state_cannot_keep(policy):
    assert not isinstance(policy, Mergeable)
    assert not isinstance(policy, Forgettable)
    with pytest.raises(unittest.SkipTest):
        check_merge(policy)


@pytest.mark.parametrize("policy", [*MERGEABLE[:3], OTHERS[0], OTHERS[3], OTHERS[4], Windowed(policy=LinUCB()), LinTS()], ids=repr)
def test_what_explains_itself_keeps_the_law(policy):
    assert isinstance(policy, Explained)
    check_scores(policy)


def test_what_its_policy_does_not_explain_a_wrapper_does_not_either():
    assert not any(isinstance(policy, Explained) for policy in (Uniform(), WithFloor(policy=Uniform()), MERGEABLE[3]))


@pytest.mark.parametrize("policy", MERGEABLE, ids=repr)
def test_copies_of_a_wrapper_offer_the_same(policy):
    for same in (pickle.loads(pickle.dumps(policy)), copy.deepcopy(policy), attrs.evolve(policy)):  # noqa: S301  # as a sweep sends it
        assert same == policy
        assert hash(same) == hash(policy)
        assert isinstance(same, Mergeable)


def test_a_window_around_a_wrapper_forgets_on_both_engines_and_in_a_sweep():
    policy = Windowed(policy=WithFloor(policy=LinTS(num_draws=4)), window=5)
    log = simulate(Uniform(), LinearWorld(num_candidates=3, dim=2), 30, seed=1, engine="numpy").log
    here, there = (replay(policy, log, engine=engine).state for engine in ("numpy", "jax"))
    np.testing.assert_allclose(here.belief.mean, there.belief.mean, atol=1e-9)
    assert here.belief.total == 5
    assert len(sweep([policy], log, engine="jax").seed) == 1


def test_the_scores_of_upper_confidence_bounds_are_what_they_maximise():
    policy, context = LinUCB(alpha=2.0), Context(np.array([[1.0, 0.0], [0.0, 3.0]]), np.ones(2, bool), np.arange(2))
    mean, bonus = policy.scores(policy.init(np.array([0.5, 0.1])), context)
    np.testing.assert_allclose(mean, [0.5, 0.3])
    np.testing.assert_allclose(bonus, [2.0, 6.0])
