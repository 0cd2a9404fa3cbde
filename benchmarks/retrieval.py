"""How long it takes to find the nearest items: `python benchmarks/retrieval.py`, some minutes.

The 100 items with the largest inner products with a user's vector of 64 numbers, and with those of 32 users at once. One processor core for
everyone, in turn. Times are the processor's, which a busy machine stretches less. The table is also read once, for its largest number, and
multiplied alone: what reading takes is the quicker of both. The vectors are drawn in clusters; `recall.py` says what indexes find on
those of a trained model.
"""

from __future__ import annotations

import argparse
import functools
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
from retrieval_contestants import DIM, FAISS, NUM_USERS, OURS, READ, SIZE, contestants, exact, vectors_of

from recsdk.base import Request
from recsdk.data import items_from_rows
from recsdk.live.catalogue import Catalogue
from recsdk.retrievers.exact import Exact
from recsdk.retrievers.nearest import nearest

PEERS = ("faiss-cpu", "hnswlib")
MOST_IN_A_CATALOGUE = 100_000


def everyone(num_items: int) -> dict[str, Callable[[], Any]]:
    """Returns the exact ones who are installed, each with the same question."""
    vectors, (user, *_) = vectors_of(num_items)
    found = {name: who.one for name, who in exact(vectors)}
    if FAISS in found:
        same = found[FAISS](user).tolist() == found[OURS](user).tolist()
        assert same  # noqa: S101 -- else they answer different questions
    return {name: functools.partial(one, user) for name, one in found.items()}


def filtered(vectors: np.ndarray, user: np.ndarray) -> dict[str, Callable[[], Any]]:
    """Returns what a recommender asks for besides: with items left out, and of its catalogue."""
    rng = np.random.default_rng(0)
    every, most = np.ones(len(vectors), bool), rng.random(len(vectors)) < 0.9
    found: dict[str, Callable[[], Any]] = {
        "recsdk, exact, a tenth not allowed": lambda: Exact().search(vectors, rng, user, most, SIZE),
    }
    if len(vectors) <= MOST_IN_A_CATALOGUE:
        catalogue, items = Catalogue(DIM), items_from_rows({"id": str(number)} for number in range(len(vectors)))
        catalogue.hold(catalogue.joined(items, vectors, every))
        found["recsdk, Catalogue.found"] = lambda: catalogue.found(rng, user, Request({}, 0.0), SIZE, 0)
    return found


def measure(num_items: int, rounds: int) -> list[dict[str, Any]]:
    """Returns a row for each contestant and number of users."""
    vectors, users = vectors_of(num_items)
    who = dict(contestants(vectors))
    truth = nearest(users, vectors, min(SIZE, num_items))
    rows = []
    for num_users in (1, NUM_USERS):
        asked = users[0] if num_users == 1 else users
        runs = {name: functools.partial(each, asked) for name, one in who.items() if (each := one.one if num_users == 1 else one.many)}
        runs |= filtered(vectors, asked) if num_users == 1 else {}
        for run in runs.values():
            run()
        taken = timing.interleave(runs, rounds if num_users == 1 else max(rounds // 4, 3), lambda: time.sleep(0), time.process_time)
        for name, seconds in taken.items():
            spread = timing.quartiles([1e3 * value for value in seconds])
            row = {"contestant": name, "num_items": num_items, "num_users": num_users, **spread._asdict()}
            row["ratio"] = timing.ratio(seconds, taken[READ])
            row["recall"], row["built"] = _recall(who, name, users, truth), who[name].built if name in who else None
            rows.append(row)
    return rows


def _recall(who: dict[str, Any], name: str, users: np.ndarray, truth: np.ndarray) -> float | None:
    """Returns the share of the nearest that a contestant finds."""
    if name not in who or not who[name].finds:
        return None
    one, many = who[name].one, who[name].many
    found = [one(user) for user in users] if one else many(users)
    return float(np.mean([np.isin(wanted, answer).mean() for wanted, answer in zip(truth, found, strict=True)]))


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a row for each contestant and size, and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="rough")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    parser.add_argument("--items", default="10000,100000,1000000", help="sizes of the catalogue, as in %(default)s")
    chosen = parser.parse_args(arguments)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # before JAX counts the cores
    machine = report.machine(("recsdk", "numpy", "numba", "jax", *PEERS))
    rows: list[dict[str, Any]] = []
    for num_items in map(int, chosen.items.split(",")):
        print(f"{num_items:,} items ...", file=sys.stderr, flush=True)
        rows += measure(num_items, 3 if chosen.quick else 20)
    told = " ".join(["python benchmarks/retrieval.py", *["--quick"] * chosen.quick])
    missing = command.missing(PEERS)
    text = "\n".join([f"`{told}` on {report.described(machine)}.", "", *table(rows), *[""] * bool(missing), *missing])
    print(json.dumps({"machine": machine, "rows": rows}, indent=1) if chosen.json else text)
    if chosen.write:
        report.write(command.DOCS, "retrieval", text)
    return 0


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Returns a line for each contestant and catalogue."""
    titles = ["items", "", "ms for 1 user", "of reading", f"ms for {NUM_USERS} users", "of reading", "recall", "s to build"]
    lines, by_key = report.header(titles, left=2), {(row["num_items"], row["contestant"], row["num_users"]): row for row in rows}
    for num_items, name in dict.fromkeys((row["num_items"], row["contestant"]) for row in rows):
        found = [by_key.get((num_items, name, num_users)) for num_users in (1, NUM_USERS)]
        any_of = found[0] or found[1]
        times = [cell for row in found for cell in _cells(row)]
        recall = f"{any_of['recall']:.3f}" if any_of and any_of["recall"] is not None else ""
        built = report.rounded(any_of["built"]) if any_of and any_of["built"] else ""
        lines.append(report.line([f"{num_items:,}", name, *times, recall, built]))
    return lines


def _cells(row: dict[str, Any] | None) -> tuple[str, str]:
    if row is None:
        return "", ""
    low, median, high = (report.rounded(row[name]) for name in ("low", "median", "high"))
    return f"{median} ({low} to {high})", report.rounded(row["ratio"])


if __name__ == "__main__":
    sys.exit(main())
