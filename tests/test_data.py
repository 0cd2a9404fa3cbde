"""Rows to records."""

import doctest
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import recsdk.data
from recsdk.data import column_kind, concatenate_items, events_from_rows, items_from_rows, requests_table, take, take_events
from recsdk.datasets import read_rows
from recsdk.errors import DuplicateCandidates, IgnoredInput, InvalidLog, InvalidRequest, InvalidReward, RecsdkError, UnknownItem

TEXT = st.text(st.characters(codec="utf-8"))
FEATURES = st.one_of(
    st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | st.integers(-(2**53), 2**53)),
    st.lists(st.none() | TEXT),
    st.lists(st.none() | st.lists(TEXT)),
)


def catalogue():
    return items_from_rows([{"id": "a", "price": 1}, {"id": "b", "price": 2.5}, {"id": "c"}], time=5.0)


def test_the_docstrings_examples_are_true():
    assert doctest.testmod(recsdk.data).failed == 0


@given(FEATURES)
def test_a_column_gives_back_the_values_that_went_in(values):
    column = requests_table([{"x": value} for value in values]).get("x", np.empty(0))
    missing = [value is None or value != value for value in column.tolist()]
    assert missing == [value is None for value in values]
    assert [value for value in column.tolist() if value is not None and value == value] == [v for v in values if v is not None]


@pytest.mark.parametrize(
    ("values", "dtype", "kind"),
    [
        ([1, 2.5, None], np.float64, "number"),
        ([True, False], np.float64, "number"),
        ([np.int64(3), np.float32(2)], np.float64, "number"),
        (["a", None], object, "str"),
        ([["a", "b"], ("c", "d"), None], object, "list of str"),
        ([None, None], object, None),
    ],
)
def test_a_columns_type_is_that_of_its_values(values, dtype, kind):
    column = requests_table([{"x": value} for value in values])["x"]
    assert column.dtype == dtype
    assert column.shape == (len(values),)
    assert column_kind(column) == kind


def test_what_a_row_lacks_is_missing():
    table = requests_table([{"a": "x"}, {"b": 1.0}])
    assert table["a"].tolist() == ["x", None]
    assert math.isnan(table["b"][0])


def test_a_bag_is_copied():
    tags = ["a"]
    table = requests_table([{"tags": tags}])
    tags.append("b")
    assert table["tags"][0] == ["a"]


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        -math.inf,
        np.float32("nan"),
        2**53 + 1,
        10**400,
        np.longdouble(1),
        np.timedelta64(1, "s"),
        {"a": 1},
        [1],
        [["a"]],
        b"a",
        {"a"},
        1j,
    ],
)
def test_a_value_that_is_no_feature_is_refused_with_its_row(value):
    with pytest.raises(InvalidRequest, match=r"'x' in row 1 must"):
        requests_table([{"x": None}, {"x": value}])


def test_text_that_cannot_be_stored_is_refused():
    with pytest.raises(InvalidRequest, match="'x' in row 0 must be text that UTF-8 can hold"):
        requests_table([{"x": ["\ud800"]}])


@pytest.mark.parametrize("name", ["", 3, None])
def test_a_name_that_is_no_name_is_refused(name):
    with pytest.raises(InvalidRequest, match="name must be a str"):
        requests_table([{name: 1}])


def test_two_kinds_in_a_column_are_refused():
    with pytest.raises(InvalidRequest, match=r"'x' must hold one kind of value, got number in row 1 and str in row 2: '3'"):
        requests_table([{}, {"x": 3}, {"x": "3"}])


def test_items_have_slots_in_the_order_of_the_rows():
    items = items_from_rows([{"id": "b", "added": 7}, {"id": "a"}], time=3.0)
    assert items.ids.tolist() == ["b", "a"]
    assert items.slot.tolist() == [0, 1]
    assert items.added.tolist() == [7.0, 3.0]
    assert items.features == {}


@pytest.mark.parametrize("row", [{}, {"id": ""}, {"id": 3}, {"id": None}])
def test_an_item_without_an_id_is_refused(row):
    with pytest.raises(InvalidRequest, match="'id' in row 1 must be a str"):
        items_from_rows([{"id": "a"}, row])


