from recsdk_vw import VW

from recsdk import testing

RANGE = {"min_reward": -2, "max_reward": 2}  # the kit's rewards
POLICIES = [
    VW(exploration="epsilon", **RANGE),
    VW(exploration="softmax", inverse_temperature=5.0, **RANGE),  # Vowpal Wabbit's 1 is nearly uniform, and so learns too little
    VW(exploration="bag", **RANGE),
    VW(exploration="cover", **RANGE),
    VW(exploration="regcb", mellowness=1e-3, **RANGE),  # with its 0.1 all candidates stay plausible for the kit's 1000 rounds
    VW(exploration="rnd", **RANGE),
    VW(exploration="first", **RANGE),
]


@testing.parametrize(VW(exploration="squarecb", **RANGE))
def test_squarecb_conforms(policy, check):
    check(policy)


@testing.parametrize(*POLICIES, skip={"honesty": "3 s each; as with squarecb, probs do not use the rng, which the law of purity checks"})
def test_the_other_explorations_conform(policy, check):
    check(policy)
