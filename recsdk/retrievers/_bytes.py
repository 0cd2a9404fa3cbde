"""Kernels of `Int8`: vectors to bytes, from bytes the bounds of every item's score, and the scores of those that are left."""

from __future__ import annotations

import numpy as np

from recsdk import fast

STEPS = 127
BLOCK = 64
"""Items of which the best lower bound is kept."""
SMALLEST = 1e-30
"""Of a step, so that a vector of zeros has one too."""
compiled = fast.jit(nogil=True, error_model="numpy")


@compiled
def encode(vectors: np.ndarray, slot: np.ndarray, code: np.ndarray, scale: np.ndarray) -> float:
    """Writes the rows `slot` of `code` and `scale`; returns the largest length of what they leave out of a vector, in steps."""
    largest = 0.0
    for place in range(len(slot)):
        row = slot[place]
        highest = np.float32(0)
        for axis in range(vectors.shape[1]):
            highest = max(highest, abs(vectors[row, axis]))
        step = max(highest / np.float32(STEPS), np.float32(SMALLEST))
        square = 0.0
        for axis in range(vectors.shape[1]):
            exact = np.float64(vectors[row, axis]) / np.float64(step)
            nearest = min(max(np.rint(exact), -STEPS), STEPS)
            code[row, axis] = np.int8(nearest)
            square += (exact - nearest) ** 2
        scale[row] = step
        largest = max(largest, square)
    return float(np.sqrt(largest))


@compiled
def bounds(code: np.ndarray, scale: np.ndarray, user: np.ndarray, width: np.float32, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns f32[N], what no score exceeds, and f32[blocks], what the best score of each block reaches; -inf for what is not allowed.

    In units of the user's step. The sums are of whole numbers of 32 bits, which a processor makes of 16 numbers at once.
    """
    num_items = len(allowed)
    highest = np.empty(num_items, np.float32)
    reached = np.empty((num_items + BLOCK - 1) // BLOCK, np.float32)
    for block in range(len(reached)):
        best = np.float32(-np.inf)
        for row in range(block * BLOCK, min(block * BLOCK + BLOCK, num_items)):
            if not allowed[row]:
                highest[row] = -np.inf
                continue
            total = np.int32(0)
            for axis in range(len(user)):
                total = np.int32(total + np.int32(np.int32(code[row, axis]) * np.int32(user[axis])))
            middle = np.float32(total)
            highest[row] = scale[row] * (middle + width)
            best = max(best, scale[row] * (middle - width))
        reached[block] = best
    return highest, reached


@compiled
def scores(vectors: np.ndarray, slot: np.ndarray, user: np.ndarray) -> np.ndarray:
    """Returns f64[M], the scores of the rows `slot`, each summed in the order of its axes: equal rows score alike.

    A product with a matrix is quicker, but rounds a row's score by its place.
    """
    found = np.empty(len(slot), np.float64)
    for place in range(len(slot)):
        total = 0.0
        for axis in range(len(user)):
            total += np.float64(vectors[slot[place], axis]) * np.float64(user[axis])
        found[place] = total
    return found
