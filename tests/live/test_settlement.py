"""Signals that come early, late, by user or of a page, and decisions that were not shown: what is learned of them, in any order."""

import secrets

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import recsdk
from recsdk.errors import EmptyLog, InvalidRequest, InvalidValue, RewardConflict, UnknownItem
from recsdk.ledger import PAGE
from recsdk.live import settlement
from recsdk.live.log import count_decisions
from recsdk.live.observe import CountObserver, Signalled
from recsdk.live.rewards import Feedback, Receipt, join
from recsdk.live.settlement import Told
from tests.live.shop import crash, state
from tests.live.test_feedback import ITEMS, Clock, quality, rewards, shop_at

EARLY = Feedback(window=60, start=-30, signals={"click": 1, "purchase": 5})
PER_PAGE = Feedback(window=60, start=-30, per="page", signals={"click": 1, "purchase": 5})


@pytest.fixture
def clock():
    return Clock()


def joined(shop):
    """Returns whether the ledger's rewards are what the pure join makes of its events."""
    ledger = shop._loop.ledger
    found = {}
    for decision, values in join(shop._loop.settlement.feedback, ledger.decisions(), ledger.signals_of, shop._loop.settlement.now(0.0)):
        found |= {(decision.decision_id, position): value for position, value in values.items()}
    return found == {place: value for place, value in standing(shop).items() if value is not None}


def standing(shop):
    return {(reward.decision_id, reward.position): None if reward.void else reward.value for reward in shop._loop.ledger.rewards()}


# Early signals.


@pytest.mark.parametrize("about", [{"decision_id": "d"}, {"user": "ann"}])
@pytest.mark.parametrize(("before", "reward"), [(29.0, 1.0), (30.0, 1.0), (30.001, 0.0)])
def test_a_signal_may_come_before_its_decision(tmp_path, clock, about, before, reward):
    clock.now = 1_700_000_000.0
    shop = shop_at(tmp_path, clock, feedback=EARLY)
    assert shop.signal("click", item="a", **about) is Receipt.EARLY
    assert shop.signal("click", item="a", **about) is Receipt.DUPLICATE
    crash(shop)  # what was told is kept
    with shop_at(tmp_path, clock, feedback=None) as shop:
        clock.now += before
        shop.recommend({"user_id": "ann"}, candidates=["a"], decision_id="d")
        clock.now += 61
        shop.settle()
        assert rewards(shop) == {("d", 0): reward}
        assert shop.signal("click", item="a", **about) in (Receipt.EARLY, Receipt.LATE, Receipt.DUPLICATE)
        assert joined(shop)


def test_what_waits_goes_to_one_decision_that_shows_its_item_to_its_user(tmp_path, clock):
    with shop_at(tmp_path, clock, feedback=EARLY) as shop:
        shop.signal("click", user="ann", item="a")
        shop.signal("purchase", user="ann", item="b")
        for name, user, item in (("d1", "bob", "a"), ("d2", "ann", "c"), ("d3", "ann", "a"), ("d4", "ann", "a")):
            clock.now += 1
            shop.recommend({}, user=user, candidates=[item], decision_id=name)
        assert [len(shop._loop.ledger.signals_of(name)) for name in ("d1", "d2", "d3", "d4")] == [0, 0, 1, 0]


def test_what_waits_in_vain_is_told_as_unknown(tmp_path, clock):
    notices = []
    with shop_at(tmp_path, clock, feedback=EARLY, observer=notices.append) as shop:
        shop.signal("click", user="ann", item="a")
        shop.signal("purchase", decision_id="d", item="b")  # it will not show b
        clock.now += 20
        shop.recommend({}, candidates=["a"], decision_id="d")
        clock.now += 20
        shop.recommend({}, candidates=["a"], decision_id="e")
        told = [(notice.name, notice.receipt) for notice in notices if isinstance(notice, Signalled)]
        assert told == [("click", "early"), ("purchase", "early"), ("purchase", "unknown"), ("click", "unknown")]
        assert shop._loop.settlement._early == []


def test_a_flood_of_unknown_ids_is_bounded(tmp_path, clock, monkeypatch):
    monkeypatch.setattr(settlement, "MAX_EARLY", 3)
    with shop_at(tmp_path, clock, feedback=EARLY) as shop:
        answers = [shop.signal("click", decision_id=f"x{number}", item="a") for number in range(5)]
        assert answers == [Receipt.EARLY] * 3 + [Receipt.UNKNOWN] * 2
        clock.now += 31  # there is room again
        assert shop.signal("click", decision_id="x9", item="a") is Receipt.EARLY


