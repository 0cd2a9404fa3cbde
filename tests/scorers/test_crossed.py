"""Crossed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsdk import Recommender
from recsdk.base import Request
from recsdk.data import events_from_rows, items_from_rows, rows_from_items, take
from recsdk.errors import InvalidValue
from recsdk.scorers.crossed import Crossed, _hashed

ITEMS = items_from_rows([{"id": "steak", "kind": "meat"}, {"id": "salad", "kind": "plants"}, {"id": "tofu", "kind": "plants"}])
SCORER = Crossed(num_buckets=2**12)


def likes(diet, kind):
    return (diet == "vegan") == (kind == "plants")


def rounds(number, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(number):
        diet, place = ("vegan", "omnivore")[rng.integers(2)], int(rng.integers(3))
        chance = 0.8 if likes(diet, ITEMS.features["kind"][place]) else 0.2
        yield Request({"diet": diet}, 0.0), place, float(rng.random() < chance)


def learned(rows, scorer=SCORER):
    state = scorer.init()
    for request, place, reward in rows:
        state = scorer.update(state, request, take(ITEMS, [place]), reward)
    return state


def scores(state, scorer=SCORER, items=ITEMS, **features):
    return scorer.score(state, Request(features, 0.0), items)[:, 0]


def test_it_learns_which_request_takes_which_item():
    state = learned(rounds(2000))
    for diet in ("vegan", "omnivore"):
        got = scores(state, diet=diet)
        wanted = np.array([0.3 if likes(diet, kind) else -0.3 for kind in ITEMS.features["kind"]])
        np.testing.assert_allclose(got - got.mean(), wanted - wanted.mean(), atol=0.15)


def test_a_new_item_is_known_by_its_features():
    new = items_from_rows([{"id": "ham", "kind": "meat"}, {"id": "kale", "kind": "plants"}])
    ham, kale = scores(learned(rounds(1000)), items=new, diet="vegan")
    assert kale - ham > 0.2


def test_a_user_is_told_apart_by_the_id_alone():
    items = items_from_rows([{"id": "a"}, {"id": "b"}])
    state, rng = SCORER.init(), np.random.default_rng(0)
    for _ in range(600):
        user, place = int(rng.integers(5)), int(rng.integers(2))
        state = SCORER.update(state, Request({"user_id": f"u{user}"}, 0.0), take(items, [place]), float(user % 2 == place))
    for user in range(5):
        assert scores(state, items=items, user_id=f"u{user}").argmax() == user % 2


def test_the_prediction_may_bend_with_a_number():
    items = items_from_rows([{"id": "a"}, {"id": "b"}])
    state, rng = SCORER.init(), np.random.default_rng(0)
    for _ in range(3000):
        hour, place = float(rng.integers(24)), int(rng.integers(2))
        state = SCORER.update(state, Request({"hour": hour}, 0.0), take(items, [place]), float((4 <= hour < 12) == place))
    assert [int(scores(state, items=items, hour=hour).argmax()) for hour in (1.0, 7.0, 20.0)] == [0, 1, 0]


def test_a_fit_is_the_fold_of_its_events():
    rows = list(rounds(50))
    events = [{"item": ITEMS.ids[place], "time": 0.0, "reward": reward, **request.features} for request, place, reward in rows]
    for got, wanted in zip(SCORER.fit(events_from_rows(ITEMS, events)), learned(rows), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_one_update_moves_the_prediction_by_the_learning_rate():
    state = SCORER.update(SCORER.init(), Request({"diet": "vegan"}, 0.0), take(ITEMS, [0]), 1.0)
    # six pairs of value 1, of which two are the constant's; each pair's squares are 1 + 1
    np.testing.assert_allclose(scores(state, diet="vegan")[0], 0.5 / np.sqrt(2) * 4 / 6, rtol=1e-6)


@pytest.mark.parametrize("outlier", [1e6, -1e6, 1e300])
def test_one_outlier_does_not_spoil_the_model(outlier):
    rows = [*rounds(500), (Request({"diet": "vegan"}, 0.0), 0, outlier), *rounds(500, seed=1)]
    np.testing.assert_allclose(
        scores(learned(rows), diet="vegan"), scores(learned([*rounds(500), *rounds(500, seed=1)]), diet="vegan"), atol=0.1
    )


@given(st.lists(st.tuples(st.integers(0, 2), st.floats(-1e9, 1e9), st.floats(allow_nan=False, allow_infinity=False)), max_size=30))
def test_scores_stay_finite_for_any_rewards_and_numbers(rows):
    state = learned([(Request({"age": age, "tags": ["x", "y"]}, 0.0), place, reward) for place, age, reward in rows])
    assert np.isfinite(scores(state, age=3.0)).all()


def test_what_is_missing_is_left_out():
    state = learned(rounds(200))
    plain = scores(state, diet="vegan")
    np.testing.assert_array_equal(scores(state, diet="vegan", age=float("nan"), city=None, tags=[]), plain)


@given(st.floats(-1e12, 1e12))
def test_a_number_has_two_weights_that_sum_to_one(value):
    hashes, weights = _hashed("age", value)
    assert len(hashes) == 2
    assert min(weights) >= 0
    assert sum(weights) == pytest.approx(1)


def test_the_same_word_means_another_thing_in_another_feature():
    assert not set(_hashed("diet", "x")[0]) & set(_hashed("item diet", "x")[0])
    assert _hashed("tags", ["x", "y"])[1] == [0.5, 0.5]


def test_the_live_loop_with_it_gives_each_request_its_own_items(tmp_path):
    rng, earned = np.random.default_rng(0), []
    with Recommender.open(tmp_path, items=rows_from_items(ITEMS), scorers=["crossed"], policy="lin-ts") as loop:
        for _ in range(500):
            diet = ("vegan", "omnivore")[rng.integers(2)]
            shown = loop.recommend({"diet": diet})
            earned.append(0.8 if likes(diet, "meat" if shown.ids[0] == "steak" else "plants") else 0.2)
            loop.reward(shown.decision_id, float(rng.random() < earned[-1]))
    assert np.mean(earned[-200:]) > 0.74


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_buckets": 1}, "Crossed.num_buckets must be a whole number >= 2, got 1"),
        ({"learning_rate": 2}, "Crossed.learning_rate must be a finite number > 0 and <= 1, got 2"),
        ({"reward_scale": 0}, "Crossed.reward_scale must be a finite number > 0, got 0"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(InvalidValue, match=message):
        Crossed(**options)
