"""Items by slot, and which of them are candidates."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsdk.base import Request
from recsdk.data import items_from_rows
from recsdk.errors import DuplicateCandidates, EmptyCandidates, InvalidRequest, InvalidScores, UnknownItem
from recsdk.live.catalogue import Catalogue

NOBODY = Request({}, 0.0)


def top(catalogue, *arguments, **options):
    return catalogue.found(np.random.default_rng(0), *arguments, **options)


def added(catalogue, rows, vectors=None, *, active=True):
    items = catalogue.place(items_from_rows(rows))
    vectors = (
        np.zeros((len(rows), catalogue.vectors.shape[1]), np.float32)
        if vectors is None
        else np.array(vectors, np.float32).reshape(len(rows), catalogue.vectors.shape[1])
    )
    catalogue.hold(catalogue.joined(items, vectors, np.full(len(rows), active)))
    return catalogue


def removed(catalogue, ids):
    from recsdk.data import take

    slots = catalogue.slots(ids)
    catalogue.hold(catalogue.joined(take(catalogue.items, slots), catalogue.vectors[slots], np.zeros(len(slots), bool)))
    return catalogue


def line(num_items, dim=1, times=None):
    """A catalogue in which item k lies at k on a line."""
    rows = [{"id": f"i{k}", "n": k, "added": 0.0 if times is None else times[k]} for k in range(num_items)]
    return added(Catalogue(dim), rows, [[k] * dim for k in range(num_items)])


def ids(catalogue, slots):
    return catalogue.items.ids[slots].tolist()


def test_an_empty_catalogue_has_nothing_to_show():
    catalogue = Catalogue(2)
    assert len(catalogue) == 0
    assert "a" not in catalogue
    with pytest.raises(EmptyCandidates, match="No item of the 0"):
        top(catalogue, np.zeros(2, np.float32), NOBODY, 5, 1)
    with pytest.raises(UnknownItem, match="No item 'a' is in the catalogue of 0"):
        catalogue.slots(["a"])


def test_the_candidates_are_the_nearest_and_beside_them_the_newest():
    catalogue = line(10, times=[9, 1, 8, 0, 0, 0, 0, 0, 0, 0])
    user = np.ones(1, np.float32)
    assert ids(catalogue, top(catalogue, user, NOBODY, 4, 0)) == ["i9", "i8", "i7", "i6"]
    assert ids(catalogue, top(catalogue, user, NOBODY, 4, 2)) == ["i9", "i8", "i0", "i2"]
    assert ids(catalogue, top(catalogue, user, NOBODY, 10, 2)) == [f"i{k}" for k in range(9, -1, -1)]
    assert ids(catalogue, top(catalogue, -user, NOBODY, 3, 1)) == ["i0", "i1", "i2"]


def test_of_items_that_are_equally_near_or_new_the_earlier_are_candidates():
    catalogue = added(Catalogue(1), [{"id": f"i{k}"} for k in range(1000)], [[k % 2] for k in range(1000)])
    user = np.ones(1, np.float32)
    assert top(catalogue, user, NOBODY, 5, 2).tolist() == [1, 3, 5, 0, 2]
    assert top(catalogue, 0 * user, NOBODY, 5, 2).tolist() == [0, 1, 2, 3, 4]
    assert top(catalogue, user, NOBODY, 502, 0).tolist() == [*range(1, 1000, 2), 0, 2]


def test_seen_removed_and_forbidden_items_are_no_candidates():
    catalogue = removed(line(6), ["i5"])

    def even(request, items):
        return items.features["n"] % 2 == 0

    user = np.ones(1, np.float32)
    assert ids(catalogue, top(catalogue, user, NOBODY, 9, 0, seen=["i4", "nobody"])) == ["i3", "i2", "i1", "i0"]
    assert ids(catalogue, top(catalogue, user, NOBODY, 9, 0, seen=["i4"], rules=[even])) == ["i2", "i0"]
    with pytest.raises(EmptyCandidates):
        top(catalogue, user, NOBODY, 9, 0, rules=[even, lambda request, items: ~even(request, items)])


@pytest.mark.parametrize("answer", [np.ones(5, bool), np.ones(6), [1] * 6, None, [[True], [True, False]]], ids=repr)
def test_a_rule_must_answer_a_bool_for_every_item(answer):
    with pytest.raises(InvalidScores, match=r"must answer bool\[6\]"):
        top(line(6), np.ones(1, np.float32), NOBODY, 9, 0, rules=[lambda request, items: answer])


def test_named_candidates_come_in_the_order_of_the_application():
    catalogue = line(6)
    assert catalogue.chosen(["i4", "i0", "i5"]).tolist() == [4, 0, 5]
    with pytest.raises(EmptyCandidates, match="candidates"):
        catalogue.chosen([])
    with pytest.raises(DuplicateCandidates, match="'i4' twice"):
        catalogue.chosen(["i4", "i0", "i4"])
    with pytest.raises(UnknownItem, match="Did you mean 'i4'"):
        catalogue.chosen(["i44"])


def test_an_item_that_is_there_has_no_other_place():
    with pytest.raises(DuplicateCandidates, match="'i1': change_items changes it"):
        line(3).place(items_from_rows([{"id": "new"}, {"id": "i1"}]))


def test_nothing_changes_before_the_contents_are_held():
    catalogue = line(3)
    before = catalogue.items, catalogue.vectors, catalogue.active
    catalogue.joined(catalogue.place(items_from_rows([{"id": "x"}])), np.zeros((1, 1), np.float32), np.ones(1, bool))
    with pytest.raises(InvalidRequest, match="'n' must hold one kind of value"):
        added(catalogue, [{"id": "y", "n": "many"}])
    assert (catalogue.items, catalogue.vectors, catalogue.active) == before
    assert not catalogue.knows("x")
    assert catalogue.place(items_from_rows([{"id": "y"}])).slot.tolist() == [3]


def test_a_feature_that_no_item_has_is_no_column_and_columns_are_in_order():
    catalogue = added(Catalogue(0), [{"id": "a", "z": 1, "b": "x"}, {"id": "c", "none": None}])
    assert list(catalogue.items.features) == ["b", "z"]
    catalogue = added(removed(catalogue, ["a"]), [{"id": "a", "z": "now a category"}])
    assert list(catalogue.items.features) == ["z"]
    assert catalogue.items.features["z"].tolist() == ["now a category", None]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["add", "remove"]), st.sets(st.integers(0, 9), min_size=1)), max_size=12))
def test_whatever_comes_and_goes_every_item_keeps_its_slot_and_row(steps):
    catalogue, slots, active = Catalogue(1), {}, {}
    for number, (what, chosen) in enumerate(steps):
        names = sorted(f"i{k}" for k in chosen if (f"i{k}" in active) == (what == "remove"))
        if what == "add":
            added(catalogue, [{"id": name, "n": number} for name in names], [[number + 1]] * len(names))
            for name in names:
                slots.setdefault(name, len(slots))
                active[name] = number
        else:
            removed(catalogue, names)
            for name in names:
                del active[name]
    assert catalogue.items.ids.tolist() == list(slots)
    assert catalogue.items.slot.tolist() == list(range(len(slots)))
    assert {name for name in slots if name in catalogue} == set(active)
    assert len(catalogue) == len(active)
    assert all(catalogue.knows(name) for name in slots)
    for name, number in active.items():
        assert catalogue.items.features["n"][slots[name]] == number
        assert catalogue.vectors[slots[name]] == [number + 1]
    assert len(catalogue.vectors) == len(catalogue.active) == len(slots)
