"""How many of the nearest items retrievers find on vectors of a trained model: `python benchmarks/recall.py --data FOLDER`, a minute.

Factorises the purchases of amazon-beauty by PureSVD (Cremonesi, Koren, Turrin, RecSys 2010), and asks for the 100 items with the largest
inner products, for users by what they bought. FOLDER is as for `benchmarks/encoders.py`. Vectors of models are harder than random ones:
items differ in length, and popular ones are near to everyone.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import encoders
import numpy as np
import report

from recsdk.retrievers.exact import Exact
from recsdk.retrievers.int8 import Int8
from recsdk.retrievers.nearest import nearest

DIM, SIZE, NUM_USERS = 64, 100, 500
INDEXES = (
    ("Flat", (1,)),
    ("SQ8", (1,)),
    ("IVF110,Flat", (4, 16, 64)),
    ("IVF110,SQ8", (64,)),
    ("HNSW32", (100, 400)),
)
"""Names of faiss's index factory, each with the efforts to try; 110 cells are about the square root of the number of items."""


def vectors_of(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the vectors of all items, and of some users, f32[N, dim] and f32[B, dim]."""
    from scipy.sparse import csr_array
    from scipy.sparse.linalg import svds

    log = encoders.read(name, folder, None)
    _, user = np.unique(log.requests["user_id"].astype(str), return_inverse=True)
    taken = csr_array((np.ones(len(user)), (user, log.item)), shape=(user.max() + 1, len(log.items.ids)))
    taken.data = np.minimum(taken.data, 1.0)
    vectors = svds(taken, k=DIM, v0=np.ones(min(taken.shape)))[2].T.astype(np.float32)
    users = taken[np.random.default_rng(0).permutation(taken.shape[0])[:NUM_USERS]] @ vectors
    return np.ascontiguousarray(vectors), np.ascontiguousarray(users.astype(np.float32))


def measured(retriever: Any, vectors: np.ndarray, users: np.ndarray, truth: list[np.ndarray]) -> dict[str, float]:
    """Returns the mean recall, the milliseconds of a search, and the seconds of building."""
    rng, every = np.random.default_rng(0), np.ones(len(vectors), bool)
    begun = time.perf_counter()
    state = retriever.build(vectors)
    built, shares, seconds = time.perf_counter() - begun, [], []
    for user, wanted in zip(users, truth, strict=True):
        begun = time.perf_counter()
        found = retriever.search(state, rng, user, every, SIZE)
        seconds.append(time.perf_counter() - begun)
        shares.append(len(np.intersect1d(found, wanted)) / len(wanted))
    return {"recall": statistics.mean(shares), "ms": 1e3 * statistics.median(seconds), "build_s": built}


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a row for each index and effort, and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("RECSDK_SHARED", "../shared")) / "data", help="the data sets")
    parser.add_argument("--set", default="beauty", choices=list(encoders.SETS), help="%(default)s")
    chosen = parser.parse_args(arguments)
    from recsdk_faiss import Faiss

    vectors, users = vectors_of(chosen.data, chosen.set)
    wanted = list(nearest(users, vectors, min(SIZE, len(vectors))))
    lines = [("exact", "", Exact()), ("int8", "", Int8())]
    lines += [(index, str(effort), Faiss(index=index, effort=effort, exact_below=1)) for index, efforts in INDEXES for effort in efforts]
    print(f"{len(vectors):,} items of {chosen.set}, {len(users)} users, recall of the nearest {SIZE}\n")
    print("\n".join(report.header(["index", "effort", "recall", "ms", "build, s"], left=1)))
    for index, effort, retriever in lines:
        found = measured(retriever, vectors, users, wanted)
        print(report.line([index, effort, f"{found['recall']:.3f}", report.rounded(found["ms"]), report.rounded(found["build_s"])]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
