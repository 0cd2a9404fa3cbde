"""ItemKNN."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsdk.base import Request
from recsdk.data import events_from_rows, items_from_rows, take
from recsdk.errors import InvalidRequest, InvalidValue
from recsdk.scorers import _histories, _neighbours
from recsdk.scorers.item_knn import ItemKNN

ITEMS = items_from_rows([{"id": name} for name in "abcdef"])
PAIRS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5)), max_size=40)


def log(rows):
    return events_from_rows(ITEMS, [{"item": i, "time": float(t), "user_id": u} for t, (u, i) in enumerate(rows)])


def score(state, user, **options):
    return ItemKNN(**options).score(state, Request({"user_id": user}, 0.0), ITEMS)[:, 0]


def test_the_score_is_that_of_the_formula():
    rows = [("u", "a"), ("u", "b"), ("v", "a"), ("v", "b"), ("v", "c"), ("w", "c"), ("x", "a"), ("x", "c")]
    state = ItemKNN(shrinkage=1.0).fit(log(rows))
    ab, ac, bc = 2 / (np.sqrt(3 * 2) + 1), 2 / (np.sqrt(3 * 3) + 1), 1 / (np.sqrt(2 * 3) + 1)
    np.testing.assert_allclose(score(state, "u"), np.array([ab, ab, ac + bc, 0, 0, 0]) / np.sqrt(2), rtol=1e-6)
    np.testing.assert_allclose(score(state, "w"), [ac, bc, 0, 0, 0, 0], rtol=1e-6)


@given(PAIRS, st.floats(0, 20))
def test_the_neighbours_are_those_of_the_dense_matrix(pairs, shrinkage):
    users, slots = np.array(pairs, np.int64).reshape(-1, 2).T
    took = np.zeros((5, 6))
    took[users, slots] = 1
    both, taken = took.T @ took, took.sum(axis=0)
    wanted = np.where(both > 0, both / np.maximum(np.sqrt(np.outer(taken, taken)) + shrinkage, 1e-9), 0)
    np.fill_diagonal(wanted, 0)
    found = np.zeros((6, 6))
    state = _neighbours.fit(users, slots, 6, 6, shrinkage)
    for item in range(6):
        np.add.at(found[item], state.slot[item], state.similarity[item])
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_only_the_nearest_neighbours_are_kept():
    rows = [(user, item) for user, items in enumerate(["ab", "ab", "ac", "ad"]) for item in items]
    state = ItemKNN(shrinkage=0.0, num_neighbours=1).fit(log([(f"u{u}", i) for u, i in rows]))
    assert state.neighbours.slot[0].tolist() == [1]


def test_at_the_fit_a_user_counts_with_the_latest_items_only(monkeypatch):
    monkeypatch.setattr(_neighbours, "HISTORY_AT_FIT", 2)
    state = _neighbours.fit(np.zeros(4, np.int64), np.array([0, 1, 2, 1]), 3, 3, 0.0)
    assert state.similarity[0].sum() == 0
    assert state.similarity[1].sum() == state.similarity[2].sum() == 1


def test_a_user_of_the_live_loop_is_served_at_the_next_request():
    scorer, state = ItemKNN(shrinkage=0.0), ItemKNN(shrinkage=0.0).fit(log([("u", "a"), ("u", "b")]))
    assert not score(state, "new").any()
    state = scorer.update(state, Request({"user_id": "new"}, 0.0), take(ITEMS, [0]), 1.0)
    np.testing.assert_allclose(score(state, "new"), [0, 1, 0, 0, 0, 0])


def test_an_event_of_the_log_without_a_reward_teaches_nothing():
    rows = [{"item": i, "time": 0.0, "user_id": "u", "reward": r} for i, r in [("a", 1.0), ("b", 0.0), ("c", -1.0)]]
    state = ItemKNN(shrinkage=0.0).fit(events_from_rows(ITEMS, rows))
    assert not state.neighbours.similarity.any()
    assert _histories.recall(state.histories, _histories.key_of("u")).tolist() == [0]


def test_an_item_that_arrived_after_the_fit_is_remembered_but_is_like_nothing():
    late = items_from_rows([{"id": "late"}])._replace(slot=np.array([1000]))
    scorer, state = ItemKNN(shrinkage=0.0), ItemKNN(shrinkage=0.0).fit(log([("u", "a"), ("u", "b")]))
    state = scorer.update(state, Request({"user_id": "u"}, 0.0), late, 1.0)
    np.testing.assert_allclose(score(state, "u")[:2], 1 / np.sqrt(3), rtol=1e-6)


@pytest.mark.parametrize(("user", "reward"), [("v", 0.0), ("v", -1.0), (None, 1.0)])
def test_what_was_not_taken_or_not_by_anyone_known_is_not_remembered(user, reward):
    state = ItemKNN().fit(log([("u", "a"), ("u", "b")]))
    state = ItemKNN().update(state, Request({"user_id": user}, 0.0), take(ITEMS, [0]), reward)
    assert not score(state, user).any()


def test_a_user_that_is_no_str_is_refused():
    with pytest.raises(InvalidRequest, match="'user_id' says who the user is and must be a str, got 17"):
        score(ItemKNN().fit(log([])), 17)


def test_a_log_without_users_is_accepted():
    state = ItemKNN(user="who").fit(log([("u", "a"), ("u", "b")]))
    assert not ItemKNN(user="who").score(state, Request({"who": "u"}, 0.0), ITEMS).any()


@given(st.lists(st.integers(0, 5), max_size=30), st.integers(1, 5))
def test_a_history_is_the_latest_distinct_items(slots, size):
    state = _histories.empty(8, size)
    for slot in slots:
        state = _histories.remember(state, 1, slot)
    latest = list(dict.fromkeys(reversed(slots)))[:size]
    assert _histories.recall(state, 1).tolist() == latest


@given(st.lists(st.integers(-10, 10), max_size=60))
def test_who_was_silent_longest_is_forgotten_first(keys):
    state = _histories.empty(8, 1)
    for number, key in enumerate(keys):
        state = _histories.remember(state, key, number)
    kept = set(list(dict.fromkeys(reversed(keys)))[:8])
    assert {key for key in range(-10, 11) if len(_histories.recall(state, key))} == kept


def test_who_comes_into_a_forgotten_users_row_inherits_nothing():
    state = _histories.empty(1, 5)
    for key in [0, 1, 2, 3, 4, 5, 6, 7, 8, 0]:
        state = _histories.remember(state, key, key)
        assert _histories.recall(state, key).tolist() == [key]


def test_memory_is_as_documented_whatever_the_traffic():
    state = _histories.empty(100, 20)
    for user in range(2000):
        state = _histories.remember(state, _histories.key_of(f"u{user}"), user)
    assert sum(array.nbytes for array in state) == 8 * 104 * (3 + 20) + 8
    assert sum(len(_histories.recall(state, _histories.key_of(f"u{user}"))) > 0 for user in range(2000)) == 104


def test_a_users_key_is_the_same_for_ever():
    assert _histories.key_of("u17") == 2360014526931474285


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_neighbours": 0}, "ItemKNN.num_neighbours must be a whole number >= 1, got 0"),
        ({"max_users": 2.5}, "ItemKNN.max_users must be a whole number >= 1, got 2.5"),
        ({"user": ""}, "ItemKNN.user must be the name of a request's feature, got ''"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(InvalidValue, match=message):
        ItemKNN(**options)
