"""Item-item similarity of who took what: the nearest few of each item, without a matrix of all pairs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from recsdk.scorers._slots import at

HISTORY_AT_FIT = 200
"""Latest distinct items of a user that count: the cost is quadratic in it, and who took more is likely no single person."""

SLOTS_PER_CANDIDATE = 64
"""Slots of the catalogue per candidate up to which it is quicker to score them all than to look up the candidates."""


class Neighbours(NamedTuple):
    """The items most alike to each of N slots.

    Attributes:
        slot: i64[N, n], the most alike first.
        similarity: f32[N, n], in [0, 1]; 0 where an item has fewer than n.
    """

    slot: np.ndarray
    similarity: np.ndarray


def empty(num_neighbours: int) -> Neighbours:
    """Returns the neighbours of no items."""
    return Neighbours(np.zeros((0, num_neighbours), np.int64), np.zeros((0, num_neighbours), np.float32))


def fit(users: np.ndarray, slots: np.ndarray, num_slots: int, num_neighbours: int, shrinkage: float) -> Neighbours:
    """Finds each item's neighbours; O(sum over users of the square of what they took).

    Args:
        users: i64[T], who took.
        slots: i64[T], what, oldest first.
        num_slots: N.
        num_neighbours: n.
        shrinkage: see `ItemKNN`.
    """
    near = np.zeros((num_slots, num_neighbours), np.int64)
    similarity = np.zeros((num_slots, num_neighbours), np.float32)
    users, slots = _distinct(users, slots)
    taken = np.bincount(slots, minlength=num_slots)
    items_of = np.split(slots, np.flatnonzero(np.diff(users)) + 1)
    users_of = np.split(users[np.argsort(slots, kind="stable")], np.cumsum(taken)[:-1])
    for item in np.flatnonzero(taken):
        both = np.bincount(np.concatenate([items_of[user] for user in users_of[item]]), minlength=num_slots)
        both[item] = 0
        others = np.flatnonzero(both)
        alike = both[others] / (np.sqrt(taken[item] * taken[others]) + shrinkage)
        best = np.argsort(-alike, kind="stable")[:num_neighbours]
        near[item, : len(best)] = others[best]
        similarity[item, : len(best)] = alike[best]
    return Neighbours(near, similarity)


def similarity(state: Neighbours, recent: np.ndarray, candidates: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Returns f64[K], each candidate's similarity to the `recent` slots, summed over those that were there at the fit.

    Args:
        state: from `fit`.
        recent: i64[H], slots.
        candidates: i64[K], slots.
        weights: f64[H], of the recent slots; None for 1 each.
    """
    known = recent < len(state.slot)
    recent = recent[known]
    if not len(recent) or not len(candidates):
        return np.zeros(len(candidates))
    near, weight = state.slot[recent].ravel(), state.similarity[recent]
    weight = (weight if weights is None else weight * weights[known][:, None]).ravel()
    if len(state.slot) <= SLOTS_PER_CANDIDATE * len(candidates):
        totals = np.bincount(near, weight, minlength=len(state.slot))
        return at(totals, candidates)
    order = candidates.argsort()
    place = candidates[order].searchsorted(near)
    place[place == len(candidates)] = 0
    place = order[place]
    is_candidate = candidates[place] == near
    return np.bincount(place[is_candidate], weight[is_candidate], minlength=len(candidates))


def _distinct(users: np.ndarray, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers the users from 0 and keeps each one's latest distinct items; sorted by user."""
    _, number = np.unique(users, return_inverse=True)
    pairs = np.stack([number, slots], axis=1)[::-1]
    _, first = np.unique(pairs, axis=0, return_index=True)
    latest = pairs[np.sort(first)]  # the latest first
    latest = latest[np.argsort(latest[:, 0], kind="stable")]
    start = np.searchsorted(latest[:, 0], latest[:, 0])
    kept = latest[np.arange(len(latest)) - start < HISTORY_AT_FIT]
    return kept[:, 0], kept[:, 1]
