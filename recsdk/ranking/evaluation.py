"""Full ranking of the catalogue for each case, with intervals by user."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from recsdk.base import Array, Encoder, Request, Scorer
from recsdk.checks import require_integer, require_number
from recsdk.columns import features_at
from recsdk.errors import InvalidScores, InvalidValue
from recsdk.ranking.cases import Cases
from recsdk.ranking.metrics import Ranking, rank_metrics

CHUNK = 2**23
"""Scores that are held at once."""

Scores = Callable[[Cases, np.ndarray], Array]
"""`(cases, rows) -> f32[B, N]`: the score of each item of the catalogue, for B rows of the cases."""


class Interval(NamedTuple):
    """A mean over cases with its bootstrap interval.

    Attributes:
        value: the mean.
        low: lower end of the interval.
        high: upper end.

    Example:
        >>> Interval(0.5, 0.4, 0.6).value
        0.5
    """

    value: float
    low: float
    high: float


class RankEvaluation(NamedTuple):
    """The ranking quality of one model.

    Attributes:
        hit_rate: share of the cases with a target among the first `at` items.
        recall: mean share of a case's targets among the first `at` items.
        ndcg: mean normalised discounted cumulative gain of the first `at` items.
        mrr: mean reciprocal rank of the first target, 0 beyond `at`.
        map: mean average precision: over all targets of a case the mean of the precision at their ranks, 0 beyond `at`.
        at: k, the number of places that count.
        history_is_masked: whether items of a case's history were left out of its ranking.
        num_masked_targets: targets that are in the history and so were not ranked; they count as not found.
        per_case: the metrics of each case.
        user: i64[Q], of each case.

    Example:
        >>> from recsdk.scorers.popularity import Popularity
        >>> from recsdk.ranking import leave_one_out
        >>> from recsdk.testing import example_log
        >>> split = leave_one_out(example_log())
        >>> found = rank_evaluate(by_scorer(Popularity(), Popularity().fit(split.train)), split.test, at=5, mask_history=False)
        >>> found.at, found.history_is_masked, 0 < found.hit_rate.value <= 1
        (5, False, True)
    """

    hit_rate: Interval
    recall: Interval
    ndcg: Interval
    mrr: Interval
    map: Interval
    at: int
    history_is_masked: bool
    num_masked_targets: int
    per_case: Ranking
    user: np.ndarray


class RankDifference(NamedTuple):
    """The first model's metrics minus the second's, on the same cases.

    Attributes:
        hit_rate: difference of the means, with its interval.
        recall: likewise.
        ndcg: likewise.
        mrr: likewise.
        map: likewise.

    Example:
        >>> RankDifference(*[Interval(0.0, -0.1, 0.1)] * 5).ndcg.low
        -0.1
    """

    hit_rate: Interval
    recall: Interval
    ndcg: Interval
    mrr: Interval
    map: Interval


def rank_evaluate(
    scores: Scores,
    cases: Cases,
    *,
    at: int = 10,
    mask_history: bool = True,
    level: float = 0.95,
    num_resamples: int = 1000,
    seed: int = 0,
) -> RankEvaluation:
    """Ranks the whole catalogue for each case and measures where the targets stand.

    Items that tie share their places: a metric is its expectation over a random order of them, so a model that scores all items
    alike gets what blind choice gets. Intervals are percentiles of a bootstrap over users.

    Args:
        scores: from `by_encoder` or `by_scorer`, or a function of your own: `(cases, rows) -> f32[B, N]`.
        cases: from `leave_one_out` or `split_at_time`.
        at: k, the number of places that count.
        mask_history: whether a case's ranking leaves out the items of its history; figures with and without are not comparable.
        level: of the intervals.
        num_resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        InvalidScores: the scores are not finite float32 of the right shape.
        InvalidValue: a setting out of its range.

    Example:
        >>> import numpy as np
        >>> from recsdk.ranking import leave_one_out
        >>> from recsdk.testing import example_log
        >>> cases = leave_one_out(example_log()).test
        >>> def blind(cases, rows):
        ...     return np.zeros((len(rows), len(cases.items.ids)), np.float32)
        >>> rank_evaluate(blind, cases, at=3, mask_history=False).recall.value  # 3 of 12 items
        0.25
    """
    require_integer("at", at, at_least=1)
    require_integer("num_resamples", num_resamples, at_least=1)
    require_number("level", level, above=0, at_most=1)
    parts = [_places(cases, rows, table) for rows, table in tables(scores, cases, mask_history)]
    case, above, tied = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    ranking = rank_metrics(case, above, tied, len(cases.time), at=at)
    hit_rate, recall, ndcg, mrr, precision = intervals(np.stack(ranking), cases.user, level, num_resamples, seed)
    return RankEvaluation(hit_rate, recall, ndcg, mrr, precision, at, mask_history, int((tied == 0).sum()), ranking, cases.user)


def compare_rankings(
    first: RankEvaluation, second: RankEvaluation, *, level: float = 0.95, num_resamples: int = 1000, seed: int = 0
) -> RankDifference:
    """Compares two models on the same cases, by a paired bootstrap over users.

    Args:
        first: of the one model.
        second: of the other, for the same cases, with the same cut-off and the same masking.
        level: of the intervals.
        num_resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        InvalidValue: the evaluations are of other cases, cut-offs or maskings.

    Example:
        >>> from recsdk.scorers.popularity import Popularity
        >>> from recsdk.ranking import leave_one_out
        >>> from recsdk.testing import example_log
        >>> split = leave_one_out(example_log())
        >>> found = rank_evaluate(by_scorer(Popularity(), Popularity().fit(split.train)), split.test)
        >>> compare_rankings(found, found).ndcg
        Interval(value=0.0, low=0.0, high=0.0)
    """
    for field in ("at", "history_is_masked"):
        if getattr(first, field) != getattr(second, field):
            raise InvalidValue(f"{field} must be the same in both evaluations, got {getattr(first, field)} and {getattr(second, field)}.")
    if not np.array_equal(first.user, second.user):
        sizes = f"{len(first.user)} and {len(second.user)} cases"
        raise InvalidValue(f"The evaluations must be of the same cases in the same order, got {sizes}, of other users.")
    difference = np.stack(first.per_case) - np.stack(second.per_case)
    return RankDifference(*intervals(difference, first.user, level, num_resamples, seed))


def by_encoder(encoder: Encoder[Any], state: Any) -> Scores:
    """Scores by the inner products of a fitted encoder.

    Args:
        encoder: the config.
        state: from its `fit`.

    Example:
        >>> from recsdk.encoders.two_tower import TwoTower
        >>> from recsdk.ranking import leave_one_out
        >>> from recsdk.testing import example_log
        >>> encoder, cases = TwoTower(dim=4), leave_one_out(example_log()).test
        >>> by_encoder(encoder, encoder.init())(cases, np.arange(2)).shape
        (2, 12)
    """
    kept: list[Array] = []

    def scores(cases: Cases, rows: np.ndarray) -> Array:
        if not kept:
            kept.append(encoder.encode_items(state, cases.items))
        return encoder.encode_requests(state, {name: column[rows] for name, column in cases.requests.items()}) @ kept[0].T

    return scores


def by_scorer(scorer: Scorer[Any], state: Any, *, column: str | None = None) -> Scores:
    """Scores by one column of a fitted scorer.

    Args:
        scorer: the config.
        state: from its `fit`.
        column: one of `scorer.columns`; None for the first.

    Raises:
        InvalidValue: a column that the scorer does not have.

    Example:
        >>> from recsdk.scorers.popularity import Popularity
        >>> from recsdk.ranking import leave_one_out
        >>> from recsdk.testing import example_log
        >>> cases = leave_one_out(example_log()).test
        >>> by_scorer(Popularity(), Popularity().init())(cases, np.arange(2)).shape
        (2, 12)
    """
    if column is not None and column not in scorer.columns:
        raise InvalidValue(f"column must be one of {scorer.columns}, got {column!r}.")
    place = 0 if column is None else scorer.columns.index(column)

    def scores(cases: Cases, rows: np.ndarray) -> Array:
        return np.stack(
            [scorer.score(state, Request(features_at(cases.requests, row), float(cases.time[row])), cases.items)[:, place] for row in rows]
        )

    return scores


def _places(cases: Cases, rows: np.ndarray, table: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns i64[T] each: the case of each target, the items above it, and the items that tie with it."""
    case, target = _pairs(cases.target, rows)
    above, tied = np.empty(len(case), np.int64), np.empty(len(case), np.int64)
    for first in range(0, len(case), max(len(rows), 1)):  # targets may be many more than cases
        part = slice(first, first + len(rows))
        own = table[case[part], target[part]][:, None]
        ranked = table if np.array_equal(case[part], np.arange(len(rows))) else table[case[part]]
        above[part] = (ranked > own).sum(axis=1)
        tied[part] = (ranked == own).sum(axis=1) * np.isfinite(own[:, 0])
    return rows[case], above, tied


