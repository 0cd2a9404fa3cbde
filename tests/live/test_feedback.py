"""Feedback as shops have it: clicks when they happen, nothing when they do not, purchases after clicks, and some too late."""

import random
import secrets

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import recsdk
from recsdk.errors import ChangedSetting, InvalidReward, InvalidValue, RewardConflict, UnknownItem
from recsdk.live.rewards import Feedback, Receipt
from tests.live.shop import crash, state

ITEMS = [{"id": "a", "quality": 0.0}, {"id": "b", "quality": 0.5}, {"id": "c", "quality": 1.0}]
CLICKS = Feedback(window=60, signals={"click": 1, "purchase": 5, "hide": -2})


def quality(request, candidates):
    return candidates.features["quality"]


class Clock:
    def __init__(self):
        self.now = 1.7e9

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def shop_at(folder, clock, feedback=CLICKS, **options):
    settings = {"items": ITEMS, "scorers": [quality], "policy": "lin-ts", "log_features": "all", **options}
    return recsdk.Recommender.open(folder, feedback=feedback, clock=clock, **settings)


def rewards(shop):
    return {(reward.decision_id, reward.position): reward.value for reward in shop._loop.ledger.rewards()}


@pytest.mark.parametrize("policy", ["lin-ts", "wide-deep"])
def test_clicks_alone_teach_what_is_clicked(tmp_path, clock, monkeypatch, policy):
    monkeypatch.setattr(secrets, "token_bytes", lambda size: bytes(range(size)))
    chance, rng, means = {"a": 0.1, "b": 0.4, "c": 0.7}, random.Random(0), []
    with shop_at(tmp_path, clock, policy=policy) as shop:
        for visit in range(1000):
            clock.now += 10
            shown = shop.recommend({}, decision_id=f"d{visit}")
            means.append(chance[shown.ids[0]])
            if rng.random() < means[-1]:
                clock.now += 5
                shop.signal("click", decision_id=shown.decision_id)
        assert np.mean(means[500:]) >= 0.60
        assert shop.audit()


def test_a_click_and_then_a_purchase_are_one_reward(tmp_path, clock):
    with shop_at(tmp_path, clock) as shop:
        shown = shop.recommend({}, size=2, decision_id="d")
        assert shop.signal("click", decision_id="d", item=shown.ids[1]) is Receipt.TAKEN
        clock.now += 30
        assert shop.signal("purchase", decision_id="d", item=shown.ids[1]) is Receipt.TAKEN
        assert shop.num_learned == 0
        clock.now += 31
        assert shop.settle() == 2
        assert rewards(shop) == {("d", 0): 0.0, ("d", 1): 6.0}


@pytest.mark.parametrize(("after", "receipt", "reward"), [(59.999, "taken", 1.0), (60, "taken", 1.0), (60.001, "late", 0.0)])
def test_the_window_is_closed_at_its_end(tmp_path, clock, after, receipt, reward):
    clock.now = 1_700_000_000.0
    with shop_at(tmp_path, clock) as shop:
        shop.recommend({}, decision_id="d")
        clock.now += after
        assert shop.signal("click", decision_id="d") == receipt
        clock.now += 61
        shop.settle()
        assert rewards(shop) == {("d", 0): reward}


def test_the_default_reward_comes_once_across_restarts(tmp_path, clock):
    shop = shop_at(tmp_path, clock, feedback=Feedback(window=60, default=-0.5))
    shop.recommend({}, decision_id="d")
    crash(shop)
    for _ in range(3):
        clock.now += 100
        shop = shop_at(tmp_path, clock, feedback=None)
        shop.settle()
        assert rewards(shop) == {("d", 0): -0.5}
        assert shop.num_learned == 1
        assert shop.audit()
        crash(shop)


def test_without_a_default_silence_teaches_nothing(tmp_path, clock):
    with shop_at(tmp_path, clock, feedback=Feedback(window=60, default=None)) as shop:
        for name in ("d", "e"):
            shop.recommend({}, decision_id=name)
        shop.signal("reward", decision_id="e", value=0.25)
        clock.now += 61
        assert shop.settle() == 1
        assert rewards(shop) == {("e", 0): 0.25}


