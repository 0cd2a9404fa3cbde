"""The nearest items of many users are exact, whatever ties, on NumPy and on JAX."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsdk.errors import InvalidScores, InvalidValue
from recsdk.retrievers import nearest as module
from recsdk.retrievers.nearest import nearest

jnp = pytest.importorskip("jax.numpy")


def sorted_out(users, vectors, size, allowed):
    """Returns the same by sorting everything."""
    scores = np.where(allowed, users @ vectors.T, -np.inf)
    return np.argsort(-scores, axis=1, kind="stable")[:, :size]


def tied(seed, num_users, num_items, highest):
    """Returns small whole numbers, whose products are exact and often equal."""
    rng = np.random.default_rng(seed)
    return tuple(rng.integers(-highest, highest + 1, (rows, 3)).astype(np.float32) for rows in (num_users, num_items))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 999),
    num_users=st.integers(1, 4),
    num_items=st.integers(1, 1500),
    highest=st.integers(0, 9),
    share=st.sampled_from([1.0, 0.5, 0.02]),
    rising=st.booleans(),
    data=st.data(),
)
def test_numpy_finds_what_sorting_all_finds(seed, num_users, num_items, highest, share, rising, data):
    users, vectors = tied(seed, num_users, num_items, highest)
    if rising:  # every chunk has better ones than all before
        vectors = vectors[np.argsort(vectors @ users[0])]
    allowed = np.random.default_rng(seed).random((num_users, num_items)) < share
    allowed[:, 0] = True
    size = data.draw(st.integers(1, int(allowed.sum(axis=1).min())))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK", 256)
        assert nearest(users, vectors, size, allowed=allowed).tolist() == sorted_out(users, vectors, size, allowed).tolist()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999), highest=st.integers(0, 9), shape=st.sampled_from([(300, 10), (1280, 7)]), in_blocks=st.booleans())
def test_jax_finds_what_sorting_all_finds_with_more_and_with_fewer_blocks_than_items_asked_for(seed, highest, shape, in_blocks):
    num_items, size = shape
    users, vectors = tied(seed, 3, num_items, highest)
    allowed = np.random.default_rng(seed).random(num_items) < 0.9
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_has_many_cores", lambda vectors: in_blocks)
        found = nearest(jnp.asarray(users), jnp.asarray(vectors), size, allowed=jnp.asarray(allowed))
    assert np.asarray(found).tolist() == sorted_out(users, vectors, size, allowed).tolist()


def test_all_items_may_be_asked_for_and_no_users():
    users, vectors = tied(0, 2, 5, 3)
    every = sorted_out(users, vectors, 5, True).tolist()
    assert nearest(users, vectors, 5).tolist() == np.asarray(nearest(jnp.asarray(users), jnp.asarray(vectors), 5)).tolist() == every
    assert nearest(users[:0], vectors, 5).shape == (0, 5)


@pytest.mark.parametrize("size", [0, 6, 2.5, True])
def test_a_size_that_not_every_user_can_have_is_refused(size):
    users, vectors = tied(0, 2, 9, 3)
    allowed = np.ones((2, 9), bool)
    allowed[1, 5:] = False
    with pytest.raises(InvalidValue, match="size must be"):
        nearest(users, vectors, size, allowed=allowed)


def test_shapes_that_do_not_fit_are_refused():
    users, vectors = tied(0, 2, 9, 3)
    with pytest.raises(InvalidValue, match=r"of one width, got \[2, 2\] and \[9, 3\]"):
        nearest(users[:, :2], vectors, 1)
    with pytest.raises(InvalidValue, match=r"allowed must be bool\[9\] or bool\[2, 9\], got bool\[8\]"):
        nearest(users, vectors, 1, allowed=np.ones(8, bool))


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("array", [np.asarray, jnp.asarray], ids=["numpy", "jax"])
def test_products_that_are_not_finite_are_refused(array, wrong):
    users, vectors = tied(0, 2, 5, 3)
    users, vectors = users + 10, vectors.copy()
    vectors[3, 1] = wrong
    with pytest.raises(InvalidScores, match="finite inner products"):
        nearest(array(users), array(vectors), 5)
