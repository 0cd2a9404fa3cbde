"""UserKNN."""

import numpy as np

from recsdk.base import Request
from recsdk.data import events_from_rows, items_from_rows, take
from recsdk.scorers.user_knn import UserKNN

ITEMS = items_from_rows([{"id": f"i{n}"} for n in range(8)])


def taken(seed=0):
    """bool[users, items]: who took what; nobody took the last item."""
    table = np.random.default_rng(seed).random((30, 8)) < np.linspace(0.7, 0.2, 8)
    table[:, 7] = False
    return table[table.any(axis=1)]


def log(table):
    rows = [{"user_id": f"u{user}", "item": f"i{item}", "time": float(item)} for user, item in zip(*np.nonzero(table), strict=True)]
    return events_from_rows(ITEMS, [*rows, *rows[::2]])  # what is taken again is taken


def scores(scorer, state, **features):
    return scorer.score(state, Request(features, 0.0), ITEMS)[:, 0]


def test_it_is_the_share_of_likeness_of_the_nearest_users_that_took_the_item():
    table, scorer = taken(), UserKNN(num_neighbours=5, recency_decay=0.5)
    state = scorer.fit(log(table))
    weights = np.zeros(8)
    weights[[4, 2, 0]] = 1.0, 0.5, 0.25
    alike = table @ weights / np.sqrt(table.sum(axis=1))
    order = np.sort(alike)
    assert order[-5] > order[-6]  # the five nearest are no matter of ties
    kept = np.where(alike >= order[-5], alike, 0)
    np.testing.assert_allclose(scores(scorer, state, history=["i0", "i2", "i4"]), kept @ table / kept.sum(), rtol=1e-6)


def test_a_user_is_remembered_from_the_log_and_from_rewards():
    scorer = UserKNN()
    table = taken()
    state = scorer.fit(log(table))
    state = scorer.update(state, Request({"user_id": "new"}, 0.0), take(ITEMS, [2]), 1.0)
    state = scorer.update(state, Request({"user_id": "new"}, 0.0), take(ITEMS, [3]), 0.0)
    np.testing.assert_array_equal(scores(scorer, state, user_id="new"), scores(scorer, state, history=["i2"]))
    assert scores(scorer, state, user_id="u3").any()


def test_of_nobody_and_of_what_nobody_took_nothing_is_known():
    scorer = UserKNN()
    state = scorer.fit(log(taken()))
    assert not scores(scorer, state).any()
    assert not scores(scorer, state, history=["i7"]).any()
    late = items_from_rows([{"id": "late"}])._replace(slot=np.array([1000]))
    state = scorer.update(state, Request({"user_id": "u3"}, 0.0), late, 1.0)
    assert scorer.score(state, Request({"user_id": "u3"}, 0.0), late).tolist() == [[0.0]]