def test_what_waits_can_be_corrected(tmp_path, clock):
    with shop_at(tmp_path, clock, feedback=EARLY) as shop:
        for name in ("one", "other"):
            shop.signal("click", user="ann", item="a", signal_id=name)
        assert shop.correct("one", 3.0) is Receipt.TAKEN
        assert shop.correct("other", None) is Receipt.TAKEN
        assert shop.correct("other", None) is shop.correct("one", 3.0) is Receipt.DUPLICATE
        assert shop.correct(None, None) is Receipt.UNKNOWN
    with shop_at(tmp_path, clock, feedback=EARLY) as shop:
        for name in ("one", "other"):  # told again, it is the same signal
            assert shop.signal("click", user="ann", item="a", signal_id=name) is Receipt.DUPLICATE
        with pytest.raises(RewardConflict):
            shop.signal("click", user="ann", item="a", signal_id="one", value=3.0)
        shop.recommend({}, user="ann", candidates=["a"], decision_id="d")
        assert shop.signal("click", user="ann", item="a", signal_id="other") is Receipt.DUPLICATE
        assert shop.correct("one", 3.0) is Receipt.DUPLICATE
        clock.now += 61
        shop.settle()
        assert rewards(shop) == {("d", 0): 3.0}


def test_a_decision_that_cannot_be_written_leaves_what_waits(tmp_path, clock, monkeypatch):
    with shop_at(tmp_path, clock, feedback=EARLY) as shop:
        shop.signal("click", user="ann", item="a")

        def failing(record):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(shop._loop.ledger, "add_signal", failing)
            with pytest.raises(KeyboardInterrupt):
                shop.recommend({}, user="ann", candidates=["a"], decision_id="d")
        assert shop._loop.ledger.decision("d") is None
        shop.recommend({}, user="ann", candidates=["a"], decision_id="d")
        assert len(shop._loop.ledger.signals_of("d")) == 1


# Signals by user, in any order of arrival.

VISITS = [(0.0, "d0", "a"), (10.0, "d1", "b"), (20.0, "d2", "a"), (35.0, "d3", "a")]
MOMENTS = st.lists(
    st.tuples(st.sampled_from(["a", "b"]), st.floats(0.25, 48.75).filter(lambda t: t not in (10.0, 20.0, 35.0)), st.floats(0, 10)),
    min_size=1,
    max_size=6,
)


@settings(max_examples=15, deadline=None)
@given(moments=MOMENTS, shuffle=st.randoms(use_true_random=False))
def test_signals_of_a_user_in_any_order_of_arrival_teach_the_same_state(tmp_path_factory, moments, shuffle):
    """Each signal is told at some time after it happened: before its decision or after it, and before the window closes."""

    def life(delays, order):
        clock = Clock()
        clock.now = start = 1_700_000_000.0
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(secrets, "token_bytes", lambda size: bytes(range(size)))
            shop = shop_at(tmp_path_factory.mktemp("shop"), clock, feedback=EARLY)
        events = [(at, 0, name, item, at) for at, name, item in VISITS]
        for number, ((item, moment, _), delay) in enumerate(zip(moments, delays, strict=True)):
            events.append((moment + delay, 1, number, item, moment))
        for at, kind, name, item, moment in sorted(events, key=lambda event: (event[0], event[1], order(event[2]))):
            clock.now = start + at
            if kind == 0:
                shop.recommend({}, user="ann", candidates=[item], decision_id=name)
            else:
                shop.signal("click", user="ann", item=item, time=start + moment, signal_id=f"s{name}", value=1.0 + name)
        clock.now = start + 200
        shop.settle()
        assert joined(shop)
        signals = {signal.signal_id: signal.decision_id for signal in shop._loop.ledger.signals()}
        found = state(shop), rewards(shop), signals
        shop.close()
        return found

    delays = [delay for _, _, delay in moments]
    shuffled = shuffle.sample(delays, len(delays))
    assert life([0.0] * len(moments), str) == life(shuffled, lambda name: str(name)[::-1])


