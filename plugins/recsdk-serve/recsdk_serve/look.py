"""How a recommender does, read from its folder by a process of its own: `python -m recsdk_serve.look FOLDER`."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from recsdk.ledger import DecisionRecord, Ledger, RewardRecord
from recsdk.ledger.stores import store
from recsdk.live.health import exploration, health
from recsdk.live.parts import latest
from recsdk.live.rewards import standing_values
from recsdk_serve import messages as m

DECISIONS, OUTCOMES = 2_000, 4_000
"""How many of the last are looked at step by step."""
STEPS, FEWEST = 40, 20
"""Steps of a curve at most, and decisions or outcomes of a step at least."""
ITEMS = 9
"""Items that are told by name."""
NORMAL = 1.959964
"""Quantile of the normal distribution for an interval of 95 %."""
LATER = 10
"""Added to the process's niceness: those who decide go first."""


def look(stored: Ledger) -> m.Look:
    """Reads how a recommender does.

    Args:
        stored: its ledger, open for reading.
    """
    began, now = time.process_time(), time.time()
    records = [record for record in latest(stored, DECISIONS) if len(record.action)]
    return m.Look(
        time=now,
        health=msgspec.convert(health(stored, now=now)._asdict(), m.Health),
        rewards=reward_steps(stored.rewards(max(stored.num_rewards() - OUTCOMES, 0))),
        choices=[_choices(step) for step in _steps(records)],
        items=_shares(stored, records),
        seconds=time.process_time() - began,
    )


def reward_steps(rewards: Iterable[RewardRecord]) -> list[m.RewardStep]:
    """Returns the mean rewards of outcomes in their order, each as it was corrected last."""
    given, times = list(rewards), dict[tuple[str, int], float]()
    for reward in given:
        if reward.replaces is None:
            times[reward.decision_id, reward.position] = reward.time
    standing = [(times[place], value) for place, value in standing_values(given).items() if place in times]
    return [_rewards(step) for step in _steps(standing)]


def _rewards(step: Sequence[tuple[float, float]]) -> m.RewardStep:
    values = np.array([value for _, value in step])
    mean, num = float(values.mean()), len(values)
    half = NORMAL * float(values.std(ddof=1)) / math.sqrt(num) if num > 1 else 0.0
    return m.RewardStep(time=step[-1][0], num=num, mean=mean, low=mean - half, high=mean + half)


def _choices(step: Sequence[DecisionRecord]) -> m.ChoiceStep:
    items, candidates, at_floor = exploration(step)
    return m.ChoiceStep(
        time=step[-1].time,
        num=len(step),
        effective_items=_mean(items),
        candidates=_mean(candidates),
        floor_share=_mean([hit for hit, _ in at_floor]),
        floor_expected=_mean([expected for _, expected in at_floor]),
    )


def _shares(stored: Ledger, records: Sequence[DecisionRecord]) -> list[m.ItemShare]:
    """Returns how much each item was of what was shown, the most first; the rest together."""
    counts, showing = Counter[int](), dict[int, str]()
    for record in records:
        slots = record.slots[record.action].tolist()
        counts.update(slots)
        showing.update(dict.fromkeys(slots, record.decision_id))
    total, most = counts.total(), sorted(counts.items(), key=lambda found: (-found[1], found[0]))[:ITEMS]
    found = [m.ItemShare(id=json.loads(stored.shown(showing[slot], slot).row)["id"], share=num / total) for slot, num in most]
    others = total - sum(num for _, num in most)
    return [*found, m.ItemShare(id=None, share=others / total)] if others else found


def _steps(found: Sequence[Any]) -> list[Sequence[Any]]:
    """Splits what came one after the other into equal parts, each of as many as a mean needs; fewer than these are one."""
    num = max(1, min(STEPS, len(found) // FEWEST))
    ends = [len(found) * step // num for step in range(num + 1)]
    return [found[start:end] for start, end in pairwise(ends) if end > start]


def _mean(values: Sequence[Any]) -> float | None:
    return float(np.mean(values)) if values else None


def main() -> None:
    """Prints a look at a folder, a line of JSON, for each line that it is sent."""
    with contextlib.suppress(AttributeError, OSError):  # not on every system
        os.nice(LATER)
    folder = Path(sys.argv[1])
    for _ in sys.stdin:
        with contextlib.closing(store(folder).read(folder)) as stored:
            found = look(stored)
        sys.stdout.buffer.write(msgspec.json.encode(found) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
