"""The largest of many values, without a sort of all."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsdk.arrays import BLOCK, largest
from recsdk.retrievers.exact import Exact


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 30 * BLOCK), st.integers(0, 9), st.sampled_from([2, 1000, 10**9]), st.booleans())
def test_they_are_what_a_stable_sort_puts_first(seed, size, count, num_values, is_float):
    values = np.random.default_rng(seed).integers(num_values, size=size)
    values = values.astype(np.float32) - num_values / 2 if is_float else values
    assert largest(values, count).tolist() == np.argsort(-values, kind="stable")[:count].tolist()


@pytest.mark.parametrize("size", [4 * BLOCK, 4 * BLOCK - 1, 4 * BLOCK + 1])
def test_the_last_value_counts_also_where_it_is_in_no_whole_block(size):
    values = np.zeros(size)
    values[-1] = 1.0
    assert largest(values, 1).tolist() == [size - 1]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_an_exact_search_finds_only_what_is_allowed(share):
    rng = np.random.default_rng(0)
    vectors, user = rng.standard_normal((5000, 3)).astype(np.float32), np.ones(3, np.float32)
    allowed = rng.random(5000) >= share
    scores = np.where(allowed, vectors @ user, -np.inf)
    wanted = np.argsort(-scores, kind="stable")[: min(7, allowed.sum())]
    assert Exact().search(vectors, rng, user, allowed, 7).tolist() == wanted.tolist()
