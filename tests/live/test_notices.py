"""What is ignored is said, once."""

import warnings

import numpy as np
import pytest

from recsdk.base import Events
from recsdk.data import events_from_rows, items_from_rows
from recsdk.errors import IgnoredInput, InvalidScores, UnknownItem
from recsdk.live.notices import NUM_COMPARISONS, NUM_REQUESTS
from recsdk.live.recommender import Recommender
from tests.live.shop import Hashing, small_recommender

ROWS = [{"id": "steak", "kind": "meat"}, {"id": "salad", "kind": "veg"}, {"id": "soup", "kind": "veg"}]


def fits(request, candidates):
    return (candidates.features["kind"] == "veg") == (request.features["diet"] == "vegan")


def warned(folder, num_requests, request=lambda number: {"diet": ("vegan", "all")[number % 2]}, **options):
    """Returns the warnings of an opening and some requests."""
    with (
        warnings.catch_warnings(record=True) as caught,
        Recommender.open(folder, items=ROWS, policy="lin-ts", **options) as shop,
    ):
        warnings.simplefilter("always")
        for number in range(num_requests):
            shop.recommend(request(number))
    assert all(warning.filename == __file__ for warning in caught)
    return [(warning.category, str(warning.message)) for warning in caught]


def test_request_features_that_no_part_reads_are_said_once_with_the_remedy(tmp_path):
    ((category, text),) = warned(tmp_path, 3 * NUM_REQUESTS)
    assert category is IgnoredInput
    assert text.startswith(f"No scorer, rule or encoder has read the request features ['diet'] in {NUM_REQUESTS} requests: they change")
    assert "Give a scorer that compares the request with the items" in text
    assert warned(tmp_path / "short", NUM_REQUESTS) == []


def by_rule(request, items):
    return np.ones(len(items.ids), bool) if request.features["diet"] else None


@pytest.mark.parametrize(
    "options",
    [{"scorers": [fits]}, {"rules": [by_rule], "scorers": [fits]}, {"encoder": Hashing(), "history": [{"item": "soup", "time": 1.0}]}],
)
def test_features_that_a_part_reads_are_not_said(tmp_path, options):
    assert warned(tmp_path, 2 * NUM_REQUESTS, **options) == []


def test_only_the_unread_of_several_features_are_named(tmp_path):
    ((_, text),) = warned(tmp_path, 2 * NUM_REQUESTS, lambda number: {"diet": "vegan", "city": "Rome", "age": number}, scorers=[fits])
    assert "['city', 'age']" in text


def test_the_users_key_is_not_said_to_be_unread(tmp_path):
    assert warned(tmp_path, 2 * NUM_REQUESTS, lambda number: {"user_id": "ann"}) == []


def reads_in_vain(request, candidates):
    return np.zeros(len(candidates.ids)) * len(request.features["diet"])


def test_requests_that_change_nothing_are_said_once(tmp_path):
    ((category, text),) = warned(tmp_path, 2 * NUM_COMPARISONS, scorers=[reads_in_vain, "popularity", "recency"])
    assert category is IgnoredInput
    assert text.startswith(f"Request features changed the evidence of no candidate in {NUM_COMPARISONS} requests that differed")


def test_requests_that_never_differ_are_not_said(tmp_path):
    assert warned(tmp_path, 2 * NUM_COMPARISONS, lambda number: {"diet": "vegan"}, scorers=[reads_in_vain]) == []


def per_gram(request, candidates):
    with np.errstate(divide="ignore"):
        return 1 / candidates.features["weight"]


WEIGHED = [{"id": "steak", "weight": 200}, {"id": "salad", "weight": 100}, {"id": "soup"}]


@pytest.mark.parametrize("scorers", [[per_gram], ["recency", per_gram]])
def test_a_candidate_without_usable_scores_is_left_out_said_once_and_counted(tmp_path, scorers):
    said = r"candidates \['soup'\] are left out .* per_gram must return .* got nan for 'soup'"
    with small_recommender(tmp_path, items=WEIGHED, scorers=scorers) as shop:
        with pytest.warns(IgnoredInput, match=said) as caught:
            assert set(shop.recommend({}, size=2).ids) == {"steak", "salad"}
        assert caught[0].filename == __file__
        assert set(shop.recommend({}, size=2).ids) == {"steak", "salad"}
        assert shop.num_left_out == 2
        shop.add_items([{"id": "water", "weight": 0}])
        with pytest.warns(IgnoredInput, match="'water'"):
            shop.recommend({})


