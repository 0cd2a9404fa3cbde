"""Splits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsdk.data import events_from_rows, items_from_rows
from recsdk.errors import InvalidLog, InvalidRequest, InvalidValue
from recsdk.ranking import leave_one_out, split_at_time

ITEMS = items_from_rows([{"id": name} for name in "abcdefgh"])
LOGS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 7), st.integers(0, 9), st.integers(0, 1)), max_size=40)


def log(rows):
    return events_from_rows(
        ITEMS, [{"user_id": user, "item": item, "time": float(time), "reward": reward} for user, item, time, reward in rows]
    )


def taken(text, user="u"):
    return [(user, item, time, 1.0) for time, item in enumerate(text)]


def lists(ragged):
    return ["".join(ITEMS.ids[ragged.values[a:b]]) for a, b in zip(ragged.start[:-1], ragged.start[1:], strict=True)]


def test_the_last_item_is_tested_and_the_one_before_validates():
    split = leave_one_out(log([*taken("abcd", "u"), *taken("ef", "v"), ("w", "h", 9, 1.0)]))
    assert (lists(split.test.history), lists(split.test.target)) == (["abc"], ["d"])
    assert (lists(split.validation.history), lists(split.validation.target)) == (["ab"], ["c"])
    assert "".join(ITEMS.ids[split.train.item]) == "aebfh"
    assert "".join(ITEMS.ids[split.refit.item]) == "aebfch"
    assert split.num_left_out == 2
    assert split.test.requests["history"].tolist() == [["a", "b", "c"]]
    assert split.test.requests["user_id"].tolist() == ["u"]
    assert split.test.time.tolist() == [3.0]


def test_of_events_of_one_time_the_later_row_is_the_later_event():
    split = leave_one_out(log([("u", item, 5.0, 1.0) for item in "cab"]))
    assert (lists(split.test.history), lists(split.test.target)) == (["ca"], ["b"])


def test_what_was_not_taken_is_neither_history_nor_target():
    split = leave_one_out(
        log([("u", "a", 0, 1), ("u", "h", 1, 0), ("u", "b", 2, 1), ("u", "c", 3, 1), ("u", "g", 4, -1), (None, "d", 5, 1)])
    )
    assert (lists(split.test.history), lists(split.test.target)) == (["ab"], ["c"])
    assert "".join(ITEMS.ids[split.train.item]) == "ahgd"


@settings(deadline=None)
@given(LOGS)
def test_each_event_is_trained_on_or_the_target_of_one_case(rows):
    events = log([(f"u{user}", "abcdefgh"[item], time, float(reward)) for user, item, time, reward in rows])
    try:
        split = leave_one_out(events)
    except InvalidLog:
        assert all(sum(reward for user, _, _, reward in rows if user == number) < 3 for number in range(3))
        return
    items = np.concatenate([split.train.item, split.validation.target.values, split.test.target.values])
    assert sorted(items) == sorted(events.item)


@settings(deadline=None)
@given(LOGS)
def test_a_split_in_time_trains_on_nothing_from_then_on(rows):
    events = log([(f"u{user}", "abcdefgh"[item], time, float(reward)) for user, item, time, reward in rows])
    try:
        split = split_at_time(events, 3.0, 6.0)
    except InvalidLog:
        return
    assert (split.train.time < 3).all()
    assert (split.refit.time < 6).all()
    assert ((split.validation.time >= 3) & (split.validation.time < 6)).all()
    assert (split.test.time >= 6).all()
    for row, user in enumerate(split.test.requests["user_id"]):
        mine = (events.requests["user_id"] == user) & (events.reward > 0)
        assert lists(split.test.history)[row] == "".join(ITEMS.ids[events.item[mine & (events.time < 6)]])
        assert set(lists(split.test.target)[row]) == set(ITEMS.ids[events.item[mine & (events.time >= 6)]])


def test_a_user_without_a_history_is_left_out_of_a_split_in_time_and_counted():
    split = split_at_time(log([*taken("abcd", "u"), ("v", "e", 3, 1.0)]), 2.0, 3.0)
    assert (lists(split.test.history), lists(split.test.target), split.num_left_out) == (["abc"], ["d"], 1)


@pytest.mark.parametrize("split", [leave_one_out, lambda events, **names: split_at_time(events, 1.0, 2.0, **names)])
def test_what_cannot_be_split_is_refused(split):
    with pytest.raises(InvalidLog, match="must have a user"):
        split(log(taken("a")))
    with pytest.raises(InvalidLog, match=r"must have a column 'user_di'.*Did you mean 'user_id'"):
        split(log(taken("abcd")), user="user_di")
    with pytest.raises(InvalidRequest, match="must be a str, got"):
        split(log(taken("abcd", 7)))


def test_times_out_of_order_are_refused():
    with pytest.raises(InvalidValue, match="test_time must be a finite number > 5, got 3"):
        split_at_time(log(taken("abcd")), 5.0, 3.0)
