"""What is drawn: candidates and shown items come from streams of their own, and every place is shown as often as the log says."""

import hashlib
import json

import numpy as np
import pytest

from recsdk.errors import IgnoredInput
from recsdk.ledger.sqlite import SqliteLedger
from recsdk.live.recommender import Recommender
from tests.live.shop import small_recommender, tables

NUM_ITEMS, NUM_CANDIDATES, NUM_DECISIONS, SIZE = 40, 8, 1_500, 2


def price(request, candidates):
    return candidates.features["price"]


@pytest.fixture(scope="module", params=["uniform", "lin-ts"])
def records(request, tmp_path_factory):
    """Decisions among candidates that are a part of the catalogue, by a salt that is always the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("secrets.token_bytes", lambda size: bytes(range(size)))
        shop = Recommender.open(
            tmp_path_factory.mktemp(request.param),
            items=[{"id": f"i{k}", "price": k / NUM_ITEMS} for k in range(NUM_ITEMS)],
            policy=request.param,
            scorers=[price],
            num_candidates=NUM_CANDIDATES,
            num_new=2,
        )
    with shop:
        for number in range(NUM_DECISIONS):
            slate = shop.recommend({}, size=SIZE, decision_id=f"d{number}")
            if number % 5 == 0:
                shop.reward(f"d{number}", float(int(slate.ids[0][1:]) % 3 == 0), item=slate.ids[0])
        yield list(shop._loop.ledger.decisions())


def worst(records, key, num_keys):
    """Returns the largest |z| of how often a key was shown, against the probabilities that were logged."""
    shown, expected, variance = np.zeros((3, SIZE, num_keys))
    for record in records:
        for position, (action, probs) in enumerate(zip(record.action, record.probs, strict=True)):
            keys = key(record)
            shown[position, keys[action]] += 1
            np.add.at(expected[position], keys, probs)
            np.add.at(variance[position], keys, probs * (1 - probs))
    return (abs(shown - expected) / np.sqrt(np.maximum(variance, 1))).max()


def test_every_place_among_the_candidates_is_shown_as_often_as_the_log_says(records):
    assert worst(records, lambda record: np.arange(NUM_CANDIDATES), NUM_CANDIDATES) < 4


def test_every_item_is_shown_as_often_as_the_log_says(records):
    assert worst(records, lambda record: record.slots, NUM_ITEMS) < 4.2


def test_candidates_and_the_draw_among_them_have_streams_of_their_own(tmp_path):
    with small_recommender(tmp_path) as shop:
        assert shop._loop.decider.rng("d", b"candidates").random() != shop._loop.decider.rng("d").random()
        assert shop._loop.decider.rng("d").random() == shop._loop.decider.rng("d").random()


def test_a_snapshot_is_written_after_the_rewards_in_it_are_durable(tmp_path, monkeypatch):
    put, seen = SqliteLedger.put, []

    def watched(self, name, data):
        if name == "snapshot/header":
            seen.append((json.loads(data)["num_learned"], len(tables(tmp_path)["rewards"])))
        return put(self, name, data)

    monkeypatch.setattr(SqliteLedger, "put", watched)
    with small_recommender(tmp_path, snapshot_every=3) as shop:
        for number in range(9):
            shop.reward(shop.recommend({}, decision_id=f"d{number}").decision_id, 1.0)
    assert [learned for learned, _ in seen] == [3, 6, 9, 9]
    assert all(durable >= learned for learned, durable in seen)


def good(request, candidates):
    return candidates.features["good"]


def share_of_the_best(folder, num_items, **options):
    """Returns how often the one good item is shown in the last of 300 requests."""
    rng, shown = np.random.default_rng(0), []
    items = [{"id": f"i{k}", "good": float(k == num_items // 2)} for k in range(num_items)]
    with Recommender.open(folder, items=items, scorers=[good], policy="lin-ts", clock=lambda: 1e9, **options) as shop:
        for _ in range(300):
            slate = shop.recommend({})
            shown.append(slate.ids[0] == f"i{num_items // 2}")
            shop.reward(slate.decision_id, float(rng.random() < (0.9 if shown[-1] else 0.05)))
    return np.mean(shown[-150:])


def test_without_an_encoder_the_best_item_of_a_large_catalogue_is_found(tmp_path):
    assert share_of_the_best(tmp_path, 600) > 0.85


def test_a_catalogue_that_is_not_scored_as_a_whole_is_said_once(tmp_path):
    with pytest.warns(
        IgnoredInput, match=r"Of 600 items, 300 are drawn for each request and scored: give an encoder, or raise num_scored"
    ) as caught:
        share = share_of_the_best(tmp_path, 600, num_scored=300)
    assert len(caught) == 1
    assert 0.3 < share < 0.65


def test_with_an_encoder_or_few_items_no_policy_is_asked_for_the_candidates(tmp_path):
    with small_recommender(tmp_path, num_candidates=12) as shop:
        shop.catalogue.found(np.random.default_rng(0), np.zeros(0), None, 12, 1, num_scored=5, score=pytest.fail)


def test_a_draw_is_the_stream_that_philox_makes_of_its_key(tmp_path):
    with small_recommender(tmp_path) as shop:
        salt = shop._loop.ledger.get("salt")
        key = hashlib.blake2b(b"d", key=salt, digest_size=16, person=b"candidates").digest()
        wanted = np.random.Generator(np.random.Philox(key=np.frombuffer(key, "<u8")))
        assert shop._loop.decider.rng("d", b"candidates").random(9).tolist() == wanted.random(9).tolist()
