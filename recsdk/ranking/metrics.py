"""Ranking metrics in which ties share: each is the expectation over a random order of the items that tie."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Ranking(NamedTuple):
    """Metrics of Q cases at a cut-off of k places.

    Attributes:
        hit_rate: f64[Q], 1 where any target is among the first k, else 0.
        recall: f64[Q], the share of the targets that is among the first k.
        ndcg: f64[Q], discounted cumulative gain over that of the best order, in [0, 1].
        reciprocal_rank: f64[Q], 1 / rank of the first target, 0 beyond rank k.
        average_precision: f64[Q], the mean over all targets of the precision at their ranks, which is 0 beyond rank k.

    Example:
        >>> import numpy as np
        >>> one = np.ones(2)
        >>> Ranking(one, one, one, one / 2, one).reciprocal_rank.tolist()
        [0.5, 0.5]
    """

    hit_rate: np.ndarray
    recall: np.ndarray
    ndcg: np.ndarray
    reciprocal_rank: np.ndarray
    average_precision: np.ndarray


def rank_metrics(case: np.ndarray, above: np.ndarray, tied: np.ndarray, num_cases: int, *, at: int) -> Ranking:
    """Computes metrics from the places of T targets.

    Args:
        case: i64[T], the case of each target, in [0, num_cases).
        above: i64[T], items that score higher than the target.
        tied: i64[T], items that score as the target does, itself included; 0 for a target that is not ranked at all.
        num_cases: Q.
        at: k, the number of places that count.

    Example:
        >>> import numpy as np
        >>> found = rank_metrics(np.array([0, 1]), np.array([0, 3]), np.array([1, 1]), 2, at=10)
        >>> found.hit_rate.tolist(), found.ndcg.round(3).tolist(), found.reciprocal_rank.tolist()
        ([1.0, 1.0], [1.0, 0.431], [1.0, 0.25])
    """
    discount = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(2, at + 2)))])
    last = np.minimum(above + tied, at)
    first = np.minimum(above, last)
    shared = np.maximum(tied, 1)
    num_targets = np.bincount(case, minlength=num_cases)
    recall = np.bincount(case, (last - first) / shared, num_cases) / num_targets
    gain = np.bincount(case, (discount[last] - discount[first]) / shared, num_cases)
    hit, reciprocal = _first_hit(case, above, tied, num_cases, at)
    precision = np.bincount(case, _precision(case, above, tied, at), num_cases) / num_targets
    return Ranking(hit, recall, gain / discount[np.minimum(num_targets, at)], reciprocal, precision)


def _precision(case: np.ndarray, above: np.ndarray, tied: np.ndarray, at: int) -> np.ndarray:
    """Returns f64[T], the expected precision at each target's rank, 0 where that is beyond `at`.

    At the p-th of n places that tie with m targets among them, (p - 1) (m - 1) / (n - 1) other targets are expected before.
    """
    order = np.lexsort((above, tied == 0, case))
    case, above, tied = case[order], above[order], tied[order]
    begins = np.concatenate([[True], (np.diff(case) != 0) | (np.diff(above) != 0) | (np.diff(tied) != 0)])[: len(case)]
    group = np.cumsum(begins) - 1
    size = np.bincount(group, minlength=0)[group]
    earlier = np.flatnonzero(begins)[group] - np.searchsorted(case, case)
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, at + 1))])
    last = np.minimum(above + tied, at)
    first = np.minimum(above, last)
    spread = harmonic[last] - harmonic[first]
    among = (size - 1) / np.maximum(tied - 1, 1) * (last - first - (above + 1) * spread)
    found = np.empty(len(case))
    found[order] = ((earlier + 1) * spread + among) / np.maximum(tied, 1)
    return found


def _first_hit(case: np.ndarray, above: np.ndarray, tied: np.ndarray, num_cases: int, at: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns f64[Q] each: the chance of a hit, and the expected reciprocal rank of the first."""
    beyond = np.iinfo(np.int64).max
    place = np.where(tied > 0, above, beyond)
    best = np.full(num_cases, beyond)
    np.minimum.at(best, case, place)
    is_best = (place == best[case]) & (tied > 0)
    targets = np.bincount(case[is_best], minlength=num_cases)
    size = np.zeros(num_cases, np.int64)
    size[case[is_best]] = tied[is_best]
    step = np.arange(at)
    # The chance that none of the first j of the tied items is a target: without replacement.
    left = np.clip(size[:, None] - targets[:, None] - step, 0, None) / np.maximum(size[:, None] - step, 1)
    none = np.concatenate([np.ones((num_cases, 1)), np.cumprod(left, axis=1)], axis=1)
    rank = np.minimum(best, at)[:, None] + step + 1
    chance = np.where(rank <= at, none[:, :-1] - none[:, 1:], 0)
    return chance.sum(axis=1), (chance / rank).sum(axis=1)