def tables(scores: Scores, cases: Cases, mask_history: bool) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields rows of the cases, all in their order, with their scores f32[B, N], -inf for what is left out.

    Raises:
        InvalidScores: the scores are not finite float32 of the right shape.
    """
    num_cases, num_items = len(cases.time), len(cases.items.ids)
    size = max(1, CHUNK // max(num_items, 1))
    for first in range(0, num_cases, size):
        rows = np.arange(first, min(first + size, num_cases))
        table: np.ndarray = np.array(scores(cases, rows))
        if table.shape != (len(rows), num_items) or table.dtype != np.float32 or not np.isfinite(table).all():
            wanted = [len(rows), num_items]
            raise InvalidScores(f"scores must return finite float32{wanted}, got {table.dtype}{list(table.shape)}: {table}.")
        if mask_history:
            table[_pairs(cases.history, rows)] = -np.inf
        yield rows, table


def _pairs(lists: Any, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the places (row, value) of the lists of some consecutive rows."""
    begin, end = lists.start[rows[0]], lists.start[rows[-1] + 1]
    length = np.diff(lists.start[rows[0] : rows[-1] + 2])
    return np.repeat(np.arange(len(rows)), length), lists.values[begin:end]


def intervals(values: np.ndarray, user: np.ndarray, level: float, num_resamples: int, seed: int) -> list[Interval]:
    """Returns the mean of each row of f64[M, Q], with its percentile interval when users are drawn anew."""
    _, number = np.unique(user, return_inverse=True)
    num_users = int(number.max()) + 1
    sums = np.stack([np.bincount(number, row, num_users) for row in (*values, np.ones(len(number)))])
    rng = np.random.default_rng(seed)
    drawn = np.stack([sums @ np.bincount(rng.integers(num_users, size=num_users), minlength=num_users) for _ in range(num_resamples)])
    tail = 50 * (1 - level)
    low, high = np.percentile(drawn[:, :-1] / drawn[:, -1:], [tail, 100 - tail], axis=0)
    return [Interval(*map(float, ends)) for ends in zip(values.mean(axis=1), low, high, strict=True)]
