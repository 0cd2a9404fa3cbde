"""Splits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsdk.data import events_from_rows, items_from_rows
from recsdk.errors import InvalidLog, InvalidRequest, InvalidValue
from recsdk.ranking import leave_one_out, split_at_time, split_by_user

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


def by_user(events, **settings):
    return split_by_user(events, validation=0.3, test=0.3, **settings)


@settings(deadline=None)
@given(LOGS, st.integers(0, 20))
def test_of_held_out_users_nothing_is_trained_on(rows, seed):
    events = log([(f"u{user}", "abcdefgh"[item], time, float(reward)) for user, item, time, reward in rows])
    try:
        split = by_user(events, seed=seed)
    except InvalidLog:
        return
    trained, refitted = (set(part.requests["user_id"]) for part in (split.train, split.refit))
    validating, testing = (set(part.requests["user_id"]) for part in (split.validation, split.test))
    assert not trained & validating
    assert not refitted & testing
    assert trained | validating <= refitted
    for part in (split.validation, split.test):
        for row, name in enumerate(part.requests["user_id"]):
            mine = ITEMS.ids[events.item[(events.requests["user_id"] == name) & (events.reward > 0)]]
            assert lists(part.history)[row] + lists(part.target)[row] == "".join(mine)
            assert part.target.start[row + 1] - part.target.start[row] == 1


def test_users_stay_in_their_part_while_the_log_grows_and_another_seed_draws_others():
    rows = [row for user in range(200) for row in taken("abc", f"u{user}")]
    some, more = (by_user(log(rows[:size])) for size in (300, 600))
    tested = set(some.test.requests["user_id"])
    assert tested == set(more.test.requests["user_id"]) & {f"u{user}" for user in range(100)}
    assert 40 <= len(more.test.time) <= 80
    assert 40 <= len(more.validation.time) <= 80
    assert len(more.refit.item) == 3 * (200 - len(more.test.time))
    assert set(by_user(log(rows), seed=1).test.requests["user_id"]) != set(more.test.requests["user_id"])


def test_a_held_out_user_of_one_item_is_counted_and_rows_without_a_user_are_trained_on():
    rows = [*(row for user in range(20) for row in taken("ab", f"u{user}")), *((f"v{user}", "c", 9, 1.0) for user in range(20))]
    split = by_user(log([*rows, (None, "h", 9, 1.0)]))
    assert split.num_left_out > 0
    assert len(split.train.item) == 1 + 60 - 2 * (len(split.test.time) + len(split.validation.time)) - split.num_left_out
    assert split.train.item[-1] == 7


@pytest.mark.parametrize("shares", [{"test": 0.0}, {"validation": -0.1}, {"test": 0.5, "validation": 0.5}, {"seed": -1}])
def test_shares_of_users_that_cannot_be_are_refused(shares):
    with pytest.raises(InvalidValue, match=r"must be"):
        split_by_user(log(taken("abcd")), **shares)


def test_users_too_few_to_split_are_refused():
    with pytest.raises(InvalidLog, match="with two items that have a reward above 0 in each part"):
        split_by_user(log(taken("abcd")))


@settings(deadline=None)
@given(LOGS)
def test_no_tested_event_of_the_last_item_is_trained_on(rows):
    """Events are told apart by their times, which are made distinct."""
    distinct = [(f"u{user}", "abcdefgh"[item], time + place / 100, float(reward)) for place, (user, item, time, reward) in enumerate(rows)]
    events = log(distinct)
    try:
        split = leave_one_out(events)
    except InvalidLog:
        return
    tested = set(split.test.time.tolist())
    assert not tested & set(split.refit.time.tolist())
    assert not (tested | set(split.validation.time.tolist())) & set(split.train.time.tolist())
    for part in (split.validation, split.test):
        for name, time in zip(part.requests["user_id"], part.time, strict=True):
            mine = events.time[(events.requests["user_id"] == name) & (events.reward > 0)]
            assert time == mine[-1 if part is split.test else -2]
