"""Ranking evaluation: how well a model orders the whole catalogue for what users took next."""

from recsdk.ranking.cases import Cases, Ragged, Split, leave_one_out, split_at_time, split_by_user
from recsdk.ranking.evaluation import Interval, RankDifference, RankEvaluation, by_encoder, by_scorer, compare_rankings, rank_evaluate
from recsdk.ranking.lists import ListMetrics, list_metrics
from recsdk.ranking.metrics import Ranking, rank_metrics

__all__ = [
    "Cases",
    "Interval",
    "ListMetrics",
    "Ragged",
    "RankDifference",
    "RankEvaluation",
    "Ranking",
    "Split",
    "by_encoder",
    "by_scorer",
    "compare_rankings",
    "leave_one_out",
    "list_metrics",
    "rank_evaluate",
    "rank_metrics",
    "split_at_time",
    "split_by_user",
]
