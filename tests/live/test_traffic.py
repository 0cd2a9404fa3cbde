"""Burn-in, holdout and sticky slates: who decides, what is logged, and that nothing counts twice."""

import itertools
import json

import numpy as np
import pytest

import recsdk
from recsdk.errors import DecisionConflict, InvalidValue, RewardConflict, UnfitDecisions
from recsdk.live import marks
from recsdk.live.shares import ratio_p_value
from tests.live.shop import IDS, Clock, small_recommender, state

PAGE_OF_TWO = {"size": 2, "user": "ann"}


@pytest.fixture(autouse=True)
def _drawn_alike(monkeypatch):
    """Every run of a test draws the same."""
    ids = itertools.count()
    monkeypatch.setattr("secrets.token_bytes", lambda size: bytes(range(size)))
    monkeypatch.setattr("secrets.token_hex", lambda size: f"{next(ids):0{2 * size}}")


def records(shop):
    return list(shop._loop.ledger.decisions())


def arms(shop):
    return [marks.read(record).arm for record in records(shop)]


def price(request, items):
    return items.features["price"]


def opened(folder, traffic, **changes):
    return small_recommender(folder, **{"policy": "lin-ts", "scorers": [price], "log_features": "all", "traffic": traffic, **changes})


def is_cheap(request, items):
    return items.features["price"] < request.features.get("budget", 9)


def test_the_burn_in_is_uniform_for_so_many_decisions_across_openings(tmp_path):
    for number in range(3):
        with opened(tmp_path, recsdk.Traffic(burn_in=5, sticky=100), clock=lambda: 1e9) as shop:
            for again in (0, 0, 1):
                slate = shop.recommend({}, user=f"u{number}-{again}")
                shop.reward(slate.decision_id, 1.0) if slate.repeats is None else None
    with opened(tmp_path, recsdk.Traffic()) as shop:
        drawn = [marks.read(record).arm for record in records(shop) if marks.read(record).repeats is None]
        assert drawn == ["burn-in"] * 5 + ["policy"]
        assert all(np.ptp(record.probs) == 0 for record in records(shop) if marks.read(record).arm == "burn-in")


def test_the_burn_in_is_as_long_where_a_user_was_forgotten(tmp_path):
    with opened(tmp_path, recsdk.Traffic(burn_in=5, sticky=100), clock=lambda: 1e9) as shop:
        for user in ("ann", "bob", "ann", "ann", "ann", "ann"):  # Ann's slate is served again
            shop.recommend({}, user=user)
        shop.recommend({}, user="ann", chosen=IDS[:1])
        shop.forget("ann")
        shop.forget("nobody")
    for number in range(2):
        with opened(tmp_path, recsdk.Traffic(burn_in=5)) as shop:
            shop.recommend({})
            shop.recommend({}) if number else None
            assert arms(shop)[7:] == ["burn-in", "burn-in", "burn-in", "policy"][: 1 + 2 * number]
    with opened(tmp_path, recsdk.Traffic(burn_in=6)) as shop:
        for user in ("cid", "bob"):
            shop.forget(user)
    with opened(tmp_path, recsdk.Traffic(burn_in=6)) as shop:
        shop.recommend({})
        shop.recommend({})
        assert arms(shop)[10:] == ["burn-in", "policy"]


def test_a_user_is_in_the_holdout_for_good_and_the_arms_own_probability_is_logged(tmp_path):
    traffic = recsdk.Traffic(holdout=0.3)
    for start in (0, 150):
        with opened(tmp_path, traffic) as shop:
            for number in range(start, start + 150):
                shop.reward(shop.recommend({}, user=f"u{number % 50}").decision_id, float(number % 3 == 0))
            found = [(record.user, marks.read(record), record) for record in records(shop)]
    by_user = {user: {told.arm for owner, told, _ in found if owner == user} for user, _, _ in found}
    assert all(len(names) == 1 for names in by_user.values())
    assert 8 <= sum(names == {"holdout"} for names in by_user.values()) <= 22
    for _, told, record in found:
        assert told.by == "user"
        assert told.share == {"holdout": 0.3, "policy": 0.7}[told.arm]
        assert (np.ptp(record.probs) == 0) == (told.arm == "holdout")


def test_decisions_without_a_user_are_held_out_one_by_one_with_the_probability_of_the_mixture(tmp_path):
    with opened(tmp_path, recsdk.Traffic(holdout=0.25), num_candidates=12) as shop:
        for number in range(200):
            shop.reward(shop.recommend({}).decision_id, float(number % 3 == 0))
        found = records(shop)
        assert 30 < arms(shop).count("holdout") < 72
    assert all(marks.read(record).by == "decision" for record in found)
    assert min(record.probs.min() for record in found) == pytest.approx(0.25 / 12 + 0.75 * 0.05 / 12)


