import numpy as np

from recsdk import Context, Uniform, testing


@testing.parametrize(Uniform(), skip={"learns": "Uniform learns nothing"})
def test_conforms(policy, check):
    check(policy)


def test_every_candidate_is_as_likely_as_any_other():
    context = Context(np.zeros((4, 1)), np.array([True, False, True, True]), np.arange(4))
    np.testing.assert_allclose(Uniform().probs((), None, context), [1 / 3, 0, 1 / 3, 1 / 3], rtol=1e-15)
