"""Ids of items as numbers, in arrays: a dict would not fit into a state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from recsdk.errors import InvalidRequest


class Numbered(Protocol):
    """Sorted ids with a number of each."""

    @property
    def ids(self) -> np.ndarray:
        """str[N], sorted."""

    @property
    def number(self) -> np.ndarray:
        """i64[N], of each id."""


class Vocabulary(NamedTuple):
    """Numbers by id.

    Attributes:
        ids: str[N], sorted.
        number: i64[N], of each id.
    """

    ids: np.ndarray
    number: np.ndarray


def vocabulary(ids: Sequence[str], number: np.ndarray) -> Vocabulary:
    """Sorts ids and their numbers.

    Raises:
        InvalidRequest: an id that ends in NUL, which NumPy's arrays of text drop.
    """
    ending = next((name for name in ids if name.endswith("\0")), None)
    if ending is not None:
        raise InvalidRequest(f"'id' must not end in NUL, got {ending!r}.")
    names = np.array(ids, np.str_)
    order = names.argsort()
    return Vocabulary(names[order], np.asarray(number, np.int64)[order])


def numbers_of(known: Numbered, ids: Sequence[str], *, missing: int) -> np.ndarray:
    """Returns i64[N], the number of each id; `missing` for one that is not known."""
    if not len(known.ids) or not len(ids):
        return np.full(len(ids), missing, np.int64)
    wanted = np.array(ids, np.str_)
    place = np.minimum(known.ids.searchsorted(wanted), len(known.ids) - 1)
    return np.where(known.ids[place] == wanted, known.number[place], missing)
