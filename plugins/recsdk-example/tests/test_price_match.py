import numpy as np
import pytest
from recsdk_example import PriceMatch

from recsdk import plugins
from recsdk.base import Request
from recsdk.data import items_from_rows
from recsdk.errors import InvalidRequest

PRICES = {"cheap": 5.0, "right": 20.0, "dear": 80.0, "free": 0.0, "unpriced": None}
ITEMS = items_from_rows([{"id": name, "price": price} for name, price in PRICES.items()])


def test_the_entry_point_gives_it_its_name():
    assert plugins.load("scorers", "price-match", budget="limit") == PriceMatch(budget="limit")


def test_the_score_is_the_smaller_over_the_larger():
    scores = PriceMatch().score((), Request({"budget": 20.0}, 0.0), ITEMS)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, [[0.25], [1.0], [0.25], [0.0], [0.0]])


def test_without_a_budget_all_items_score_zero():
    assert not PriceMatch().score((), Request({}, 0.0), ITEMS).any()


@pytest.mark.parametrize("budget", [0, -1.0, float("nan"), float("inf"), "20"])
def test_a_budget_that_is_not_a_positive_number_is_refused(budget):
    with pytest.raises(InvalidRequest, match="budget must be a number > 0"):
        PriceMatch().score((), Request({"budget": budget}, 0.0), ITEMS)


def test_a_name_that_is_not_text_is_refused():
    with pytest.raises(TypeError, match="price"):
        PriceMatch(price=3)