def test_of_several_decisions_it_is_the_newest_before_else_the_first_after(tmp_path, clock):
    start = clock.now
    with shop_at(tmp_path, clock, feedback=EARLY) as shop:
        for at, name in ((0, "d0"), (10, "d1"), (20, "d2")):
            clock.now = start + at
            shop.recommend({}, user="ann", candidates=["a"], decision_id=name)
        for moment, decision in ((10, "d1"), (15, "d1"), (20, "d2"), (-5, "d0"), (-29, "d0")):
            signal_id = f"at {moment}"
            assert shop.signal("click", user="ann", item="a", time=start + moment, signal_id=signal_id) is Receipt.TAKEN
            assert shop._loop.ledger.signal(signal_id).decision_id == decision
        assert shop.signal("click", user="ann", item="a", time=start - 31) is Receipt.UNKNOWN
        assert shop.signal("click", decision_id="d0", time=start - 31) is Receipt.UNKNOWN


def test_told_again_by_user_it_is_a_duplicate_though_another_decision_fits_by_now(tmp_path, clock):
    with shop_at(tmp_path, clock, feedback=EARLY) as shop:
        shop.recommend({}, user="ann", candidates=["a"], decision_id="d0")
        assert shop.signal("click", user="ann", item="a", signal_id="s") is Receipt.TAKEN
        clock.now += 10
        shop.recommend({}, user="ann", candidates=["a"], decision_id="d1")
        assert shop.signal("click", user="ann", item="a", signal_id="s") is Receipt.DUPLICATE
        for other in ({"item": "b"}, {"user": "bob"}, {"value": 2.0}, {"name": "purchase"}):
            with pytest.raises(RewardConflict, match="'s' was used before"):
                shop.signal(**{"name": "click", "user": "ann", "item": "a", "signal_id": "s", **other})


def test_sent_a_thousand_times_and_after_a_restart_it_counts_once(tmp_path, clock):
    shop = shop_at(tmp_path, clock)
    shop.recommend({}, decision_id="d")
    assert shop.signal("click", decision_id="d", signal_id="s") is Receipt.TAKEN
    assert {shop.signal("click", decision_id="d", signal_id="s") for _ in range(1000)} == {Receipt.DUPLICATE}
    crash(shop)
    with shop_at(tmp_path, clock, feedback=None) as shop:
        assert shop.signal("click", decision_id="d", signal_id="s") is Receipt.DUPLICATE
        clock.now += 61
        assert shop.signal("click", decision_id="d", signal_id="s") is Receipt.DUPLICATE
        assert rewards(shop) == {("d", 0): 1.0}


def test_a_refund_with_an_id_of_its_own_nets_out(tmp_path, clock):
    with shop_at(tmp_path, clock) as shop:
        shop.recommend({}, decision_id="d")
        assert shop.signal("purchase", decision_id="d", signal_id="order") is Receipt.TAKEN
        assert shop.signal("purchase", decision_id="d", value=-1.0, signal_id="refund") is Receipt.TAKEN
        with pytest.raises(RewardConflict):
            shop.signal("purchase", decision_id="d", value=-1.0, signal_id="order")
        clock.now += 61
        shop.settle()
        assert rewards(shop) == {("d", 0): 0.0}


@pytest.mark.parametrize(("value", "reward"), [(3, 3.0), (-0.0, 0.0), (1e-320, 1e-320), (np.float32(0.5), 0.5)])
def test_numbers_of_every_kind_are_taken_as_what_they_are(tmp_path, clock, value, reward):
    with shop_at(tmp_path, clock) as shop:
        shop.recommend({}, decision_id="d")
        shop.signal("click", decision_id="d", value=value)
        clock.now += 61
        shop.settle()
        (found,) = shop._loop.ledger.rewards()
        assert (str(found.value), type(found.value)) == (str(reward), float)
        assert shop.audit()


