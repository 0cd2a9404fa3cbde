"""Histories that the loop keeps: what a user took lately stands in the next request, and in the record of its decision."""

import json
from collections import defaultdict

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

import recsdk
from recsdk import errors
from recsdk.ledger.sqlite import Sqlite
from recsdk.live import answering, histories
from recsdk.live.deciding import Decider
from recsdk.live.skew import recompute
from recsdk.scorers.function import FunctionScorer

ITEMS = [{"id": f"i{number}"} for number in range(9)]
FEEDBACK = recsdk.Feedback(window=1e6, start=-50, signals={"click": 1, "hide": -1})


class Clock:
    """A clock that goes on by a second with every look."""

    now = 1_000_000.0

    def __call__(self):
        self.now += 1
        return self.now


def follows(request, items):
    """Scores by a feature that must be there, and that the policy sees."""
    history = list(request.features["history"])
    return [1.0 + history.index(item) if item in history else 0.0 for item in items.ids.tolist()]


def opened(folder, **options):
    defaults = {"policy": "lin-ts", "scorers": [follows], "remember": 3, "fallback": None}
    return recsdk.Recommender.open(folder, items=ITEMS, **defaults | options)


def given_to(folder, decision_id):
    ledger = Sqlite().read(folder)
    try:
        return histories.features(json.loads(ledger.decision(decision_id).payload))["history"]
    finally:
        ledger.close()


def last(shop, folder, user):
    return given_to(folder, shop.recommend({"user_id": user}).decision_id)


def test_a_request_has_the_latest_items_with_a_reward_above_0_oldest_first(tmp_path):
    with opened(tmp_path) as shop:
        taken = []
        for number in range(8):
            slate = shop.recommend({"user_id": "ann"})
            assert given_to(tmp_path, slate.decision_id) == taken[-3:]
            shop.reward(slate.decision_id, float(number % 2))
            taken += slate.ids if number % 2 else ()
        assert last(shop, tmp_path, "bob") == []
        assert shop.audit()
    with opened(tmp_path) as shop:
        assert last(shop, tmp_path, "ann") == taken[-3:]


def test_the_history_of_the_application_goes_first_and_who_is_unknown_has_none(tmp_path):
    with opened(tmp_path) as shop:
        shop.reward(shop.recommend({"user_id": "ann"}).decision_id, 1.0)
        assert given_to(tmp_path, shop.recommend({"user_id": "ann", "history": ["i8"]}).decision_id) == ["i8"]
        with pytest.raises(KeyError, match="history"):
            shop.recommend({})


def test_a_decision_asked_for_again_is_the_same_whatever_was_taken_since(tmp_path):
    with opened(tmp_path) as shop:
        slate = shop.recommend({"user_id": "ann"}, decision_id="d")
        shop.reward("d", 1.0)
        assert shop.recommend({"user_id": "ann"}, decision_id="d") == slate
        with pytest.raises(errors.DecisionConflict, match="another request"):
            shop.recommend({"user_id": "bob"}, decision_id="d")


def test_decisions_made_again_see_the_histories_that_they_were_made_with(tmp_path):
    with opened(tmp_path, log_features="all") as shop:
        for _ in range(5):
            shop.reward(shop.recommend({"user_id": "ann"}).decision_id, 1.0)
    assert recompute(tmp_path, scorers=[FunctionScorer(follows)], share=1.0) == (5, {}, 0)


def test_who_is_forgotten_has_no_history(tmp_path):
    with opened(tmp_path) as shop:
        shop.reward(shop.recommend({"user_id": "ann"}).decision_id, 1.0)
        assert last(shop, tmp_path, "ann")
        shop.forget("ann")
        assert last(shop, tmp_path, "ann") == []


def test_a_signal_counts_at_once_and_one_that_waited_with_its_decision(tmp_path):
    with opened(tmp_path, feedback=FEEDBACK, clock=Clock()) as shop:
        first = shop.recommend({"user_id": "ann"}, size=4)
        shop.signal("hide", decision_id=first.decision_id, item=first.ids[0])
        shop.signal("click", user="ann", item=first.ids[2])
        shop.signal("click", decision_id=first.decision_id, item=first.ids[1])
        assert last(shop, tmp_path, "ann") == [first.ids[2], first.ids[1]]
        shop.signal("click", decision_id="soon", position=0)
        soon = shop.recommend({"user_id": "ann"}, candidates=["i8"], decision_id="soon")
        assert last(shop, tmp_path, "ann") == [first.ids[2], first.ids[1], *soon.ids]


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("thread", ["shares its models", "has them alone"])
def test_who_is_forgotten_while_a_decision_is_made_has_no_history_in_it(tmp_path, monkeypatch, many, thread):
    with opened(tmp_path) as shop:
        shop._loop.evidence.is_shared = thread == "shares its models"
        shop.reward(shop.recommend({"user_id": "ann"}).decision_id, 1.0)
        forgets = [lambda: shop.forget("ann")]

        def looks(decider, *given, found=Decider.candidates, **more):
            if forgets and thread == "shares its models":
                forgets.pop()()
            return found(decider, *given, **more)

        def began(loop, *given, first=answering._remembering):
            timed = first(loop, *given)
            if forgets and thread == "has them alone":
                forgets.pop()()
            return timed

        monkeypatch.setattr(Decider, "candidates", looks)
        monkeypatch.setattr(answering, "_remembering", began)
        asked = {"request": {"user_id": "ann"}}
        slate = shop.recommend_many([asked])[0] if many else shop.recommend(**asked)
        assert not forgets
        assert given_to(tmp_path, slate.decision_id) == []
        assert shop.audit()


