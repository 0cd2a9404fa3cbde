"""Pinned and promoted items, and the application's own choice: what is shown, what is logged, what is learned and evaluated."""

import itertools

import numpy as np
import pytest

import recsdk
from recsdk.errors import EmptyLog, InvalidRequest, TooFewCandidates, UnfitDecisions, UnknownItem
from recsdk.live import marks
from recsdk.live.log import count_decisions
from tests.live.shop import IDS, Centred, Clock, small_recommender

PINNED, PROMOTED = {1: "news-0"}, {2: ["sport-0", "sport-1"]}


@pytest.fixture(autouse=True)
def _drawn_alike(monkeypatch):
    """Every run of a test draws the same."""
    ids = itertools.count()
    monkeypatch.setattr("secrets.token_bytes", lambda size: bytes(range(size)))
    monkeypatch.setattr("secrets.token_hex", lambda size: f"{next(ids):0{2 * size}}")


def cheap(request, items):
    return items.features["price"] < 2


@pytest.fixture
def shop(tmp_path):
    with small_recommender(tmp_path, log_features="all", policy="lin-ts") as opened:
        yield opened


def the_record(shop):
    return list(shop._loop.ledger.decisions())[-1]


def test_a_pinned_item_stands_at_its_position_and_nowhere_else(shop):
    for number in range(60):
        slate = shop.recommend({}, size=4, pinned=PINNED, decision_id=f"d{number}")
        assert slate.ids.index("news-0") == 1
        assert len(set(slate.ids)) == 4
        assert slate.propensities[1] == 1.0
        assert the_record(shop).probs[[0, 2, 3], list(the_record(shop).slots).index(0)].tolist() == [0.0] * 3


def test_a_pinned_item_is_shown_whatever_the_rules_and_seen_say_and_others_are_not(tmp_path):
    with small_recommender(tmp_path, rules=[cheap]) as shop:
        slate = shop.recommend({}, size=3, pinned={0: "news-3", 1: "sport-0"}, seen=["sport-0", "music-0"])
        assert slate.ids[:2] == ("news-3", "sport-0")
        assert slate.ids[2] in {"news-0", "news-1", "sport-1", "music-1"}
        slate = shop.recommend({}, size=2, at_most=True, pinned={0: "news-3"}, seen=IDS)
        assert slate.ids == ("news-3",)


def test_probabilities_beside_pinned_and_promoted_items_are_over_what_is_left(shop):
    shop.recommend({}, size=4, pinned=PINNED, promoted=PROMOTED)
    record = the_record(shop)
    for position, probs in enumerate(record.probs):
        assert probs.sum() == pytest.approx(1.0, abs=1e-12)
        left = marks.left(record, position)
        assert (probs > 0).tolist() == left.tolist()  # the floor reaches all
    assert [int(marks.left(record, position).sum()) for position in range(4)][:2] == [11, 1]
    assert set(shop.catalogue.items.ids[record.slots[marks.left(record, 2)]]) <= {"sport-0", "sport-1"}


def test_a_promoted_position_is_drawn_from_the_promoted_items_that_may_be_shown_and_else_from_all(tmp_path):
    with small_recommender(tmp_path, rules=[cheap]) as shop:
        shown = {shop.recommend({}, promoted={0: ["sport-0", "sport-1", "sport-3"]}).ids[0] for _ in range(60)}
        assert shown == {"sport-0", "sport-1"}
        shown = {shop.recommend({}, promoted={0: ["sport-0", "sport-3"]}, seen=["sport-0"]).ids[0] for _ in range(60)}
        assert len(shown) == 5
        assert the_record(shop).marks is None  # a plain draw


def test_named_candidates_are_joined_by_what_is_pinned_and_promoted(shop):
    slate = shop.recommend({}, size=3, candidates=["music-0", "music-1"], pinned={0: "news-3"}, promoted={1: ["sport-3"]})
    assert slate.ids[:2] == ("news-3", "sport-3")
    assert slate.ids[2].startswith("music")


@pytest.mark.parametrize(
    ("wanted", "error", "match"),
    [
        ({"pinned": {2: "news-0"}}, InvalidRequest, "pinned must have positions from 0 to 1"),
        ({"pinned": {True: "news-0"}}, InvalidRequest, "pinned must have positions"),
        ({"pinned": ["news-0"]}, InvalidRequest, "pinned must be a mapping by position"),
        ({"pinned": {0: 7}}, InvalidRequest, r"pinned\[0\] must be an item id"),
        ({"pinned": {0: "news-0", 1: "news-0"}}, InvalidRequest, "pinned must give each item one position"),
        ({"pinned": {0: "gone"}}, UnknownItem, "No item 'gone'"),
        ({"promoted": {0: ["gone"]}}, UnknownItem, "No item 'gone'"),
        ({"promoted": {0: []}}, InvalidRequest, "promoted must have at least one item"),
        ({"promoted": {0: "news-0"}}, InvalidRequest, "must be a sequence of item ids"),
        ({"pinned": {0: "news-0"}, "promoted": {0: ["news-1"]}}, InvalidRequest, "none of them pinned"),
        ({"chosen": ["news-0"]}, InvalidRequest, "chosen must be size = 2 different item ids"),
        ({"chosen": ["news-0", "news-0"]}, InvalidRequest, "chosen must be size = 2 different item ids"),
        ({"chosen": ["news-0", "gone"]}, UnknownItem, "No item 'gone'"),
        ({"chosen": ["news-0", "news-1"], "pinned": {0: "news-0"}}, InvalidRequest, "leave pinned and promoted out"),
        ({"pinned": {1: "news-0"}, "candidates": ["news-0"], "at_most": True}, TooFewCandidates, "pinned must have positions below 1"),
    ],
)
def test_what_cannot_be_placed_is_refused_and_nothing_is_logged(shop, wanted, error, match):
    with pytest.raises(error, match=match):
        shop.recommend({}, size=2, **wanted)
    assert not list(shop._loop.ledger.decisions())