def test_a_champion_holds_out_as_it_is_and_never_learns(tmp_path):
    traffic = recsdk.Traffic(holdout=1.0, holdout_policy="lin-ucb")
    with opened(tmp_path, traffic) as shop:
        for number in range(30):
            slate = shop.recommend({}, candidates=IDS[:4], user=f"u{number}")
            shop.reward(slate.decision_id, float(slate.ids[0] == IDS[0]))
        assert len({record.probs.tobytes() for record in records(shop)}) == 1
        assert shop.num_learned == 30
        assert json.loads(records(shop)[0].parts)["holdout"]["share"] == 1.0


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"sticky": -1.0}, "Traffic.sticky must be a finite number"),
        ({"burn_in": 0.5}, "Traffic.burn_in must be a whole number"),
        ({"holdout": 1.5}, "Traffic.holdout must be a finite number"),
        ({"holdout_by": "week"}, "Traffic.holdout_by must be one of"),
    ],
)
def test_traffic_out_of_its_range_is_refused(changes, match):
    with pytest.raises(InvalidValue, match=match):
        recsdk.Traffic(**changes)


def test_traffic_that_cannot_be_is_refused_by_open(tmp_path):
    with pytest.raises(InvalidValue, match=r"traffic must be a recsdk.Traffic"):
        opened(tmp_path / "a", 0.1)
    with pytest.raises(InvalidValue, match="sticky must be at most the window of the feedback, 60"):
        opened(tmp_path / "b", recsdk.Traffic(sticky=61), feedback=recsdk.Feedback(window=60))


@pytest.fixture
def shop(tmp_path):
    clock = Clock()
    with opened(tmp_path, recsdk.Traffic(sticky=100), clock=clock, rules=[is_cheap]) as found:
        found.test_clock = clock
        yield found


def test_a_user_sees_the_same_slate_until_the_time_is_over_and_then_another_draw(shop):
    first = shop.recommend({}, **PAGE_OF_TWO)
    for number in range(20):
        again = shop.recommend({"hour": number}, **PAGE_OF_TWO)
        assert (again.ids, again.repeats, again.propensities) == (first.ids, first.decision_id, (1.0, 1.0))
    others = {shop.recommend({}, size=2, user=f"u{number}").ids for number in range(9)}
    assert len(others) > 5
    shop.test_clock.now = records(shop)[0].time + 98
    assert shop.recommend({}, **PAGE_OF_TWO).repeats == first.decision_id
    assert shop.recommend({}, **PAGE_OF_TWO).repeats is None


@pytest.mark.parametrize("change", [{"size": 3}, {"candidates": IDS[:5]}, {"pinned": {0: IDS[3]}}, {"promoted": {0: [IDS[3]]}}])
def test_another_place_of_the_application_has_a_slate_of_its_own(shop, change):
    first, other = shop.recommend({}, **PAGE_OF_TWO), shop.recommend({}, **(PAGE_OF_TWO | change))
    assert other.repeats is None
    assert shop.recommend({}, **PAGE_OF_TWO).repeats == first.decision_id
    assert shop.recommend({}, **(PAGE_OF_TWO | change)).repeats == other.decision_id


def test_a_slate_is_drawn_anew_once_one_of_its_items_may_not_be_shown(shop):
    first = shop.recommend({}, **PAGE_OF_TWO)
    assert shop.recommend({}, **PAGE_OF_TWO, seen=[first.ids[1]]).repeats is None
    second = shop.recommend({}, **PAGE_OF_TWO)
    price = max(float(item.split("-")[1]) for item in second.ids)
    cheaper = shop.recommend({"budget": price}, **PAGE_OF_TWO) if price else shop.recommend({}, **PAGE_OF_TWO, seen=second.ids)
    assert cheaper.repeats is None
    shop.remove_items([cheaper.ids[0]])
    anew = shop.recommend({}, **PAGE_OF_TWO)
    assert anew.repeats is None
    assert cheaper.ids[0] not in anew.ids


def test_a_slate_that_is_served_again_has_the_rewards_of_the_one_that_drew_it_once(shop):
    first, again = shop.recommend({}, **PAGE_OF_TWO), shop.recommend({}, **PAGE_OF_TWO, decision_id="mine")
    assert shop.reward("mine", 1.0, item=first.ids[0])
    assert not shop.reward(first.decision_id, 1.0, item=first.ids[0])
    with pytest.raises(RewardConflict):
        shop.reward("mine", 0.0, item=first.ids[0])
    assert again.decision_id == "mine"
    assert shop.num_learned == 1
    assert shop.audit()
    assert shop.recommend({}, **PAGE_OF_TWO, decision_id="mine") == again
    with pytest.raises(DecisionConflict):
        shop.recommend({"age": 3}, **PAGE_OF_TWO, decision_id="mine")