@pytest.mark.parametrize("feedback", [None, FEEDBACK])
def test_what_was_taken_back_or_not_shown_is_not_in_a_history(tmp_path, feedback):
    with opened(tmp_path, feedback=feedback, clock=Clock()) as shop:
        slates = [shop.recommend({"user_id": "ann"}) for _ in range(3)]
        for slate in slates:
            _tell(shop, "click", slate, 0, with_signals=feedback is not None)
        assert last(shop, tmp_path, "ann") == [slate.ids[0] for slate in slates]
        _tell(shop, "retract", slates[0], 0, with_signals=feedback is not None)
        assert last(shop, tmp_path, "ann") == [slates[1].ids[0], slates[2].ids[0]]
        shop.not_shown(slates[1].decision_id)
        assert last(shop, tmp_path, "ann") == [slates[2].ids[0]]
        if feedback is not None:
            shop.signal("click", decision_id=slates[1].decision_id, signal_id="after all")
            assert last(shop, tmp_path, "ann") == [slates[2].ids[0]]


def test_an_item_of_a_decision_is_there_once_where_it_was_taken_last(tmp_path):
    with opened(tmp_path, feedback=FEEDBACK, clock=Clock()) as shop:
        slates = [shop.recommend({"user_id": "ann"}) for _ in range(2)]
        assert last(shop, tmp_path, "ann") == []
        for slate, name in zip((*slates, slates[0]), "xyz", strict=True):
            shop.signal("click", decision_id=slate.decision_id, signal_id=name)
        assert last(shop, tmp_path, "ann") == [slates[1].ids[0], slates[0].ids[0]]


def test_many_requests_have_the_histories_before_the_first(tmp_path):
    with opened(tmp_path) as shop:
        took = shop.recommend({"user_id": "ann"})
        shop.reward(took.decision_id, 1.0)
        slates = shop.recommend_many([{"request": {"user_id": name}} for name in ("ann", "bob", "ann")])
        assert [given_to(tmp_path, slate.decision_id) for slate in slates] == [list(took.ids), [], list(took.ids)]


@pytest.mark.parametrize("remember", [-1, 1.5, "3", None])
def test_a_length_that_cannot_be_is_refused(tmp_path, remember):
    with pytest.raises(errors.InvalidValue, match="remember must be a whole number >= 0"):
        opened(tmp_path, remember=remember)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("show"), st.sampled_from("ab"), st.integers(1, 3)),
        st.tuples(st.sampled_from(["click", "hide"]), st.integers(0, 9), st.integers(0, 2)),
        st.tuples(st.sampled_from(["retract", "not shown", "open again"]), st.integers(0, 9), st.integers(0, 2)),
    ),
    max_size=25,
)


@settings(max_examples=25, deadline=None)
@given(steps=STEPS, with_signals=st.booleans())
def test_what_is_kept_is_what_the_ledger_says(tmp_path_factory, steps, with_signals):
    folder = tmp_path_factory.mktemp("shop")
    options = {"policy": "uniform", "clock": Clock(), "feedback": FEEDBACK if with_signals else None}
    shop, slates, taken = opened(folder, **options), [], defaultdict(dict)
    try:
        for kind, first, second in steps:
            if kind == "show":
                slates.append((first, shop.recommend({"user_id": first}, size=second)))
            elif kind == "open again":
                shop.close()
                shop = opened(folder, **options)
            elif slates:
                user, slate = slates[first % len(slates)]
                place = second % len(slate.ids)
                if _tell(shop, kind, slate, place, with_signals) and kind in ("click", "hide"):
                    taken[user][slate.decision_id, place] = slate.ids[place]
            for user in "ab":
                fresh = histories.Histories(3, shop._loop.ids)
                feedback = None if shop._loop.settlement is None else shop._loop.settlement.feedback
                assert [one.item for one in fresh._of(user, shop._loop.ledger, feedback)] == last(shop, folder, user)
                assert set(last(shop, folder, user)) <= set(taken[user].values())
    finally:
        shop.close()


def _tell(shop, kind, slate, place, with_signals):
    try:
        if kind == "not shown":
            return shop.not_shown(slate.decision_id)
        if kind == "retract":
            name = f"{slate.decision_id}/{place}"
            return shop.correct(f"{name}/click" if with_signals else name, None)
        if with_signals:
            return shop.signal(kind, decision_id=slate.decision_id, position=place) is recsdk.Receipt.TAKEN
        return shop.reward(slate.decision_id, 1.0 if kind == "click" else 0.0, position=place)
    except (errors.RewardConflict, errors.InvalidValue):
        return False  # told before, or of what was not shown
