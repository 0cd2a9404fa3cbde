"""Ranking metrics."""

import importlib.util
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from recsdk.ranking import rank_metrics

SCORES = st.lists(st.integers(0, 3), min_size=2, max_size=6)


def places(scores, targets):
    """Returns what `rank_metrics` takes, of one case."""
    scores, targets = np.array(scores), np.array(targets)
    above = (scores > scores[targets][:, None]).sum(axis=1)
    tied = (scores == scores[targets][:, None]).sum(axis=1)
    return np.zeros(len(targets), np.int64), above, tied


def of_one_order(order, targets, at):
    """Returns hit, recall, gain over the best gain, reciprocal rank, and average precision, from their definitions."""
    ranks = sorted(order.index(target) + 1 for target in targets)
    found = [rank for rank in ranks if rank <= at]
    best = sum(1 / np.log2(1 + rank) for rank in range(1, min(len(targets), at) + 1))
    gain = sum(1 / np.log2(1 + rank) for rank in found) / best
    precision = sum((place + 1) / rank for place, rank in enumerate(found)) / len(targets)
    return float(bool(found)), len(found) / len(targets), gain, 1 / found[0] if found else 0.0, precision


@given(SCORES, st.integers(1, 7), st.data())
def test_metrics_are_the_mean_over_all_orders_of_what_ties(scores, at, data):
    targets = sorted(data.draw(st.sets(st.integers(0, len(scores) - 1), min_size=1)))
    orders = [order for order in itertools.permutations(range(len(scores))) if sorted(scores, reverse=True) == [scores[i] for i in order]]
    wanted = np.mean([of_one_order(order, targets, at) for order in orders], axis=0)
    got = rank_metrics(*places(scores, targets), 1, at=at)
    np.testing.assert_allclose([metric[0] for metric in got], wanted, atol=1e-12)


@pytest.mark.parametrize("num_scores", [3, 10**6])  # with ties, and without
def test_ndcg_is_that_of_scikit_learn(num_scores):
    rng = np.random.default_rng(0)
    for at in (1, 5, 10, 50):
        scores = rng.integers(num_scores, size=30)
        targets = rng.choice(30, size=int(rng.integers(1, 30)), replace=False)
        relevant = np.isin(np.arange(30), targets).astype(float)
        ours = rank_metrics(*places(scores, targets), 1, at=at).ndcg[0]
        assert abs(ours - ndcg_score([relevant], [scores.astype(float)], k=at)) < 1e-9


def many_cases(seed=0):
    rng = np.random.default_rng(seed)
    scores = np.array([rng.permutation(40) for _ in range(25)])
    return scores, [rng.choice(40, size=int(rng.integers(1, 15)), replace=False) for _ in range(25)]


def ours(scores, targets, at):
    parts = [places(row, some) for row, some in zip(scores, targets, strict=True)]
    case = np.repeat(np.arange(len(targets)), [len(some) for some in targets])
    return rank_metrics(case, *(np.concatenate([part[field] for part in parts]) for field in (1, 2)), len(targets), at=at)


RANX = {
    1: [0.2, 0.01974358974358974, 0.2, 0.2, 0.01974358974358974],
    10: [0.64, 0.238018315018315, 0.2112054434418364, 0.3172063492063492, 0.10168986568986568],
}
"""What ranx 0.3.21 gives for `many_cases`: means of hit_rate, recall, ndcg, mrr, map at the cut-off."""


@pytest.mark.parametrize("at", RANX)
def test_metrics_are_those_that_ranx_gave(at):
    np.testing.assert_allclose([metric.mean() for metric in ours(*many_cases(), at)], RANX[at], atol=1e-9)


@pytest.mark.skipif(importlib.util.find_spec("ranx") is None, reason="ranx is not installed")
def test_metrics_are_those_of_ranx():
    from ranx import Qrels, Run, evaluate

    scores, targets = many_cases(1)
    qrels = Qrels({str(q): {str(item): 1 for item in some} for q, some in enumerate(targets)})
    run = Run({str(q): {str(item): float(score) for item, score in enumerate(row)} for q, row in enumerate(scores)})
    for at in (1, 3, 10, 40):
        theirs = evaluate(qrels, run, [f"hit_rate@{at}", f"recall@{at}", f"ndcg@{at}", f"mrr@{at}", f"map@{at}"])
        np.testing.assert_allclose([metric.mean() for metric in ours(scores, targets, at)], list(theirs.values()), atol=1e-9)


def test_a_target_that_is_not_ranked_is_not_found():
    found = rank_metrics(np.array([0, 1, 1]), np.array([0, 0, 0]), np.array([0, 0, 1]), 2, at=5)
    assert found.recall.tolist() == [0, 0.5]
    assert found.hit_rate.tolist() == found.reciprocal_rank.tolist() == [0, 1]
