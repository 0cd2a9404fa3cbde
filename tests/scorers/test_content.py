"""Content."""

import numpy as np
import pytest

from recsdk.base import Request
from recsdk.data import events_from_rows, items_from_rows, take
from recsdk.errors import InvalidValue
from recsdk.scorers.content import Content

ITEMS = items_from_rows(
    [
        {"id": "green", "kind": "tea", "tags": ["hot", "asia"], "name": "Green Tea", "price": 4.0},
        {"id": "black", "kind": "tea", "tags": ["hot"], "name": "Black tea", "price": 4.1},
        {"id": "saw", "kind": "tool", "tags": ["steel"], "name": "Saw", "price": 400.0},
        {"id": "plain"},
    ]
)
LOG = events_from_rows(ITEMS, [])


def scores(scorer, state, items=ITEMS, **features):
    return scorer.score(state, Request(features, 0.0), items)[:, 0]


def test_the_cosine_is_that_of_weighted_features():
    items = items_from_rows([{"id": "a", "kind": "x", "of": ["p", "q"]}, {"id": "b", "kind": "x", "of": ["p"]}, {"id": "c", "kind": "y"}])
    scorer = Content(dim=2**15)
    state = scorer.fit(events_from_rows(items, []))
    x = p = np.log(4 / 3) + 1
    y = q = np.log(4 / 2) + 1
    one, other = np.array([x, p / 2, q / 2]), np.array([x, p, 0])
    wanted = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    np.testing.assert_allclose(scores(scorer, state, items, history=["a"]), [1, wanted, 0], atol=1e-6)
    assert y == q


def test_alike_items_score_above_others_and_what_has_no_features_is_unknown():
    scorer = Content(text_features=("name",))
    found = scores(scorer, scorer.fit(LOG), history=["green"])
    assert found[0] > found[1] > 0.3 > abs(found[2])
    assert found[3] == 0
    assert found[0] == pytest.approx(1)
    plain = Content()
    assert found[1] > scores(plain, plain.fit(LOG), history=["green"])[1]  # words of the name are shared


def test_a_new_item_is_known_by_its_features_at_once():
    scorer, state = Content(), Content().fit(LOG)
    new = items_from_rows([{"id": "oolong", "kind": "tea", "tags": ["hot"]}])._replace(slot=np.array([9]))
    assert scores(scorer, state, new, history=["green"]).item() > 0.3
    state = scorer.update(state, Request({"user_id": "u"}, 0.0), new, 1.0)
    found = scores(scorer, state, user_id="u")
    assert found[0] > found[2]


def test_the_query_weighs_recent_items_more():
    scorer = Content(recency_decay=0.5)
    state = scorer.fit(LOG)
    found = scores(scorer, state, history=["green", "saw"])
    assert found[2] > found[0] > 0
    vector = state.vectors[2] + 0.5 * state.vectors[0]
    np.testing.assert_allclose(found, state.vectors[:4] @ vector / np.linalg.norm(vector), atol=1e-6)


def test_a_live_reward_of_nothing_is_not_taken():
    scorer, state = Content(), Content().fit(LOG)
    state = scorer.update(state, Request({"user_id": "u"}, 0.0), take(ITEMS, [0]), 0.0)
    assert not scores(scorer, state, user_id="u").any()


def test_options_out_of_range_are_refused():
    with pytest.raises(InvalidValue, match=r"Content\.text_features must be a tuple of names"):
        Content(text_features="name")
