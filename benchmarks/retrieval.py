"""How long exact retrieval takes, beside faiss: `python benchmarks/retrieval.py`, some seconds.

The 100 items with the largest inner product with a user's vector, of 64 numbers. One thread each, in turn.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import command
import numpy as np
import report
import timing

from recsdk.base import Request
from recsdk.data import items_from_rows
from recsdk.live.catalogue import Catalogue
from recsdk.retrievers.exact import Exact

DIM, SIZE = 64, 100
OURS, FAISS, PRODUCT = "recsdk, exact", "faiss, IndexFlatIP", "the product alone"


def everyone(num_items: int) -> dict[str, Callable[[], Any]]:
    """Returns who is installed, each with the same question."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((num_items, DIM)).astype(np.float32)
    user, every = rng.standard_normal(DIM).astype(np.float32), np.ones(num_items, bool)
    most = rng.random(num_items) < 0.9
    catalogue, items = Catalogue(DIM), items_from_rows({"id": str(number)} for number in range(num_items))
    catalogue.hold(catalogue.joined(items, vectors, every))
    search = functools.partial(Exact().search, vectors, rng, user)
    found: dict[str, Callable[[], Any]] = {
        PRODUCT: lambda: vectors @ user,
        OURS: lambda: search(every, SIZE),
        "recsdk, exact, a tenth not allowed": lambda: search(most, SIZE),
        "recsdk, Catalogue.found": lambda: catalogue.found(rng, user, Request({}, 0.0), SIZE, 0),
    }
    if importlib.util.find_spec("faiss"):
        import faiss

        index = faiss.IndexFlatIP(DIM)
        index.add(vectors)
        assert index.search(user[None], SIZE)[1][0].tolist() == found[OURS]().tolist()  # noqa: S101 -- else they answer different questions
        found[FAISS] = lambda: index.search(user[None], SIZE)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a row for each contestant and size, and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="rough")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--items", default="100000,1000000", help="sizes of the catalogue, as in %(default)s")
    chosen = parser.parse_args(arguments)
    rows: list[dict[str, Any]] = []
    for num_items in map(int, chosen.items.split(",")):
        runs = everyone(num_items)
        for run in runs.values():
            run()
        taken = timing.interleave(runs, 3 if chosen.quick else 20, lambda: time.sleep(0))
        base = taken.get(FAISS, taken[PRODUCT])
        for name, seconds in taken.items():
            milliseconds = [1e3 * value for value in seconds]
            rows.append({"contestant": name, "num_items": num_items, **timing.quartiles(milliseconds)._asdict()})
            rows[-1]["ratio"] = timing.ratio(seconds, base)
    if chosen.json:
        print(json.dumps({"machine": report.machine(("recsdk", "numpy", "faiss-cpu")), "rows": rows}, indent=1))
        return 0
    against = "faiss" if any(row["contestant"] == FAISS for row in rows) else PRODUCT
    print("\n".join([*report.header(["items", "", "ms", f"of {against}"], left=2), *map(_line, rows), "", *command.missing(["faiss-cpu"])]))
    return 0


def _line(row: dict[str, Any]) -> str:
    low, median, high = (report.rounded(row[name]) for name in ("low", "median", "high"))
    return report.line([f"{row['num_items']:,}", row["contestant"], f"{median} ({low} to {high})", report.rounded(row["ratio"])])


if __name__ == "__main__":
    sys.exit(main())
