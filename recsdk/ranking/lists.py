"""What recommended lists are like, besides hitting the target: how much of the catalogue they show, how new, how varied, how fitting."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from recsdk.arrays import largest
from recsdk.base import Events, Items
from recsdk.checks import require_integer, require_number
from recsdk.errors import InvalidLog, InvalidValue, nearest
from recsdk.ranking.cases import Cases, Ragged, taken_by
from recsdk.ranking.evaluation import Interval, Scores, intervals, tables

SMOOTHING = 0.01
"""Share of the history's groups that is mixed into those of a list, so that a group it lacks costs a finite divergence."""


class ListMetrics(NamedTuple):
    """What the lists of one model are like.

    Attributes:
        coverage: share of the catalogue that stands in any list.
        gini: inequality of how often the items of the catalogue are listed: 0 where all are alike, near 1 where few fill all lists.
        novelty: mean over a list of -log2 of the share of the log's users who took the item, in bits; an item that nobody took counts
            as taken by one.
        diversity: mean over the pairs of a list of the Jaccard distance of their groups; None without groups.
        calibration: divergence of the list's groups from those of the history, in nats, 0 where they are alike; None without groups.
        at: k, the length of the lists.
        history_is_masked: whether items of a case's history were left out of its list.
        num_without_groups: cases that have no say in `calibration`, since no item of their history has a group.

    Example:
        >>> from recsdk.ranking import by_scorer, leave_one_out
        >>> from recsdk.scorers.popularity import Popularity
        >>> from recsdk.testing import example_log
        >>> split = leave_one_out(example_log())
        >>> found = list_metrics(by_scorer(Popularity(), Popularity().fit(split.train)), split.test, split.train, at=3, mask_history=False)
        >>> found.coverage  # everyone gets the same three of 12 items
        0.25
    """

    coverage: float
    gini: float
    novelty: Interval
    diversity: Interval | None
    calibration: Interval | None
    at: int
    history_is_masked: bool
    num_without_groups: int


def list_metrics(
    scores: Scores,
    cases: Cases,
    log: Events,
    *,
    at: int = 10,
    groups: str | None = None,
    mask_history: bool = True,
    user: str = "user_id",
    level: float = 0.95,
    num_resamples: int = 1000,
    seed: int = 0,
) -> ListMetrics:
    """Describes the lists that a model would show: the `at` items with the largest scores; of equal ones those that come first.

    Args:
        scores: as for `rank_evaluate`.
        cases: as for `rank_evaluate`.
        log: the events that the model was fitted to; how many users took an item, tells how new it is.
        at: k, the length of the lists.
        groups: feature of the items, a str or a list of str, by which they are alike: the genres of films.
        mask_history: whether a list leaves out the items of the case's history.
        user: the log's column that says who the user is.
        level: of the intervals.
        num_resamples: of the bootstrap over users.
        seed: of the bootstrap.

    Raises:
        InvalidScores: the scores are not finite float32 of the right shape.
        InvalidValue: a setting out of its range, a case with fewer items to show than a list has places, or items without the feature
            `groups`, or with one of another kind.
        InvalidLog: the log has no column `user`, or nobody took anything.
        InvalidRequest: users that are no str.

    References:
        Castells, Vargas, Wang, Novelty and Diversity Metrics for Recommender Systems, 2011; Ziegler, McNee, Konstan, Lausen, Improving
        Recommendation Lists Through Topic Diversification, WWW 2005; Steck, Calibrated Recommendations, RecSys 2018.

    Example:
        >>> from recsdk.ranking import by_scorer, leave_one_out
        >>> from recsdk.scorers.item_knn import ItemKNN
        >>> from recsdk.testing import example_log
        >>> split = leave_one_out(example_log())
        >>> scores = by_scorer(ItemKNN(), ItemKNN().fit(split.train))
        >>> found = list_metrics(scores, split.test, split.train, at=2, mask_history=False)
        >>> round(found.coverage, 3), round(found.gini, 3), found.novelty.value  # by popularity: 0.167, 0.833 and 2.0
        (0.833, 0.292, 2.375)
    """
    require_integer("at", at, at_least=2)
    require_integer("num_resamples", num_resamples, at_least=1)
    require_number("level", level, above=0, at_most=1)
    lists = _lists(scores, cases, at, mask_history)
    num_items = len(cases.items.ids)
    listed = np.bincount(lists.ravel(), minlength=num_items)
    rank = np.arange(1, num_items + 1)
    gini = float((2 * rank - num_items - 1) @ np.sort(listed) / (num_items * listed.sum()))

    def interval(values: np.ndarray) -> Interval:
        has = np.isfinite(values)
        return intervals(values[None, has], cases.user[has], level, num_resamples, seed)[0]

    novelty = interval(_bits(cases.items, log, user)[lists].mean(axis=1))
    diversity = calibration = None
    unknown = 0
    if groups is not None:
        shares = _shares(cases.items, groups)
        diversity = interval(_distances(shares > 0, lists))
        divergence = _divergence(shares, cases.history, lists)
        unknown = int(np.isnan(divergence).sum())
        calibration = interval(divergence) if unknown < len(divergence) else None
    return ListMetrics(float((listed > 0).mean()), gini, novelty, diversity, calibration, at, mask_history, unknown)


