"""How many messages a second a consumer feeds to a recommender, from a file: requests, the signals about them, and windows that close.

    .venv/bin/python benchmarks/streams.py

Half the rounds are the same or better than what it prints. Needs `recsdk-streams`.
"""

from __future__ import annotations

import json
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from recsdk_streams import Consumer, FileSink, FileSource

import recsdk

ROUNDS, REQUESTS, SIZE, BLOCK = 3, 2_000, 5, 1_000
NOW = 1_700_000_000.0


def visits() -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """Returns requests; then signals about their items, those of one slate near to each other; and what closes all windows."""
    rng = random.Random(0)
    asked = [
        {"kind": "decide", "at": NOW, "decision_id": f"d{number}", "request": {"user_id": f"u{number % 100}"}, "size": SIZE}
        for number in range(REQUESTS)
    ]
    places = sorted((number + rng.random() * 50, number, place) for number in range(REQUESTS) for place in range(SIZE))
    told = [
        {"kind": "signal", "at": NOW + 1, "name": "click", "decision_id": f"d{number}", "position": place, "signal_id": f"{number}/{place}"}
        for _, number, place in places
    ]
    return asked, told, [{"kind": "decide", "at": NOW + 1000, "decision_id": "last", "request": {}}]


def rates(folder: Path) -> list[float]:
    """Returns requests, signals and rewards in a second."""
    items = [{"id": f"i{number}", "price": float(number)} for number in range(100)]
    feedback, path, found = recsdk.Feedback(window=600, signals={"click": 1}), folder / "in.jsonl", []
    with recsdk.Recommender.open(folder / "shop", items=items, scorers=["popularity"], policy="lin-ts", feedback=feedback) as shop:
        consumer = Consumer(shop, FileSource(path), FileSink(folder / "out.jsonl"), FileSink(folder / "dead.jsonl"), block=BLOCK)
        for some in visits():
            with path.open("a") as file:
                file.writelines(json.dumps(one) + "\n" for one in some)
            began, learned = time.perf_counter(), shop.num_learned
            while consumer.step(wait=0.0):
                pass
            found.append((shop.num_learned - learned or len(some)) / (time.perf_counter() - began))
    return found


def main() -> None:
    """Prints the medians."""
    found = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            found.append(rates(Path(folder)))
    for what, some in zip(("requests", "signals", "rewards of windows that close"), zip(*found, strict=True), strict=True):
        print(f"{statistics.median(some):10,.0f} {what} a second (of {ROUNDS}: {min(some):,.0f} to {max(some):,.0f})")


if __name__ == "__main__":
    main()
