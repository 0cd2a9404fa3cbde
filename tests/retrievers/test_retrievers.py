"""Retrievers find the candidates of a request in the catalogue."""

import json
from typing import ClassVar

import attrs
import numpy as np
import pytest

from recsdk import plugins, testing
from recsdk.errors import InvalidAnswer, InvalidValue
from recsdk.retrievers.exact import Exact
from recsdk.retrievers.sampled import Sampled
from tests.live.shop import Hashing, open_recommender, request, serve, small_recommender

RNG = np.random.default_rng(0)
VECTORS = RNG.standard_normal((200, 8)).astype(np.float32)
USER = RNG.standard_normal(8).astype(np.float32)
ALLOWED = RNG.random(200) < 0.6


@pytest.mark.parametrize("name", ["exact", "sampled"])
def test_built_in_retrievers_are_found_by_name(name):
    assert plugins.load("retrievers", name) in (Exact(), Sampled())


@testing.parametrize_retrievers(Exact(), Sampled())
def test_conforms(retriever, check):
    check(retriever)


@pytest.mark.parametrize("retriever", [Exact(), Sampled()], ids=repr)
@pytest.mark.parametrize("size", [1, 7, 500])
def test_the_answer_is_allowed_slots_each_once_and_as_many_as_there_are(retriever, size):
    found = retriever.search(retriever.build(VECTORS), np.random.default_rng(1), USER, ALLOWED, size)
    assert len(set(found.tolist())) == len(found) == min(size, ALLOWED.sum())
    assert ALLOWED[found].all()


def test_exact_finds_the_largest_products_best_first():
    found = Exact().search(Exact().build(VECTORS), RNG, USER, ALLOWED, 9)
    order = sorted(np.flatnonzero(ALLOWED), key=lambda slot: -(VECTORS[slot] @ USER))
    assert found.tolist() == order[:9]


def test_exact_makes_no_copy_of_the_table():
    table = VECTORS.copy()
    assert Exact().build(table) is table
    assert Exact().add(table, np.array([0]), table) is table


def test_what_is_added_to_an_index_is_found():
    grown = np.concatenate([VECTORS, 100 * USER[None]])
    state = Exact().add(Exact().build(VECTORS), np.array([200]), grown)
    assert Exact().search(state, RNG, USER, np.ones(201, bool), 1).tolist() == [200]


def test_sampled_gives_every_allowed_item_the_same_chance():
    rng, counts, allowed = np.random.default_rng(0), np.zeros(20), np.arange(20) % 4 > 0
    for _ in range(4000):
        counts[Sampled().search((), rng, USER, allowed, 3)] += 1
    assert not counts[~allowed].any()
    assert np.abs(counts[allowed] - 4000 * 3 / 15).max() < 4.5 * np.sqrt(4000 * 0.2 * 0.8)


@attrs.frozen(kw_only=True)
class Fewest:
    """A retriever that keeps an index of its own, and offers the items with the highest slots."""

    uses_vectors: ClassVar[bool] = True

    answer: object = None

    def build(self, vectors):
        return [0] * len(vectors)

    def add(self, state, slot, vectors):
        state = state + [0] * (len(vectors) - len(state))
        for place in slot.tolist():
            state[place] += 1
        return state

    def search(self, state, rng, user, allowed, size):
        return np.flatnonzero(allowed)[::-1][:size] if self.answer is None else np.array(self.answer)


def test_a_recommender_takes_the_candidates_of_its_retriever(tmp_path):
    with open_recommender(tmp_path, retriever=Fewest(), num_candidates=4, num_new=0) as shop:
        shop.recommend(request(0), decision_id="d")
        assert shop._loop.ledger.decision("d").slots.tolist() == [11, 10, 9, 8]
        made = json.loads(shop._loop.ledger.decision("d").parts)
        assert made["retriever"] == {"name": "tests.retrievers.test_retrievers:Fewest", "settings": {"answer": None}}
        shop.remove_items(["sport-3"])
        shop.add_items([{"id": "fresh"}])
        shop.recommend(request(0), decision_id="e")
        assert shop._loop.ledger.decision("e").slots.tolist() == [12, 11, 9, 8]
        assert shop.catalogue.shelf.index == [0] * 10 + [1, 0, 1]


@pytest.mark.filterwarnings("ignore::recsdk.errors.IgnoredInput")
def test_without_vectors_exact_retrieval_is_refused_and_with_them_sampling_is_a_choice(tmp_path):
    with pytest.raises(InvalidValue, match="retriever must do without vectors where there is no encoder"):
        small_recommender(tmp_path, retriever="exact")
    with open_recommender(tmp_path, encoder=Hashing(), retriever="sampled", num_candidates=3, num_scored=3) as shop:
        serve(shop, range(20))
        assert len({tuple(record.slots) for record in shop._loop.ledger.decisions()}) > 10


@pytest.mark.parametrize("answer", [[0, 0], [0, 99], [-1], [0.5], [[0]], [1], list(range(12))], ids=repr)
def test_slots_that_are_no_candidates_are_refused(tmp_path, answer):
    with open_recommender(tmp_path, retriever=Fewest(answer=answer), num_candidates=4) as shop:
        with pytest.raises(InvalidAnswer, match="must answer at most 4 different slots of allowed items"):
            shop.recommend({}, seen=["sport-0"])
        assert list(shop._loop.ledger.decisions()) == []
