"""Popularity."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsdk.base import Request
from recsdk.data import events_from_rows, items_from_rows, take
from recsdk.errors import InvalidValue
from recsdk.scorers.popularity import Popularity

ITEMS = items_from_rows([{"id": name} for name in "abc"])
DAY = 86400.0
EVENTS = st.lists(st.tuples(st.integers(0, 2), st.floats(0, 100 * DAY), st.floats(-1, 5)), max_size=20)


def fit(rows, **options):
    return Popularity(**options).fit(events_from_rows(ITEMS, [{"item": i, "time": t, "reward": r} for i, t, r in rows]))


def scores(state):
    return Popularity().score(state, Request({}, 0.0), ITEMS)[:, 0]


def live(state, rows, **options):
    for item, time, reward in rows:
        state = Popularity(**options).update(state, Request({}, time), take(ITEMS, [item]), reward)
    return state


def test_the_score_is_that_of_the_formula():
    state = fit([("a", 0.0, 4.0), ("b", DAY, 1.0), ("b", DAY, 1.0)], half_life=DAY)  # both have earned 2 of 4, the average is 4/3
    np.testing.assert_allclose(scores(state), [np.log(2.5) / np.log(4), np.log(2.5) / np.log(4), 0], rtol=1e-6)


def test_an_item_that_has_earned_everything_scores_one():
    np.testing.assert_allclose(scores(fit([("b", 0.0, 3.0)])), [0, 1, 0])


def test_a_sum_below_zero_scores_as_its_opposite_negated():
    np.testing.assert_array_equal(scores(fit([("b", 0.0, -3.0), ("a", 0.0, 1.0)])), -scores(fit([("b", 0.0, 3.0), ("a", 0.0, -1.0)])))


@given(EVENTS, st.integers(0, 20))
def test_live_rewards_count_as_those_of_the_log(rows, split):
    rows = sorted(rows, key=lambda row: row[1])
    named = [("abc"[item], time, reward) for item, time, reward in rows]
    np.testing.assert_allclose(scores(live(fit(named[:split]), rows[split:])), scores(fit(named)), atol=1e-6)


@given(EVENTS, st.randoms())
def test_rewards_may_come_in_any_order(rows, random):
    shuffled = rows.copy()
    random.shuffle(shuffled)
    np.testing.assert_allclose(scores(live(fit([]), shuffled)), scores(live(fit([]), rows)), atol=1e-6)


@pytest.mark.parametrize("step", [1.0, 63 * DAY, 65 * DAY, 1e6 * DAY])
def test_time_may_run_for_ever_without_overflow(step):
    state = fit([])
    for tick in range(2000):
        state = live(state, [(0, 1.7e9 + tick * step, 1.0), (1, 1.7e9 + tick * step, 1.0)], half_life=DAY)
    np.testing.assert_allclose(scores(state), [np.log(2.5) / np.log(4)] * 2 + [0], rtol=1e-6)


def test_old_rewards_fade():
    state = live(fit([("a", 0.0, 100.0)]), [(1, 700 * DAY, 1.0)])
    assert scores(state)[1] > 0.99


def test_slots_far_beyond_the_log_find_room():
    late = items_from_rows([{"id": "late"}])._replace(slot=np.array([5000]))
    state = Popularity().update(fit([("a", 0.0, 1.0)]), Request({}, 1.0), late, 1.0)
    np.testing.assert_allclose(Popularity().score(state, Request({}, 0.0), late), np.log1p(5001 / 2) / np.log1p(5001), rtol=1e-5)


@pytest.mark.parametrize("half_life", [0, -1.0, float("nan"), "1d"])
def test_a_half_life_that_is_none_is_refused(half_life):
    with pytest.raises(InvalidValue, match=r"Popularity\.half_life must be a finite number > 0"):
        Popularity(half_life=half_life)


@pytest.mark.parametrize("wrong", [70 * 365 * DAY, 500 * 7 * DAY])
def test_one_wrong_time_of_a_clock_does_not_freeze_it(wrong):
    now = 20_000 * DAY
    state = live(fit([("a", now, 5.0)]), [(0, now, 1.0), (1, now + wrong, 1.0), *[(2, now + day * DAY, 1.0) for day in range(30)]])
    column = scores(state)
    assert column[2] > column[1] > 0
    assert column[2] > 0.9
