"""How long a draw from a million items takes, with its exact propensity: `python benchmarks/explore.py`, about a minute.

A walk of a tree of semantic ids beside a softmax over all items, on vectors of 64 numbers around 1,000 centres. One thread each, in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import report
import timing

import recsdk
from recsdk.semantic import TreePolicy, add, build, encode, fit, remove

DIM, FLAT = 64, "softmax over all items, by hand"
POLICIES = (recsdk.Boltzmann(), recsdk.SquareCB(), recsdk.LinUCB(), recsdk.LinTS())


def flat(vectors: np.ndarray, user: np.ndarray, rng: np.random.Generator) -> tuple[int, float]:
    """Draws an item by a softmax of all inner products; returns it with its propensity."""
    scores = (vectors @ user).astype(np.float64) / 0.1
    cdf = np.exp(scores - scores.max()).cumsum()
    item = int(cdf.searchsorted(rng.random() * cdf[-1], side="right"))
    return item, float((cdf[item] - (cdf[item - 1] if item else 0.0)) / cdf[-1])


def everyone(num_items: int) -> tuple[dict[str, Callable[[], Any]], dict[str, float]]:
    """Returns what is timed again and again, and the seconds of what is done once."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((1000, DIM))
    vectors = ((centres[rng.integers(1000, size=num_items)] + 0.5 * rng.standard_normal((num_items, DIM))) / DIM**0.5).astype(np.float32)
    begun = time.perf_counter()
    book = fit(vectors)
    fitted = time.perf_counter()
    tree = build(book, vectors)
    once = {"fit the codebook": fitted - begun, "build the tree": time.perf_counter() - fitted}
    user, seen = rng.standard_normal(DIM).astype(np.float32), rng.choice(num_items, 100, replace=False)
    more = np.concatenate([vectors, vectors[:1]])
    runs: dict[str, Callable[[], Any]] = {FLAT: lambda: flat(vectors, user, rng)}
    for inner in POLICIES:
        policy = TreePolicy(policy=inner)
        state, name = policy.init(tree), type(inner).__name__
        walk = policy.decide(state, rng, tree, user)
        runs[f"walk, {name}"] = lambda policy=policy, state=state: policy.decide(state, rng, tree, user)
        if name == "Boltzmann":
            runs["walk, Boltzmann, 100 excluded"] = lambda policy=policy, state=state: policy.decide(state, rng, tree, user, excluded=seen)
        runs[f"learn, {name}"] = lambda policy=policy, state=state, walk=walk: policy.update(state, walk, 1.0)
    runs["encode one item"] = lambda: encode(book, vectors[:1])
    runs["add one item"] = lambda: add(tree, [num_items], more)
    runs["remove one item"] = lambda: remove(tree, [0])
    return runs, once


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a row for each contestant and size, and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="rough")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--items", type=int, default=1_000_000, help="size of the catalogue, %(default)s")
    chosen = parser.parse_args(arguments)
    runs, once = everyone(chosen.items)
    for run in runs.values():
        run()
    taken = timing.interleave(runs, 5 if chosen.quick else 100, lambda: time.sleep(0))
    rows: list[dict[str, Any]] = [{"what": name, "median": 1e3 * seconds, "p99": 1e3 * seconds} for name, seconds in once.items()]
    for name, seconds in taken.items():
        late = 1e3 * statistics.quantiles(seconds, n=100, method="inclusive")[98]
        rows.append({"what": name, "median": 1e3 * statistics.median(seconds), "p99": late, "ratio": timing.ratio(seconds, taken[FLAT])})
    if chosen.json:
        print(json.dumps({"machine": report.machine(("recsdk", "numpy")), "num_items": chosen.items, "rows": rows}, indent=1))
        return 0
    print("\n".join([*report.header([f"{chosen.items:,} items", "ms", "p99", "of the softmax over all"], left=1), *map(_line, rows)]))
    return 0


def _line(row: dict[str, Any]) -> str:
    ratio = report.rounded(row["ratio"]) if "ratio" in row else ""
    return report.line([row["what"], report.rounded(row["median"]), report.rounded(row["p99"]), ratio])


if __name__ == "__main__":
    sys.exit(main())
