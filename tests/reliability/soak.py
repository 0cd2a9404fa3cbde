"""A shop that runs for some minutes: `python -m tests.reliability.soak MINUTES` prints what grows."""

import os
import sys
import threading
import time
from pathlib import Path

import jax
import numpy as np

from recsdk.encoders.two_tower import TwoTower
from tests.live.shop import IDS, request, small_recommender
from tests.reliability.kills import scratch

WARM = 0.2
"""The share of the time after which memory is looked at."""
COMPILED = "/jax/core/compile/backend_compile_duration"
"""How JAX names its own report of a compilation."""


def memory() -> float:
    """Returns the resident memory in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def soak(minutes: float) -> None:
    """Decides and rewards, and prints how memory grows, and how many files, threads and compiled programs there are."""
    compiled = list[float]()
    jax.monitoring.register_event_duration_secs_listener(lambda name, seconds, **_: compiled.append(seconds) if name == COMPILED else None)
    history = [{**request(number), "item": IDS[number % len(IDS)], "time": float(number), "reward": 1.0} for number in range(100)]
    encoder = TwoTower(dim=8, num_buckets=256, hidden=(16,), progress=False)
    with (
        scratch() as folder,
        small_recommender(folder / "shop", encoder=encoder, history=history, scorers=["popularity"], snapshot_every=1_000) as shop,
    ):
        began, number, seen = time.monotonic(), 0, list[tuple[int, float, int, int, int]]()
        while (spent := time.monotonic() - began) < 60 * minutes:
            slate = shop.recommend(request(number), size=1 + number % 3, candidates=IDS[: 4 + number % 8])
            shop.reward(slate.decision_id, float(number % 3 == 0), item=slate.ids[0])
            number += 1
            if number % 500 == 0 and spent > WARM * 60 * minutes:
                seen.append((number, memory(), len(os.listdir("/proc/self/fd")), threading.active_count(), len(compiled)))
        decisions, resident, files, threads, programs = np.array(seen).T
        slope = np.polyfit(decisions, resident, 1)[0] * 100_000
        print(f"{number} decisions in {minutes} minutes, memory {resident[0]:.1f} to {resident[-1]:.1f} MB")
        print(
            f"per 100,000 decisions {slope:.2f} MB; files {files.min():.0f} to {files.max():.0f}, threads to {threads.max():.0f}, "
            f"compiled programs {programs[0]:.0f} to {programs[-1]:.0f}"
        )


if __name__ == "__main__":
    soak(float(sys.argv[1]))
