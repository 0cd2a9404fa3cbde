"""Arrays with one row per catalogue slot, while items keep arriving."""

from __future__ import annotations

import numpy as np


def grown(rows: np.ndarray, size: int) -> np.ndarray:
    """Returns `rows` with at least `size` rows, the new ones zero; doubling makes growth O(1) per row."""
    if size <= len(rows):
        return rows
    room = np.zeros((max(size, 2 * len(rows)), *rows.shape[1:]), rows.dtype)
    room[: len(rows)] = rows
    return room


def at(rows: np.ndarray, slot: np.ndarray) -> np.ndarray:
    """Returns the rows of the given slots: zero for a slot that has no row yet."""
    known = slot < len(rows)
    found = np.zeros((*slot.shape, *rows.shape[1:]), rows.dtype)
    found[known] = rows[slot[known]]
    return found
