"""Conditional logit: the weights of columns under which what was chosen is most likely."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

MOST_STEPS = 50
SETTLED = 1e-8


class Columns(NamedTuple):
    """Scores of C held-out cases.

    Attributes:
        scores: f64[C, N, M], of each item by each column.
        ranked: bool[C, N], false for what the user had taken before.
        target: i64[C], the item that was taken.
    """

    scores: np.ndarray
    ranked: np.ndarray
    target: np.ndarray


def logit(data: Columns, ridge: float) -> np.ndarray:
    """Returns f64[M], the weights of the largest likelihood less `ridge` / 2 times their squares, by Newton's method with halved steps."""
    weights = np.zeros(data.scores.shape[2])
    best, slope, curvature = _likelihood(data, weights, ridge)
    for _ in range(MOST_STEPS):
        step = np.linalg.solve(curvature, slope)
        if np.abs(step).max() < SETTLED:
            break
        found = _likelihood(data, weights + step, ridge)
        while found[0] < best and np.abs(step).max() >= SETTLED:
            step = step / 2
            found = _likelihood(data, weights + step, ridge)
        weights, (best, slope, curvature) = weights + step, found
    return weights


def _likelihood(data: Columns, weights: np.ndarray, ridge: float) -> tuple[float, np.ndarray, np.ndarray]:
    """Returns the penalised log-likelihood, its gradient f64[M], and the negative of its second derivative f64[M, M]."""
    cases = np.arange(len(data.target))
    totals = np.where(data.ranked, data.scores @ weights, -np.inf)
    totals -= totals.max(axis=1, keepdims=True)
    chance = np.exp(totals)
    norm = chance.sum(axis=1, keepdims=True)
    chance /= norm
    mean = (chance[:, None] @ data.scores)[:, 0]
    slope = (data.scores[cases, data.target] - mean).sum(axis=0) - ridge * weights
    second = np.einsum("cnm,cnk->mk", data.scores * chance[:, :, None], data.scores, optimize=True) - mean.T @ mean
    value = (totals[cases, data.target] - np.log(norm[:, 0])).sum() - ridge / 2 * weights @ weights
    return float(value), slope, second + ridge * np.eye(len(weights))
