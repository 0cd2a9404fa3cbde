"""Decisions per second of threads that share a recommender, beside one lock around every call; and of many decided in one call."""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

import recsdk
from recsdk.ledger.sqlite import Sqlite

THREADS = (1, 4, 8)
MANY = 100
"""Requests of one call."""
SCORING = 0.002
"""Seconds that the scorer waits, as one does that asks a service."""


def waiting(request: Any, candidates: Any) -> np.ndarray:
    """Scores as slowly as a part that waits for another machine."""
    time.sleep(SCORING)
    return -candidates.features["price"]


@contextlib.contextmanager
def opened(durability: Any, scorers: list[Any]) -> Iterator[recsdk.Recommender]:
    """Opens a recommender of 50 items on the disk."""
    items = [{"id": f"i{number}", "price": float(number)} for number in range(50)]
    options: dict[str, Any] = {"policy": "lin-ts", "ledger": Sqlite(durability=durability)}
    with (
        tempfile.TemporaryDirectory(dir=".") as folder,
        recsdk.Recommender.open(f"{folder}/shop", items=items, scorers=scorers, **options) as shop,
    ):
        for _ in range(20):
            shop.recommend({})
        yield shop


def rate(shop: recsdk.Recommender, num_threads: int, seconds: float, turn: AbstractContextManager[Any]) -> float:
    """Returns decisions per second; each is made inside of `turn`."""
    counts, stop = [0] * num_threads, time.perf_counter() + seconds

    def work(thread: int) -> None:
        while time.perf_counter() < stop:
            with turn:
                shop.recommend({})
            counts[thread] += 1

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(num_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds


def many(shop: recsdk.Recommender, seconds: float) -> tuple[float, float]:
    """Returns decisions per second of a loop, and of `recommend_many`, turn by turn."""
    requests: list[dict[str, Any]] = [{"request": {}}] * MANY
    spent, num = [0.0, 0.0], 0
    while sum(spent) < 2 * seconds:
        began = time.perf_counter()
        for one in requests:
            shop.recommend(**one)
        between = time.perf_counter()
        shop.recommend_many(requests)
        spent = [spent[0] + between - began, spent[1] + time.perf_counter() - between]
        num += MANY
    return num / spent[0], num / spent[1]


def main() -> None:
    """Prints a table; each pair of numbers is measured one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    seconds = parser.parse_args().seconds
    warnings.simplefilter("ignore")
    print(f"{'disk':14} {'scorer':16} {'threads':>7} {'one lock/s':>11} {'recsdk/s':>9} {'ratio':>6}")
    for durability in ("process-crash", "power-loss"):
        for name, scorers in (("recency", ["recency"]), (f"waits {1000 * SCORING:.0f} ms", [waiting])):
            with opened(durability, scorers) as shop:
                for num_threads in THREADS:
                    before = rate(shop, num_threads, seconds, threading.RLock())
                    after = rate(shop, num_threads, seconds, contextlib.nullcontext())
                    print(f"{durability:14} {name:16} {num_threads:7} {before:11.0f} {after:9.0f} {after / before:6.2f}")
    print(f"\n{'disk':14} {'one by one/s':>12} {f'{MANY} a call/s':>14} {'ratio':>6}")
    for durability in ("process-crash", "power-loss"):
        with opened(durability, ["recency"]) as shop:
            before, after = many(shop, seconds)
            print(f"{durability:14} {before:12.0f} {after:14.0f} {after / before:6.2f}")


if __name__ == "__main__":
    main()