def test_what_the_application_chose_or_did_not_show_is_not_served_again(shop):
    shop.recommend({}, **PAGE_OF_TWO, chosen=IDS[:2])
    drawn = shop.recommend({}, **PAGE_OF_TWO)
    assert drawn.repeats is None
    shop.not_shown(drawn.decision_id)
    assert shop.recommend({}, **PAGE_OF_TWO).repeats is None


def test_signals_about_a_slate_that_is_served_again_count_for_the_one_that_drew_it(tmp_path):
    clock = Clock()
    feedback = recsdk.Feedback(window=200, signals={"click": 1, "buy": 5})
    with opened(tmp_path, recsdk.Traffic(sticky=100), clock=clock, feedback=feedback) as shop:
        first = shop.recommend({}, **PAGE_OF_TWO)
        again = shop.recommend({}, **PAGE_OF_TWO)
        assert shop.signal("click", decision_id=again.decision_id, item=first.ids[0], signal_id="s") == "taken"
        assert shop.signal("click", decision_id=again.decision_id, item=first.ids[0], signal_id="s") == "duplicate"
        assert shop.signal("buy", user="ann", item=first.ids[0]) == "taken"
        clock.now += 300
        assert shop.settle() == 2
        assert [reward.value for reward in shop._loop.ledger.rewards_of(first.decision_id)] == [6.0, 0.0]
        assert not shop._loop.ledger.rewards_of(again.decision_id)
        assert shop.audit()
    with pytest.warns(UnfitDecisions, match="1 served again"):
        assert recsdk.read_ledger(tmp_path, default_reward=0.0).reward.tolist() == [6.0]


def test_slates_stay_across_openings_and_what_was_learned_is_recovered(tmp_path):
    with opened(tmp_path, recsdk.Traffic(sticky=100), clock=lambda: 1e9) as shop:
        first = shop.recommend({}, **PAGE_OF_TWO)
        shop.reward_slate(shop.recommend({}, **PAGE_OF_TWO).decision_id, {first.ids[1]: 1.0})
        learned = state(shop)
    with opened(tmp_path, recsdk.Traffic(sticky=100), clock=lambda: 1e9 + 9) as shop:
        assert shop.recommend({}, **PAGE_OF_TWO).ids == first.ids
        assert state(shop) == learned


def test_the_report_has_the_arms_with_their_rewards(tmp_path):
    with opened(tmp_path, recsdk.Traffic(burn_in=4, holdout=0.5, sticky=1e6)) as shop:
        for number in range(20):
            shop.reward(shop.recommend({}, user=f"u{number}").decision_id, float(number < 4))
        shop.reward(shop.recommend({}, chosen=IDS[:1], user="u1").decision_id, 1.0)
        shop.recommend({}, user="u1")
        told = {arm.arm: arm for arm in recsdk.read_traffic(tmp_path).arms}
    assert told["burn-in"] == ("burn-in", 4, 4, 4, 1.0)
    assert told["application"][:4] == ("application", 1, 1, 1)
    assert told["policy"].num_decisions + told["holdout"].num_decisions == 16
    assert told["holdout"].mean_reward == 0.0
    report = recsdk.read_traffic(tmp_path)
    assert report.num_again == 1
    assert report.ratio_p_value > 0.05
    assert 0 < report.agreement < 1


def test_decisions_of_a_forgotten_user_are_no_arms(tmp_path):
    with opened(tmp_path, recsdk.Traffic(sticky=1e6)) as shop:
        for user in ("ann", "bob", "ann"):
            shop.recommend({}, user=user)
        shop.recommend({}, chosen=IDS[:1], user="ann")
        shop.forget("ann")
    report = recsdk.read_traffic(tmp_path)
    assert [arm[:2] for arm in report.arms] == [("policy", 1)]
    assert report.num_again == 0


def test_the_sample_ratio_check_is_quiet_all_the_time_where_all_is_well():
    rng, alarms = np.random.default_rng(0), 0
    for _ in range(200):
        held = np.cumsum(rng.random(2_000) < 0.2)
        alarms += min(ratio_p_value([(0.2, int(held[n]), n + 1)]) for n in range(0, 2_000, 10)) < 0.05
    assert alarms <= 17  # 10 are allowed for; more than 17 have a probability of 1 %


def test_the_sample_ratio_check_alarms_when_one_arm_loses_its_users():
    held = np.random.default_rng(0).random(20_000) < 0.1
    lost = int(held.sum()) // 5
    assert ratio_p_value([(0.1, int(held.sum()) - lost, 20_000 - lost)]) < 1e-3
