"""Requests that are unusual and right."""

import numpy as np
import pytest

from recsdk import EpsilonGreedy, arrays, ope, read_ledger
from recsdk.encoders.two_tower import TwoTower
from recsdk.errors import InsufficientOverlap
from tests.live.shop import IDS, open_recommender, request, serve, small_recommender

ENCODER = TwoTower(dim=4, num_buckets=64, hidden=(8,), progress=False)
SIZES = (0.0, -0.0, 5e-324, 1e-30, -1e-30, 1e30, -1e30, 1.7e308)


@pytest.fixture
def shop(tmp_path):
    with open_recommender(tmp_path, policy="boltzmann", encoder=ENCODER, scorers=["crossed"], log_features="all") as recommender:
        serve(recommender, range(40))
        yield recommender


def probs(shop, name, given, **options):
    """Returns the probability of each item at the top of a new decision."""
    shop.recommend(given, decision_id=name, **options)
    record = shop._loop.ledger.decision(name)
    return dict(zip(shop.catalogue.items.ids[record.slots].tolist(), record.probs[0].tolist(), strict=True))


def test_named_candidates_in_another_order_have_the_same_probabilities(shop):
    expected = probs(shop, "in order", request(3), candidates=IDS)
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(IDS).tolist()
        found = probs(shop, f"in order {seed}", request(3), candidates=order)
        assert list(found) == order
        assert found == pytest.approx(expected, abs=1e-12)
    assert len({round(share, 12) for share in expected.values()}) > 4


def test_a_missing_feature_is_one_that_is_none_and_shifts_no_other(shop):
    known = {"user_id": "u1", "phone": True}
    found = []
    for number, given in enumerate([known, {**known, "age": None, "likes": None}, dict(reversed(known.items()))]):
        shop.recommend(given, decision_id=f"without {number}")
        found.append(shop._loop.ledger.decision(f"without {number}").features)
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])
    shop.recommend({**known, "age": 3}, decision_id="with")
    assert (shop._loop.ledger.decision("with").features != found[0]).any()


@pytest.mark.parametrize("policy", ["lin-ts", "lin-ucb", "squarecb", "wide-deep"])
def test_huge_and_tiny_features_have_finite_probabilities_and_are_learned_from(tmp_path, policy):
    items = [{"id": f"i{number}", "price": size} for number, size in enumerate(SIZES)]
    with open_recommender(tmp_path, items=items, encoder=ENCODER, scorers=["popularity", "crossed"], policy=policy) as shop:
        for number, size in enumerate(SIZES * 3):
            found = np.array(list(probs(shop, f"d{number}", {"age": size}).values()))
            assert np.isfinite(found).all()
            assert (found > 0).all()
            assert found.sum() == pytest.approx(1, abs=1e-12)
            shop.reward(f"d{number}", float(number % 2))
        assert shop.audit()


def is_first(request, candidates):
    return candidates.ids == "news-0"


def test_the_log_of_a_greedy_policy_answers_for_no_other(tmp_path):
    with small_recommender(tmp_path, policy=EpsilonGreedy(epsilon=0), floor=0, scorers=[is_first], log_features="all") as shop:
        shop.reward(shop.recommend({}, candidates=["news-0"]).decision_id, 1.0)
        for number in range(20):
            slate = shop.recommend({}, candidates=["news-0", "sport-0"], decision_id=f"d{number}")
            assert (slate.ids, slate.propensities) == (("news-0",), (1.0,))
            shop.reward(slate.decision_id, 1.0)
    log = arrays.at(read_ledger(tmp_path), slice(1, None))
    other = log.context.mask & (np.arange(2) != log.action[:, None])
    with pytest.raises(InsufficientOverlap):
        ope.evaluate(log, other.astype(float))
