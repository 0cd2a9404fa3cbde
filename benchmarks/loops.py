"""LinUCB as plain loops, compiled by numba: what one writes by hand to walk a log, without checks, draws and probabilities."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(fastmath=True)
def choices(features: np.ndarray, action: np.ndarray, reward: np.ndarray, alpha: float, ridge: float) -> np.ndarray:
    """Returns i64[T], what LinUCB would have chosen, learning what was logged."""
    num_rounds, num_candidates, dim = features.shape
    mean, covariance, gain = np.zeros(dim), np.eye(dim) / ridge, np.zeros(dim)
    chosen = np.zeros(num_rounds, np.int64)
    for t in range(num_rounds):
        best = -np.inf
        for k in range(num_candidates):
            x = features[t, k]
            bound = _dot(x, mean) + alpha * np.sqrt(_square(x, covariance))
            if bound > best:
                best, chosen[t] = bound, k
        _learn(features[t, action[t]], reward[t], mean, covariance, gain)
    return chosen


@numba.njit(fastmath=True, parallel=True)
def sweep(features: np.ndarray, action: np.ndarray, reward: np.ndarray, alphas: np.ndarray, ridges: np.ndarray) -> np.ndarray:
    """Returns f64[C], the mean reward where each setting's choice is the logged one, each setting in a loop of its own."""
    values = np.zeros(len(alphas))
    for setting in numba.prange(len(alphas)):
        matched = choices(features, action, reward, alphas[setting], ridges[setting]) == action
        values[setting] = (matched * reward).sum() / matched.sum()
    return values


@numba.njit(fastmath=True)
def sweep_alphas(features: np.ndarray, action: np.ndarray, reward: np.ndarray, alphas: np.ndarray) -> np.ndarray:
    """Returns the same for settings of alpha alone, which share what is learned: one loop for all."""
    num_rounds, num_candidates, dim = features.shape
    mean, covariance, gain = np.zeros(dim), np.eye(dim), np.zeros(dim)
    matched, rewards = np.zeros(len(alphas)), np.zeros(len(alphas))
    means, widths = np.zeros(num_candidates), np.zeros(num_candidates)
    for t in range(num_rounds):
        for k in range(num_candidates):
            means[k], widths[k] = _dot(features[t, k], mean), np.sqrt(_square(features[t, k], covariance))
        for setting in range(len(alphas)):
            if np.argmax(means + alphas[setting] * widths) == action[t]:
                matched[setting] += 1
                rewards[setting] += reward[t]
        _learn(features[t, action[t]], reward[t], mean, covariance, gain)
    return rewards / matched


@numba.njit(fastmath=True, inline="always")
def _dot(x: np.ndarray, y: np.ndarray) -> float:
    total = 0.0
    for i in range(len(x)):
        total += x[i] * y[i]
    return total


@numba.njit(fastmath=True, inline="always")
def _square(x: np.ndarray, matrix: np.ndarray) -> float:
    total = 0.0
    for i in range(len(x)):
        total += x[i] * _dot(matrix[i], x)
    return total


@numba.njit(fastmath=True, inline="always")
def _learn(x: np.ndarray, reward: float, mean: np.ndarray, covariance: np.ndarray, gain: np.ndarray) -> None:
    for i in range(len(x)):
        gain[i] = _dot(covariance[i], x)
    scale = 1 / (1 + _dot(x, gain))
    pull = scale * (reward - _dot(x, mean))
    for i in range(len(x)):
        mean[i] += pull * gain[i]
        for j in range(len(x)):
            covariance[i, j] -= scale * gain[i] * gain[j]
