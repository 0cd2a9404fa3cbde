"""A shop that runs for some minutes: `python -m tests.reliability.soak MINUTES` prints what grows."""

import os
import sys
import threading
import time
from pathlib import Path

import numpy as np

from tests.live.shop import IDS, request, small_recommender
from tests.reliability.kills import scratch

WARM = 0.2
"""The share of the time after which memory is looked at."""


def memory() -> float:
    """Returns the resident memory in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def soak(minutes: float) -> None:
    """Decides and rewards, and prints how memory grows, and how many files and threads there are."""
    with scratch() as folder, small_recommender(folder / "shop", scorers=["popularity"], snapshot_every=1_000) as shop:
        began, number, seen = time.monotonic(), 0, list[tuple[int, float, int, int]]()
        while (spent := time.monotonic() - began) < 60 * minutes:
            slate = shop.recommend(request(number), size=1 + number % 3, candidates=IDS[: 4 + number % 8])
            shop.reward(slate.decision_id, float(number % 3 == 0), item=slate.ids[0])
            number += 1
            if number % 500 == 0 and spent > WARM * 60 * minutes:
                seen.append((number, memory(), len(os.listdir("/proc/self/fd")), threading.active_count()))
        decisions, resident, files, threads = np.array(seen).T
        slope = np.polyfit(decisions, resident, 1)[0] * 100_000
        print(f"{number} decisions in {minutes} minutes, memory {resident[0]:.1f} to {resident[-1]:.1f} MB")
        print(f"per 100,000 decisions {slope:.2f} MB; files {files.min():.0f} to {files.max():.0f}, threads to {threads.max():.0f}")


if __name__ == "__main__":
    soak(float(sys.argv[1]))
