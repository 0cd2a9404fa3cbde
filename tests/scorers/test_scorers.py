"""What holds for every built-in scorer."""

import numpy as np
import pytest

from recsdk.base import Online, Request
from recsdk.data import concatenate_items, events_from_rows, items_from_rows, take
from recsdk.scorers.crossed import Crossed
from recsdk.scorers.ease import EASE
from recsdk.scorers.function import FunctionScorer
from recsdk.scorers.item_knn import ItemKNN
from recsdk.scorers.popularity import Popularity
from recsdk.scorers.recency import Recency
from recsdk.scorers.seq_item_knn import SeqItemKNN

ITEMS = items_from_rows([{"id": f"i{n}"} for n in range(12)], time=50.0)
REQUEST = Request({"user_id": "u1"}, 200.0)


def brevity(request, candidates):
    return [1 / len(name) for name in candidates.ids]


SCORERS = [
    Popularity(),
    Recency(),
    ItemKNN(shrinkage=0.0, max_users=16),
    Crossed(num_buckets=2**14),
    SeqItemKNN(max_users=16),
    EASE(max_users=16),
    FunctionScorer(brevity),
]
ONLINE = [scorer for scorer in SCORERS if isinstance(scorer, Online)]


def events(num_events, items=ITEMS, seed=0):
    rng = np.random.default_rng(seed)
    rows = [
        {"item": f"i{rng.integers(12)}", "time": float(t), "user_id": f"u{rng.integers(4)}", "reward": float(rng.integers(-1, 3))}
        for t in range(num_events)
    ]
    return events_from_rows(items, rows)


def leaves(state):
    parts = state.values() if isinstance(state, dict) else state
    for part in parts:
        yield from [part] if isinstance(part, np.ndarray) else leaves(part)


@pytest.mark.parametrize("scorer", SCORERS)
@pytest.mark.parametrize("num_events", [0, 1, 60])
@pytest.mark.parametrize("num_candidates", [0, 1, 12])
def test_a_score_is_finite_float32_with_a_row_per_candidate(scorer, num_events, num_candidates):
    scores = scorer.score(scorer.fit(events(num_events)), REQUEST, take(ITEMS, slice(0, num_candidates)))
    assert scores.dtype == np.float32
    assert scores.shape == (num_candidates, len(scorer.columns))
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("scorer", SCORERS)
def test_the_order_of_candidates_is_moot(scorer):
    state, order = scorer.fit(events(60)), np.random.default_rng(1).permutation(12)
    np.testing.assert_array_equal(scorer.score(state, REQUEST, take(ITEMS, order)), scorer.score(state, REQUEST, ITEMS)[order])


@pytest.mark.parametrize("scorer", SCORERS)
def test_scoring_leaves_the_state_as_it_was(scorer):
    state = scorer.fit(events(60))
    before = [leaf.copy() for leaf in leaves(state)]
    scorer.score(state, REQUEST, ITEMS)
    assert all(np.array_equal(a, b) for a, b in zip(before, leaves(state), strict=True))


@pytest.mark.parametrize("scorer", SCORERS)
def test_a_state_is_plain_arrays_of_the_same_structure_for_any_log(scorer):
    def structure(state):
        return state.dtype.kind if isinstance(state, np.ndarray) else (type(state), [structure(part) for part in state])

    assert structure(scorer.fit(events(0, items_from_rows([])))) == structure(scorer.fit(events(60)))
    assert all(leaf.dtype.kind in "ifU" for leaf in leaves(scorer.fit(events(60))))


@pytest.mark.parametrize("scorer", ONLINE)
def test_an_item_that_arrives_live_is_neutral_until_it_earns(scorer):
    late = items_from_rows([{"id": "late"}])._replace(slot=np.array([1000]))
    both = concatenate_items(ITEMS, late)
    state = scorer.fit(events(60))
    assert scorer.score(state, REQUEST, both)[-1] == 0
    np.testing.assert_array_equal(scorer.score(state, REQUEST, both)[:-1], scorer.score(state, REQUEST, ITEMS))


@pytest.mark.parametrize("scorer", ONLINE)
def test_an_update_keeps_the_structure_and_the_types(scorer):
    late = items_from_rows([{"id": "late"}])._replace(slot=np.array([1000]))
    types = [leaf.dtype for leaf in leaves(scorer.fit(events(60)))]
    state = scorer.update(scorer.fit(events(60)), REQUEST, late, 1.0)
    assert [leaf.dtype for leaf in leaves(state)] == types
    assert all(isinstance(leaf, np.ndarray) for leaf in leaves(state))
