import attrs
import numpy as np
import pytest
from recsdk_vw import VW, learner
from recsdk_vw.arguments import EXPLORATIONS
from recsdk_vw.trials import TRIALS

from recsdk import Context, Interaction, decide, testing
from recsdk.errors import InvalidProbs
from recsdk.testing.parametrization import law_of

NUM_ROUNDS = 3000  # from the command line it is watched for 10,000


def policy_of(name):
    return VW(exploration=name.removeprefix("vw-"), **TRIALS[name].hyperparameters)


def test_every_exploration_has_a_trial():
    assert TRIALS.keys() == {f"vw-{exploration}" for exploration in EXPLORATIONS}


def tried(name):
    return testing.parametrize(policy_of(name), skip=TRIALS[name].skip, num_rounds=NUM_ROUNDS)


@tried("vw-epsilon")
def test_epsilon_conforms(policy, check):
    check(policy)


@tried("vw-softmax")
def test_softmax_conforms(policy, check):
    check(policy)


@tried("vw-bag")
def test_bag_conforms(policy, check):
    check(policy)


@tried("vw-cover")
def test_cover_conforms(policy, check):
    check(policy)


@tried("vw-squarecb")
def test_squarecb_conforms(policy, check):
    check(policy)


@tried("vw-regcb")
def test_regcb_conforms(policy, check):
    check(policy)


@tried("vw-rnd")
def test_rnd_conforms(policy, check):
    check(policy)


@tried("vw-first")
def test_first_conforms(policy, check):
    check(policy)


def test_the_lines_that_are_kept_do_not_grow_for_ever(monkeypatch):
    monkeypatch.setattr(learner, "MAX_CHARACTERS", 2**13)
    memory = next(check for check in testing.POLICY_CHECKS if law_of(check) == "memory")
    memory(attrs.evolve(policy_of("vw-epsilon"), bits=8))


def test_features_too_large_for_rnd_are_refused_before_anything_is_drawn():
    policy = policy_of("vw-rnd")
    near, far = (Context(np.full((2, 1), size), np.ones(2, bool), np.arange(2)) for size in (1.0, 1e30))
    state = policy.update(policy.init(np.zeros(1)), Interaction(near, np.int64(0), np.float64(1), np.float64(0.5), np.float64(1)))
    with pytest.raises(InvalidProbs, match=r"probs must be finite float64\[2\]"):
        decide(policy, state, np.random.default_rng(0), far)
    policy.close(state)
