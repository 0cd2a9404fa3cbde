"""Laws of retrievers: allowed slots, each once, from an index that follows the catalogue."""

from __future__ import annotations

import unittest
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from recsdk.base import Retriever
from recsdk.testing.costs import assert_in_time, assert_nothing_left
from recsdk.testing.declarations import assert_is_value
from recsdk.testing.events import read_only
from recsdk.testing.processes import compare, searched
from recsdk.testing.purity import assert_no_global_randomness, in_threads
from recsdk.testing.states import brief, explained

DIM = 8
LEAST_FOUND = 0.5
"""Share of the ten nearest items that must be found: an index may be approximate, but a random ten of 300 would have a thirtieth."""
NUM_ITEMS = 300
LARGE = 10_000
"""Items of the catalogue in which a search is timed."""


class Search(NamedTuple):
    """The arguments of a search.

    Attributes:
        user: f32[dim].
        allowed: bool[N].
        size: how many slots at most.
    """

    user: np.ndarray
    allowed: np.ndarray
    size: int


def check_declaration(retriever: Retriever[Any]) -> None:
    """It says whether it uses vectors, and is a hashable value that equals another of the same fields."""
    uses_vectors = getattr(retriever, "uses_vectors", None)
    assert isinstance(uses_vectors, bool), f"declaration: {retriever!r}: uses_vectors must be True or False, got {uses_vectors!r}"
    assert_is_value(retriever, repr(retriever))


def check_slots(retriever: Retriever[Any]) -> None:
    """It answers at most `size` slots, whole numbers, each once and each allowed, and at least one where one is allowed."""
    for num_items, size, share in ((1, 1, 1.0), (2, 5, 1.0), (40, 7, 0.5), (40, 40, 0.1), (NUM_ITEMS, 10, 1.0), (NUM_ITEMS, 200, 0.9)):
        for kind, vectors in _tables(retriever, num_items).items():
            with explained(f"slots: {retriever!r}: build, of {num_items} {kind} vectors,"):
                state = retriever.build(vectors)
            for user in (_user(retriever), np.zeros_like(_user(retriever))):
                _found(
                    retriever, state, Search(user, _allowed(num_items, share), size), f"slots: {retriever!r}: search, of {kind} vectors,"
                )


def check_nearest(retriever: Retriever[Any]) -> None:
    """Where it uses vectors, an item far nearer to the user than all others comes first, and most of the ten nearest are found."""
    if not retriever.uses_vectors:
        raise unittest.SkipTest("it does not use vectors")
    vectors, user, allowed = _vectors(retriever, NUM_ITEMS), _user(retriever), _allowed(NUM_ITEMS, 0.9)
    order = np.flatnonzero(allowed)[np.argsort(-(vectors @ user)[allowed], kind="stable")]
    found = _found(retriever, retriever.build(vectors), Search(user, allowed, 10), f"nearest: {retriever!r}: search")
    share = len(set(found.tolist()) & set(order[:10].tolist())) / 10
    assert share >= LEAST_FOUND, f"nearest: {retriever!r} must find {LEAST_FOUND:.0%} of the ten nearest or more, got {share:.0%}"
    for best in order[[3, 50, -1]].tolist():
        other = vectors.copy()
        other[best] = 20 * user
        _assert_first("nearest", retriever, retriever.build(other), Search(user, allowed, 10), best)


def check_add(retriever: Retriever[Any]) -> None:
    """An index that began empty and grew finds what was added and what was changed, where it is now."""
    vectors, user = _vectors(retriever, NUM_ITEMS), _user(retriever)
    with explained(f"add: {retriever!r}: build of no vectors, and add"):
        state = retriever.add(retriever.build(vectors[:0]), np.arange(100), vectors[:100])
        state = retriever.add(state, np.arange(100, NUM_ITEMS), vectors)
    for new in (50, 200):
        allowed = np.arange(NUM_ITEMS) == new
        found = _found(retriever, state, Search(user, allowed, 10), f"add: {retriever!r}: search of an item that was added")
        assert found.tolist() == [new], f"add: {retriever!r} must find the one item that is allowed, {new}, got {found.tolist()}"
    if not retriever.uses_vectors:
        return
    for best, worst in ((120, 7), (7, 120)):
        vectors = vectors.copy()
        vectors[best], vectors[worst] = 20 * user, -20 * user
        state = retriever.add(state, np.array([best, worst]), vectors)
        _assert_first("add", retriever, state, Search(user, np.ones(NUM_ITEMS, bool), 10), best)


def check_purity(retriever: Retriever[Any]) -> None:
    """It writes to nothing that it is given, and the same table, user and random numbers give the same answer."""
    table, search = _vectors(retriever, NUM_ITEMS), _search(retriever)
    frozen, asked = read_only(table), read_only(search)
    try:
        state = retriever.add(retriever.build(frozen[:100]), np.arange(100, NUM_ITEMS), frozen)
        first = np.array(_asked(retriever, state, asked))
    except ValueError as error:
        if "read-only" not in str(error):
            raise
        raise AssertionError(f"purity: {retriever!r} must not write to the arrays it is given: {error}") from error
    _asked(retriever, state, search._replace(user=-search.user, size=3), seed=9)
    again = retriever.add(retriever.build(table[:100]), np.arange(100, NUM_ITEMS), table)
    for how, index in (("asked again", state), ("built again", again)):
        got = _asked(retriever, index, search)
        assert np.array_equal(got, first), f"purity: {retriever!r}, {how}, must find {brief(first)}, got {brief(got)}"


