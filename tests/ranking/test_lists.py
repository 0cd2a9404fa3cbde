"""What recommended lists are like."""

import numpy as np
import pytest

from recsdk.data import events_from_rows, items_from_rows
from recsdk.errors import InvalidLog, InvalidValue
from recsdk.ranking import Cases, Ragged, list_metrics

GENRES = [["war"], ["war", "drama"], ["drama"], ["comedy"], ["comedy", "drama", "war"], [], ["crime"], ["crime", "war"]]


def log(genres=GENRES, rows=None):
    items = items_from_rows([{"id": f"film-{n}", "genres": some} for n, some in enumerate(genres)])
    pairs = [(0, 0), (0, 1), (1, 0), (1, 2), (2, 0), (2, 0), (3, 4), (3, 6)] if rows is None else rows
    return events_from_rows(
        items, [{"user_id": f"u{user}", "item": f"film-{item}", "time": float(n)} for n, (user, item) in enumerate(pairs)]
    )


def cases(events, histories=((0, 1), (0, 2), (0,), (4, 6))):
    names = events.items.ids
    requests = {"history": np.fromiter([[names[item] for item in some] for some in histories], object, len(histories))}
    num = len(histories)
    return Cases(requests, np.zeros(num), np.arange(num), events.items, Ragged.of(histories), Ragged.of([[7]] * num))


SCORES = np.array(
    [
        [9, 8, 7, 6, 5, 4, 3, 2],
        [1, 2, 3, 4, 5, 6, 7, 8],
        [5, 5, 5, 5, 1, 1, 1, 1],
        [8, 1, 7, 2, 6, 3, 5, 4],
    ],
    np.float32,
)


def measured(events=None, **settings):
    events = log() if events is None else events
    return list_metrics(lambda cases, rows: SCORES[rows].copy(), cases(events), events, **{"at": 3, "groups": "genres", **settings})


def test_the_metrics_are_those_of_rectools():
    """RecTools 0.19.0 on the same lists: CatalogCoverage, MeanInvUserFreq, and IntraListDiversity with Jaccard distances."""
    found = measured()
    got = [found.coverage, found.novelty.value, found.diversity.value]
    np.testing.assert_allclose(got, RECTOOLS, atol=1e-9)


RECTOOLS = [1.0, 1.8679197916065704, 0.8194444444444445]


def test_gini_and_calibration_are_those_of_their_definitions():
    """By hand: the lists are films 2 3 4, 7 6 5, 1 2 3 and 0 2 7."""
    found = measured()
    times = np.array([1, 1, 3, 2, 1, 1, 1, 2])
    assert found.gini == pytest.approx(np.abs(times[:, None] - times).mean() / (2 * times.mean()), abs=1e-12)
    past = {"war": 0.75, "drama": 0.25}  # of films 0 and 1
    now = {"drama": 4 / 9, "comedy": 4 / 9, "war": 1 / 9}  # of films 2, 3 and 4
    first = sum(share * np.log(share / (0.99 * now[name] + 0.01 * share)) for name, share in past.items())
    alone = list_metrics(lambda cases, rows: SCORES[rows].copy(), cases(log(), [(0, 1)]), log(), at=3, groups="genres")
    assert alone.calibration.value == pytest.approx(first, abs=1e-12)


def test_a_list_of_the_history_s_own_groups_is_calibrated():
    events = log([["a"], ["b"], ["a"], ["b"]], [(0, 0), (0, 1)])
    scores = np.array([[0, 0, 1, 1]], np.float32)
    found = list_metrics(lambda cases, rows: scores, cases(events, [(0, 1)]), events, at=2, groups="genres")
    assert found.calibration.value == pytest.approx(0, abs=1e-12)
    assert found.diversity.value == 1


def test_the_history_is_left_out_unless_asked_for():
    assert measured().coverage == 1
    assert measured(mask_history=False).coverage == 7 / 8  # nobody gets film 3


def test_cases_without_groups_have_no_say_in_calibration_and_are_counted():
    events = log([[] if n == 6 else some for n, some in enumerate(GENRES)])
    some = cases(events, [(5,), (6,), (0,)])
    found = list_metrics(lambda cases, rows: SCORES[rows].copy(), some, events, at=3, groups="genres")
    assert found.num_without_groups == 2
    nobody = list_metrics(lambda cases, rows: SCORES[rows].copy(), cases(events, [(5,)]), events, at=3, groups="genres")
    assert nobody.calibration is None
    assert nobody.num_without_groups == 1


def test_without_groups_there_is_neither_diversity_nor_calibration():
    found = measured(groups=None)
    assert found.diversity is None
    assert found.calibration is None


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"at": 1}, "at"),
        ({"at": 7}, "at must be at most 6"),
        ({"groups": "genre"}, "Did you mean 'genres'"),
        ({"level": 2.0}, "level"),
    ],
)
def test_what_cannot_be_measured_is_refused(settings, words):
    with pytest.raises(InvalidValue, match=words):
        measured(**settings)


def test_a_feature_of_another_kind_is_refused():
    items = items_from_rows([{"id": f"film-{n}", "genres": float(n)} for n in range(8)])
    events = log()._replace(items=items)
    with pytest.raises(InvalidValue, match=r"must be a str or a list of str, got 0\.0 for the item 'film-0'"):
        measured(events)


def test_a_log_without_the_user_or_without_a_taken_item_is_refused():
    with pytest.raises(InvalidLog, match="'user'"):
        measured(user="user")
    with pytest.raises(InvalidLog, match="took something"):
        measured(log()._replace(reward=np.zeros(8)))
