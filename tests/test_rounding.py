"""Probabilities from outside: rounding is corrected and told, more than that is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsdk.errors import InvalidLog, InvalidProbs, InvalidPropensity
from recsdk.rounding import apart, given_chances, given_probs


@given(st.lists(st.floats(1e-4, 1), min_size=1, max_size=200), st.sampled_from(["float32", "float16", "six decimals"]))
def test_a_given_distribution_may_be_rounded_as_its_form_rounds_it(weights, form):
    exact = np.array(weights) / np.sum(weights)
    rounded = np.round(exact, 6) if form == "six decimals" else exact.astype(form)
    found = given_probs("p", rounded)
    assert found.values.dtype == np.float64
    assert found.values.sum() == pytest.approx(1, abs=1e-12) or not found.num_rounded
    assert abs(found.values - exact).max() <= (1e-3 if form == "float16" else 2e-6 * len(exact))


@given(st.lists(st.floats(1e-4, 1), min_size=1, max_size=50))
def test_a_distribution_that_is_exact_is_returned_bit_by_bit(weights):
    exact = np.array(weights) / np.sum(weights)
    found = given_probs("p", exact)
    assert np.array_equal(found.values, exact)
    assert found.note("p") == ""


def test_what_was_rounded_is_said():
    found = given_probs("p", [[1.0000001, -1e-7], [0.25, 0.75], [0.3333333, 0.6666666]])
    assert found.values.tolist()[:2] == [[1.0, 0.0], [0.25, 0.75]]
    assert found.note("p") == "p had rounding errors of up to 1e-07 in 2 rows, which were corrected"
    assert given_chances("p", [0.5, 1.0000001]).note("p") == "p had rounding errors of up to 1e-07 in 1 row, which were corrected"


@pytest.mark.parametrize(
    ("probs", "message"),
    [
        ([0.5, 0.50001], r"p's sum must be 1 within 2e-06, got 1.00001\."),
        ([0.9, 0.05], r"p's sum must be 1 within 2e-06, got 0.95"),
        ([0.99] + [0.0] * 99_999, r"p's sum must be 1 within 0.01, got 0.99"),
        ([1.00001, -0.00001], r"p must be finite and >= 0"),
        ([[0.5, 0.5], [0.5, np.nan]], r"p\[1\] must be finite and >= 0, got .* \(1 of 2 rows are bad\)"),
        ([[np.inf, -np.inf]], r"p\[0\] must be finite and >= 0"),
        ([[1e308, 1e308]], r"p's sum\[0\] must be 1"),
        (["0.5", "0.5"], r"p must be numbers, got <U3\[2\]"),
        ([None, 1.0], r"p must be numbers, got object\[2\]"),
        ([[0.5, 0.5], [1.0]], r"p must be an array, got list"),
        ([[]], r"p's sum\[0\] must be 1"),
        (0.5, r"p must be float64\[T, K\] or float64\[K\], got \[\]"),
        (np.ma.array([[0.5, 0.5], [0.5, 0.5]], mask=[[False, False], [True, False]]), r"p\[1\] must be a value, got a masked one \(1 of 2"),
    ],
)
def test_what_rounding_does_not_explain_is_refused(probs, message):
    with pytest.raises(InvalidProbs, match=message):
        given_probs("p", probs)
    with pytest.raises(InvalidLog, match=message):
        given_probs("p", probs, error=InvalidLog)


def test_padding_counts_as_no_term_and_takes_no_mass():
    mask = np.array([[True, True, False]])
    with pytest.raises(InvalidProbs, match=r"p\[0\] must be 0 on padding"):
        given_probs("p", [[0.5, 0.4999999, 0.0000001]], mask)
    with pytest.raises(InvalidProbs, match=r"p's sum\[0\] must be 1 within 2e-06"):
        given_probs("p", [[0.5, 0.4999975, 0.0]], mask)
    assert given_probs("p", [[0.5, 0.4999985, 0.0]], mask).values[0, 2] == 0


@pytest.mark.parametrize("chance", [0, -1e-7, 1.0001, np.nan, np.inf, "0.5", None])
def test_a_given_propensity_that_rounding_does_not_explain_is_refused(chance):
    for value in (chance, [0.5, chance]):
        with pytest.raises(InvalidPropensity, match=r"p.* must be "):
            given_chances("p", value)


def test_a_given_chance_may_be_nothing_where_it_is_no_propensity():
    assert given_chances("target", [0.0, -1e-8, 1.0], above_zero=False).values.tolist() == [0.0, 0.0, 1.0]
    with pytest.raises(InvalidPropensity, match=r"target\[1\] must be in \[0, 1\], got -0.1"):
        given_chances("target", [0.0, -0.1], above_zero=False)


def test_a_number_stays_a_number():
    assert given_chances("p", np.float32(1.0000001)).values.shape == ()


@given(st.floats(1e-3, 1e4), st.sampled_from([1e-9, 1e-6, 1e-3, 0.1, 0.5]), st.booleans(), st.sampled_from([".0f", ".1f", ".2f", ".1%"]))
def test_what_is_printed_stands_on_the_same_side_of_the_limit_as_the_value(limit, off, below, form):
    limit = float(f"{limit:.4g}")
    value = limit * (1 - off if below else 1 + off)
    printed = float(apart(value, limit, form).removesuffix("%")) / (100 if form.endswith("%") else 1)
    assert (printed < limit) == below
