"""Tests of propensities: what they say of true logs of policies that learn, and of false ones."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import recsdk
from recsdk import ope
from recsdk.ope.calibration import NOT_TAKEN, NUM_BETS, STAKES, log_factors, log_factors_by, log_fortune, total_log_factors, z_score
from tests.ope import adaptive_world

SUSPICIONS = ("propensities", "mean weight")


def suspicions(log, target=None):
    """Returns the reasons that speak of wrong propensities."""
    size, num_items = log.context.mask.shape
    rounds = ope.rounds(log, np.full((size, num_items), 1 / num_items) if target is None else target)
    return [reason for reason in ope.judge(ope.diagnose(rounds)).reasons if any(word in reason.split(":")[0] for word in SUSPICIONS)]


@given(st.floats(1e-4, 1))
def test_no_bet_on_a_true_propensity_has_an_advantage(chance):
    factors = np.exp(log_factors(np.array([1 / chance])))[:, 0]
    expected = chance * factors + (1 - chance) * np.exp(NOT_TAKEN)
    fair = np.concatenate([np.ones(len(STAKES), bool), STAKES * (1 / chance - 1) <= 1])
    assert expected[fair] == pytest.approx(1)


def test_a_fortune_is_large_by_chance_as_rarely_as_it_says():
    # The chance falls to .005 once the item was unlucky, as that of a policy that learns does.
    rng = np.random.default_rng(0)
    num_logs, size = 4000, 400
    chance = np.full(num_logs, 0.3)
    log_wealth, largest = np.zeros((num_logs, NUM_BETS)), 1 / 0.005
    for _ in range(size):
        taken = rng.random(num_logs) < chance
        log_wealth += log_factors(taken / chance).T
        chance = np.where(taken & (rng.random(num_logs) < 0.5), 0.005, chance)
    fortune = np.exp(log_fortune(log_wealth, largest))
    for odds in (5, 20, 100):
        assert (fortune >= odds).mean() <= 1 / odds + 4 * math.sqrt(1 / odds / num_logs)
    assert fortune.mean() < 1.5
    scores = [z_score(wealth, largest) for wealth in log_wealth]
    assert np.mean(np.abs(scores) > 1.96) <= 0.05


def test_the_z_is_that_of_a_normal_test_of_the_same_chance():
    wealth = np.full(NUM_BETS, -math.inf)
    for surprise, z in ((math.log(1 / 0.05), 1.96), (math.log(1 / 6.795e-6), 4.5), (720.5, 37.86)):
        wealth[0] = surprise + math.log(NUM_BETS)
        assert z_score(wealth, 1.0) == pytest.approx(z, abs=0.01)
        assert z_score(np.roll(wealth, len(STAKES)), 1.0) == pytest.approx(-z, abs=0.01)
        assert z_score(wealth + math.log(7), 1.0, num_tests=7) == pytest.approx(z, abs=0.01)
    assert z_score(np.zeros(NUM_BETS), 1.0) == 0


@given(st.lists(st.floats(1e-3, 1e40), max_size=30))
def test_sums_of_logarithms_are_logarithms_of_products(ratios):
    ratio = np.array(ratios)
    np.testing.assert_allclose(total_log_factors(ratio), log_factors(ratio).sum(1), rtol=1e-9, atol=1e-12)


def accused(num_logs, size):
    return [seed for seed in range(num_logs) if suspicions(adaptive_world.play(seed, size).log)]


def accused_of_greed(num_logs, size, num_items=6):
    """Returns the true logs of a greedy policy that are suspected beside targets whose mass is on items that it rarely takes."""
    found = []
    for seed in range(num_logs):
        log = adaptive_world.play(seed, size, num_items=num_items, inner=recsdk.EpsilonGreedy(epsilon=0.01)).log
        shares = np.random.default_rng(seed).dirichlet(np.full(num_items, 0.2))
        always_first = np.eye(num_items)[0]
        found += [seed for probs in (always_first, shares) if suspicions(log, np.tile(probs, (size, 1)))]
    return found


def test_true_logs_of_a_greedy_policy_are_not_suspected_for_a_target_that_differs():
    assert accused_of_greed(20, 300) == []


@pytest.mark.slow
def test_of_400_true_logs_of_a_greedy_policy_none_is_suspected():
    assert accused_of_greed(400, 1000) == []  # 800 targets, each by chance at most once in 7,000


def test_true_logs_of_a_policy_that_learns_are_not_suspected():
    assert accused(8, 1000) == []


@pytest.mark.slow
def test_of_400_true_logs_of_a_policy_that_learns_none_is_suspected():
    assert accused(400, 1000) == []  # by chance at most one in 10,000


@pytest.mark.parametrize("seed", range(3))
def test_the_log_of_the_readmes_shop_is_not_suspected(seed, tmp_path):
    topics, rng = ["news", "sport", "music", "food"], np.random.default_rng(seed)
    items = [{"id": f"{topic}-{number}", "topic": topic} for topic in topics for number in range(5)]

    def same_topic(request, candidates):
        return candidates.features["topic"] == request.features["likes"]

    with recsdk.Recommender.open(tmp_path, items=items, scorers=["popularity", same_topic], policy="lin-ts", log_features="all") as shop:
        for _ in range(600):
            likes = topics[rng.integers(4)]
            shown = shop.recommend({"likes": likes})
            shop.reward(shown.decision_id, float(rng.random() < (0.4 if shown.ids[0].startswith(likes) else 0.05)))
    log = recsdk.read_ledger(tmp_path)
    found = ope.evaluate(log, recsdk.LinUCB(), learn_from="all", engine="numpy", force=True)
    assert not [reason for reason in (*found.reasons, *suspicions(log)) if "propensities" in reason.split(":")[0]]
    assert "floor" not in " ".join(found.reasons)  # the log has one
    assert found.diagnostics.floor == pytest.approx(0.05, rel=0.2)


def test_each_false_propensity_in_the_log_of_a_policy_that_learns_is_suspected():
    log, probs, before = adaptive_world.play(0, 8000, num_items=8)
    rows, action = np.arange(8000), log.action
    assert suspicions(log) == []
    false = {
        "before the floor": np.maximum(before[rows, action], 1e-4),
        "rounded": np.maximum(log.propensity.round(2), 0.01),
        "of two items swapped": probs[rows, np.where((action == 0) | (action == 7), 7 - action, action)],
        "of the likeliest item": probs.max(1),
    }
    for name, propensity in false.items():
        assert suspicions(log._replace(propensity=propensity)), name


def test_rounds_of_weight_0_are_no_evidence():
    log = adaptive_world.play(2, 2000, num_items=8).log
    absent = np.arange(2000) % 2 == 1
    half = log._replace(weight=np.where(absent, 0.0, 1.0), propensity=np.where(absent, 0.01, log.propensity))
    assert suspicions(half) == []
    assert suspicions(half._replace(weight=np.ones(2000)))


@pytest.mark.parametrize("num_places", [1, 3, 40])
@pytest.mark.parametrize("largest", [2.9, 50.0, 1e40])
def test_the_sums_by_place_are_those_of_the_factors_one_by_one(num_places, largest):
    rng = np.random.default_rng(num_places)
    place, ratio = rng.integers(num_places, size=1003), 1 + (largest - 1) * rng.random(1003) ** 3
    place[place == 1] = 2 % num_places  # so that one place has no round
    wanted = np.stack([np.bincount(place, column, num_places) for column in log_factors(ratio)])
    np.testing.assert_allclose(log_factors_by(place, ratio, num_places), wanted, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(total_log_factors(ratio), log_factors(ratio).sum(1), rtol=1e-12, atol=1e-12)


def test_a_place_without_rounds_has_won_nothing():
    assert log_factors_by(np.zeros(0, np.int64), np.zeros(0), 3).tolist() == np.zeros((NUM_BETS, 3)).tolist()
