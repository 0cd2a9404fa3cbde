"""Rounds that a log has twice, as a redelivered file or a stream that was read again leaves them."""

from __future__ import annotations

from typing import Any

import numpy as np

from recsdk.base import Interaction
from recsdk.checks import check_log
from recsdk.errors import InvalidLog


def check_unique(ids: Any, num_rounds: int) -> None:
    """Refuses a log in which a decision is there twice.

    Args:
        ids: str or int [T], what each row's decision is called.
        num_rounds: T.

    Raises:
        InvalidLog: ids of another length, or the first one that is there again, with its rows.
    """
    names = np.asarray(ids)
    if names.shape != (num_rounds,):
        raise InvalidLog(f"ids must be one for each of {num_rounds} rows, got {list(names.shape)}.")
    _, first, code = np.unique(names, return_index=True, return_inverse=True)
    again = np.flatnonzero(first[code] != np.arange(num_rounds))
    if len(again):
        row = int(again[0])
        raise InvalidLog(
            f"ids must be unique, got {names[row : row + 1].tolist()[0]!r} in row {int(first[code[row]])} and in row {row} "
            f"({len(again)} of {num_rounds} rows are there again): keep one row for each decision."
        )


def num_repeated(log: Interaction) -> int:
    """Returns how many rows are the same as an earlier one in all they say.

    A log without ids can show by this that it has been read twice. But features that take few values repeat of themselves: compare
    with what you would expect before you leave out a row.

    Raises:
        EmptyLog, InvalidLog: as in `rounds`.
    """
    check_log(log)
    size = len(log.action)
    columns = [log.action, log.reward, log.propensity, log.weight, *log.context]
    bits = np.concatenate([np.ascontiguousarray(column).reshape(size, -1).astype(np.float64).view(np.uint64) for column in columns], axis=1)
    # A random linear map of 64 bits, modulo 2^64: two different rows of 10^7 meet with a chance of about 3 in a million.
    factors = np.random.default_rng(0).integers(2**64, size=bits.shape[1], dtype=np.uint64) | np.uint64(1)
    return size - len(np.unique(_mixed(bits) @ factors))


def _mixed(bits: np.ndarray) -> np.ndarray:
    """Spreads what floats differ in, their high bits, over all 64."""
    bits = (bits ^ (bits >> np.uint64(32))) * np.uint64(0x9E3779B97F4A7C15)
    mixed: np.ndarray = bits ^ (bits >> np.uint64(29))
    return mixed
