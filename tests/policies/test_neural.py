from recsdk import NeuralLinear, NeuralSquareCB, testing


@testing.parametrize(NeuralSquareCB(widths=(8,), memory=64), NeuralLinear(widths=(8,), memory=64, refresh=16))
def test_conforms(policy, check):
    check(policy)
