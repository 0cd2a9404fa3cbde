"""Recency."""

import numpy as np

from recsdk.base import Request
from recsdk.data import items_from_rows
from recsdk.scorers.recency import Recency


def score(time, **added):
    items = items_from_rows([{"id": name, "added": when} for name, when in added.items()])
    return Recency(half_life=10.0).score((), Request({}, time), items)[:, 0]


def test_the_score_halves_with_every_half_life():
    np.testing.assert_allclose(score(100.0, new=100.0, younger=90.0, older=80.0), [1, 0.5, 0.25])


def test_a_time_of_entry_after_the_request_counts_as_one_as_long_before():
    np.testing.assert_allclose(score(100.0, future=101.0, past=99.0, far=1e9), [0.5**0.1, 0.5**0.1, 0], rtol=1e-6)


def test_an_item_of_unknown_age_is_old():
    np.testing.assert_array_equal(score(1.7e9, unknown=0.0), [0])
