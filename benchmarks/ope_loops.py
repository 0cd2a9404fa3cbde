"""IPS, SNIPS and DR as plain loops, compiled by numba: a limit for a log that nobody checks."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit
def columns(
    action: np.ndarray, reward: np.ndarray, propensity: np.ndarray, position: np.ndarray, probs: np.ndarray, q_hat: np.ndarray
) -> np.ndarray:
    """Returns f64[T, 3]: importance, its product with the reward, and DR's term."""
    found = np.empty((len(action), 3))
    for row in range(len(action)):
        place, rho, expected = position[row], probs[row, action[row], position[row]] / propensity[row], 0.0
        for item in range(probs.shape[1]):
            expected += probs[row, item, place] * q_hat[row, item, place]
        found[row] = rho, rho * reward[row], expected + rho * (reward[row] - q_hat[row, action[row], place])
    return found


@numba.njit(parallel=True)
def resample(terms: np.ndarray, num_draws: int) -> np.ndarray:
    """Returns f64[B, 3], means of the columns over rows drawn with replacement, each draw in a loop of its own."""
    found, size = np.zeros((num_draws, 3)), np.uint64(len(terms))
    for draw in numba.prange(num_draws):
        word, weight, gain, doubly = np.uint64(draw + 1) * np.uint64(0x9E3779B97F4A7C15), 0.0, 0.0, 0.0
        for _ in range(len(terms)):
            word ^= word << np.uint64(13)  # Marsaglia's xorshift
            word ^= word >> np.uint64(7)
            word ^= word << np.uint64(17)
            row = ((word >> np.uint64(32)) * size) >> np.uint64(32)
            weight += terms[row, 0]
            gain += terms[row, 1]
            doubly += terms[row, 2]
        found[draw, 0], found[draw, 1], found[draw, 2] = weight / size, gain / size, doubly / size
    return found
