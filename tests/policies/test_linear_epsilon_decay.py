import numpy as np
import pytest

from recsdk import Context, EpsilonDecay, Interaction, simulate, testing
from recsdk.environments import LinearWorld
from recsdk.errors import InvalidValue

CONTEXT = Context(np.array([[1.0], [3.0], [2.0], [9.0]]), np.array([True, True, True, False]), np.arange(4))


@testing.parametrize(EpsilonDecay(tries=5.0))
def test_conforms(policy, check):
    check(policy)


@pytest.mark.parametrize(("learned", "epsilon"), [(0, 1.0), (5, 1.0), (11, 0.5), (59, 0.1), (119, 0.06), (10**6, 0.06)])
def test_exploration_falls_with_the_weight_learned_down_to_the_floor(learned, epsilon):
    policy = EpsilonDecay(tries=2.0, floor=0.06)
    state = policy.update(policy.init(np.ones(1)), Interaction(CONTEXT, 1, 3.0, 1.0, float(learned)))
    probs = policy.probs(state, None, CONTEXT)
    np.testing.assert_allclose(probs, [epsilon / 3, 1 - epsilon + epsilon / 3, epsilon / 3, 0], atol=1e-12)


def test_it_explores_less_over_time_and_so_loses_less():
    regret = simulate(EpsilonDecay(tries=10.0), LinearWorld(num_candidates=5, dim=5), 3000, seed=0, engine="numpy").regret
    assert regret[2000:].mean() < regret[100:1000].mean() / 3


@pytest.mark.parametrize(("field", "value"), [("tries", -1.0), ("floor", 1.1), ("floor", -0.1), ("ridge", 0)])
def test_a_bad_setting_is_refused(field, value):
    with pytest.raises(InvalidValue, match=rf"EpsilonDecay.{field} must be a finite number"):
        EpsilonDecay(**{field: value})