def test_an_unusable_score_is_refused_where_the_application_names_the_candidate_or_all_are_bad(tmp_path):
    with small_recommender(tmp_path, items=WEIGHED, scorers=[per_gram]) as shop:
        with pytest.raises(InvalidScores, match="got nan for 'soup'"):
            shop.recommend({}, candidates=["steak", "soup"])
        shop.remove_items(["steak", "salad"])
        with pytest.raises(InvalidScores, match="got nan for 'soup'"):
            shop.recommend({})
        assert shop.num_left_out == 0


HISTORY = [{"item": "gone", "time": 1.0, "reward": 3.0}, {"item": "salad", "time": 2.0}, {"item": "lost", "time": 3.0}]


def history_as_events(rows):
    return events_from_rows(items_from_rows([{"id": name} for name in ("lost", "salad", "gone")]), rows)


@pytest.mark.parametrize("history", [HISTORY, history_as_events(HISTORY)], ids=["rows", "events"])
def test_history_about_unknown_items_is_skipped_on_request_and_counted(tmp_path, history):
    with pytest.raises(UnknownItem, match=r"got '(gone|lost)'"):
        small_recommender(tmp_path, items=ROWS, history=history)
    with pytest.warns(IgnoredInput, match="2 of 3 rows were skipped: their items are not in the catalogue, such as 'gone'"):
        shop = small_recommender(tmp_path, items=ROWS, history=history, scorers=["popularity"], unknown_items="skip")
    with shop:
        assert shop._loop.evidence.states[0].sums.tolist() == [0, 1, 0]
        assert shop._loop.evidence.num_events == 1
    assert isinstance(history_as_events(HISTORY), Events)


def test_a_history_for_a_folder_that_is_recovered_is_said_to_be_ignored(tmp_path):
    history = [{"item": "salad", "time": 1.0}]
    small_recommender(tmp_path, items=ROWS, history=history).close()
    small_recommender(tmp_path, items=ROWS).close()
    small_recommender(tmp_path, items=ROWS, history=history).close()  # the same one is no news
    with pytest.warns(IgnoredInput, match="history is ignored: the models of this folder were fitted to another one"):
        small_recommender(tmp_path, items=ROWS, history=[*history, {"item": "soup", "time": 2.0}]).close()


def test_a_history_that_comes_after_the_folder_was_made_without_one_is_said_to_be_ignored(tmp_path):
    small_recommender(tmp_path, items=ROWS).close()
    with pytest.warns(IgnoredInput, match="history is ignored: the models of this folder were fitted to none"):
        small_recommender(tmp_path, items=ROWS, history=[{"item": "salad", "time": 1.0}]).close()


def test_at_most_shows_what_is_left(tmp_path):
    with small_recommender(tmp_path, items=ROWS) as shop:
        assert len(shop.recommend({}, size=5, at_most=True).ids) == 3
        slate = shop.recommend({}, size=5, seen=["soup"], at_most=True, decision_id="d")
        assert set(slate.ids) == {"steak", "salad"}
        assert shop.recommend({}, size=5, seen=["soup"], at_most=True, decision_id="d") == slate
        assert len(shop.recommend({}, size=1, at_most=True).ids) == 1
        assert len(shop.recommend({}, size=5, candidates=["soup"], at_most=True).ids) == 1


def test_at_most_of_nothing_is_an_empty_slate_and_no_decision(tmp_path):
    with small_recommender(tmp_path, items=ROWS) as shop:
        everything = [row["id"] for row in ROWS]
        assert shop.recommend({}, seen=everything, at_most=True, decision_id="d") == ("d", (), (), None)
        assert shop.recommend({}, candidates=[], at_most=True).ids == ()
        assert list(shop._loop.ledger.decisions()) == []
