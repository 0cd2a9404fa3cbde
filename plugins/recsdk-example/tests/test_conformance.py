from recsdk_example import PriceMatch, SgdSoftmax

from recsdk import testing


@testing.parametrize(SgdSoftmax(), SgdSoftmax(temperature=0.05, rate=0.2))
def test_the_policy_conforms(policy, check):
    check(policy)


@testing.parametrize_scorers(PriceMatch(budget="age"))  # a number that the kit's requests have, and sometimes lack
def test_the_scorer_conforms(scorer, check):
    check(scorer)
