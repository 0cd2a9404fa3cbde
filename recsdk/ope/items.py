"""Sums by item, which add up over the blocks of a log."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from recsdk.ope.calibration import NOT_TAKEN, NUM_BETS, log_factors
from recsdk.ope.checked import Rounds

MASS, OFFERED, NUM_OFFERED, NUM_TAKEN, RATIO = range(5)
BETS = slice(5, 5 + NUM_BETS)


class ItemSums(NamedTuple):
    """Sums by item; N items.

    Attributes:
        slot: i64[N], ascending.
        sums: f64[N, 5 + NUM_BETS]: the target's mass and the rounds in which the item was a candidate, both by weight; these rounds and
            those that took it, each of positive weight counted once; and over the latter, 1 / propensity and what `log_factors` exceed
            `NOT_TAKEN` by.
    """

    slot: np.ndarray
    sums: np.ndarray

    def log_wealth(self) -> np.ndarray:
        """Returns f64[N, NUM_BETS], logarithms of the fortunes of bets on always taking an item."""
        wealth: np.ndarray = self.sums[:, BETS] + self.sums[:, NUM_OFFERED, None] * NOT_TAKEN
        return wealth


def item_sums(rounds: Rounds) -> ItemSums:
    """Sums up one block."""
    mask, item, weight, live = rounds.mask, rounds.item, rounds.weight, rounds.weight > 0
    first = item[0]
    if mask.all() and (first[1:] > first[:-1]).all() and _is_same(item):  # one list of candidates throughout
        slot, place = first, rounds.action
        mass = np.zeros(len(slot)) if rounds.probs is None else weight @ rounds.probs
        offered, num_offered = (np.full(len(slot), column.sum()) for column in (weight, live))
    else:
        slot, place_of_all = _codes(item[mask])
        places = np.zeros(item.shape, np.int64)
        places[mask] = place_of_all
        place = places[np.arange(len(weight)), rounds.action]
        all_weights, all_live = (np.broadcast_to(column[:, None], mask.shape)[mask] for column in (weight, live))
        offered, num_offered = (np.bincount(place_of_all, column, len(slot)) for column in (all_weights, all_live))
        mass = np.zeros(len(slot)) if rounds.probs is None else np.bincount(place_of_all, all_weights * rounds.probs[mask], len(slot))
    ratio = 1 / rounds.propensity[live]
    bets = log_factors(ratio) - NOT_TAKEN[:, None]
    taken = (np.bincount(place[live], column, len(slot)) for column in (None, ratio, *bets))
    return ItemSums(slot, np.stack([mass, offered, num_offered, *taken], axis=1))


def _is_same(item: np.ndarray) -> bool:
    """Tells whether all rows are the same."""
    if item.strides[0] == 0:
        return True
    flat, size = item.ravel(), item.shape[1]
    return bool((flat[size:] == flat[:-size]).all())


def _codes(slot: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the slots that there are, ascending, and the place of each among them."""
    low, high = slot.min(), slot.max()
    if high - low > 8 * len(slot):
        known, place = np.unique(slot, return_inverse=True)
        return known, place
    seen = np.zeros(high - low + 1, np.bool_)
    seen[slot - low] = True
    return np.flatnonzero(seen) + low, (seen.cumsum() - 1)[slot - low]


def all_items(runs: tuple[ItemSums, ...]) -> ItemSums:
    """Returns the sums of all items in one run."""
    return functools.reduce(_union, runs[::-1])


def add_items(a: tuple[ItemSums, ...], b: tuple[ItemSums, ...]) -> tuple[ItemSums, ...]:
    """Returns the sums of two logs, in runs each of which is more than twice as long as the next."""
    runs = list(a)
    for run in b:
        while runs and len(runs[-1].slot) <= 2 * len(run.slot):
            run = _union(runs.pop(), run)
        runs.append(run)
    return tuple(runs)


def _union(a: ItemSums, b: ItemSums) -> ItemSums:
    if np.array_equal(a.slot, b.slot):
        return ItemSums(a.slot, a.sums + b.sums)
    slot = np.concatenate([a.slot, b.slot])
    order = slot.argsort(kind="stable")  # quick on what is two sorted runs
    slot, sums = slot[order], np.concatenate([a.sums, b.sums])[order]
    twice = np.flatnonzero(slot[1:] == slot[:-1])  # no slot is there three times
    sums[twice] += sums[twice + 1]
    kept = np.ones(len(slot), np.bool_)
    kept[twice + 1] = False
    return ItemSums(slot[kept], sums[kept])
