"""Histories as rows of a vocabulary."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsdk.data import events_from_rows, items_from_rows, requests_table
from recsdk.encoders._sequences import BEGIN, Histories, from_log, from_requests, learn, padded, windows
from recsdk.errors import InvalidLog, InvalidRequest
from recsdk.vocabulary import numbers_of, vocabulary

ITEMS = items_from_rows([{"id": name} for name in "dacb"])
KNOWN = learn(vocabulary([], np.zeros(0)), ITEMS)
LENGTHS = st.lists(st.integers(1, 12), min_size=1, max_size=5)


def histories(lengths):
    start = np.concatenate([[0], np.cumsum(lengths)])
    return Histories(np.arange(1, start[-1] + 1), start)


def test_items_have_rows_from_one_on_in_the_order_of_the_catalogue():
    assert numbers_of(KNOWN, ["d", "a", "c", "b", "x"], missing=BEGIN).tolist() == [1, 2, 3, 4, BEGIN]


def test_an_item_keeps_its_row_when_others_join():
    grown = learn(KNOWN, items_from_rows([{"id": name} for name in ("0", "b", "z")]))
    assert numbers_of(grown, ["d", "a", "c", "b", "0", "z"], missing=BEGIN).tolist() == [1, 2, 3, 4, 5, 6]


@settings(deadline=None)
@given(st.sets(st.text(min_size=1).filter(lambda name: name[-1] != "\0")), st.lists(st.text()))
def test_any_ids_are_found_and_no_others(ids, others):
    known = vocabulary(sorted(ids, reverse=True), np.arange(len(ids)) + 1)
    wanted = [sorted(ids, reverse=True).index(name) + 1 if name in ids else 0 for name in [*ids, *others]]
    assert numbers_of(known, [*ids, *others], missing=0).tolist() == [
        number if not name.endswith("\0") else got
        for number, name, got in zip(wanted, [*ids, *others], numbers_of(known, [*ids, *others], missing=0).tolist(), strict=True)
    ]


def test_an_id_that_arrays_of_text_would_shorten_is_refused():
    with pytest.raises(InvalidRequest, match=r"'id' must not end in NUL, got 'a\\x00'"):
        learn(KNOWN, items_from_rows([{"id": "a\0"}]))


def test_what_was_taken_is_grouped_by_user_in_the_order_of_the_log():
    rows = [("u", "a", 1), ("v", "b", 1), ("u", "c", 0), ("u", "d", 1), (None, "d", 1), ("w", "a", -1), ("v", "a", 1)]
    log = events_from_rows(ITEMS, [{"user_id": user, "item": item, "reward": reward, "time": 0.0} for user, item, reward in rows])
    found = from_log(KNOWN, log, "user_id")
    assert (found.row.tolist(), found.start.tolist()) == ([2, 1, 4, 2], [0, 2, 4])


def test_what_has_no_row_is_passed_over_and_a_user_of_nothing_else_is_none():
    rows = [{"user_id": user, "item": item, "time": 0.0} for user, item in ("ua", "ub", "vb", "wc", "ud")]
    known = vocabulary(["a", "c", "d"], np.array([5, 2, 9]))
    found = from_log(known, events_from_rows(ITEMS, rows), "user_id")
    assert found.row.tolist() == [5, 9, 2]
    assert found.start.tolist() == [0, 2, 3]


def test_a_log_without_the_column_of_users_is_refused_unless_it_is_empty():
    log = events_from_rows(ITEMS, [{"user": "u", "item": "a", "time": 0.0}])
    with pytest.raises(InvalidLog, match=r"must have a column 'user_id'.*Did you mean 'user'"):
        from_log(KNOWN, log, "user_id")
    assert from_log(KNOWN, events_from_rows(ITEMS, []), "user_id").start.tolist() == [0]


def test_users_that_are_numbers_are_refused():
    with pytest.raises(InvalidRequest, match=r"must be a str, got 7\.0"):
        from_log(KNOWN, events_from_rows(ITEMS, [{"user_id": 7, "item": "a", "time": 0.0}]), "user_id")


def test_a_requests_history_is_its_known_items():
    requests = requests_table([{"history": ["a", "zebra", "d"]}, {"history": []}, {"history": None}])
    assert [found.tolist() for found in from_requests(KNOWN, requests, "history", 3)] == [[2, 1], [], []]
    assert [found.tolist() for found in from_requests(KNOWN, {}, "history", 1)] == [[]]


@pytest.mark.parametrize("value", ["a", 3.0])
def test_a_history_that_is_no_list_is_refused(value):
    with pytest.raises(InvalidRequest, match="'history' must be a list of the ids"):
        from_requests(KNOWN, requests_table([{"history": value}]), "history", 1)


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 6), st.booleans())
def test_windows_predict_each_item_once_from_the_item_before_it(lengths, length, is_held):
    cut = windows(histories(lengths), np.full(len(lengths), is_held), length, 99)
    predicted = sorted(cut[:, 1:][cut[:, 1:] != BEGIN].tolist())
    starts = np.cumsum([0, *lengths[:-1]])
    wanted = [row + 1 for start, size in zip(starts, lengths, strict=True) for row in range(start, start + size - is_held)]
    assert predicted == wanted
    for window in cut:
        for place in range(1, length + 1):
            if window[place] != BEGIN:
                first = window[place] - 1 in starts
                assert window[place - 1] == (BEGIN if first else window[place] - 1)


def test_only_the_latest_windows_are_kept():
    cut = windows(histories([10]), np.array([False]), 3, 2)
    assert cut.tolist() == [[7, 8, 9, 10], [4, 5, 6, 7]]


def test_the_latest_items_are_padded_behind():
    tokens, last = padded([np.array([1, 2, 3, 4]), np.array([], np.int64), np.array([5])], 3)
    assert tokens.tolist() == [[BEGIN, 3, 4], [BEGIN, BEGIN, BEGIN], [BEGIN, 5, BEGIN]]
    assert last.tolist() == [2, 0, 1]