def _lists(scores: Scores, cases: Cases, at: int, mask_history: bool) -> np.ndarray:
    """Returns i64[Q, at]."""
    found = np.empty((len(cases.time), at), np.int64)
    for rows, table in tables(scores, cases, mask_history):
        for row, values in zip(rows, table, strict=True):
            if (least := int(np.isfinite(values).sum())) < at:
                raise InvalidValue(f"at must be at most {least}, the items that case {row} can be shown, got {at}.")
            found[row] = largest(values, at)
    return found


def _bits(items: Items, log: Events, user: str) -> np.ndarray:
    """Returns f64[N], how surprising it is that a user took the item."""
    taken, num_items = taken_by(log, user), len(log.items.ids)
    num_users = len(np.unique(taken.user))
    if not num_users:
        raise InvalidLog("log must have a user who took something.")
    once = np.unique(taken.user * num_items + log.item[taken.row])
    count = dict(zip(log.items.ids.tolist(), np.bincount(once % num_items, minlength=num_items).tolist(), strict=True))
    return -np.log2([max(count.get(item, 0), 1) / num_users for item in items.ids.tolist()])


def _shares(items: Items, groups: str) -> np.ndarray:
    """Returns f64[N, G], the share of each group in each item: of g groups each has 1 / g; zeros where an item has none."""
    if groups not in items.features:
        raise InvalidValue(f"items must have the feature {groups!r}, which groups names.{nearest(groups, items.features)}")
    lists = [[] if value is None else [value] if isinstance(value, str) else value for value in items.features[groups].tolist()]
    for item, some in zip(items.ids.tolist(), lists, strict=True):
        if not isinstance(some, (list, tuple)) or not all(isinstance(name, str) for name in some):
            raise InvalidValue(f"{groups!r}, which groups names, must be a str or a list of str, got {some!r} for the item {item!r}.")
    place = {name: number for number, name in enumerate(sorted({name for some in lists for name in some}))}
    shares = np.zeros((len(lists), len(place)))
    for row, some in zip(shares, lists, strict=True):
        row[[place[name] for name in some]] = 1 / max(len({*some}), 1)
    return shares


def _distances(has: np.ndarray, lists: np.ndarray) -> np.ndarray:
    """Returns f64[Q], the mean Jaccard distance of the pairs of each list; two items without a group are alike."""
    one, other = np.triu_indices(lists.shape[1], 1)
    total = np.zeros(len(lists))
    for first, second in zip(lists[:, one].T, lists[:, other].T, strict=True):
        either = (has[first] | has[second]).sum(axis=1)
        total += np.where(either > 0, 1 - (has[first] & has[second]).sum(axis=1) / np.maximum(either, 1), 0)
    return total / len(one)


def _divergence(shares: np.ndarray, history: Ragged, lists: np.ndarray) -> np.ndarray:
    """Returns f64[Q], the divergence of Kullback and Leibler of the list's groups from the history's; NaN for a history without groups."""
    found = np.full(len(lists), np.nan)
    for case, (begin, end) in enumerate(zip(history.start[:-1], history.start[1:], strict=True)):
        past = shares[history.values[begin:end]].sum(axis=0)
        if past.sum():
            now = shares[lists[case]].sum(axis=0)
            past, now = past / past.sum(), now / max(now.sum(), 1e-300)
            some = past > 0
            found[case] = past[some] @ np.log(past[some] / ((1 - SMOOTHING) * now[some] + SMOOTHING * past[some]))
    return found
