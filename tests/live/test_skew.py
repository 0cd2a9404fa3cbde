"""Decisions made again from the folder come out as they were, unless a part answers otherwise than it did."""

import json
from typing import ClassVar

import attrs
import numpy as np
import pytest

from recsdk import Traffic, Trials
from recsdk.errors import InvalidValue, LedgerMismatch
from recsdk.ledger.sqlite import Sqlite
from recsdk.live.skew import recompute
from recsdk.policies.wrappers import WithFloor
from recsdk.scorers.recency import Recency
from tests.live.shop import IDS, Centred, Hashing, TopicTally, open_recommender, request, serve, small_recommender

OUTSIDE = {"weather": 0.0}
"""What parts read that is not in their arguments."""


def weather(request, items):
    return np.full(len(items.ids), OUTSIDE["weather"]) * items.features["price"]


@attrs.frozen(kw_only=True)
class Moody:
    """A policy that reads what is not in its arguments."""

    runs_on: ClassVar[tuple[str, ...]] = ("numpy",)
    learns_from: ClassVar[str] = "chosen"

    def init(self, prior):
        return np.zeros(1)

    def probs(self, state, rng, context):
        weights = np.where(context.mask, 1.0 + OUTSIDE["weather"] * context.item, 0.0)
        return weights / weights.sum()

    def update(self, state, interaction):
        return state


@pytest.fixture(autouse=True)
def _fine():
    OUTSIDE["weather"] = 0.0


PARTS = {
    "linear": {"encoder": None, "scorers": [Recency(half_life=60.0)], "policy": "lin-ts"},
    "online": {"encoder": None, "scorers": ["popularity", TopicTally()], "policy": "wide-deep"},
    "deep": {"encoder": Hashing(), "scorers": [Recency(half_life=60.0)], "policy": "lin-ucb"},
    "all": {"encoder": Hashing(), "scorers": [], "policy": Centred()},
    "trial": {"encoder": None, "scorers": [], "policy": "lin-ts", "reward_range": (0, 1), "trials": Trials(challengers={"x": "exp3"})},
}