def check_randomness(retriever: Retriever[Any]) -> None:
    """All its random numbers come from the rng that it is given; the generators of `numpy.random` and `random` are left alone."""
    assert_no_global_randomness(repr(retriever), lambda: np.concatenate(searched(retriever)))


def check_processes(retriever: Retriever[Any]) -> None:
    """Built in other processes, with other seeds of Python's hashes, it finds the same slots as in this one."""
    compare(retriever, repr(retriever), "retriever")


def check_threads(retriever: Retriever[Any]) -> None:
    """Two threads that search one index at once get what each gets alone."""
    state, search = retriever.build(_vectors(retriever, NUM_ITEMS)), _search(retriever)
    searches = [search._replace(user=sign * search.user) for sign in (1, -1)]
    wanted = [np.array(_asked(retriever, state, one)) for one in searches]

    def many(one: Search) -> np.ndarray:
        return np.stack([_asked(retriever, state, one) for _ in range(20)])

    for got, alone in zip(in_threads([lambda one=one: many(one) for one in searches]), wanted, strict=True):  # type: ignore[misc]
        assert (got == alone).all(), f"threads: {retriever!r} must find the same in two threads, {brief(alone)}, got {brief(got)}"


def check_memory(retriever: Retriever[Any]) -> None:
    """Searching leaves nothing behind."""
    state, search = retriever.build(_vectors(retriever, NUM_ITEMS)), _search(retriever)
    assert_nothing_left(repr(retriever), lambda number: _asked(retriever, state, search, seed=number))


def check_speed(retriever: Retriever[Any]) -> None:
    """Finding 100 of 10,000 items takes at most 50 ms."""
    state, allowed = retriever.build(_vectors(retriever, LARGE)), np.ones(LARGE, bool)
    search = Search(_user(retriever), allowed, 100)
    assert_in_time(f"{retriever!r}, finding 100 of {LARGE:,} items,", lambda number: _asked(retriever, state, search, seed=number))


def _assert_first(law: str, retriever: Retriever[Any], state: Any, search: Search, best: int) -> None:
    found = _found(retriever, state, search, f"{law}: {retriever!r}: search")
    assert found[0] == best, f"{law}: {retriever!r} must find item {best} first, far the nearest to the user, got {brief(found)}"


def _found(retriever: Retriever[Any], state: Any, search: Search, where: str) -> np.ndarray:
    """Returns what a search finds, once it is known to be an answer."""
    with explained(where):
        answer: Any = _asked(retriever, state, search)
    wanted = f"{where} must return from 1 to {search.size} different slots of allowed items, i64[<= {search.size}]"
    assert isinstance(answer, np.ndarray), f"{wanted}, got {type(answer).__name__}"
    good = answer.dtype == np.int64 and answer.ndim == 1 and 1 <= len(answer) <= search.size
    assert good, f"{wanted}, got {answer.dtype}{list(answer.shape)}"
    inside = (answer >= 0) & (answer < len(search.allowed))
    good = bool(inside.all() and search.allowed[answer].all() and len(set(answer.tolist())) == len(answer))
    assert good, f"{wanted}, got {brief(answer)}"
    return answer


def _asked(retriever: Retriever[Any], state: Any, search: Search, seed: int = 0) -> Any:
    return retriever.search(state, np.random.default_rng(seed), search.user, search.allowed, search.size)


def _search(retriever: Retriever[Any]) -> Search:
    return Search(_user(retriever), _allowed(NUM_ITEMS, 0.9), 10)


def _user(retriever: Retriever[Any]) -> np.ndarray:
    user: np.ndarray = _vectors(retriever, 1)[0]
    return user


def _vectors(retriever: Retriever[Any], num_items: int) -> np.ndarray:
    """Returns f32[N, dim]; where it works without an encoder, it must work with vectors of width 0."""
    rng = np.random.default_rng(num_items)
    return rng.standard_normal((num_items, DIM if retriever.uses_vectors else 0)).astype(np.float32)


def _tables(retriever: Retriever[Any], num_items: int) -> dict[str, np.ndarray]:
    vectors = _vectors(retriever, num_items)
    return {"random": vectors, "equal": np.ones_like(vectors), "zero": np.zeros_like(vectors)}


def _allowed(num_items: int, share: float) -> np.ndarray:
    allowed = np.random.default_rng(0).random(num_items) < share
    allowed[0] = True
    return allowed


RETRIEVER_CHECKS: tuple[Callable[..., None], ...] = (
    check_declaration,
    check_slots,
    check_nearest,
    check_add,
    check_randomness,
    check_purity,
    check_processes,
    check_threads,
    check_memory,
    check_speed,
)
"""The laws of retrievers: each takes a retriever."""
