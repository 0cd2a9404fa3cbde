"""EASE."""

import numpy as np
import pytest

from recsdk.base import Request
from recsdk.data import events_from_rows, items_from_rows, take
from recsdk.errors import InvalidValue
from recsdk.scorers.ease import EASE

ITEMS = items_from_rows([{"id": f"i{n}"} for n in range(8)])


def taken(seed=0):
    """bool[users, items]: who took what; nobody took the last item."""
    table = np.random.default_rng(seed).random((40, 8)) < np.linspace(0.6, 0.2, 8)
    table[:, 7] = False
    return table


def log(table):
    rows = [{"user_id": f"u{user}", "item": f"i{item}", "time": float(item)} for user, item in zip(*np.nonzero(table), strict=True)]
    return events_from_rows(ITEMS, rows)


def scores(scorer, state, **features):
    return scorer.score(state, Request(features, 0.0), ITEMS)[:, 0]


def test_the_weights_solve_each_items_regression_on_the_others():
    table, scorer = taken(), EASE(ridge=3.0, recency_decay=1.0)
    state = scorer.fit(log(table))
    data = table.astype(float)
    for item in range(8):
        others = np.arange(8) != item
        design = data[:, others]
        wanted = np.linalg.solve(design.T @ design + 3.0 * np.eye(7), design.T @ data[:, item])
        np.testing.assert_allclose(state.weights[others, item], wanted, atol=1e-5)
    assert not np.diag(state.weights).any()


def test_users_in_parts_are_the_users_at_once(monkeypatch):
    whole = EASE().fit(log(taken()))
    monkeypatch.setattr("recsdk.scorers.ease.USERS_AT_ONCE", 7)
    np.testing.assert_array_equal(EASE().fit(log(taken())).weights, whole.weights)


def test_the_query_weighs_recent_items_more():
    scorer = EASE(recency_decay=0.5)
    state = scorer.fit(log(taken()))
    wanted = (state.weights[2] + 0.5 * state.weights[1]) / np.sqrt(1.25)
    np.testing.assert_allclose(scores(scorer, state, history=["i1", "i2"]), wanted, rtol=1e-5)


def test_a_user_is_remembered_from_the_log_and_from_rewards():
    scorer = EASE(recency_decay=1.0)
    table = taken()
    state = scorer.fit(log(table))
    mine = [f"i{item}" for item in np.flatnonzero(table[3])]
    np.testing.assert_allclose(scores(scorer, state, user_id="u3"), scores(scorer, state, history=mine), rtol=1e-5)
    state = scorer.update(state, Request({"user_id": "new"}, 0.0), take(ITEMS, [2]), 1.0)
    np.testing.assert_array_equal(scores(scorer, state, user_id="new"), scores(scorer, state, history=["i2"]))


def test_an_item_taken_live_that_the_fit_did_not_know_is_passed_over():
    scorer, late = EASE(), items_from_rows([{"id": "late"}])._replace(slot=np.array([1000]))
    state = scorer.update(scorer.fit(log(taken())), Request({"user_id": "u3"}, 0.0), late, 1.0)
    assert np.isfinite(scores(scorer, state, user_id="u3")).all()
    assert scorer.score(state, Request({"user_id": "u3"}, 0.0), late).tolist() == [[0.0]]


def test_a_catalogue_that_is_too_large_is_refused():
    with pytest.raises(InvalidValue, match=r"EASE\.max_items must be at least the number of catalogue slots, 8, got 7"):
        EASE(max_items=7).fit(log(taken()))
