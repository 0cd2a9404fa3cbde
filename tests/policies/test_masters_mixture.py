import re

import numpy as np
import pytest

from recsdk import Context, EpsilonGreedy, LinTS, LinUCB, Mixture, Uniform, WithFloor, states, testing
from recsdk.errors import InvalidValue
from tests.live.shop import NativeTally

CONTEXT = Context(np.array([[1.0], [3.0], [2.0], [9.0]]), np.array([True, True, True, False]), np.arange(4))


@testing.parametrize(
    Mixture(policies=(LinUCB(), LinTS()), shares=(0.25, 0.75)),
    Mixture(policies=(WithFloor(policy=Mixture(policies=(LinTS(),), shares=(1.0,))), EpsilonGreedy()), shares=(0.5, 0.5)),
)
def test_conforms(policy, check):
    check(policy)


@testing.parametrize(
    Mixture(policies=(WithFloor(policy=NativeTally()), LinUCB()), shares=(0.25, 0.75)),
    skip={"weight": "NativeTally counts every round once"},
)
def test_conforms_with_a_native_policy_inside(policy, check):
    check(policy)


def test_the_probabilities_are_the_shares_of_the_policies():
    policy = Mixture(policies=(LinUCB(), Uniform(), EpsilonGreedy(epsilon=0.3)), shares=(0.5, 0.2, 0.3))
    probs = policy.probs(policy.init(-np.ones(1)), None, CONTEXT)
    greedy, uniform = np.array([0, 1.0, 0, 0]), np.array([1, 1, 1, 0]) / 3
    optimist = LinUCB().probs(LinUCB().init(-np.ones(1)), None, CONTEXT)
    frugal = EpsilonGreedy(epsilon=0.3).probs(EpsilonGreedy().init(-np.ones(1)), None, CONTEXT)
    np.testing.assert_allclose(probs, 0.5 * optimist + 0.2 * uniform + 0.3 * frugal, rtol=1e-12)
    assert not np.allclose(optimist, greedy)  # the beliefs differ from the truth, so that the parts do too


def test_each_policy_takes_random_numbers_of_its_own():
    twins = Mixture(policies=(LinTS(num_draws=1), LinTS(num_draws=1)), shares=(0.5, 0.5))
    state = twins.init(np.zeros(4))
    context = Context(np.eye(4), np.ones(4, bool), np.arange(4))
    answers = [tuple(twins.probs(state, np.random.default_rng(seed), context)) for seed in range(20)]
    assert any(sorted(answer) == [0, 0, 0.5, 0.5] for answer in answers)


def test_native_states_inside_are_freed():
    open_before = len(NativeTally.open_states)
    policy = Mixture(policies=(NativeTally(), Mixture(policies=(NativeTally(),), shares=(1.0,))), shares=(0.5, 0.5))
    state = policy.init(np.zeros(2))
    assert len(NativeTally.open_states) == open_before + 2
    again = states.loads(policy, state, states.dumps(policy, state))
    states.close(policy, state)
    states.close(policy, again)
    assert len(NativeTally.open_states) == open_before


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"policies": (), "shares": ()}, "Mixture.policies must be a tuple of one or more policies, got ()"),
        ({"policies": [LinTS()], "shares": (1.0,)}, "Mixture.policies must be a tuple of one or more policies, got ["),
        (
            {"policies": (LinTS(),), "shares": (0.5, 0.5)},
            "Mixture.shares must be a tuple of 1 numbers, one for each policy, got (0.5,",
        ),
        ({"policies": (LinTS(), LinUCB()), "shares": (1.0, 0.0)}, "Mixture.shares[1] must be a finite number > 0 and <= 1, got 0.0"),
        ({"policies": (LinTS(), LinUCB()), "shares": (0.5, 0.6)}, "Mixture.shares must sum to 1, got (0.5, 0.6) with sum 1.1"),
    ],
)
def test_bad_settings_are_refused(fields, message):
    with pytest.raises(InvalidValue, match=re.escape(message)):
        Mixture(**fields)


def test_policies_without_an_engine_in_common_are_refused():
    class OnJax(LinUCB):
        runs_on = ("jax",)

    with pytest.raises(InvalidValue, match="must have an engine that all of them run on"):
        Mixture(policies=(NativeTally(), OnJax()), shares=(0.5, 0.5))
