"""Bytes tell which items can be among the nearest, and never lose one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsdk import fast, plugins, testing
from recsdk.retrievers.exact import Exact
from recsdk.retrievers.int8 import SUM, Int8

RNG = np.random.default_rng(0)
compiled = pytest.mark.skipif(not fast.enabled(), reason="without kernels it searches as `Exact`")


@testing.parametrize_retrievers(Int8())
def test_conforms(retriever, check):
    check(retriever)


def test_it_is_found_by_name():
    assert plugins.load("retrievers", "int8") == Int8()


@compiled
@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 999),
    num_items=st.integers(256, 2500),
    num_first=st.integers(0, 300),
    highest=st.integers(0, 100),
    dim=st.integers(1, 40),
    share=st.sampled_from([1.0, 0.6, 0.01]),
)
def test_it_finds_what_exact_finds_however_many_are_equal_and_however_the_table_grew(seed, num_items, num_first, highest, dim, share):
    rng = np.random.default_rng(seed)
    vectors = rng.integers(-highest, highest + 1, (num_items, dim)).astype(np.float32)  # their products are exact
    user, allowed = rng.integers(-9, 10, dim).astype(np.float32), rng.random(num_items) < share
    former = vectors[: num_items // 2].copy()
    former[:100] = 100
    state = Int8().build(former[:num_first])
    state = Int8().add(state, np.arange(num_first, len(former)), former)
    state = Int8().add(state, np.concatenate([np.arange(100), np.arange(len(former), num_items)]), vectors)
    size = int(rng.integers(1, num_items // 256 + 1))
    found = Int8().search(state, rng, user, allowed, size)
    assert found.tolist() == Exact().search(vectors, rng, user, allowed, size).tolist()


@compiled
@pytest.mark.parametrize("dim", [16, 17, 64, 70])
def test_of_equal_vectors_those_that_were_added_first_are_found(dim):
    for seed in range(40):
        rng, size = np.random.default_rng(seed), seed % 7 + 1
        different, user = rng.standard_normal((2000, dim)).astype(np.float32), rng.standard_normal(dim).astype(np.float32)
        truth = (different.astype(np.float64) * user).sum(axis=1)
        which = rng.permutation(np.concatenate([np.arange(2000), np.repeat(np.argsort(-truth)[:8], 2)]))  # three of each of the best
        state, every = Int8().build(different[which]), np.ones(len(which), bool)
        assert Int8()._possible(state, user, every, size) is not None
        wanted = np.argsort(-truth[which], kind="stable")[:size]
        assert Int8().search(state, rng, user, every, size).tolist() == wanted.tolist()


@compiled
@pytest.mark.parametrize("size", [0, -1])
def test_no_item_is_found_where_none_is_asked_for(size):
    state, user = Int8().build(RNG.standard_normal((600, 8)).astype(np.float32)), np.ones(8, np.float32)
    assert Int8().search(state, RNG, user, np.ones(600, bool), size).tolist() == []


@compiled
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 999), dim=st.integers(1, 70), spread=st.sampled_from([0.0, 1.0, 4.0]), unit=st.sampled_from([1e-20, 1.0, 1e15]))
def test_no_score_is_outside_of_its_bounds(seed, dim, spread, unit):
    rng = np.random.default_rng(seed)
    vectors = (unit * rng.standard_normal((256, dim)) * np.exp(spread * rng.standard_normal((256, dim)))).astype(np.float32)
    vectors[3] = 0
    user = (rng.standard_normal(dim) * np.exp(spread * rng.standard_normal(dim))).astype(np.float32)
    state = Int8().add(Int8().build(vectors), np.array([3]), vectors)
    highest, reached = Int8()._bounds(state, user, np.ones(256, bool))
    step = np.abs(user).max() / 32767.0
    for scores in (vectors @ user, vectors.astype(np.float64) @ user):
        assert (scores <= highest * step * (1 + 1e-6)).all()
        assert (scores.reshape(4, 64).max(axis=1) >= reached * step - 1e-6 * abs(reached * step)).all()


@compiled
def test_the_sums_of_a_wide_table_do_not_overflow():
    vectors = np.ones((256, 2000), np.float32)
    highest, reached = Int8()._bounds(Int8().build(vectors), vectors[0], np.ones(256, bool))
    step = SUM // (127 * 2000)
    assert (highest >= 2000 * step).all()
    assert (reached > 1900 * step).all()


@compiled
def test_few_of_many_items_are_left_to_score():
    vectors, user = RNG.standard_normal((50_000, 64)).astype(np.float32), RNG.standard_normal(64).astype(np.float32)
    found = Int8()._possible(Int8().build(vectors), user, np.ones(50_000, bool), 20)
    assert 20 <= len(found) < 100


@compiled
def test_where_the_bounds_leave_too_many_or_too_few_may_be_shown_all_are_scored():
    vectors, user = np.ones((3000, 8), np.float32), np.ones(8, np.float32)
    state, allowed = Int8().build(vectors), np.arange(3000) == 70
    assert Int8()._possible(state, user, np.ones(3000, bool), 3) is None
    assert Int8()._possible(state, user, allowed, 3) is None
    assert Int8().search(state, RNG, user, allowed, 3).tolist() == [70]


@compiled
def test_a_table_that_grows_by_one_is_copied_now_and_then_only():
    vectors = RNG.standard_normal((300, 8)).astype(np.float32)
    state, sizes = Int8().build(vectors[:100]), set()
    for size in range(101, 301):
        state = Int8().add(state, np.array([size - 1]), vectors[:size])
        sizes.add(len(state.code))
    assert len(sizes) <= 5


def test_without_kernels_no_copy_is_made(monkeypatch):
    monkeypatch.setattr(fast, "enabled", lambda: False)
    vectors, user, every = RNG.standard_normal((3000, 8)).astype(np.float32), np.ones(8, np.float32), np.ones(3000, bool)
    state = Int8().add(Int8().build(vectors[:2000]), np.arange(2000, 3000), vectors)
    assert state.vectors is vectors
    assert state.code.size == 0
    assert Int8().search(state, RNG, user, every, 5).tolist() == Exact().search(vectors, RNG, user, every, 5).tolist()
