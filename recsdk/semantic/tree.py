"""A catalogue as a tree of semantic ids: under each code those that follow it, and at the end the items that share a word."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from recsdk import states
from recsdk.errors import EmptyCandidates, InvalidValue, LedgerCorrupt
from recsdk.semantic.codes import Codebook, encode


class Tree(NamedTuple):
    """Items by their words. `add` and `remove` return another tree, and this one stays as it is.

    Attributes:
        book: the codebook.
        vectors: f32[N, dim], the caller's table; row s belongs to the item in slot s.
        words: i64[N], the word of each slot as a number, its first code the highest digit; -1 where there never was an item.
        active: bool[N], which slots hold an item.
        order: i64[M], their slots, in order of their words and then by number.
        ordered: i64[M], their words.
        version: i64[], how many times it was changed since `build`.

    Example:
        >>> book = Codebook(np.array([[[-1.0], [1.0]]], np.float32))
        >>> tree = build(book, np.array([[0.9], [-1.1], [1.2]], np.float32))
        >>> tree.order.tolist(), tree.ordered.tolist()
        ([1, 0, 2], [0, 1, 1])
    """

    book: Codebook
    vectors: np.ndarray
    words: np.ndarray
    active: np.ndarray
    order: np.ndarray
    ordered: np.ndarray
    version: np.ndarray


def build(book: Codebook, vectors: np.ndarray) -> Tree:
    """Returns a tree of all items of a table, f32[N, dim].

    Raises:
        InvalidValue: vectors of another width than the codebook's, or not finite.

    Example:
        >>> from recsdk.semantic import fit
        >>> vectors = np.random.default_rng(0).standard_normal((100, 4)).astype(np.float32)
        >>> len(build(fit(vectors, levels=2, size=8), vectors).order)
        100
    """
    none = np.zeros(0, np.int64)
    empty = Tree(book, vectors[:0], none, np.zeros(0, bool), none, none, np.array(-1))
    return add(empty, np.arange(len(vectors)), vectors)


def add(tree: Tree, slots: Any, vectors: np.ndarray) -> Tree:
    """Returns the tree after items were added or changed; they have their words at once, by the codebook as it is.

    It takes time by the number of all items, some 10 milliseconds for a million: add many at once.

    Args:
        tree: it stays as it is.
        slots: i64[M] of these items, each once.
        vectors: f32[N, dim], the whole table after the change, as for `recsdk.base.Retriever.add`. No copy is made.

    Raises:
        InvalidValue: slots that are not rows of the table, or given twice; vectors that are not finite.

    Example:
        >>> book = Codebook(np.array([[[-1.0], [1.0]]], np.float32))
        >>> vectors = np.array([[0.9], [-1.1], [1.2]], np.float32)
        >>> tree = add(build(book, vectors[:2]), [2], vectors)
        >>> tree.order.tolist(), int(tree.version)
        ([1, 0, 2], 1)
    """
    slots = _slots(slots, len(vectors))
    codes = encode(tree.book, vectors[slots])
    num_new = len(vectors) - len(tree.words)
    if num_new < 0:
        raise InvalidValue(f"vectors must have a row for each of {len(tree.words)} slots, got {len(vectors)}.")
    rest = _without(tree, slots)
    words, active = np.append(tree.words, np.full(num_new, -1)), np.append(rest.active, np.zeros(num_new, bool))
    words[slots] = codes @ tree.book.size ** np.arange(tree.book.levels - 1, -1, -1, dtype=np.int64)
    active[slots] = True
    fresh = slots[np.lexsort((slots, words[slots]))]
    places, ends = (rest.ordered.searchsorted(words[fresh], side) for side in ("left", "right"))
    for index in np.flatnonzero(places < ends).tolist():  # beside items of the same word
        places[index] += rest.order[places[index] : ends[index]].searchsorted(fresh[index])
    order, ordered = np.insert(rest.order, places, fresh), np.insert(rest.ordered, places, words[fresh])
    return Tree(tree.book, vectors, words, active, order, ordered, np.asarray(tree.version + 1))


def remove(tree: Tree, slots: Any) -> Tree:
    """Returns the tree without some items; those that are not in it are no error.

    Raises:
        InvalidValue: slots that no item ever had, or given twice.

    Example:
        >>> book = Codebook(np.array([[[-1.0], [1.0]]], np.float32))
        >>> remove(build(book, np.array([[0.9], [-1.1], [1.2]], np.float32)), [0]).order.tolist()
        [1, 2]
    """
    return _without(tree, _slots(slots, len(tree.words)))._replace(version=np.asarray(tree.version + 1))


def dumps(tree: Tree) -> bytes:
    """Writes a tree with its codebook and vectors, without pickle.

    Example:
        >>> tree = build(Codebook(np.array([[[-1.0], [1.0]]], np.float32)), np.array([[0.9], [-1.1]], np.float32))
        >>> loads(dumps(tree)).order.tolist()
        [1, 0]
    """
    return states.dumps("tree", tree)


def loads(data: bytes) -> Tree:
    """Reads what `dumps` wrote.

    Raises:
        LedgerCorrupt: when the bytes are damaged, or are of something else.

    Example:
        >>> tree = build(Codebook(np.array([[[-1.0], [1.0]]], np.float32)), np.array([[0.9], [-1.1]], np.float32))
        >>> loads(dumps(tree)[:-1])
        Traceback (most recent call last):
        recsdk.errors.LedgerCorrupt: The stored state of 'tree' cannot be read: BadZipFile: File is not a zip file.
    """
    tree: Tree = states.loads("tree", Tree(Codebook(np.zeros(0)), *[np.zeros(0)] * 6), data)
    if not _fits(tree):
        raise LedgerCorrupt(
            f"The stored tree has arrays that do not fit together, of {[array.shape for array in (*tree.book, *tree[1:])]}."
        )
    return tree


class Node(NamedTuple):
    """A place in a tree, and what is hidden under it for one request.

    Attributes:
        level: how many codes lead here.
        word: the number that they make.
        low: where its items begin in the tree's order.
        high: where they end.
        hidden: i64[H], the slots among them that may not be drawn.
        centre: f32[dim], the sum of the centroids that lead here.
    """

    level: int
    word: int
    low: int
    high: int
    hidden: np.ndarray
    centre: np.ndarray

    @property
    def num_items(self) -> int:
        """How many items under it may be drawn."""
        return self.high - self.low - len(self.hidden)


class Branches(NamedTuple):
    """What a draw at a node chooses from: codes, or at the end of a word its items. None is without items that may be drawn.

    Attributes:
        names: i64[K], codes, or slots.
        num_items: i64[K], how many items that may be drawn stand under each.
        vectors: f32[K, dim], what they are near to.
    """

    names: np.ndarray
    num_items: np.ndarray
    vectors: np.ndarray


def root(tree: Tree, excluded: Iterable[int] = ()) -> Node:
    """Returns the node above all items.

    Args:
        tree: the items.
        excluded: slots that may not be drawn; those that are not in the tree are no error.

    Raises:
        InvalidValue: a slot that no item ever had, or what is no slot, such as a mask.
        EmptyCandidates: when no item is left.
    """
    slots = np.unique(_whole(excluded if isinstance(excluded, np.ndarray) else list(excluded), len(tree.words), "excluded"))
    hidden = slots[tree.active[slots]]
    node = Node(0, 0, 0, len(tree.order), hidden, np.zeros(tree.book.centroids.shape[2], np.float32))
    if not node.num_items:
        raise EmptyCandidates(f"excluded must leave an item to draw, got {len(hidden)} of the {len(tree.order)} in the tree.")
    return node


def branches(tree: Tree, node: Node) -> Branches:
    """Returns what stands right under a node."""
    book = tree.book
    if node.level == book.levels:
        slots = tree.order[node.low : node.high]
        if len(node.hidden):
            slots = slots[~np.isin(slots, node.hidden)]
        return Branches(slots, np.ones(len(slots), np.int64), tree.vectors[slots])
    span = _span(book, node.level)
    cuts = tree.ordered[node.low : node.high].searchsorted((node.word * book.size + np.arange(book.size + 1)) * span)
    counts = cuts[1:] - cuts[:-1]
    if len(node.hidden):
        counts = counts - np.bincount(tree.words[node.hidden] // span % book.size, minlength=book.size)
    codes = np.flatnonzero(counts)
    return Branches(codes, counts[codes], node.centre + book.centroids[node.level][codes])


def child(tree: Tree, node: Node, code: int) -> Node:
    """Returns the node under one code."""
    span, word = _span(tree.book, node.level), node.word * tree.book.size + code
    low, high = (int(cut) + node.low for cut in tree.ordered[node.low : node.high].searchsorted([word * span, (word + 1) * span]))
    hidden = node.hidden[tree.words[node.hidden] // span == word]
    return Node(node.level + 1, word, low, high, hidden, node.centre + tree.book.centroids[node.level][code])


def path(tree: Tree, slot: int) -> list[int]:
    """Returns the codes of an item, and its slot."""
    word, size = int(tree.words[slot]), tree.book.size
    return [*(word // size**power % size for power in range(tree.book.levels - 1, -1, -1)), slot]


def _span(book: Codebook, level: int) -> int:
    """Returns how many words begin with the same `level` + 1 codes."""
    return int(book.size ** (book.levels - 1 - level))


def _fits(tree: Tree) -> bool:
    """Tells whether the arrays of a tree are of one tree."""
    kinds = [array.dtype for array in (*tree.book, *tree[1:])]
    if kinds != [np.float32, np.float32, np.int64, np.bool_, np.int64, np.int64, np.int64] or tree.book.centroids.ndim != 3:
        return False
    shapes = [array.shape for array in tree[1:]]
    num_slots, num_items = tree.words.size, tree.order.size
    if shapes != [(num_slots, tree.book.centroids.shape[2]), (num_slots,), (num_slots,), (num_items,), (num_items,), ()]:
        return False
    held = np.flatnonzero(tree.active)
    return np.array_equal(held[np.lexsort((held, tree.words[held]))], tree.order) and np.array_equal(tree.words[tree.order], tree.ordered)


def _slots(given: Any, num_items: int) -> np.ndarray:
    slots = _whole(given, num_items, "slots")
    if len(np.unique(slots)) < len(slots):
        raise InvalidValue(f"slots must name each item once, got {given!r:.200}.")
    return slots


def _whole(given: Any, num_items: int, name: str) -> np.ndarray:
    slots = np.asarray(given)
    if slots.size == 0:
        return np.zeros(0, np.int64)
    if slots.ndim != 1 or slots.dtype.kind not in "iu" or slots.min() < 0 or slots.max() >= num_items:
        raise InvalidValue(f"{name} must be whole numbers in [0, {num_items - 1}], got {given!r:.200}.")
    return slots.astype(np.int64)


def _without(tree: Tree, slots: np.ndarray) -> Tree:
    active = tree.active.copy()
    active[slots[slots < len(active)]] = False
    kept = active[tree.order]
    return tree if kept.all() else tree._replace(active=active, order=tree.order[kept], ordered=tree.ordered[kept])
