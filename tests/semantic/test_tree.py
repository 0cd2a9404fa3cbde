"""Trees: what stands under each code, as items come and go."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsdk.errors import EmptyCandidates, InvalidValue, LedgerCorrupt
from recsdk.semantic import add, build, dumps, encode, loads, remove
from recsdk.semantic.tree import branches, child, path, root
from recsdk.states import digest
from tests.semantic.worlds import tree_of, vectors_of

TREE = tree_of(60)


def found(tree, excluded=()):
    """Returns, by slot, the codes that lead to each item that a walk can reach, and checks the counts on the way."""
    reached = {}

    def visit(node, codes):
        names, num_items, _ = branches(tree, node)
        assert num_items.sum() == node.num_items
        assert (num_items > 0).all()
        if node.level == tree.book.levels:
            reached.update((slot, codes) for slot in names.tolist())
            return
        for name in names.tolist():
            visit(child(tree, node, name), [*codes, name])

    visit(root(tree, excluded), [])
    return reached


def wanted(tree, excluded=()):
    slots = [slot for slot in np.flatnonzero(tree.active).tolist() if slot not in set(excluded)]
    return dict(zip(slots, encode(tree.book, tree.vectors[slots]).tolist(), strict=True))


def test_every_item_stands_under_its_codes_once():
    assert found(TREE) == wanted(TREE)
    assert all(path(TREE, slot) == [*codes, slot] for slot, codes in wanted(TREE).items())


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.sets(st.integers(0, 69), max_size=20)), max_size=6), st.sets(st.integers(0, 59), max_size=50))
def test_after_any_changes_a_tree_is_that_of_the_items_it_holds(changes, excluded):
    table = np.concatenate([TREE.vectors, vectors_of(10, seed=1)])
    tree, active = TREE, np.arange(70) < 60
    for is_added, slots in changes:
        some = sorted(slots) if is_added else sorted(slot for slot in slots if slot < len(tree.words))
        tree = add(tree, some, table) if is_added else remove(tree, some)
        active[some] = is_added
    assert np.array_equal(np.flatnonzero(tree.active), np.flatnonzero(active))
    if set(np.flatnonzero(active).tolist()) - excluded:
        assert found(tree, excluded) == wanted(tree, excluded)
    held = np.flatnonzero(active)
    assert tree.order.tolist() == held[np.lexsort((held, tree.words[held]))].tolist()
    assert tree.version == len(changes)


def test_a_new_item_and_a_changed_one_have_the_words_of_their_vectors_at_once():
    table = np.concatenate([TREE.vectors, TREE.vectors[:1]])
    table[5] = table[40]
    tree = add(TREE, [60, 5], table)
    assert (tree.words[60], tree.words[5]) == (TREE.words[0], TREE.words[40])


def test_a_tree_stays_as_it_is_when_another_is_made_of_it():
    before = dumps(TREE)
    remove(add(TREE, [3], TREE.vectors[::-1].copy()), [9])
    assert dumps(TREE) == before


def test_a_tree_is_read_as_it_was_written():
    tree = remove(TREE, [4, 2])
    again = loads(dumps(tree))
    assert digest("tree", again) == digest("tree", tree)
    assert found(again) == found(tree)


@pytest.mark.parametrize(
    "broken",
    [
        TREE._replace(order=TREE.order[::-1].copy()),
        TREE._replace(active=~TREE.active),
        TREE._replace(vectors=TREE.vectors[:-1]),
        TREE._replace(words=TREE.words + 1),
        TREE._replace(ordered=TREE.ordered.astype(np.float64)),
    ],
)
def test_arrays_that_are_not_of_one_tree_are_refused(broken):
    with pytest.raises(LedgerCorrupt, match="arrays that do not fit together"):
        loads(dumps(broken))


def test_flipped_and_truncated_bytes_are_refused():
    data = bytearray(dumps(TREE))
    data[len(data) // 2] ^= 1
    for broken in (bytes(data), bytes(data[: len(data) // 2])):
        with pytest.raises(LedgerCorrupt, match="cannot be read"):
            loads(broken)


def test_slots_that_no_item_has_are_refused():
    for slots in ([60], [-1], [0.5], [[1]]):
        with pytest.raises(InvalidValue, match=r"slots must be whole numbers in \[0, 59\]"):
            remove(TREE, slots)
    with pytest.raises(InvalidValue, match="slots must name each item once"):
        remove(TREE, [1, 1])
    with pytest.raises(InvalidValue, match="vectors must have a row for each of 60 slots, got 59"):
        add(TREE, [0], TREE.vectors[:-1])
    for excluded in ([60], [3.9], np.arange(60) < 7, [True], np.array([2.0]), ["3"]):
        with pytest.raises(InvalidValue, match=r"excluded must be whole numbers in \[0, 59\]"):
            root(TREE, excluded)
    assert root(TREE, iter([5, 3, 5])).hidden.tolist() == [3, 5]


def test_a_tree_without_an_item_to_draw_is_refused():
    with pytest.raises(EmptyCandidates, match="excluded must leave an item to draw, got 60 of the 60"):
        root(TREE, range(60))
    with pytest.raises(EmptyCandidates, match="got 0 of the 0"):
        root(build(TREE.book, TREE.vectors[:0]))
