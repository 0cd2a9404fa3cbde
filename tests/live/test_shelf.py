"""The arrays of a catalogue grow at their end, and what was read of them before never changes."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsdk.data import items_from_rows, rows_from_items, take
from recsdk.errors import InvalidRequest
from recsdk.live.catalogue import Catalogue
from recsdk.retrievers.exact import Exact

ROW = st.fixed_dictionaries(
    {"added": st.integers(0, 3).map(float)},
    optional={"price": st.integers(0, 2).map(float), "kind": st.sampled_from("xy"), "tags": st.lists(st.sampled_from("ab"), max_size=2)},
)
STEP = st.tuples(st.dictionaries(st.integers(0, 7), ROW, min_size=1, max_size=4), st.booleans())


def put(catalogue, rows):
    items = catalogue.place(items_from_rows(rows))
    vectors = np.array([[row.get("price", 0.0), 1.0] for row in rows], np.float32).reshape(len(rows), 2)
    catalogue.hold(catalogue.joined(items, vectors, np.ones(len(rows), bool)))


def remove(catalogue, ids):
    slots = catalogue.slots(ids)
    catalogue.hold(catalogue.joined(take(catalogue.items, slots), catalogue.vectors[slots], np.zeros(len(slots), bool)))


def told(shelf):
    """Returns all that a shelf holds, as plain values that nothing else shares."""
    columns = {name: column.tolist() for name, column in shelf.items.features.items()}
    plain = rows_from_items(shelf.items), list(columns), shelf.vectors.tolist(), shelf.active.tolist(), shelf.order.tolist()
    return copy.deepcopy(plain)


@settings(max_examples=150, deadline=None)
@given(st.lists(STEP, max_size=8))
def test_a_catalogue_after_any_changes_is_the_one_that_is_filled_at_once(steps):
    catalogue, rows, active, earlier = Catalogue(2), {}, set(), []
    for chosen, is_removed in steps:
        if is_removed:
            names = sorted(f"i{k}" for k in chosen if f"i{k}" in active)
            remove(catalogue, names)
            active -= set(names)
        else:
            fresh = [{"id": f"i{k}", **row} for k, row in chosen.items() if f"i{k}" not in active]
            put(catalogue, fresh)
            rows.update({row["id"]: row for row in fresh})
            active |= {row["id"] for row in fresh}
        earlier.append((catalogue.shelf, told(catalogue.shelf)))
    at_once = Catalogue(2)
    put(at_once, list(rows.values()))
    remove(at_once, sorted(rows.keys() - active))
    assert told(catalogue.shelf) == told(at_once.shelf)
    added = catalogue.items.added
    assert catalogue.shelf.order.tolist() == sorted(range(len(added)), key=lambda slot: (added[slot], -slot))
    for shelf, before in earlier:
        assert told(shelf) == before
        assert all(shelf.slot(f"i{k}") < len(shelf.active) for k in range(8))


@settings(deadline=None)
@given(st.lists(st.integers(0, 3).map(float), min_size=1, max_size=30), st.data())
def test_the_newest_are_those_added_last_and_of_these_the_first(times, data):
    catalogue = Catalogue(2)
    put(catalogue, [{"id": f"i{k}", "added": time} for k, time in enumerate(times)])
    allowed = np.array(data.draw(st.lists(st.booleans(), min_size=len(times), max_size=len(times))))
    count = data.draw(st.integers(0, 5))
    wanted = sorted(np.flatnonzero(allowed).tolist(), key=lambda slot: (-times[slot], slot))[:count]
    assert catalogue.shelf.newest(allowed, count).tolist() == wanted


def test_an_addition_and_a_removal_copy_nothing_of_what_was_there():
    catalogue = Catalogue(2)
    put(catalogue, [{"id": f"i{k}", "added": 0.0, "price": 1.0, "kind": "x"} for k in range(100)])
    before = catalogue.shelf
    put(catalogue, [{"id": "new", "added": 1.0, "price": 2.0}])
    remove(catalogue, ["i5"])
    after = catalogue.shelf
    pairs = [(before.vectors, after.vectors), (before.items.ids, after.items.ids), (before.order, after.order)]
    pairs += [(before.items.features[name], after.items.features[name]) for name in ("price", "kind")]
    assert all(np.shares_memory(*pair) for pair in pairs)
    assert len(before.vectors) == 100
    put(catalogue, [{"id": "i5", "added": 1.0, "price": 1.0, "kind": "y"}])  # changed, so that threads may read what it was
    assert before.items.features["kind"][5] == "x"
    assert np.shares_memory(before.items.features["price"], catalogue.shelf.items.features["price"])


def test_what_is_not_held_leaves_nothing_behind():
    class Failing(Exact):
        fails = False

        def add(self, state, slot, vectors):
            if self.fails:
                raise RuntimeError("full")
            return super().add(state, slot, vectors)

    catalogue = Catalogue(2, Failing())
    put(catalogue, [{"id": f"i{k}", "added": 0.0} for k in range(5)])
    before = told(catalogue.shelf)
    Failing.fails = True
    with pytest.raises(RuntimeError, match="full"):
        put(catalogue, [{"id": "new", "added": -1.0, "colour": "red"}])
    Failing.fails = False
    assert told(catalogue.shelf) == before
    assert not catalogue.knows("new")
    put(catalogue, [{"id": "other", "added": 2.0}])
    assert list(catalogue.items.features) == []
    assert catalogue.items.ids.tolist()[5:] == ["other"]
    assert catalogue.shelf.order.tolist() == [4, 3, 2, 1, 0, 5]


def test_a_column_changes_its_kind_only_with_all_its_values():
    catalogue = Catalogue(2)
    put(catalogue, [{"id": "a", "size": 1.0}, {"id": "b", "size": 2.0}])
    remove(catalogue, ["a", "b"])
    with pytest.raises(InvalidRequest, match="'size' must hold one kind of value, got number and str"):
        put(catalogue, [{"id": "a", "size": "large"}])
    assert catalogue.items.features["size"].tolist() == [1.0, 2.0]
    put(catalogue, [{"id": "a", "size": "large"}, {"id": "b"}])
    assert catalogue.items.features["size"].tolist() == ["large", None]