def test_an_item_added_at_no_time_is_refused():
    with pytest.raises(InvalidRequest, match="'added' in row 0 must be finite seconds"):
        items_from_rows([{"id": "a", "added": math.inf}])


def test_one_id_twice_is_refused():
    with pytest.raises(DuplicateCandidates, match="'a' in rows 0 and 2"):
        items_from_rows([{"id": "a"}, {"id": "b"}, {"id": "a"}])


def test_an_empty_catalogue_is_a_catalogue():
    items = items_from_rows([])
    assert (len(items.ids), items.slot.dtype, items.added.dtype) == (0, np.int64, np.float64)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.floats(-1, 1)), max_size=20))
def test_events_are_sorted_by_time_and_ties_keep_their_order(rows):
    log = events_from_rows(catalogue(), [{"item": i, "time": t, "reward": r, "n": n} for n, (i, t, r) in enumerate(rows)])
    expected = sorted(enumerate(rows), key=lambda pair: pair[1][1])
    assert log.requests.get("n", np.empty(0)).tolist() == [n for n, _ in expected]
    assert [(log.items.ids[i], t, r) for i, t, r in zip(log.item, log.time, log.reward, strict=True)] == [row for _, row in expected]


def test_an_event_without_a_reward_was_a_success():
    log = events_from_rows(catalogue(), [{"item": "b", "time": 1.0, "user_id": "u"}])
    assert log.reward.tolist() == [1.0]
    assert log.item.tolist() == [1]
    assert set(log.requests) == {"user_id"}


def test_an_unknown_item_is_refused_with_the_nearest():
    items = items_from_rows([{"id": "shoe-red"}, {"id": "hat"}])
    with pytest.raises(UnknownItem, match=r"'item' in row 1 .* got 'shoe-rad'\. Did you mean 'shoe-red'\?"):
        events_from_rows(items, [{"item": "hat", "time": 0}, {"item": "shoe-rad", "time": 0}])


def test_events_of_unknown_items_are_skipped_on_request_and_counted():
    rows = [{"item": item, "time": 9 - n, "n": n} for n, item in enumerate(["a", "gone", "b", "lost"])]
    with pytest.warns(IgnoredInput, match=r"2 of 4 rows were skipped: .* not in the catalogue, such as 'gone' in row 1\.") as caught:
        log = events_from_rows(catalogue(), rows, unknown_items="skip")
    assert caught[0].filename == __file__
    assert (log.item.tolist(), log.requests["n"].tolist(), log.time.tolist()) == ([1, 0], [2.0, 0.0], [7.0, 9.0])
    with pytest.raises(UnknownItem, match="'item' in row 1"):
        events_from_rows(catalogue(), rows)


def test_a_bad_row_is_refused_by_its_number_also_where_others_are_skipped():
    rows = [{"item": "gone", "time": 1}, {"item": "a", "time": 1, "x": [1]}]
    with pytest.raises(InvalidRequest, match="'x' in row 1"):
        events_from_rows(catalogue(), rows, unknown_items="skip")
    with pytest.raises(UnknownItem, match=r"'item' in row 0 must be an id of the catalogue, got 3\. An id is a str\."):
        events_from_rows(catalogue(), [{"item": 3, "time": 1}], unknown_items="skip")


@pytest.mark.parametrize("time", [None, math.nan, "now", True])
def test_an_event_at_no_time_is_refused(time):
    with pytest.raises(InvalidLog, match="'time' in row 0 must be finite seconds"):
        events_from_rows(catalogue(), [{"item": "a", "time": time}])


@pytest.mark.parametrize("reward", [None, math.nan, math.inf, "1", True])
def test_a_reward_that_is_no_number_is_refused(reward):
    with pytest.raises(InvalidReward, match="'reward' in row 0 must be a finite number"):
        events_from_rows(catalogue(), [{"item": "a", "time": 0, "reward": reward}])


