import numpy as np
import pytest

from recsdk import Context, EpsilonGreedy, testing
from recsdk.errors import InvalidValue


@testing.parametrize(EpsilonGreedy(), EpsilonGreedy(epsilon=0.0))
def test_conforms(policy, check):
    check(policy)


@testing.parametrize(EpsilonGreedy(epsilon=1.0), skip={"learns": "all its mass explores"})
def test_conforms_when_it_only_explores(policy, check):
    check(policy)


@pytest.mark.parametrize("epsilon", [0.0, 0.4, 1.0])
def test_the_best_gets_what_exploration_leaves(epsilon):
    policy = EpsilonGreedy(epsilon=epsilon)
    context = Context(np.array([[1.0], [3.0], [2.0], [9.0]]), np.array([True, True, True, False]), np.arange(4))
    probs = policy.probs(policy.init(np.ones(1)), None, context)
    np.testing.assert_allclose(probs, [epsilon / 3, 1 - epsilon + epsilon / 3, epsilon / 3, 0], atol=1e-15)


@pytest.mark.parametrize("epsilon", [-0.01, 1.01, float("nan")])
def test_a_share_outside_its_range_is_refused(epsilon):
    with pytest.raises(InvalidValue, match=r"EpsilonGreedy.epsilon must be a finite number >= 0 and <= 1, got "):
        EpsilonGreedy(epsilon=epsilon)
