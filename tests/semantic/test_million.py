"""A million items: draws are what sums over all of them say."""

import numpy as np
import pytest

from recsdk import Boltzmann
from recsdk.ope import delta
from recsdk.ope.slates import slate_snips
from recsdk.semantic import TreePolicy, add, as_slates, build, fit, remove
from tests.semantic.worlds import DIM, FLOOR, TEMPERATURE, softmax_walk, user_of, vectors_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
NUM_ITEMS, ROUNDS = 1_000_000, 8_000


@pytest.fixture(scope="module")
def tree():
    vectors = vectors_of(NUM_ITEMS)
    grown = add(build(fit(vectors[:900_000]), vectors[:900_000]), np.arange(900_000, NUM_ITEMS), vectors)
    return remove(grown, np.arange(0, NUM_ITEMS, 1000))


def test_draws_from_a_million_items_are_as_their_propensities_say(tree):
    policy, user, rng = TreePolicy(policy=Boltzmann(temperature=TEMPERATURE), floor=FLOOR), user_of(1), np.random.default_rng(0)
    state, seen = policy.init(tree), np.arange(1, NUM_ITEMS, 5000)
    probs = softmax_walk(tree, [part.mean for part in state], user, seen)
    walks = [policy.decide(state, rng, tree, user, excluded=seen) for _ in range(ROUNDS)]
    items = np.array([walk.item for walk in walks])
    assert np.abs(np.array([walk.propensity for walk in walks]) / probs[items] - 1).max() < 1e-9
    assert abs(probs.sum() - 1) < 1e-12
    assert not probs[seen].any()
    order = np.argsort(-probs)
    fiftieth = np.empty(NUM_ITEMS, np.int64)
    fiftieth[order] = np.minimum(50 * np.cumsum(probs[order]), 49)
    bins = {
        "first codes": np.maximum(tree.words, 0) // tree.book.size**2,
        "items at random": np.random.default_rng(9).integers(200, size=NUM_ITEMS),
        "items by probability": fiftieth,
    }
    for name, bin_of in bins.items():
        wanted = ROUNDS * np.bincount(bin_of, probs)
        found, kept = np.bincount(bin_of[items], minlength=len(wanted)), wanted > 5
        chi_squared = (np.square(found - wanted)[kept] / wanted[kept]).sum()
        assert abs(chi_squared - kept.sum()) < 4 * np.sqrt(2 * kept.sum()), name


def test_the_value_of_another_policy_over_a_million_items_is_covered(tree):
    logger, target = (TreePolicy(policy=Boltzmann(temperature=temperature), floor=0.2) for temperature in (0.6, 0.4))
    user, rng, covered = user_of(2), np.random.default_rng(1), 0
    mean = 1 / (1 + np.exp(-(tree.vectors @ user) / np.sqrt(DIM)))
    state = target.init(tree)
    truth = softmax_walk(tree, [part.mean for part in state], user, temperature=0.4, floor=0.2) @ mean
    for _ in range(20):
        walks = [logger.decide(state, rng, tree, user) for _ in range(500)]
        reward = [float(rng.random() < mean[walk.item]) for walk in walks]
        found = delta(slate_snips(as_slates(walks, reward, [target.steps(state, rng, tree, user, walk.item) for walk in walks])))
        covered += found.low <= truth <= found.high
    assert covered >= 16