def test_the_clock_of_the_application_decides_only_on_request_and_within_a_day(tmp_path, clock):
    notices = []
    with shop_at(tmp_path, clock, observer=notices.append) as shop:
        shop.recommend({}, decision_id="d")
        clock.now += 61  # by this clock the window has closed, whatever the application's says
        assert shop.signal("click", decision_id="d", time=clock.now - 30) is Receipt.LATE
        shop.recommend({}, decision_id="e")
        assert shop.signal("click", decision_id="e", time=clock.now + 86_400) is Receipt.TAKEN
        assert notices[-1].delay == -86_400
        assert shop._loop.ledger.signals_of("e")[0].happened == clock.now
        for wrong, message in ((clock.now + 86_401, "a day after"), (clock.now * 1e3, "in milliseconds"), (float("nan"), "finite")):
            with pytest.raises(InvalidValue, match=message):
                shop.signal("hide", decision_id="e", time=wrong)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"user": "ann"}, InvalidValue, "item must be given with a user"),
        ({"user": "ann", "item": "a", "position": 0}, InvalidValue, "position goes with a decision_id"),
        ({"user": "ann", "item": 3}, UnknownItem, "item must be the id of an item, got 3"),
        ({"user": "\ud800", "item": "a"}, InvalidRequest, "UTF-8"),
        ({"decision_id": "d", "item": "a", "position": 0}, InvalidValue, "not both"),
        ({"decision_id": "d", "position": 2}, InvalidValue, r"position must be in \[0, 1\]"),
        ({"decision_id": "d", "position": -1}, InvalidValue, "position must be a whole number >= 0"),
        ({"decision_id": "d", "position": "page"}, InvalidValue, r"Feedback\(per='page'\)"),
        ({"decision_id": "d"}, UnknownItem, "item must be one of"),
    ],
)
def test_what_a_signal_is_about_must_be_clear(tmp_path, clock, wrong, error, message):
    with shop_at(tmp_path, clock) as shop:
        shop.recommend({}, user="ann", size=2, decision_id="d")
        with pytest.raises(error, match=message):
            shop.signal("click", **wrong)
        assert list(shop._loop.ledger.signals()) == []


def test_receipts_are_counted_by_name(tmp_path, clock):
    observer = CountObserver()
    with shop_at(tmp_path, clock, feedback=EARLY, observer=observer) as shop:
        shop.recommend({}, decision_id="d")
        for _ in range(3):
            shop.signal("click", decision_id="d")
        shop.signal("purchase", decision_id="later", item="a")
        clock.now += 61
        shop.signal("purchase", decision_id="d")
    counted = {name: count for name, count in observer.counts.items() if name.startswith("signalled.")}
    assert counted == {
        "signalled.click.taken": 1,
        "signalled.click.duplicate": 2,
        "signalled.purchase.early": 1,
        "signalled.purchase.late": 1,
    }


# Rewards of a position and of a whole page.


def test_a_position_names_an_item(tmp_path, clock):
    with shop_at(tmp_path, clock) as shop:
        shop.recommend({}, size=2, decision_id="d")
        assert shop.signal("click", decision_id="d", position=1) is Receipt.TAKEN
        clock.now += 61
        shop.settle()
        assert rewards(shop) == {("d", 0): 0.0, ("d", 1): 1.0}


def test_the_reward_of_a_page_is_one_outcome_learned_once_at_the_top(tmp_path, clock):
    with shop_at(tmp_path, clock, feedback=PER_PAGE) as shop:
        top = shop.recommend({}, size=3, user="ann", decision_id="d").ids[0]
        shop.recommend({}, size=3, decision_id="silent")
        shop.signal("click", decision_id="d", item=top)
        shop.signal("click", decision_id="d", position=2)
        shop.signal("purchase", user="ann")
        clock.now += 61
        assert shop.settle() == 2
        assert rewards(shop) == {("d", PAGE): 7.0, ("silent", PAGE): 0.0}
        assert joined(shop)
        assert shop.audit()
    log = recsdk.read_ledger(tmp_path, default_reward=0.0)
    assert log.reward.tolist() == [7.0, 0.0]
    for position in (1, 2):  # nothing is known of these
        assert count_decisions(tmp_path, position=position) == 0
        with pytest.raises(EmptyLog):
            recsdk.read_ledger(tmp_path, position=position, default_reward=0.0)


def test_a_page_teaches_what_the_top_item_with_that_reward_teaches(tmp_path, monkeypatch):
    monkeypatch.setattr(secrets, "token_bytes", lambda size: bytes(range(size)))
    states = []
    for number, about in enumerate(({"position": "page"}, {"position": 0})):
        with recsdk.Recommender.open(tmp_path / str(number), items=ITEMS, scorers=[quality], policy="lin-ts", log_features="all") as shop:
            shop.recommend({}, size=3, decision_id="d")
            assert shop.reward("d", 2.5, **about)
            assert not shop.reward("d", 2.5, **about)
            states.append(state(shop))
            assert shop.audit()
    assert states[0] == states[1]


