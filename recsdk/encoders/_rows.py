"""Which items have rows in the tables of a model that goes on with a stream of logs, and tables that seldom change their size."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from recsdk.base import Events
from recsdk.vocabulary import Numbered, vocabulary

SMALLEST = 64


class Rows(NamedTuple):
    """Items that have a row now: a `Vocabulary` that also gives rows back.

    Attributes:
        ids: str[N], sorted.
        number: i64[N], the row of each, from 1 on.
        idle: i64[N], fits without an event of it since the last with one.
    """

    ids: np.ndarray
    number: np.ndarray
    idle: np.ndarray


def no_rows() -> Rows:
    """Returns the rows of a model that knows no item."""
    return Rows(*vocabulary([], np.zeros(0)), np.zeros(0, np.int64))


def learn(known: Rows, log: Events, admit: int, expire: int) -> Rows:
    """Gives rows back, and gives the lowest that are free to new items; an item keeps its row in between. An empty log changes nothing.

    Args:
        known: after the fit before.
        log: of this fit.
        admit: events of an item in the log after which it gets a row.
        expire: fits without an event after which an item gives its row back; 0 for never.

    Raises:
        InvalidRequest: an id that ends in NUL.
    """
    if not len(log.item):
        return known
    count = np.bincount(log.item[log.reward > 0], minlength=len(log.items.ids))
    seen = set(log.items.ids[count > 0].tolist())
    idle = np.where(np.array([name in seen for name in known.ids.tolist()], bool), 0, known.idle + 1)
    kept = np.flatnonzero(idle < expire) if expire else np.arange(len(idle))
    names, there = known.ids[kept].tolist(), set(known.ids[kept].tolist())
    new = [name for name in log.items.ids[count >= admit].tolist() if name not in there]
    free = np.setdiff1d(np.arange(1, len(names) + len(new) + 1), known.number[kept])[: len(new)]
    found = vocabulary([*names, *new], np.concatenate([known.number[kept], free]))
    idle_of = np.zeros(int(found.number.max(initial=0)) + 1, np.int64)
    idle_of[known.number[kept]] = idle[kept]
    return Rows(*found, idle_of[found.number])


def fresh(known: Numbered, now: Numbered) -> np.ndarray:
    """Returns i64[M], the rows of items that had none before."""
    before = set(known.ids.tolist())
    rows: np.ndarray = now.number[np.array([name not in before for name in now.ids.tolist()], bool)]
    return rows


def filled(size: int, least: int = SMALLEST) -> int:
    """Returns the power of two that holds so many: few sizes, few compilations."""
    return max(1 << max(size - 1, 0).bit_length(), least)