@pytest.mark.parametrize("index", [np.array([2, 0]), np.array([True, False, True]), slice(1, None)])
def test_taking_selects_every_field_alike(index):
    items, taken = catalogue(), take(catalogue(), index)
    assert taken.ids.tolist() == items.ids[index].tolist()
    assert taken.slot.tolist() == items.slot[index].tolist()
    assert taken.added.tolist() == items.added[index].tolist()
    np.testing.assert_array_equal(taken.features["price"], items.features["price"][index])


def test_a_catalogue_taken_apart_joins_to_itself():
    items = catalogue()
    joined = concatenate_items(take(items, slice(0, 1)), take(items, slice(1, 3)))
    for ours, theirs in zip(joined, items, strict=True):
        np.testing.assert_equal(ours, theirs)


def test_joining_fills_the_columns_that_a_part_lacks():
    joined = concatenate_items(
        items_from_rows([{"id": "a", "price": None}]), items_from_rows([{"id": "b", "price": 1.0, "tags": ["x"], "brand": "y"}])
    )
    assert joined.features["price"].dtype == np.float64
    assert joined.features["tags"].tolist() == [None, ["x"]]
    assert joined.features["brand"].tolist() == [None, "y"]


def test_joining_nothing_is_an_empty_catalogue():
    assert len(concatenate_items().ids) == 0


def test_joining_refuses_one_id_twice():
    with pytest.raises(DuplicateCandidates, match="'a'"):
        concatenate_items(catalogue(), catalogue())


def test_joining_refuses_two_kinds_in_a_column():
    with pytest.raises(InvalidRequest, match="'x' must hold one kind of value, got number and str"):
        concatenate_items(items_from_rows([{"id": "a", "x": 1}]), items_from_rows([{"id": "b", "x": "1"}]))


def test_rows_by_column_make_the_same_events_and_errors_as_rows_one_by_one():
    items = items_from_rows([{"id": "a"}, {"id": "b"}])
    plain = [
        {"item": "b", "time": 3.0, "reward": 0.5, "user_id": "u", "age": None},
        {"item": "a", "time": 1.0, "reward": 1.0, "user_id": None, "age": 2.0},
        {"item": "b", "time": 3.0, "reward": 2.0, "user_id": "v", "age": 1.0},
    ]
    for rows in (plain, [{name: value for name, value in row.items() if name != "reward"} for row in plain]):
        one, other = events_from_rows(items, rows), events_from_rows(items, read_rows(rows))
        for name in ("item", "reward", "time"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert one.requests.keys() == other.requests.keys()
        for name, column in other.requests.items():
            np.testing.assert_array_equal(column, one.requests[name])
    for change in ({"item": "c"}, {"item": None}, {"time": None}, {"reward": None}):
        rows = [plain[0], {**plain[1], **change}]
        with pytest.raises(RecsdkError) as one:
            events_from_rows(items, rows)
        with pytest.raises(type(one.value)) as other:
            events_from_rows(items, read_rows(rows))
        assert str(other.value) == str(one.value)
    with pytest.warns(IgnoredInput, match="1 of 2 rows were skipped"):
        assert events_from_rows(items, read_rows([plain[0], {**plain[1], "item": "c"}]), unknown_items="skip").item.tolist() == [1]
    for lacking in ("item", "time"):
        rows = [{name: value for name, value in plain[0].items() if name != lacking}]
        with pytest.raises(InvalidLog, match=f"{lacking!r} in row 0 must be"):
            events_from_rows(items, read_rows(rows))
    assert len(events_from_rows(items, read_rows([])).item) == 0


@pytest.mark.parametrize("index", [slice(1, 3), np.array([False, True, True, False]), np.array([1, 2])], ids=["slice", "mask", "places"])
def test_of_selected_events_all_columns_are_selected_and_the_catalogue_stays(index):
    items = items_from_rows([{"id": "a"}, {"id": "b"}])
    rows = [{"item": "ab"[number % 2], "time": float(number), "reward": 10.0 * number, "age": 20.0 + number} for number in range(4)]
    log = take_events(events_from_rows(items, rows), index)
    assert log.items is items
    assert [column.tolist() for column in (log.item, log.reward, log.time, log.requests["age"])] == [[1, 0], [10, 20], [1, 2], [21, 22]]