def test_what_the_caller_can_do_nothing_about_is_told_and_changes_nothing(tmp_path, clock):
    with shop_at(tmp_path, clock) as shop:
        shop.recommend({"user_id": "ann"}, decision_id="d")
        assert shop.signal("click", decision_id="nowhere") is Receipt.UNKNOWN
        assert shop.signal("click", user="bob", item="a") is Receipt.UNKNOWN
        assert shop.signal("click", decision_id="d") is Receipt.TAKEN
        assert shop.signal("click", decision_id="d") is Receipt.DUPLICATE
        assert shop.signal("click", decision_id="d", signal_id="second click") is Receipt.TAKEN
        clock.now += 61
        assert shop.signal("hide", decision_id="d") is Receipt.LATE
        assert rewards(shop) == {("d", 0): 2.0}


def test_a_signal_without_a_decision_goes_to_the_users_newest_that_showed_the_item(tmp_path, clock):
    with shop_at(tmp_path, clock) as shop:
        for name, user, item in (("d1", "ann", "a"), ("d2", "ann", "a"), ("d3", "ann", "b"), ("d4", "bob", "a")):
            clock.now += 10
            shop.recommend({"user_id": user}, candidates=[item], decision_id=name)
        assert shop.signal("click", user="ann", item="a") is Receipt.TAKEN
        assert [bool(shop._loop.ledger.signals_of(name)) for name in ("d1", "d2", "d3", "d4")] == [False, True, False, False]
        clock.now += 55  # the window of d2 has closed, and d3 did not show it
        assert shop.signal("click", user="ann", item="a") is Receipt.UNKNOWN


EVENTS = [("click", "d0", "x"), ("click", "d0", "y"), ("purchase", "d1", "z"), ("hide", "d2", "u"), ("click", "d2", "v")]


@settings(max_examples=12, deadline=None)
@given(order=st.permutations(EVENTS), steps=st.lists(st.floats(0, 5), min_size=5, max_size=5))
def test_signals_in_any_order_within_the_window_teach_the_same_state(tmp_path_factory, order, steps):
    def life(events, waits):
        clock = Clock()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(secrets, "token_bytes", lambda size: bytes(range(size)))
            shop = shop_at(tmp_path_factory.mktemp("shop"), clock)
        for number in range(3):
            shop.recommend({}, decision_id=f"d{number}")
        for (name, decision_id, signal_id), wait in zip(events, waits, strict=True):
            clock.now += wait
            assert shop.signal(name, decision_id=decision_id, signal_id=signal_id) is Receipt.TAKEN
        clock.now += 61
        shop.settle()
        found = state(shop)
        shop.close()
        return found

    assert life(order, steps) == life(EVENTS, [0, 0, 0, 0, 0])


def test_a_clock_that_is_set_back_reopens_no_window(tmp_path, clock):
    shop = shop_at(tmp_path, clock)
    shop.recommend({}, decision_id="d")
    clock.now += 61
    assert shop.settle() == 1
    clock.now -= 30
    assert shop.signal("click", decision_id="d") is Receipt.LATE
    crash(shop)
    with shop_at(tmp_path, clock) as again:
        assert again.signal("click", decision_id="d", signal_id="again") is Receipt.LATE
        assert rewards(again) == {("d", 0): 0.0}
        assert again.audit()


def test_a_settlement_that_fails_leaves_all_as_it_was(tmp_path, clock, monkeypatch):
    with shop_at(tmp_path, clock) as shop:
        for name in ("d", "e"):
            shop.recommend({}, decision_id=name)
        clock.now += 61
        learn, calls = shop._loop.learner.learn, []

        def failing(record, reward):
            calls.append(reward)
            if len(calls) == 2:
                raise KeyboardInterrupt
            learn(record, reward)

        monkeypatch.setattr(shop._loop.learner, "learn", failing)
        with pytest.raises(KeyboardInterrupt):
            shop.settle()
        assert (rewards(shop), shop.num_learned) == ({}, 0)
        monkeypatch.setattr(shop._loop.learner, "learn", learn)
        assert shop.settle() == 2
        assert shop.audit()