def test_the_applications_choice_is_shown_learned_and_compared_with_the_policy(shop):
    slate = shop.recommend({}, size=2, chosen=["music-3", "news-1"])
    assert (slate.ids, slate.propensities) == (("music-3", "news-1"), (1.0, 1.0))
    shop.reward_slate(slate.decision_id, {"news-1": 1.0})
    assert shop.num_learned == 2
    assert shop.audit()
    assert marks.read(the_record(shop)).agreement == pytest.approx((1 / 12, 1 / 11))  # nothing is known yet, all are equal


def test_a_log_leaves_out_what_was_not_drawn_and_says_how_many(tmp_path):
    with small_recommender(tmp_path, log_features="all", clock=Clock(), traffic=recsdk.Traffic(sticky=100)) as shop:
        for number in range(6):
            shop.reward_slate(shop.recommend({}, size=2, pinned={0: "news-0"}, user=f"u{number}").decision_id, {})
        for _ in range(3):
            shop.reward_slate(shop.recommend({}, size=2, chosen=["news-0", "news-1"]).decision_id, {})
        shop.recommend({}, size=2, pinned={0: "news-0"}, user="u0")
        shop.reward_slate(shop.recommend({}, size=2).decision_id, {})
    with pytest.warns(UnfitDecisions, match="position 1, .*: 3 chosen by the application and 1 served again"):
        log = recsdk.read_ledger(tmp_path, position=1)
    assert len(log.reward) == count_decisions(tmp_path, position=1) == 7
    np.testing.assert_array_equal(log.context.mask.sum(axis=1), [11] * 7)  # neither pinned items nor those above are left
    with pytest.warns(UnfitDecisions, match="3 chosen by the application and 6 pinned and 1 served again"):
        assert len(recsdk.read_ledger(tmp_path).reward) == count_decisions(tmp_path) == 1


def test_a_log_of_nothing_drawn_is_refused(tmp_path):
    with small_recommender(tmp_path, log_features="all") as shop:
        shop.reward(shop.recommend({}, pinned={0: "news-0"}).decision_id, 1.0)
        with pytest.raises(EmptyLog, match=r"no rewarded decision with a position 0 but for 1 pinned\.$"):
            recsdk.read_ledger(tmp_path)
        slate = shop.recommend({}, size=3, pinned={0: "news-0"})
        shop.reward(slate.decision_id, 1.0, item=slate.ids[1])
    with pytest.raises(EmptyLog, match=r"In 1 decisions the item at position 1 was drawn: give position=1 \(--position 1\)"):
        recsdk.read_ledger(tmp_path)
    assert recsdk.read_ledger(tmp_path, position=1).reward.tolist() == [1.0]


@pytest.mark.parametrize("policy", ["lin-ts", "wide-deep"])
def test_what_is_learned_of_pinned_promoted_and_chosen_items_is_recovered_to_the_bit(tmp_path, policy):
    with small_recommender(tmp_path, log_features="all", policy=policy) as shop:
        for number in range(12):
            wanted = [{"pinned": PINNED, "promoted": PROMOTED}, {"chosen": IDS[number % 5 : number % 5 + 4]}, {}][number % 3]
            slate = shop.recommend({}, size=4, decision_id=f"d{number}", **wanted)
            shop.reward_slate(slate.decision_id, {slate.ids[number % 4]: 1.0})
        assert shop.audit()
        learned = shop.num_learned
    with small_recommender(tmp_path, log_features="all", policy=policy) as shop:
        assert shop.num_learned == learned
        assert shop.audit()


def test_a_policy_that_learns_from_all_candidates_learns_from_those_that_were_left(tmp_path):
    with small_recommender(tmp_path, policy=Centred()) as shop:
        slate = shop.recommend({}, size=4, pinned={1: "news-0"}, promoted={2: IDS[3:6]})
        for position, item in enumerate(slate.ids):
            before = int(shop._loop.learner.state.seen)
            shop.reward(slate.decision_id, 1.0, item=item)
            assert int(shop._loop.learner.state.seen) - before == marks.left(the_record(shop), position).sum()
        assert [int(marks.left(the_record(shop), position).sum()) for position in (0, 1, 3)] == [11, 1, 9]
