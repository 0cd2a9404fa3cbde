"""Scores as probabilities."""

import numpy as np
import pytest

from recsdk import testing
from recsdk.base import Request
from recsdk.data import events_from_rows, items_from_rows, take
from recsdk.errors import InvalidValue
from recsdk.scorers.calibrated import Calibrated, _line
from recsdk.scorers.function import FunctionScorer
from recsdk.scorers.popularity import Popularity
from recsdk.scorers.recency import Recency
from recsdk.scorers.seq_item_knn import SeqItemKNN

ITEMS = items_from_rows([{"id": f"i{n}", "worth": float(n)} for n in range(9)])


def worth(request, candidates):
    return [value - 4 for value in candidates.features["worth"]]


def worthless(request, candidates):
    return [4 - value for value in candidates.features["worth"]]


def log(probability, num=4000):
    rng = np.random.default_rng(0)
    shown = rng.integers(9, size=num)
    taken = rng.random(num) < probability(shown)
    rows = [{"item": f"i{item}", "time": float(n), "reward": float(hit)} for n, (item, hit) in enumerate(zip(shown, taken, strict=True))]
    return events_from_rows(ITEMS, rows)


def logistic(item):
    return 1 / (1 + np.exp(-(0.5 * (item - 4) - 1)))


def probabilities(scorer, state):
    return scorer.score(state, Request({}, 0.0), ITEMS)[:, 0]


@testing.parametrize_scorers(Calibrated(scorer=SeqItemKNN(max_users=64)), Calibrated(scorer=Recency()))
def test_conforms(scorer, check):
    check(scorer)


def test_a_known_temperature_and_intercept_are_found():
    scorer = Calibrated(scorer=FunctionScorer(worth), validation=0.5)
    state = scorer.fit(log(logistic, 16000))
    assert abs(state.slope - 0.5) < 0.05
    assert abs(state.intercept + 1) < 0.12
    np.testing.assert_allclose(probabilities(scorer, state), logistic(np.arange(9)), atol=0.03)


def test_on_what_it_was_fitted_by_the_mean_probability_is_the_share_that_was_taken():
    events = log(logistic, 500)
    scorer = Calibrated(scorer=FunctionScorer(worth))
    late = slice(400, None)
    found = probabilities(scorer, scorer.fit(events))[events.item[late]]
    np.testing.assert_allclose(found.mean(), (events.reward[late] > 0).mean(), atol=1e-3)


def test_a_scorer_that_is_wrong_gives_every_item_the_share_that_was_taken():
    scorer = Calibrated(scorer=FunctionScorer(worthless))
    events = log(logistic)
    state = scorer.fit(events)
    assert state.slope == 0
    np.testing.assert_allclose(probabilities(scorer, state), (events.reward[-800:] > 0).mean(), atol=1e-3)


@pytest.mark.parametrize("taken", [0.0, 1.0])
def test_outcomes_that_are_all_alike_give_probabilities_short_of_0_and_1(taken):
    scorer = Calibrated(scorer=FunctionScorer(worth))
    found = probabilities(scorer, scorer.fit(log(lambda shown: taken + 0 * shown, 1000)))
    assert (np.abs(found - taken) < 0.01).all()
    assert ((found > 0) & (found < 1)).all()


def test_the_scorer_is_asked_before_it_learns_of_an_event_and_learns_of_each():
    """Each event has an item of its own: a scorer that had learnt of it first would know what was taken."""
    items = items_from_rows([{"id": f"i{n}"} for n in range(200)])
    rng = np.random.default_rng(0)
    rows = [{"item": f"i{n}", "time": float(n), "reward": float(rng.random() < 0.5)} for n in range(200)]
    events = events_from_rows(items, rows)
    assert Calibrated(scorer=Popularity()).fit(events).slope == pytest.approx(0, abs=1e-6)
    again = Calibrated(scorer="popularity", validation=0.5).fit(
        events_from_rows(items, rows[:100] + [{**row, "time": 200.0} for row in rows[:100]])
    )
    assert again.slope > 1


def test_no_event_of_a_slate_is_known_when_another_is_scored():
    """Each slate has an item of its own, four times: a scorer that had learnt of one would know of the next."""
    items = items_from_rows([{"id": f"i{n}"} for n in range(200)])
    taken = np.random.default_rng(0).random(200) < 0.5
    rows = [{"item": f"i{n // 4}", "time": float(n // 4), "reward": float(taken[n // 4])} for n in range(800)]
    assert Calibrated(scorer=Popularity()).fit(events_from_rows(items, rows)).slope == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("times", "sizes"), [("0123456789", [8, 10]), ("0111222222", [4, 10]), ("0000000000", [8, 10])])
def test_the_older_events_end_where_a_time_ends_if_there_are_several_times(times, sizes):
    fitted = []

    class Recording:
        columns, init, score = (
            ("none",),
            dict,
            staticmethod(lambda state, request, candidates: np.zeros((len(candidates.ids), 1), np.float32)),
        )

        def fit(self, log):
            fitted.append(len(log.item))

    Calibrated(scorer=Recording()).fit(events_from_rows(ITEMS, [{"item": "i1", "time": float(time)} for time in times]))
    assert fitted == sizes


def test_what_an_event_lacks_is_missing_from_its_request():
    seen = []

    def known(request, candidates):
        seen.append(request.features)
        return [0.0] * len(candidates.ids)

    rows = [{"item": "i1", "time": float(n)} | ({"age": 3.0} if n % 2 else {"device": "tv"}) for n in range(8)]
    Calibrated(scorer=FunctionScorer(known), validation=0.5).fit(events_from_rows(ITEMS, rows))
    assert seen == [{"device": "tv"}, {"age": 3.0}] * 2


def test_scores_that_vary_by_rounding_alone_tell_nothing():
    rng = np.random.default_rng(0)
    scores, taken = 0.1 + 1e-17 * np.arange(1000), (rng.random(1000) < 0.3).astype(np.int64)
    assert scores.std() > 0
    slope, intercept = _line(scores, taken)
    assert slope < 1e-6
    assert 1 / (1 + np.exp(-intercept)) == pytest.approx(taken.mean(), abs=1e-3)


def test_all_events_are_fitted_and_live_rewards_are_told():
    scorer, events = Calibrated(scorer=Popularity()), log(logistic, 100)
    state, inner = scorer.fit(events), Popularity().fit(events)
    item = take(ITEMS, [3])
    request = Request({}, 0.0)
    state, inner = scorer.update(state, request, item, 1.0), Popularity().update(inner, request, item, 1.0)
    np.testing.assert_array_equal(Popularity().score(state.member, request, ITEMS), Popularity().score(inner, request, ITEMS))


def test_a_scorer_of_several_columns_is_refused():
    class Two:
        columns = ("a", "b")
        init = fit = score = None

    with pytest.raises(InvalidValue, match=r"Calibrated\.scorer must have one column, got \('a', 'b'\)"):
        Calibrated(scorer=Two())
