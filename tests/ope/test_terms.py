"""Estimates taken apart by rounds: what may be done with the parts."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsdk import ope
from recsdk.errors import InsufficientOverlap


@st.composite
def terms(draw, size=None):
    size = draw(st.integers(2, 30)) if size is None else size
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return ope.average(rng.normal(size=size), rng.random(size) + 0.01)


@given(st.data(), st.integers(2, 20))
def test_the_sum_of_estimates_is_worth_their_sum_and_moves_with_it(data, size):
    parts = [data.draw(terms(size)) for _ in range(3)]
    total = ope.add(*parts)
    assert total.numerator.shape == (size, 3)
    assert ope.value(total) == pytest.approx(sum(map(ope.value, parts)), rel=1e-12, abs=1e-12)
    assert ope.influence(total) == pytest.approx(sum(map(ope.influence, parts)), rel=1e-9, abs=1e-12)


@given(terms())
def test_influences_sum_to_nothing_and_their_squares_to_the_variance(found):
    influence = ope.influence(found)
    assert influence.sum() == pytest.approx(0, abs=1e-12)
    assert ope.delta(found).stderr == pytest.approx(math.sqrt((influence**2).sum()), rel=1e-12)


def test_influence_is_what_leaving_a_round_out_does():
    # To first order: with 4,000 rounds the second order is a thousandth of it.
    rng = np.random.default_rng(0)
    found = ope.add(ope.average(rng.normal(size=4000), rng.random(4000)), ope.average(rng.normal(size=4000), rng.random(4000)))
    influence = ope.influence(found)
    for row in range(0, 4000, 500):
        without = ope.Terms(*(np.delete(field, row, axis=0) for field in found))
        assert ope.value(found) - ope.value(without) == pytest.approx(influence[row], rel=5e-3)


def test_a_round_that_carries_a_ratio_alone_has_an_infinite_influence():
    found = ope.add(ope.average(np.array([1.0, 2.0]), np.ones(2)), ope.average(np.array([1.0, 2.0]), np.array([0.0, 1.0])))
    assert ope.influence(found).tolist()[1] == math.inf
    assert math.isfinite(ope.influence(found)[0])
    assert ope.delta(found).stderr == math.inf


def test_a_ratio_of_nothing_is_refused_though_another_is_known():
    found = ope.add(ope.average(np.ones(2), np.ones(2)), ope.average(np.ones(2), np.zeros(2)))
    for question in (ope.value, ope.influence, ope.delta):
        with pytest.raises(InsufficientOverlap, match="None of 2 rounds"):
            question(found)


def test_two_columns_sum_as_exactly_as_fsum():
    rng = np.random.default_rng(0)
    columns = rng.exponential(size=(2, 1_000_000)) + 0.1
    ones = np.ones(1_000_000)
    found = ope.value(ope.add(*(ope.average(column, ones) for column in columns)))
    assert found == pytest.approx(sum(math.fsum(column) for column in columns) / 1e6, rel=1e-14)
