"""What an index of faiss finds, as a catalogue changes."""

import contextlib
import json
from typing import ClassVar

import attrs
import numpy as np
import pytest
from recsdk_faiss import Faiss

from recsdk import Recommender, plugins
from recsdk.errors import InvalidValue
from recsdk.ledger.sqlite import Sqlite
from recsdk.retrievers.exact import Exact

RNG = np.random.default_rng(0)
VECTORS = (RNG.standard_normal((30, 12))[RNG.integers(30, size=4000)] + 0.5 * RNG.standard_normal((4000, 12))).astype(np.float32)
USERS = RNG.standard_normal((40, 12)).astype(np.float32)
ALLOWED = RNG.random(4000) < 0.7
INDEXES = ("Flat", "SQ8", "IVF32,Flat", "IVF32,SQ8", "HNSW32")


def retriever_of(index, **settings):
    return Faiss(index=index, exact_below=100, **{"effort": 64, **settings})


def recall(retriever, state, vectors, allowed, size=20):
    """Returns the share of the nearest items that are found, over all users."""
    found = [retriever.search(state, RNG, user, allowed, size) for user in USERS]
    wanted = [Exact().search(vectors, RNG, user, allowed, size) for user in USERS]
    return np.mean([len(np.intersect1d(one, other)) / size for one, other in zip(found, wanted, strict=True)])


def test_it_is_found_by_name():
    assert plugins.load("retrievers", "faiss", index="Flat") == Faiss(index="Flat")


@pytest.mark.parametrize("index", INDEXES)
def test_nearly_all_of_the_nearest_are_found_and_by_a_flat_index_all(index):
    retriever = retriever_of(index)
    for allowed in (np.ones(4000, bool), ALLOWED):
        assert recall(retriever, retriever.build(VECTORS), VECTORS, allowed) >= (1 if index == "Flat" else 0.95)


def test_more_effort_finds_more():
    found = [
        recall(one, one.build(VECTORS), VECTORS, ALLOWED) for one in (retriever_of("IVF32,Flat", effort=effort) for effort in (1, 4, 32))
    ]
    assert found[0] < found[1] < found[2]
    assert found[2] > 0.999


@pytest.mark.parametrize("index", INDEXES)
def test_an_index_that_grew_and_changed_finds_as_one_that_was_built(index):
    retriever, table = retriever_of(index), VECTORS[:2000].copy()
    state = retriever.build(table)
    for start in range(2000, 4000, 500):
        table = np.concatenate([table, VECTORS[start : start + 500]])
        table[:100] = VECTORS[start : start + 100]  # of the same vectors as new ones, and other ones than before
        state = retriever.add(state, np.concatenate([np.arange(start, start + 500), np.arange(100)]), table)
    assert state.found.ntotal > 4000
    assert recall(retriever, state, table, ALLOWED) >= (0.99 if index == "Flat" else 0.9)  # some vectors are equal
    every = np.ones(4000, bool)
    found = retriever.search(state, RNG, USERS[0], every, 4000)
    assert sorted(found.tolist()) == list(range(4000))


@pytest.mark.parametrize("index", INDEXES)
def test_items_that_came_in_another_order_than_that_of_their_slots_are_hidden_as_they_should_be(index):
    retriever = retriever_of(index)
    state = retriever.add(retriever.build(VECTORS[:100]), np.array([101, 100]), VECTORS[:102])
    allowed = np.ones(102, bool)
    allowed[100] = False
    assert sorted(retriever.search(state, RNG, USERS[0], allowed, 101).tolist()) == [*range(100), 101]


def test_an_index_is_built_anew_when_it_has_outgrown_itself():
    retriever = retriever_of("Flat")
    state = retriever.build(VECTORS[:200])
    for start in range(200, 4000, 200):
        state = retriever.add(state, np.arange(start, start + 200), VECTORS[: start + 200])
    assert state.num_built > 200
    for _ in range(40):
        state = retriever.add(state, np.arange(200), VECTORS)
    assert state.found.ntotal <= 8000


@pytest.mark.parametrize("index", INDEXES)
@pytest.mark.parametrize("num_allowed", [1, 5, 30])
def test_few_allowed_items_are_all_found_wherever_they_are(index, num_allowed):
    allowed = np.zeros(4000, bool)
    allowed[RNG.choice(4000, num_allowed, replace=False)] = True
    retriever = retriever_of(index, effort=1)
    state = retriever.build(VECTORS)
    for user in USERS[:5]:
        found = retriever.search(state, RNG, user, allowed, 20)
        assert allowed[found].all()
        assert len(set(found.tolist())) == len(found) == min(20, num_allowed)


def test_few_items_are_scored_one_by_one():
    retriever = Faiss(exact_below=5000)
    state = retriever.build(VECTORS)
    assert state.found is None
    assert recall(retriever, state, VECTORS, ALLOWED) == 1
    assert retriever_of("IVF1024,Flat").build(VECTORS[:1000]).found is None, "cells need vectors to begin with"


@pytest.mark.parametrize("index", ["no such index", 7])
def test_an_index_that_faiss_does_not_know_is_refused(index):
    with pytest.raises(InvalidValue, match=r"Faiss.index must be an index that faiss.index_factory makes"):
        Faiss(index=index)


@pytest.mark.filterwarnings("ignore::recsdk.errors.Untrained")
def test_a_recommender_finds_new_items_by_it_and_says_so_in_its_log(tmp_path):
    items = [{"id": f"item-{number}", "price": float(number % 7)} for number in range(200)]
    given = {"encoder": _ByPrice(), "retriever": Faiss(index="HNSW16", exact_below=50), "num_candidates": 5, "num_new": 0}
    with Recommender.open(tmp_path, items=items, **given) as shop:
        shop.add_items([{"id": "dear", "price": 1000.0}])
        shop.remove_items(["item-6"])
        shop.recommend({}, decision_id="d")
    with contextlib.closing(Sqlite().open(tmp_path)) as ledger:
        record = ledger.decision("d")
    assert record.slots[0] == 200
    assert json.loads(record.parts)["retriever"] == {"name": "faiss", "settings": {"index": "HNSW16", "effort": 64, "exact_below": 50}}


@attrs.frozen(kw_only=True)
class _ByPrice:
    """An encoder for which everyone likes what is dear."""

    dim: ClassVar[int] = 2

    def init(self):
        return ()

    def fit(self, log, *, state=None, seed=0):
        return ()

    def encode_requests(self, state, requests):
        return np.ones((max(map(len, requests.values()), default=1), 2), np.float32)

    def encode_items(self, state, items):
        return np.stack([items.features["price"], np.zeros(len(items.ids))], axis=1).astype(np.float32)
