import numpy as np
import pytest

from recsdk import Context, EpsilonGreedy, LinTS, LinUCB, Uniform, WithFloor, testing
from recsdk.errors import InvalidValue

CONTEXT = Context(np.array([[1.0], [3.0], [2.0], [9.0]]), np.array([True, True, True, False]), np.arange(4))


@testing.parametrize(WithFloor(policy=LinUCB()), WithFloor(policy=WithFloor(policy=EpsilonGreedy(), floor=0.1), floor=0.3))
def test_conforms(policy, check):
    check(policy)


@testing.parametrize(WithFloor(policy=LinUCB(), floor=1), skip={"learns": "all its mass explores"})
def test_conforms_when_it_is_all_floor(policy, check):
    check(policy)


@pytest.mark.parametrize("floor", [0.01, 0.3, 1])
def test_every_candidate_keeps_its_share_of_the_floor(floor):
    policy = WithFloor(policy=LinUCB(), floor=floor)
    probs = policy.probs(policy.init(np.ones(1)), None, CONTEXT)
    np.testing.assert_allclose(probs, [floor / 3, 1 - floor + floor / 3, floor / 3, 0], atol=1e-15)


def test_the_floor_is_mixed_with_what_the_policy_draws():
    bare, floored = LinTS(num_draws=3), WithFloor(policy=LinTS(num_draws=3), floor=0.2)
    state = bare.init(np.zeros(1))
    probs = bare.probs(state, np.random.default_rng(0), CONTEXT)
    mixed = floored.probs(state, np.random.default_rng(0), CONTEXT)
    np.testing.assert_allclose(mixed, 0.8 * probs + 0.2 * Uniform().probs((), None, CONTEXT), rtol=1e-12)


def test_it_runs_and_learns_as_the_policy_it_wraps():
    class Native(LinUCB):
        runs_on = ("numpy",)
        learns_from = "all"

    floored = WithFloor(policy=Native())
    assert (floored.runs_on, floored.learns_from) == (("numpy",), "all")


@pytest.mark.parametrize("floor", [0, -0.1, 1.1, float("nan"), None])
def test_a_floor_outside_its_range_is_refused(floor):
    with pytest.raises(InvalidValue, match=r"WithFloor.floor must be a finite number > 0 and <= 1, got "):
        WithFloor(policy=LinUCB(), floor=floor)