@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS)
def test_what_nobody_touched_comes_out_the_same(tmp_path, parts):
    for start in (0, 15):
        with open_recommender(tmp_path, **parts, snapshot_every=7) as shop:
            serve(shop, range(start, start + 15))
            shop.recommend(request(1), size=3, pinned={1: IDS[0]}, promoted={0: IDS[4:6], 2: IDS[7:8]}, decision_id=f"placed-{start}")
            shop.add_items([{"id": f"new-{start}", "topic": "news", "price": 2.5}])
            shop.remove_items([IDS[-1 - start // 15]])
    given = {name: parts[name] for name in ("encoder", "scorers") if parts[name]}
    given |= {"scorers": shop._loop.evidence.scorers, "policy": shop.policy if parts["policy"] == Centred() else None}
    found = recompute(tmp_path, share=1.0, **given)
    assert (found.num_same, found.different, found.num_left_out) == (32, {}, 0)


def test_a_share_of_the_decisions_is_made_again_always_the_same(tmp_path):
    with small_recommender(tmp_path, policy="lin-ts") as shop:
        for _ in range(400):
            shop.recommend({})
    found = recompute(tmp_path, share=0.1)
    assert 15 <= found.num_same <= 70
    assert recompute(tmp_path, share=0.1) == found
    assert recompute(tmp_path, share=0.0) == (0, {}, 0)


def test_a_scorer_that_answers_otherwise_than_it_did_is_found(tmp_path):
    with small_recommender(tmp_path, scorers=[weather], policy="lin-ts", log_features="all") as shop:
        serve(shop, range(5))
        OUTSIDE["weather"] = 1.0
        serve(shop, range(5, 8))
        scorers = shop._loop.evidence.scorers
    with pytest.raises(LedgerMismatch, match="give the part itself"):
        recompute(tmp_path, share=1.0)
    assert recompute(tmp_path, share=1.0, scorers=scorers) == (3, dict.fromkeys([f"d{n}" for n in range(5)], "features"), 0)


def test_a_policy_that_answers_otherwise_than_it_did_is_found(tmp_path):
    with small_recommender(tmp_path, policy=Moody(), floor=0.1) as shop:
        serve(shop, range(5))
        OUTSIDE["weather"] = 1.0
        serve(shop, range(5, 8))
    found = recompute(tmp_path, share=1.0, policy=WithFloor(policy=Moody(), floor=0.1))
    assert found == (3, dict.fromkeys([f"d{n}" for n in range(5)], "probabilities"), 0)


def test_a_state_that_is_not_the_fold_is_found(tmp_path):
    OUTSIDE["weather"] = 1.0
    with small_recommender(tmp_path, policy="boltzmann", scorers=[weather]) as shop:  # a price that counts more changes its probabilities
        serve(shop, range(5))
        shop._loop.learner.state.mean[:] += 1
        serve(shop, range(5, 8))
        scorers = shop._loop.evidence.scorers
    assert recompute(tmp_path, share=1.0, scorers=scorers) == (5, dict.fromkeys(["d5", "d6", "d7"], "probabilities"), 0)


def test_another_draw_from_the_same_probabilities_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr("secrets.token_bytes", bytes)
    with small_recommender(tmp_path, policy="uniform") as shop:
        serve(shop, range(20), size=1)
    ledger = Sqlite().open(tmp_path)
    ledger.put("salt", b"another secret")
    ledger.close()
    found = recompute(tmp_path, share=1.0)
    assert set(found.different.values()) == {"items"}
    assert len(found.different) > 10


def test_where_arithmetic_is_another_only_features_are_compared(tmp_path):
    with small_recommender(tmp_path, policy=Moody(), scorers=[weather]) as shop:
        serve(shop, range(5))
        scorers, policy = shop._loop.evidence.scorers, shop.policy
    ledger = Sqlite().open(tmp_path)
    header = json.loads(ledger.get("snapshot/header"))
    ledger.put("snapshot/header", json.dumps(header | {"arithmetic": "elsewhere"}).encode())
    ledger.close()
    found = recompute(tmp_path, share=1.0, scorers=scorers, policy=policy)
    OUTSIDE["weather"] = 1.0
    assert found == (5, {}, 0)
    assert set(recompute(tmp_path, share=1.0, scorers=scorers, policy=policy).different.values()) == {"features"}


def test_what_cannot_be_made_again_is_left_out_and_counted(tmp_path):
    with small_recommender(tmp_path, policy="lin-ucb") as shop:
        serve(shop, range(3))  # of another policy
    with small_recommender(tmp_path, policy="lin-ts", traffic=Traffic(burn_in=5)) as shop:
        serve(shop, range(3, 5))  # uniform
        serve(shop, range(5, 9))
        shop.recommend({}, chosen=IDS[:1])
    assert recompute(tmp_path, share=1.0) == (4, {}, 6)
    with small_recommender(tmp_path, policy="lin-ts") as shop:
        shop.correct("d5/0", 0.5)  # which it can forget
        serve(shop, range(9, 11))
    assert recompute(tmp_path, share=1.0) == (6, {}, 6)
    with small_recommender(tmp_path, policy="lin-ts") as shop:
        shop.forget("u0")  # of d0 and d7
    assert recompute(tmp_path, share=1.0) == (0, {}, 10)


def test_after_a_correction_that_it_cannot_forget_nothing_is_made_again(tmp_path):
    with small_recommender(tmp_path, policy="exp3") as shop:
        serve(shop, range(5))
        shop.correct("d1/0", 0.5)
        serve(shop, range(5, 7))
    assert recompute(tmp_path, share=1.0) == (5, {}, 2)


def test_a_share_out_of_its_range_is_refused(tmp_path):
    with pytest.raises(InvalidValue, match="share must be"):
        recompute(tmp_path, share=1.5)
