"""Features as bags of hashed buckets."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsdk.data import requests_table
from recsdk.encoders._bags import Column, bags, columns_of, each, learn_columns, num_rows
from recsdk.errors import InvalidRequest

ROWS = [{"user": "a", "age": 10.0, "tags": ["x", "y"], "title": "The Red Hat"}, {"user": "b", "age": 30.0}]


def columns():
    return learn_columns(requests_table(ROWS), columns_of(()), ("title",))


def bag(row, known=None):
    found = bags(columns() if known is None else known, requests_table([row]), 1, 2**20)
    return dict(zip(found.bucket.tolist(), found.weight.tolist(), strict=True))


def test_columns_have_the_kinds_and_statistics_of_the_fit():
    assert each(columns()) == [
        Column("user", "str"),
        Column("age", "number", 20.0, pytest.approx(10.0)),
        Column("tags", "list of str"),
        Column("title", "text"),
    ]


def test_the_buckets_are_the_same_for_ever():
    assert bag({"user": "a", "age": 30.0, "tags": ["x"], "title": "red hat"}) == pytest.approx(
        {
            0: 1.0,
            479334: 1.0,
            793786: np.arcsinh(1.0),
            742128: 1.0,
            99279: 0.5,
            760207: 0.5,
        }
    )


def test_a_list_shares_a_weight_of_one():
    both, one = bag({"tags": ["x", "y"]}), bag({"tags": ["x"]})
    assert sorted(both.values())[:2] == [0.5, 0.5]
    assert len(both.keys() & one.keys()) == len(one)


def test_text_is_lower_cased_words():
    assert bag({"title": "HAT the red"}) == bag({"title": "The Red Hat"})
    assert bag({"title": "red"}) != bag({"title": "the"})


@pytest.mark.parametrize("row", [{}, {"user": None, "age": None}, {"tags": []}, {"title": " "}, {"colour": "red"}])
def test_what_is_missing_empty_or_unknown_is_one_and_the_same(row):
    assert bag(row) == bag({"tags": None})
    assert set(bag(row).values()) == {1.0}
    assert len(bag(row)) == 5


def test_missing_differs_from_the_mean():
    assert bag({"age": None}) != bag({"age": 20.0})


@pytest.mark.parametrize("value", [1.7e308, -1.7e308, 1e9, 5e-324])
def test_a_number_of_any_size_has_a_small_finite_weight(value):
    for known in (columns(), learn_columns(requests_table([{"age": 1e-300}, {"age": 2e-300}]), columns_of(()), ())):
        assert max(map(abs, bag({"age": value}, known).values())) < 15


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_statistics_are_finite_for_any_numbers(values):
    (column,) = each(learn_columns(requests_table([{"x": value} for value in values]), columns_of(()), ()))
    assert np.isfinite([column.mean, column.scale]).all()
    assert column.scale > 0


def test_numbers_are_told_apart_up_to_far_outliers():
    weights = [max(bag({"age": age}).values(), key=abs) for age in (50.0, 100.0, 1e4, 1e6)]
    assert len(set(weights)) == 4


def test_columns_once_learnt_stay_and_new_ones_join():
    grown = learn_columns(requests_table([{"age": 1000.0, "city": "x"}]), columns(), ())
    assert each(grown) == [*each(columns()), Column("city", "str")]


NAMES = st.text(min_size=1).filter(lambda name: name[-1] != "\0")


@given(st.lists(st.builds(Column, NAMES, st.sampled_from(["str", "number"]), st.floats(-9, 9), st.floats(1, 9))))
def test_features_as_arrays_are_the_features(some):
    assert each(columns_of(some)) == some


def test_a_name_that_arrays_of_text_would_shorten_is_refused():
    with pytest.raises(InvalidRequest, match=r"must not end in NUL, got 'age\\x00'"):
        learn_columns(requests_table([{"age\0": 3}]), columns(), ())


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"user": 3.0}, "'user' must be a str, as at the fit, got a number"),
        ({"user": ["a"]}, "'user' must be a str, as at the fit, got a list of str"),
        ({"age": "3"}, "'age' must be a number, as at the fit, got a str"),
        ({"tags": "x"}, "'tags' must be a list of str, as at the fit, got a str"),
        ({"title": ["x"]}, "'title' must be a str, as at the fit, got a list of str"),
        ({"title": 3}, "'title' must be a str, as at the fit, got a number"),
    ],
)
def test_another_kind_than_at_the_fit_is_refused(row, message):
    with pytest.raises(InvalidRequest, match=message):
        bag(row)
    with pytest.raises(InvalidRequest, match=message):
        learn_columns(requests_table([row]), columns(), ("title",))


def test_a_table_without_columns_is_one_row():
    assert num_rows({}) == 1
    assert num_rows(requests_table(ROWS)) == 2


def test_a_bucket_lies_in_the_table():
    found = bags(columns(), requests_table([{"user": str(n)} for n in range(500)]), 500, 7)
    assert set(found.bucket.tolist()) == set(range(7))
