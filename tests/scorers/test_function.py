"""Plain functions as scorers."""

import doctest
import functools

import numpy as np
import pytest

import recsdk.scorers.function
from recsdk.base import Request
from recsdk.data import items_from_rows
from recsdk.errors import InvalidScores, InvalidValue
from recsdk.scorers.function import FunctionScorer

ITEMS = items_from_rows([{"id": "a"}, {"id": "b"}])


def scorer_of(answer):
    def answers(request, candidates):
        return answer

    return FunctionScorer(answers)


def test_the_docstrings_example_is_true():
    assert doctest.testmod(recsdk.scorers.function).failed == 0


def test_a_function_is_a_column_of_its_name():
    scorer = FunctionScorer(function=scorer_of([1, 2]).function)
    assert scorer.columns == ("answers",)
    np.testing.assert_array_equal(scorer.score((), Request({}, 0.0), ITEMS), [[1], [2]])


def test_scorers_of_one_function_are_equal():
    assert FunctionScorer(len) == FunctionScorer(len)
    assert hash(FunctionScorer(len)) == hash(FunctionScorer(len))


@pytest.mark.parametrize("answer", [[1.0], 1.0, [[1.0], [2.0]], None, ["a", "b"], [1.0, None], np.array([1j, 2j])])
def test_an_answer_of_another_shape_or_type_is_refused(answer):
    with pytest.raises(InvalidScores, match="answers must return 2 finite numbers, one per candidate, got"):
        scorer_of(answer).score((), Request({}, 0.0), ITEMS)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_an_answer_that_is_not_finite_is_refused_with_its_candidate(bad):
    with pytest.raises(InvalidScores, match=r"answers must return 2 finite numbers.* got .* for 'b'"):
        scorer_of([0.0, bad]).score((), Request({}, 0.0), ITEMS)


@pytest.mark.parametrize("function", ["len", None, functools.partial(len)])
def test_what_is_no_named_function_is_refused(function):
    with pytest.raises(InvalidValue, match=r"FunctionScorer\.function must be a function with a name"):
        FunctionScorer(function)
