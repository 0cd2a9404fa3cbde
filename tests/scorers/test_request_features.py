"""Numbers of the request as columns."""

import numpy as np
import pytest

from recsdk import LinUCB, Round, simulate
from recsdk.base import Context, Request
from recsdk.data import events_from_rows, items_from_rows
from recsdk.errors import InvalidRequest, InvalidValue
from recsdk.scorers.request_features import RequestFeatures

ITEMS = items_from_rows([{"id": "tea"}, {"id": "pot"}, {"id": "cup"}])
SCORER = RequestFeatures(features=("age", "member"))


def fitted(*rows):
    return SCORER.fit(events_from_rows(ITEMS, [{"item": "tea", "time": 0.0, **row} for row in rows]))


def test_numbers_are_standardised_by_the_log_and_the_same_for_all_candidates():
    state = fitted({"age": 20, "member": True}, {"age": 40, "member": False}, {"member": False}, {"member": True})
    scores = SCORER.score(state, Request({"age": 45.0, "member": True}, 1.0), ITEMS)
    assert scores.dtype == np.float32
    assert scores.tolist() == [[1.5, 1.0]] * 3


def test_what_is_missing_is_0_and_what_does_not_vary_keeps_its_unit():
    state = fitted({"age": 20})
    assert SCORER.score(state, Request({}, 1.0), ITEMS).tolist() == [[0.0, 0.0]] * 3
    assert SCORER.score(state, Request({"age": None, "member": True}, 1.0), ITEMS).tolist() == [[0.0, 1.0]] * 3
    assert SCORER.score(state, Request({"age": 23}, 1.0), ITEMS)[0].tolist() == [3.0, 0.0]


@pytest.mark.parametrize(("age", "wanted"), [(129, 9.9), (131, 10), (1e12, 10), (-1e12, -10), (1.7e308, 10), (-71, -10)])
def test_what_is_far_from_the_mean_counts_as_ten_deviations(age, wanted):
    state = fitted({"age": 20}, {"age": 40})
    assert SCORER.score(state, Request({"age": age}, 1.0), ITEMS)[:, 0] == pytest.approx([wanted] * 3)
    assert SCORER.score(fitted({"age": 1.01}, {"age": 1.02}), Request({"age": 1.7e308}, 1.0), ITEMS)[0, 0] == 10


def test_text_is_refused_by_name():
    with pytest.raises(InvalidRequest, match="'age' must be a number, a bool or missing for the scorer request-features, got 'old'"):
        SCORER.score(SCORER.init(), Request({"age": "old"}, 0.0), ITEMS)
    with pytest.raises(InvalidRequest, match="'age' must be numbers for the scorer request-features, got str"):
        fitted({"age": "old"})


@pytest.mark.parametrize("names", [(), ("age", "age"), ("age", 3), ["age"], "age"])
def test_names_are_a_tuple_of_different_texts(names):
    with pytest.raises(InvalidValue, match="features must be a tuple of different names"):
        RequestFeatures(features=names)


class Generosity:
    """Stingy users have the larger scores. The better item is worth more to everybody, and a generous user gives 1 besides."""

    dim = 3

    def __init__(self, is_told):
        scorer = RequestFeatures(features=("generous",))
        state = scorer.fit(events_from_rows(ITEMS, [{"item": "tea", "time": 0.0, "generous": bool(n)} for n in range(2)]))
        self.columns = [scorer.score(state, Request({"generous": bool(n)}, 0.0), ITEMS) * is_told for n in range(2)]

    def init(self, seed):
        return ()

    def round(self, world, rng, time):
        generous, worth = int(rng.random() < 0.5), rng.standard_normal(3)
        score = worth * (0.3 if generous else 1.5)
        phi = np.column_stack([score, self.columns[generous], np.ones(3)])
        reward = 0.2 * worth + generous
        return Round(Context(phi, np.ones(3, bool), np.arange(3)), reward, reward)


@pytest.mark.parametrize("seed", range(3))
def test_without_them_a_policy_puts_down_to_the_score_what_users_brought_along(seed):
    regret = [
        simulate(LinUCB(), Generosity(is_told), 400, seed=seed, prior=np.array([1.0, 0, 0]), engine="numpy").regret[200:].mean()
        for is_told in (True, False)
    ]
    assert regret[0] < 0.001
    assert regret[1] > 0.01  # of .17 by chance
