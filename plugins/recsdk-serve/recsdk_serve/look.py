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
from recsdk.live import marks
from recsdk.live.health import exploration, health
from recsdk.live.parts import latest
from recsdk.live.rewards import standing_values, was_shown
from recsdk_serve import messages as m

DECISIONS, OUTCOMES = 2_000, 4_000
"""How many of the last are looked at step by step."""
STEPS, FEWEST, FEWEST_OUTCOMES = 40, 20, 100
"""Steps of a curve at most, and decisions or outcomes of a step at least."""
ITEMS = 9
"""Items that are told by name."""
BINOMIAL, BETWEEN = 1.959964, 2.35759
"""Quantiles of the normal distribution for an interval of 95 %: where a reward has one of two values; and where it is anything between two
numbers, so that an error must be e times rarer (Bentkus, "On Hoeffding's inequalities", The Annals of Probability, 2004)."""
LATER = 10
"""Added to the process's niceness: those who decide go first."""


def look(stored: Ledger) -> m.Look:
    """Reads how a recommender does.

    Args:
        stored: its ledger, open for reading.
    """
    began, now = time.process_time(), time.time()
    records = [record for record in latest(stored, DECISIONS) if len(record.action) and marks.read(record).repeats is None]
    return m.Look(
        time=now,
        health=msgspec.convert(health(stored, now=now)._asdict(), m.Health),
        rewards=reward_steps(stored.rewards(max(stored.num_rewards() - OUTCOMES, 0))),
        choices=[_choices(step) for step in _steps(records, FEWEST)],
        items=_shares(stored, [record for record in records if was_shown(record, stored.signals_of(record.decision_id))]),
        seconds=time.process_time() - began,
    )


def reward_steps(rewards: Iterable[RewardRecord]) -> list[m.RewardStep]:
    """Returns the mean rewards of outcomes in their order, each as it was corrected last."""
    given, times = list(rewards), dict[tuple[str, int], float]()
    for reward in given:
        if reward.replaces is None:
            times[reward.decision_id, reward.position] = reward.time
    standing = [(times[place], value) for place, value in standing_values(given).items() if place in times]
    kinds = {value for _, value in standing}
    least, most = (0.0, 1.0) if kinds <= {0.0, 1.0} else (min(kinds), max(kinds))
    quantile = BINOMIAL if kinds <= {least, most} else BETWEEN
    found = list[m.RewardStep]()
    for step in _steps(standing, FEWEST_OUTCOMES):
        values, low, high = np.array([value for _, value in step]), None, None
        if len(step) > 1 and least < most:
            total = float(((values - least) / (most - least)).sum())
            low, high = (least + (most - least) * end for end in interval(total, len(step), quantile))
        found.append(m.RewardStep(time=step[-1][0], num=len(step), mean=float(values.mean()), low=low, high=high))
    return found


def interval(total: float, num: int, quantile: float) -> tuple[float, float]:
    """Returns Wilson's interval with the correction for continuity: it keeps its level for rare clicks too, where others do not.

    Args:
        total: sum of numbers in [0, 1]; it is rounded towards the wider interval.
        num: how many there are, at least 2.
        quantile: of the normal distribution.

    References:
        Newcombe, "Two-sided confidence intervals for the single proportion", Statistics in Medicine, 1998, method 4.
    """
    return _least(math.floor(total), num, quantile), 1 - _least(num - math.ceil(total), num, quantile)


def _least(found: int, num: int, quantile: float) -> float:
    if found == 0:
        return 0.0
    square, share = quantile**2, found / num
    reach = quantile * math.sqrt(square - 2 - 1 / num + 4 * share * (num - found + 1))
    return (2 * found + square - 1 - reach) / (2 * (num + square))


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


def _steps(found: Sequence[Any], fewest: int) -> list[Sequence[Any]]:
    """Splits what came one after the other into equal parts, each of as many as a mean needs; fewer than these are one."""
    num = max(1, min(STEPS, len(found) // fewest))
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
