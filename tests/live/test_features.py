"""phi."""

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import recsdk.live.features
from recsdk.live.features import names, phi, prior


def inputs(num_candidates, num_columns, dim, seed=0):
    rng = np.random.default_rng(seed)
    shapes = (dim,), (num_candidates, dim), (num_candidates, num_columns)
    return [rng.standard_normal(shape, dtype=np.float32) for shape in shapes]


def test_the_docstrings_examples_are_true():
    assert doctest.testmod(recsdk.live.features).failed == 0


@pytest.mark.parametrize("dim", [0, 1, 32])
@pytest.mark.parametrize("num_columns", [0, 3])
@pytest.mark.parametrize("num_candidates", [0, 1, 7])
def test_names_prior_and_phi_have_one_width(num_candidates, num_columns, dim):
    features = phi(*inputs(num_candidates, num_columns, dim))
    assert features.shape == (num_candidates, len(names([f"c{i}" for i in range(num_columns)], dim)))
    assert prior(num_columns, dim).shape == features.shape[1:]
    assert features.dtype == prior(num_columns, dim).dtype == np.float64


def test_on_day_one_the_policy_ranks_as_the_deep_model_does():
    user, items, columns = inputs(9, 2, 16)
    np.testing.assert_allclose(phi(user, items, columns) @ prior(2, 16), items @ user, rtol=1e-5)


def test_without_an_encoder_phi_is_the_columns_and_one():
    user, items, columns = inputs(4, 2, 0)
    np.testing.assert_array_equal(phi(user, items, columns), np.c_[columns, np.ones(4)])
    np.testing.assert_array_equal(prior(2, 0), np.zeros(3))


def test_each_name_stands_where_its_feature_does():
    user, items, columns = inputs(3, 2, 4)
    row = dict(zip(names(["a", "b"], 4), phi(user, items, columns).T, strict=True))
    np.testing.assert_array_equal(row["b"], columns[:, 1])
    np.testing.assert_array_equal(row["user*item[3]"], items[:, 3] * user[3])
    np.testing.assert_array_equal(row["one"], np.ones(3))


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 70), st.integers(0, 3))
def test_a_candidates_features_do_not_depend_on_the_others(seed, num_candidates, dim, num_columns):
    user, items, columns = inputs(num_candidates, num_columns, dim, seed)
    together = phi(user, items, columns)
    alone = [phi(user, items[[i]], columns[[i]])[0] for i in range(num_candidates)]
    np.testing.assert_array_equal(together, alone)


def test_float32_holds_phi_without_loss():
    features = phi(*inputs(50, 2, 32))
    np.testing.assert_array_equal(features, features.astype(np.float32))
