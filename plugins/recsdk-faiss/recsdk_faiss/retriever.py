"""A retriever over an index of faiss."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

import attrs
import numpy as np

from recsdk.arrays import largest
from recsdk.base import Rng
from recsdk.checks import integer
from recsdk.errors import InvalidValue


class Index(NamedTuple):
    """An index of the catalogue's vectors.

    Attributes:
        vectors: f32[N, dim], the catalogue's table; no copy.
        found: faiss's index of rows, or None where every item is scored.
        slot: i64[rows], whose vector each row is; -1 where the item has another one by now.
        row: i64[N], the row of each slot.
        num_built: how many rows the index was built of.

    Example:
        >>> state = Faiss().build(np.eye(3, dtype=np.float32))
        >>> state.found is None, len(state.vectors)  # so few are scored one by one
        (True, 3)
    """

    vectors: np.ndarray
    found: Any
    slot: np.ndarray
    row: np.ndarray
    num_built: int


def _check_index(instance: Any, field: Any, index: Any) -> None:
    faiss = _faiss()
    try:
        faiss.index_factory(64, index, faiss.METRIC_INNER_PRODUCT)
    except (RuntimeError, TypeError, ValueError) as error:
        wanted = "an index that faiss.index_factory makes, as 'HNSW32' or 'IVF1024,SQ8'"
        raise InvalidValue(f"{type(instance).__name__}.{field.name} must be {wanted}, got {index!r}.") from error


@attrs.frozen(kw_only=True)
class Faiss:
    """Finds most of the items with the largest inner products without scoring every item.

    Below some 100,000 items `"exact"` is quick enough and finds all of them. An index misses some: measure how many on your own vectors, as
    the README shows. It never answers fewer items than there are: where filters leave it short, the allowed items are scored one by one.

    Attributes:
        index: as faiss's index factory names it: "HNSW32", a graph; "IVF1024,Flat", 1,024 cells, of which `effort` are looked through;
            "IVF1024,SQ8", the same with a byte a number; "Flat" or "SQ8", every item.
        effort: how much of an index is looked through: cells of an IVF, or candidates of an HNSW; more is slower, and finds more.
        exact_below: number of items below which every one is scored, without an index.

    Example:
        >>> vectors = np.random.default_rng(0).standard_normal((2000, 8)).astype(np.float32)
        >>> retriever = Faiss(index="HNSW16", exact_below=1000)
        >>> allowed = np.arange(2000) % 2 == 0
        >>> found = retriever.search(retriever.build(vectors), np.random.default_rng(0), vectors[6], allowed, 5)
        >>> len(found), (found % 2).sum()
        (5, np.int64(0))
    """

    uses_vectors: ClassVar[bool] = True

    index: str = attrs.field(default="HNSW32", validator=_check_index)
    effort: int = attrs.field(default=64, validator=integer(at_least=1))
    exact_below: int = attrs.field(default=10_000, validator=integer(at_least=1))

    def build(self, vectors: np.ndarray) -> Index:
        """Returns an index of all rows, always the same one: it is built in one thread, the k-means of an IVF from a fixed seed."""
        faiss = _faiss()
        slots = np.arange(len(vectors))
        if len(vectors) < self.exact_below:
            return Index(vectors, None, slots, slots, 0)
        found = faiss.index_factory(vectors.shape[1], self.index, faiss.METRIC_INNER_PRODUCT)
        if isinstance(found, faiss.IndexIVF):
            if len(vectors) < found.nlist:
                return Index(vectors, None, slots, slots, 0)
            found.cp.min_points_per_centroid = 1  # fewer than it likes are no error, and it would warn on stderr
        with _one_thread():
            found.train(vectors)
            found.add(vectors)
        return Index(vectors, found, slots, slots, len(slots))

    def add(self, state: Index, slot: np.ndarray, vectors: np.ndarray) -> Index:
        """Returns the index with rows added behind the others; what a changed item had before is passed over from now on.

        It is built anew where it has four times as many rows as it was built of, or as many again as there are items.
        """
        num_rows = len(state.slot) + len(slot)
        if state.found is None or num_rows > min(4 * state.num_built, 2 * len(vectors)):
            return self.build(vectors)
        with _one_thread():
            state.found.add(np.ascontiguousarray(vectors[slot]))
        slots, rows = np.concatenate([state.slot, slot]), np.append(state.row, np.full(len(vectors) - len(state.row), -1))
        former = rows[slot]
        slots[former[former >= 0]] = -1
        rows[slot] = np.arange(len(state.slot), num_rows)
        return Index(vectors, state.found, slots, rows, state.num_built)

    def search(self, state: Index, rng: Rng, user: np.ndarray, allowed: np.ndarray, size: int) -> np.ndarray:
        """Returns i64[<= size], allowed slots, most of them those with the largest scores, best first."""
        del rng
        num_allowed = int(np.count_nonzero(allowed))
        wanted = min(size, num_allowed)
        if state.found is not None:
            with _one_thread():
                rows = state.found.search(user[None], wanted, params=self._limits(state, allowed, num_allowed))[1][0]
            rows = rows[rows >= 0]
            if len(rows) == wanted:
                return np.asarray(state.slot[rows])
        slots = np.flatnonzero(allowed)
        table = state.vectors if num_allowed == len(allowed) else state.vectors[slots]
        return np.asarray(slots[largest(table @ user, wanted)])

    def _limits(self, state: Index, allowed: np.ndarray, num_allowed: int) -> Any:
        """Returns faiss's parameters of a search: the effort, and which rows may be found."""
        faiss = _faiss()
        selector: dict[str, Any] = {}
        if num_allowed < len(state.slot):
            may = allowed if len(state.slot) == state.num_built else (state.slot >= 0) & allowed[state.slot]
            selector = {"sel": faiss.IDSelectorBitmap(np.packbits(may, bitorder="little"))}
        if isinstance(state.found, faiss.IndexIVF):
            return faiss.SearchParametersIVF(nprobe=self.effort, **selector)
        if isinstance(state.found, faiss.IndexHNSW):
            return faiss.SearchParametersHNSW(efSearch=self.effort, **selector)
        return faiss.SearchParameters(**selector)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Lets faiss work in this thread only: a graph that several build depends on who was first, and requests have threads of their own."""
    faiss = _faiss()
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _faiss() -> Any:
    import faiss  # takes a third of a second, and its hints lack half of its names

    return faiss
