"""SeqItemKNN."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsdk.base import Request
from recsdk.data import events_from_rows, items_from_rows, take
from recsdk.errors import InvalidRequest, InvalidValue
from recsdk.scorers.seq_item_knn import SeqItemKNN

ITEMS = items_from_rows([{"id": name} for name in "abcdef"])
PLAIN = SeqItemKNN(popularity_power=0.0, gap_decay=0.5, backward=0.25, recency_decay=0.5, window=3, max_users=16)


def log(**sequences):
    """A log in which users take turns."""
    rows = [{"user_id": user, "item": item, "time": float(time)} for user, text in sequences.items() for time, item in enumerate(text)]
    return events_from_rows(ITEMS, rows)


def scores(scorer, state, **features):
    return scorer.score(state, Request(features, 0.0), ITEMS)[:, 0]


def test_a_pair_counts_less_for_each_place_between_and_for_the_other_direction():
    state = PLAIN.fit(log(u="abcde"))
    np.testing.assert_allclose(scores(PLAIN, state, history=["a"]), [0, 1, 0.5, 0.25, 0, 0])
    np.testing.assert_allclose(scores(PLAIN, state, history=["e"]), [0, 0.0625, 0.125, 0.25, 0, 0])


def test_the_latest_item_of_the_history_counts_most():
    state = PLAIN.fit(log(u="ab", v="cd"))
    length = np.sqrt(1 + 0.25)
    np.testing.assert_allclose(scores(PLAIN, state, history=["a", "c"]), np.array([0, 0.5, 0, 1, 0, 0]) / length, rtol=1e-6)
    np.testing.assert_allclose(scores(PLAIN, state, history=["c", "a"]), np.array([0, 1, 0, 0.5, 0, 0]) / length, rtol=1e-6)


def test_users_are_not_joined_where_one_ends_and_the_next_begins():
    state = PLAIN.fit(log(u="ab", v="cd"))
    assert scores(PLAIN, state, history=["b"]).tolist() == [0.25, 0, 0, 0, 0, 0]


def test_a_popularity_power_lowers_what_everyone_takes():
    popular = log(u="ab", v="cb", w="db", x="ae")
    plain, fair = SeqItemKNN(popularity_power=0.0), SeqItemKNN(popularity_power=0.5)
    assert scores(plain, plain.fit(popular), history=["a"])[[1, 4]].tolist() == [1, 1]
    assert scores(fair, fair.fit(popular), history=["a"])[[1, 4]].tolist() == pytest.approx([1 / np.sqrt(6), 1 / np.sqrt(2)])


def counted(sequences, scorer):
    """Counts all pairs from the definition."""
    table = np.zeros((6, 6))
    for text in sequences.values():
        for i in range(len(text)):
            for gap in range(1, min(scorer.window, len(text) - 1 - i) + 1):
                one, two = "abcdef".index(text[i]), "abcdef".index(text[i + gap])
                table[one, two] += scorer.gap_decay ** (gap - 1)
                table[two, one] += scorer.gap_decay ** (gap - 1) * scorer.backward
    np.fill_diagonal(table, 0)
    return table


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from("uvw"), st.text("abcdef", max_size=8)))
def test_similarities_are_those_of_the_definition(sequences):
    state = PLAIN.fit(log(**sequences))
    table = counted(sequences, PLAIN)
    for place, name in enumerate("abcdef"):
        wanted = table[place] if any(name in text for text in sequences.values()) else 0
        np.testing.assert_allclose(scores(PLAIN, state, history=[name]), wanted, rtol=1e-6, atol=1e-7)


def test_only_the_nearest_neighbours_are_kept():
    scorer = SeqItemKNN(num_neighbours=1, popularity_power=0.0)
    assert (scores(scorer, scorer.fit(log(u="abcde")), history=["a"]) > 0).tolist() == [False, True, False, False, False, False]


def test_a_user_without_a_history_in_the_request_is_remembered_from_the_log_and_from_rewards():
    state = PLAIN.fit(log(u="ab", v="a"))
    np.testing.assert_array_equal(scores(PLAIN, state, user_id="v"), scores(PLAIN, state, history=["a"]))
    for reward in (1.0, 0.0, -1.0):
        state = PLAIN.update(state, Request({"user_id": "new"}, 0.0), take(ITEMS, [0 if reward > 0 else 2]), reward)
    np.testing.assert_array_equal(scores(PLAIN, state, user_id="new"), scores(PLAIN, state, history=["a"]))
    assert not scores(PLAIN, state, user_id="unknown").any()
    assert not scores(PLAIN, state).any()


def test_of_too_many_users_the_latest_are_remembered():
    rows = [{"user_id": f"u{n}", "item": item, "time": float(n)} for n in range(100) for item in "ab"]
    state = SeqItemKNN(max_users=8).fit(events_from_rows(ITEMS, rows))
    found = [bool(scores(SeqItemKNN(max_users=8), state, user_id=f"u{n}").any()) for n in range(100)]
    assert found == [False] * 92 + [True] * 8


def test_items_that_are_not_known_are_passed_over():
    state = PLAIN.fit(log(u="ab"))
    np.testing.assert_array_equal(scores(PLAIN, state, history=["zebra", "a"]), scores(PLAIN, state, history=["a"]))


def test_few_candidates_of_many_items_score_as_among_all(monkeypatch):
    state = PLAIN.fit(log(u="abcdefab"))
    wanted = scores(PLAIN, state, history=["a", "b"])
    monkeypatch.setattr("recsdk.scorers._neighbours.SLOTS_PER_CANDIDATE", 0)
    np.testing.assert_allclose(scores(PLAIN, state, history=["a", "b"]), wanted, rtol=1e-6)


@pytest.mark.parametrize(("features", "message"), [({"history": "a"}, "'history' must be a list"), ({"user_id": 7}, "'user_id' says who")])
def test_what_is_no_history_or_user_is_refused(features, message):
    with pytest.raises(InvalidRequest, match=message):
        scores(PLAIN, PLAIN.fit(log(u="ab")), **features)
    with pytest.raises(InvalidRequest, match="'user_id' says who"):
        PLAIN.fit(events_from_rows(ITEMS, [{"user_id": 7, "item": "a", "time": 0.0}]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 0}, "SeqItemKNN.window must be a whole number >= 1, got 0"),
        ({"gap_decay": 0}, "SeqItemKNN.gap_decay must be a finite number > 0 and <= 1, got 0"),
        ({"popularity_power": 2}, "SeqItemKNN.popularity_power must be a finite number >= 0 and <= 1, got 2"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(InvalidValue, match=message):
        SeqItemKNN(**options)