def test_a_page_has_one_reward_or_its_items_have(tmp_path):
    with recsdk.Recommender.open(tmp_path, items=ITEMS, scorers=[quality], policy="lin-ts", log_features="all") as shop:
        for name in ("of page", "of item", "of one"):
            ids = shop.recommend({}, size=1 if name == "of one" else 2, decision_id=name).ids
        assert shop.reward("of page", 1.0, position="page")
        assert shop.reward("of item", 0.5, position=1)
        assert shop.reward("of one", 0.25, position="page")
        assert not shop.reward("of one", 0.25, item=ids[0])
        for name, about in (("of page", {"position": 0}), ("of item", {"position": "page"})):
            with pytest.raises(RewardConflict, match="A page has one reward, or its items have"):
                shop.reward(name, 1.0, **about)
        with pytest.raises(RewardConflict, match="A page has one reward, or its items have"):
            shop.reward_slate("of page", {})
        shop.correct("of page/page", 2.0)
    assert recsdk.read_ledger(tmp_path).reward.tolist() == [2.0, 0.25]
    assert recsdk.read_ledger(tmp_path, position=1).reward.tolist() == [0.5]


# Decisions that are not shown, or later.


def test_a_deferred_decision_counts_once_it_is_shown(tmp_path, clock):
    with shop_at(tmp_path, clock) as shop:
        for name in ("shown", "never", "late"):
            shop.recommend({}, decision_id=name, deferred=True)
            assert shop.signal("click", decision_id=name) is Receipt.TAKEN
        assert shop.shown("shown") is Receipt.TAKEN
        assert shop.shown("shown") is Receipt.DUPLICATE
        assert shop.shown("nowhere") is Receipt.UNKNOWN
        clock.now += 61
        assert shop.settle() == 1
        assert shop.shown("late") is Receipt.LATE
        assert rewards(shop) == {("shown", 0): 1.0}
        assert shop._loop.settlement.num_settled == 3
    assert recsdk.read_ledger(tmp_path, default_reward=0.0).reward.tolist() == [1.0]
    assert count_decisions(tmp_path) == 1


@pytest.mark.parametrize("policy", ["lin-ts", "wide-deep"])
def test_what_was_not_shown_after_all_is_taken_back(tmp_path, clock, policy):
    with shop_at(tmp_path, clock, policy=policy) as shop:
        for name in ("d", "e"):
            shop.recommend({}, size=2, decision_id=name)
        assert shop.not_shown("e") is Receipt.TAKEN  # before the window closes
        clock.now += 61
        assert shop.settle() == 2
        assert shop.not_shown("d") is Receipt.TAKEN  # and after
        assert shop.not_shown("d") is Receipt.DUPLICATE
        assert standing(shop) == {("d", 0): None, ("d", 1): None}
        assert joined(shop)
        assert shop.audit()
    with pytest.raises(EmptyLog):
        recsdk.read_ledger(tmp_path, default_reward=0.0)


def test_without_a_feedback_only_what_was_shown_has_rewards(tmp_path):
    with recsdk.Recommender.open(tmp_path, items=ITEMS, scorers=[quality], policy="lin-ts", log_features="all") as shop:
        ahead = shop.recommend({}, deferred=True, decision_id="ahead")
        assert shop.recommend({}, deferred=True, decision_id="ahead") == ahead
        for call in (lambda: shop.reward("ahead", 1.0), lambda: shop.reward_slate("ahead", {})):
            with pytest.raises(InvalidValue, match=r"call shown\('ahead'\)"):
                call()
        shop.recommend({}, decision_id="plain")
        shop.reward("plain", 1.0)
        shop.not_shown("plain")
        assert shop.audit()
    with pytest.raises(EmptyLog):
        recsdk.read_ledger(tmp_path, default_reward=0.0, window=0)
    with recsdk.Recommender.open(tmp_path, scorers=[quality], policy="lin-ts", log_features="all") as shop:
        assert shop.shown("ahead") is Receipt.TAKEN
        assert shop.reward("ahead", 0.5)
    assert recsdk.read_ledger(tmp_path, default_reward=0.0, window=0).reward.tolist() == [0.5]


# What feedback says of the rest.


