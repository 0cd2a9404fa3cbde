"""Who finds the nearest items, and in what vectors: ours, plain libraries, and indexes of others."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from recsdk.retrievers.exact import Exact
from recsdk.retrievers.int8 import Int8
from recsdk.retrievers.nearest import nearest

DIM, SIZE, NUM_USERS = 64, 100, 32
EFFORT = 128
"""Candidates of a graph that are looked at."""
PER_CELL = 1_000
CELLS_READ = 1 / 16
"""Share of the cells of an inverted file that are looked through."""
MOST_IN_A_GRAPH = 100_000
"""Items: to make a graph of a million takes a processor some ten minutes."""
OURS, FAISS, PRODUCT, READ = "recsdk, exact", "faiss, IndexFlatIP", "the product alone", "reading the table once"


class Contestant(NamedTuple):
    """Someone who finds the nearest.

    Attributes:
        one: `user f32[dim] -> i64[k]`, or None for one who answers many at once only.
        many: `users f32[B, dim] -> i64[B, k]`; None for one who does not.
        finds: false for a part of the work, timed to compare with.
        built: seconds that the index took.
    """

    one: Callable[[np.ndarray], Any] | None
    many: Callable[[np.ndarray], Any] | None = None
    finds: bool = True
    built: float = 0.0


def vectors_of(num_items: int, num_users: int = NUM_USERS) -> tuple[np.ndarray, np.ndarray]:
    """Returns f32[N, dim] and f32[B, dim] in clusters, of lengths that differ, as vectors of models are."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((max(num_items // 500, 1), DIM), dtype=np.float32)

    def near(num_rows: int) -> np.ndarray:
        noise = rng.standard_normal((num_rows, DIM), dtype=np.float32)
        return np.asarray(centres[rng.integers(len(centres), size=num_rows)] + np.float32(0.7) * noise)

    lengths = np.exp(0.3 * rng.standard_normal((num_items, 1), dtype=np.float32))
    return near(num_items) * lengths, near(num_users)


def contestants(vectors: np.ndarray) -> Iterator[tuple[str, Contestant]]:
    """Yields who is installed, and can be made of so many items in a minute or two."""
    yield from exact(vectors)
    size = min(SIZE, len(vectors))
    yield "recsdk, nearest on NumPy", Contestant(None, lambda users: nearest(users, vectors, size))
    if importlib.util.find_spec("jax"):
        yield from _on_jax(vectors, size)
    if importlib.util.find_spec("faiss"):
        for index, effort in _indexes(len(vectors)):
            yield f"faiss, {index}", _of_faiss(vectors, size, index, effort)
    if importlib.util.find_spec("recsdk_faiss") and importlib.util.find_spec("faiss"):
        from recsdk_faiss import Faiss

        for index, effort in _indexes(len(vectors)):
            yield f"recsdk-faiss, {index}", _of_retriever(Faiss(index=index, effort=effort, exact_below=1), vectors)
    if importlib.util.find_spec("hnswlib") and len(vectors) <= MOST_IN_A_GRAPH:
        yield "hnswlib", _of_hnswlib(vectors, size)


def exact(vectors: np.ndarray) -> Iterator[tuple[str, Contestant]]:
    """Yields those who find all of the nearest, one user at a time, and parts of their work."""
    yield READ, Contestant(lambda user: vectors.max(), lambda users: vectors.max(), finds=False)
    yield PRODUCT, Contestant(lambda user: vectors @ user, lambda users: users @ vectors.T, finds=False)
    yield OURS, _of_retriever(Exact(), vectors)
    yield "recsdk, int8", _of_retriever(Int8(), vectors)
    if importlib.util.find_spec("faiss"):
        yield FAISS, _of_faiss(vectors, min(SIZE, len(vectors)), "Flat", 1)


def _of_retriever(config: Any, vectors: np.ndarray) -> Contestant:
    every, rng, size = np.ones(len(vectors), bool), np.random.default_rng(0), min(SIZE, len(vectors))
    config.build(vectors[:1])  # compiles, where there is something to compile
    begun = time.process_time()
    state = config.build(vectors)
    return Contestant(lambda user: config.search(state, rng, user, every, size), built=time.process_time() - begun)


def _on_jax(vectors: np.ndarray, size: int) -> Iterator[tuple[str, Contestant]]:
    import jax

    table = jax.device_put(vectors)

    @jax.jit
    def one_stage(users: Any, table: Any) -> Any:
        return jax.lax.top_k(jax.numpy.matmul(users, table.T, precision="highest"), size)[1]

    def answered(find: Callable[[Any], Any]) -> Contestant:
        return Contestant(lambda user: np.asarray(find(user[None]))[0], lambda users: np.asarray(find(users)))

    yield "recsdk, nearest on JAX", answered(lambda users: nearest(jax.device_put(users), table, size))
    yield "JAX, lax.top_k", answered(lambda users: one_stage(jax.device_put(users), table))


def _of_faiss(vectors: np.ndarray, size: int, name: str, effort: int) -> Contestant:
    import faiss

    faiss.omp_set_num_threads(1)
    begun = time.process_time()
    index = faiss.index_factory(DIM, name, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)
    if name.startswith("IVF"):
        index.nprobe = effort
    elif name.startswith("HNSW"):
        index.hnsw.efSearch = effort

    def find(users: np.ndarray) -> Any:
        return index.search(users, size)[1]

    return Contestant(lambda user: find(user[None])[0], find, built=time.process_time() - begun)


def _indexes(num_items: int) -> list[tuple[str, int]]:
    """Returns names of faiss's factory, each with its effort."""
    cells = max(num_items // PER_CELL, 1)
    graph = [("HNSW32", EFFORT)] if num_items <= MOST_IN_A_GRAPH else []
    return [*graph, (f"IVF{cells},Flat", max(round(cells * CELLS_READ), 1))]


def _of_hnswlib(vectors: np.ndarray, size: int) -> Contestant:
    import hnswlib

    begun = time.process_time()
    index = hnswlib.Index(space="ip", dim=DIM)
    index.init_index(max_elements=len(vectors), M=32, ef_construction=EFFORT, random_seed=0)
    index.set_num_threads(1)
    index.add_items(vectors, num_threads=1)
    index.set_ef(max(EFFORT, size))

    def find(users: np.ndarray) -> Any:
        return index.knn_query(users, size, num_threads=1)[0].astype(np.int64)

    return Contestant(lambda user: find(user)[0], find, built=time.process_time() - begun)
