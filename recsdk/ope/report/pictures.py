"""The numbers that the pictures of an evaluation show: points that a chart draws and a table lists. Nothing here draws."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from recsdk.ope.calibration import z_score
from recsdk.ope.checked import Rounds
from recsdk.ope.comparison import Evaluations
from recsdk.ope.diagnostics import MIN_TAKEN
from recsdk.ope.evaluation import Evaluation
from recsdk.ope.intervals.sequence import drifting_sequence
from recsdk.ope.tally import MASS, NUM_OFFERED, NUM_TAKEN, RATIO, all_items, tally
from recsdk.ope.weighting import importance

Points = list[dict[str, Any]]

NUM_BINS = 40
LEAST_BIN = 0.05  # in powers of ten, so that a single weight has a bar that is seen
MOST_ITEMS = 200
OFTEN = (1, 10, 100)
SUPPORT = ("never", "1 to 9 times", "10 to 99 times", "100 times and more")


def values(found: Evaluations) -> Points:
    """Returns a point for each target and estimator that has a value."""
    return [
        {
            "target": target,
            "estimator": name,
            **_finite(estimate._asdict()),
            **({f"less_{key}": number for key, number in _finite(difference.difference._asdict()).items()} if difference else {}),
        }
        for target, each in found.targets.items()
        for name, estimate in each.estimates.items()
        for difference in [found.differences[target].get(name)]
    ]


def weights(targets: Mapping[str, Rounds]) -> Points:
    """Returns a histogram for each target, in the same bins: shares of rounds, and of all weight, by importance above 0."""
    ratios = {name: importance(rounds) for name, rounds in targets.items()}
    positive = np.concatenate([ratio[ratio > 0] for ratio in ratios.values()])
    if not positive.size:
        return []
    low, high = math.log10(positive.min()), math.log10(positive.max())
    step = max((high - low) / NUM_BINS, LEAST_BIN)
    edges = 10 ** (low + step * (np.arange(math.ceil((high - low) / step - 1e-9) + 2) - 0.5))  # an end is the middle of its bin
    points = []
    for name, ratio in ratios.items():
        stands = targets[name].weight
        rounds, mass = (np.histogram(ratio, edges, weights=each)[0] / (each.sum() or 1.0) for each in (stands, stands * ratio))
        points += [
            {
                "target": name,
                "low": float(edges[bin]),
                "high": float(edges[bin + 1]),
                "rounds": float(rounds[bin]),
                "mass": float(mass[bin]),
            }
            for bin in np.flatnonzero(rounds)
        ]
    return points


def support(targets: Mapping[str, Rounds]) -> Points:
    """Returns each target's mass on items that the log never took, and on those it took so often; none where it is not known whole."""
    points = []
    for name, rounds in targets.items():
        if rounds.probs is None:
            continue
        mass, taken = all_items(tally(rounds).items).sums[:, [MASS, NUM_TAKEN]].T
        shares = np.bincount(np.searchsorted(OFTEN, taken, side="right"), mass, len(SUPPORT)) / mass.sum()
        points += [
            {"target": name, "taken": label, "order": order, "share": float(share)}
            for order, (label, share) in enumerate(zip(SUPPORT, shares, strict=True))
        ]
    return points


def propensities(rounds: Rounds) -> Points:
    """Returns for each item the mean weight of always taking it, expected to be 1, and the evidence that it is not; the worst first."""
    found = tally(rounds)
    by_item = all_items(found.items)
    rows = [
        {
            "item": int(slot),
            "taken": float(sums[NUM_TAKEN]),
            "mean": float(sums[RATIO] / sums[NUM_OFFERED]),
            "z": z_score(log_wealth, 1 / found.least_propensity, num_tests=len(by_item.slot)),
        }
        for slot, sums, log_wealth in zip(*by_item[:2], by_item.log_wealth(), strict=True)
        if sums[NUM_TAKEN] >= MIN_TAKEN
    ]
    return sorted(rows, key=lambda row: -abs(row["z"]))[:MOST_ITEMS]


def over_time(found: Evaluations) -> Points:
    """Returns each target's value by IPS over the first so many rounds, with its confidence sequence where the rewards' range is known."""
    points = []
    for name, each in found.targets.items():
        if not each.estimates:
            continue
        rounds = found.rounds[name]
        ratio = importance(rounds) * rounds.weight
        running = (ratio * rounds.reward).cumsum() / rounds.weight.cumsum().clip(min=1e-300)
        looks = np.unique(np.geomspace(min(10, len(ratio)), len(ratio), 100).round().astype(np.int64))
        rows: Points = [{"target": name, "rounds": look, "value": float(running[look - 1])} for look in looks.tolist()]
        if has_sequence(found):
            asked = found.options
            bounds: dict[str, Any] = {"reward_range": asked.reward_range, "max_weight": asked.max_weight}
            sequence = drifting_sequence(rounds, **bounds, looks=looks, level=asked.level)
            for row, low, high in zip(rows, sequence.low.tolist(), sequence.high.tolist(), strict=True):
                row |= {"low": low, "high": high}
        points += rows
    return points


def has_sequence(found: Evaluations) -> bool:
    """Tells whether a confidence sequence is possible: a range of rewards is given, and all rounds have the same weight."""
    weight = next(iter(found.rounds.values())).weight
    return found.options.reward_range is not None and bool((weight == weight[0]).all())


def sensitivity(targets: Mapping[str, Evaluation]) -> Points:
    """Returns IPS with the largest weights clipped, as long as any weight is left."""
    return [{"target": name, **clipped._asdict()} for name, each in targets.items() for clipped in each.clipped if clipped.clip > 0]


def _finite(row: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in row.items()}
