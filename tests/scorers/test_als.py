"""Alternating least squares."""

import sys

import numpy as np
import pytest

from recsdk import testing
from recsdk.base import Request
from recsdk.data import events_from_rows, items_from_rows, take
from recsdk.errors import MissingExtra
from recsdk.scorers.als import ALS

ITEMS = items_from_rows([{"id": f"i{n}"} for n in range(8)])
SCORER = ALS(num_factors=4, ridge=0.5, confidence=2.0)


def taken(seed=0):
    """bool[users, items]: two kinds of user, who take even and odd items; nobody took the last item."""
    kind = np.arange(60)[:, None] % 2
    table = np.random.default_rng(seed).random((60, 8)) < np.where(np.arange(8) % 2 == kind, 0.7, 0.05)
    table[:, 7] = False
    return table


def log(table, times=1):
    rows = [{"user_id": f"u{user}", "item": f"i{item}", "time": float(item)} for user, item in zip(*np.nonzero(table), strict=True)]
    return events_from_rows(ITEMS, [row for row in rows for _ in range(times)])


STATE = SCORER.fit(log(taken()))


def scores(scorer, state, **features):
    return scorer.score(state, Request(features, 0.0), ITEMS)[:, 0]


@testing.parametrize_scorers(ALS(num_factors=8, max_users=64))
def test_conforms(scorer, check):
    check(scorer)


def test_the_user_is_the_least_squares_solution_of_what_was_taken_and_not():
    vectors, recent = STATE.items.astype(float), [2, 4]  # the latest first
    weight = np.ones(8)
    weight[recent] += 2.0 * 0.9 ** np.arange(2)
    rows = np.concatenate([vectors * np.sqrt(weight)[:, None], np.sqrt(0.5) * np.eye(4)])
    wanted = np.linalg.lstsq(rows, np.concatenate([np.isin(np.arange(8), recent) * np.sqrt(weight), np.zeros(4)]), rcond=None)[0]
    np.testing.assert_allclose(scores(SCORER, STATE, history=["i4", "i2"]), vectors @ wanted, atol=1e-5)


def test_the_vectors_minimise_the_error_on_all_of_the_table():
    """At the solution each item's vector solves its own least squares, given the users that solve theirs."""
    scorer = ALS(num_factors=4, ridge=0.5, confidence=2.0, num_rounds=100, recency_decay=1.0)
    table = taken()
    items = scorer.fit(log(table)).items.astype(float)

    def solved(others, table):
        weight = 1 + 2.0 * table
        curvature = np.einsum("nf,rn,ng->rfg", others, weight, others) + 0.5 * np.eye(4)
        return np.linalg.solve(curvature, ((weight * table) @ others)[..., None])[..., 0]

    users = solved(items, table)
    np.testing.assert_allclose(users @ solved(users, table.T).T, users @ items.T, atol=2e-3)


def test_it_ranks_what_users_of_the_same_kind_took():
    found = scores(SCORER, STATE, history=["i1", "i3"])
    assert found[5] > 0.2 + found[[0, 2, 4, 6]].max()
    assert found[7] == 0


def test_an_item_taken_twice_counts_once():
    twice = SCORER.fit(log(taken(), times=2))
    np.testing.assert_array_equal(twice.items, STATE.items)


@pytest.mark.parametrize(("given", "same"), [("22", "2"), ("2324", "324"), ("3x224", "324")])
def test_an_item_that_is_there_twice_in_a_history_counts_once_as_the_latest(given, same):
    wanted = scores(SCORER, STATE, history=[f"i{item}" for item in same])
    np.testing.assert_array_equal(scores(SCORER, STATE, history=[f"i{item}" for item in given]), wanted)


def test_the_threads_of_blas_and_global_random_numbers_do_not_tell():
    np.random.seed(3)  # noqa: NPY002  # the claim is that it is not read
    threadpoolctl = pytest.importorskip("threadpoolctl")
    before = [(pool["filepath"], pool["num_threads"]) for pool in threadpoolctl.threadpool_info()]
    with threadpoolctl.threadpool_limits(limits=3, user_api="blas"):
        np.testing.assert_array_equal(SCORER.fit(log(taken())).items, STATE.items)
    assert [(pool["filepath"], pool["num_threads"]) for pool in threadpoolctl.threadpool_info()] == before


def test_a_user_is_remembered_from_the_log_and_from_rewards():
    mine = [f"i{item}" for item in np.flatnonzero(taken()[3])]
    np.testing.assert_array_equal(scores(SCORER, STATE, user_id="u3"), scores(SCORER, STATE, history=mine))
    state = SCORER.update(SCORER.fit(log(taken())), Request({"user_id": "new"}, 0.0), take(ITEMS, [2]), 1.0)
    np.testing.assert_array_equal(scores(SCORER, state, user_id="new"), scores(SCORER, state, history=["i2"]))


def test_an_item_taken_live_that_the_fit_did_not_know_counts_for_nothing():
    late = items_from_rows([{"id": "late"}])._replace(slot=np.array([1000]))
    state = SCORER.update(SCORER.fit(log(taken())), Request({"user_id": "new"}, 0.0), late, 1.0)
    assert not scores(SCORER, state, user_id="new").any()
    assert SCORER.score(state, Request({"user_id": "u3"}, 0.0), late).tolist() == [[0.0]]


def test_without_implicit_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "implicit.cpu.als", None)
    with pytest.raises(MissingExtra, match=r"als needs implicit.*\[als\]"):
        SCORER.fit(log(taken()))
    assert SCORER.fit(log(np.zeros((1, 8), bool))).items.shape == (8, 4)  # nothing to fit