def test_the_log_ends_where_windows_are_open(tmp_path, clock):
    with shop_at(tmp_path, clock) as shop:
        for name in ("d", "e", "f"):
            shop.recommend({}, decision_id=name)
            shop.signal("click", decision_id=name)
            clock.now += 25
        shop.settle()
        assert recsdk.read_ledger(tmp_path, default_reward=0.0).reward.tolist() == [1.0]
        assert recsdk.live.log.count_decisions(tmp_path) == 1


def test_another_feedback_holds_from_now_on_and_is_said(tmp_path, clock):
    shop_at(tmp_path, clock).close()
    with shop_at(tmp_path, clock, feedback=None) as shop:
        assert shop._loop.settlement.feedback == CLICKS
    with pytest.warns(ChangedSetting, match="feedback was Feedback"):
        shop = shop_at(tmp_path, clock, feedback=Feedback(window=5))
    with shop:
        shop.recommend({}, decision_id="d")
        assert shop.signal("reward", decision_id="d", value=0.5) is Receipt.TAKEN


def test_each_kind_of_folder_has_its_own_verb(tmp_path, clock):
    with shop_at(tmp_path / "signals", clock) as shop:
        shop.recommend({}, decision_id="d")
        for call in (lambda: shop.reward("d", 1.0), lambda: shop.reward_slate("d", {})):
            with pytest.raises(InvalidValue, match="by `signal`"):
                call()
    with shop_at(tmp_path / "rewards", clock, feedback=None) as shop:
        shop.recommend({}, decision_id="d")
        with pytest.raises(InvalidValue, match=r"feedback=recsdk\.Feedback"):
            shop.signal("click", decision_id="d")
    with pytest.raises(InvalidValue, match=r"feedback must be a recsdk.Feedback, got 60"):
        shop_at(tmp_path / "neither", clock, feedback=60)
    with pytest.raises(InvalidValue, match="reward_range goes with rewards"):
        shop_at(tmp_path / "both", clock, reward_range=(0, 1))
    shop_at(tmp_path / "both", clock).close()  # the refused range is not kept


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"name": "clik"}, InvalidValue, "signal must be one of"),
        ({"value": float("nan")}, InvalidReward, "must be a finite number, got nan"),
        ({"value": True}, InvalidReward, "must be a finite number, got True"),
        ({"value": "NaN"}, InvalidReward, "must be a finite number, got 'NaN'"),
        ({"name": "purchase", "value": 1e15}, InvalidReward, "must be worth at most 1e.15 after its weight 5"),
        ({"user": "ann"}, InvalidValue, "a decision_id or a user, and not both, got 'd' and 'ann'"),
        ({"decision_id": None}, InvalidValue, "a decision_id or a user, and not both, got None and None"),
        ({"item": "zzz"}, UnknownItem, "item must be one of"),
        ({"signal_id": "used"}, RewardConflict, "signal_id 'used' was used before"),
    ],
)
def test_a_wrong_signal_is_refused_and_changes_nothing(tmp_path, clock, wrong, error, message):
    with shop_at(tmp_path, clock) as shop:
        shop.recommend({"user_id": "ann"}, decision_id="d")
        shop.signal("hide", decision_id="d", signal_id="used")
        with pytest.raises(error, match=message):
            shop.signal(**{"name": "click", "decision_id": "d", **wrong})
        assert [signal.signal_id for signal in shop._loop.ledger.signals_of("d")] == ["used"]


def test_a_window_that_ends_now_is_open_also_while_another_closes(tmp_path, clock):
    clock.now = 1_700_000_000.0
    with shop_at(tmp_path, clock) as shop:
        shop.recommend({}, decision_id="d")
        clock.now += 10
        shop.recommend({}, decision_id="e")
        clock.now += 60
        assert shop.signal("click", decision_id="e") is Receipt.TAKEN
        clock.now += 1
        shop.settle()
        assert rewards(shop) == {("d", 0): 0.0, ("e", 0): 1.0}
