import numpy as np
import pytest

from recsdk import Boltzmann, Context, testing
from recsdk.errors import InvalidValue

CONTEXT = Context(np.array([[1.0], [3.0], [2.0], [9.0]]), np.array([True, True, True, False]), np.arange(4))


@testing.parametrize(Boltzmann(temperature=0.2))
def test_conforms(policy, check):
    check(policy)


@pytest.mark.parametrize("temperature", [0.1, 1.0, 30.0])
def test_odds_are_exponential_in_the_estimates(temperature):
    policy = Boltzmann(temperature=temperature)
    probs = policy.probs(policy.init(np.array([0.5])), None, CONTEXT)
    weights = np.exp(np.array([0.5, 1.5, 1.0]) / temperature)
    np.testing.assert_allclose(probs, [*(weights / weights.sum()), 0], rtol=1e-12)


@pytest.mark.parametrize("temperature", [0, -1.0, float("inf")])
def test_a_bad_temperature_is_refused(temperature):
    with pytest.raises(InvalidValue, match=r"Boltzmann.temperature must be a finite number > 0, got "):
        Boltzmann(temperature=temperature)