def test_a_name_has_a_cap_of_its_own(tmp_path, clock):
    feedback = Feedback(window=60, signals={"click": 1, "hide": -2}, caps={"click": 2.5, "hide": 3})
    with shop_at(tmp_path, clock, feedback=feedback) as shop:
        shop.recommend({}, decision_id="d")
        for number in range(4):
            shop.signal("click", decision_id="d", signal_id=f"c{number}")
            shop.signal("hide", decision_id="d", signal_id=f"h{number}")
        clock.now += 61
        shop.settle()
        assert rewards(shop) == {("d", 0): -0.5}
    with shop_at(tmp_path, clock, feedback=None) as shop:
        assert shop._loop.settlement.feedback == feedback


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"start": 1}, "Feedback.start must be a finite number <= 0"),
        ({"late": 1.5}, "Feedback.late must be a finite number >= 0 and <= 1"),
        ({"caps": {"clik": 1}}, "must be one of"),
        ({"caps": {"reward": 0}}, r"caps\['reward'\] must be a finite number > 0"),
        ({"caps": {"reward": 1}, "aggregation": "mean"}, "caps must be empty where aggregation is not 'sum'"),
        ({"per": "slate"}, "Feedback.per must be one of"),
        ({"signals": {"@shown": 1}}, "do not begin with '@'"),
    ],
)
def test_terms_that_make_no_sense_are_refused(wrong, message):
    with pytest.raises(InvalidValue, match=message):
        Feedback(window=60, **wrong)


def test_a_folder_with_rewards_goes_on_with_a_feedback(tmp_path, clock):
    with shop_at(tmp_path, clock, feedback=None) as shop:
        for name in ("rewarded", "silent"):
            shop.recommend({}, decision_id=name)
        shop.reward("rewarded", 0.5)
    with shop_at(tmp_path, clock) as shop:
        clock.now += 61
        assert shop.settle() == 1
        assert rewards(shop) == {("rewarded", 0): 0.5, ("silent", 0): 0.0}


def test_a_window_that_was_made_longer_is_open_again(tmp_path, clock):
    with shop_at(tmp_path, clock) as shop:
        shop.recommend({}, decision_id="d")
        clock.now += 61
        shop.settle()
    with pytest.warns(recsdk.errors.ChangedSetting):
        shop = shop_at(tmp_path, clock, feedback=Feedback(window=600))
    with shop:
        assert shop.signal("reward", decision_id="d", value=0.5) is Receipt.TAKEN
        assert rewards(shop) == {("d", 0): 0.5}
        clock.now += 600
        assert shop.settle() == 0
        assert joined(shop)
        assert shop.audit()


def test_decisions_that_two_threads_wrote_in_another_order_than_made_are_settled_once(tmp_path, clock, monkeypatch):
    with shop_at(tmp_path, clock) as shop:
        shop.recommend({}, decision_id="later")
        with monkeypatch.context() as patch:
            patch.setattr(shop._loop.settlement, "now", lambda now: now)
            clock.now -= 0.5
            shop.recommend({}, decision_id="earlier")
        clock.now += 62
        assert shop.settle() == 2
        crash(shop)
    with shop_at(tmp_path, clock, feedback=None) as shop:
        assert [shop._loop.settlement.is_settled(decision) for decision in shop._loop.ledger.decisions()] == [True, True]
        assert shop.not_shown("later") is Receipt.TAKEN


def test_a_signal_whose_window_another_thread_has_closed_meanwhile_is_late(tmp_path, clock):
    with shop_at(tmp_path, clock) as shop:
        shop.recommend({}, decision_id="d")
        told = Told("click", 1.0, clock.now + 59, decision_id="d")
        clock.now += 61
        shop.settle()
        with shop._loop.ledger.transaction():
            assert shop._loop.settlement.take(told) == (Receipt.LATE, [])
        assert joined(shop)


def test_signals_of_a_name_that_feedback_no_longer_has_do_not_count(tmp_path, clock):
    with shop_at(tmp_path, clock) as shop:
        shop.recommend({}, decision_id="d")
        shop.signal("click", decision_id="d")
        shop.signal("purchase", decision_id="d")
    with pytest.warns(recsdk.errors.ChangedSetting):
        shop = shop_at(tmp_path, clock, feedback=Feedback(window=60, signals={"click": 1}))
    with shop:
        clock.now += 61
        shop.settle()
        assert rewards(shop) == {("d", 0): 1.0}
