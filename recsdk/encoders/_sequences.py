"""Histories as rows of a vocabulary, the input of sequence models."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from recsdk.base import Events, Items, Table
from recsdk.errors import InvalidLog, InvalidRequest, nearest
from recsdk.vocabulary import Numbered, Vocabulary, numbers_of, vocabulary

BEGIN = 0
"""The row that stands before every history, so that an empty one has a vector too; it also pads behind."""


class Histories(NamedTuple):
    """U users' histories, end to end.

    Attributes:
        row: i64[M], rows of the vocabulary, each user's oldest first.
        start: i64[U + 1].
    """

    row: np.ndarray
    start: np.ndarray


def learn(known: Vocabulary, items: Items) -> Vocabulary:
    """Adds items that are new, in the order of the catalogue; an item keeps its row when others join.

    Raises:
        InvalidRequest: an id that ends in NUL.
    """
    there = set(known.ids.tolist())
    new = [name for name in items.ids.tolist() if name not in there]
    rows = np.concatenate([known.number, len(there) + 1 + np.arange(len(new))])
    return vocabulary([*known.ids.tolist(), *new], rows)


def from_log(known: Numbered, log: Events, user: str) -> Histories:
    """Groups what was taken by user, oldest first; events of one time keep the order of the log.

    Raises:
        InvalidLog: the log has events and no column `user`.
        InvalidRequest: users that are no str.
    """
    column = log.requests.get(user)
    if column is None:
        if len(log.item):
            raise InvalidLog(f"log.requests must have a column {user!r} that says who the user is.{nearest(user, log.requests)}")
        return Histories(np.zeros(0, np.int64), np.zeros(1, np.int64))
    number: dict[str, int] = {}
    users = np.empty(len(column), np.int64)
    for place, name in enumerate(column.tolist()):
        if name is not None and not isinstance(name, str):
            raise InvalidRequest(f"{user!r} says who the user is and must be a str, got {name!r}.")
        users[place] = -1 if name is None else number.setdefault(name, len(number))
    taken = np.flatnonzero((log.reward > 0) & (users >= 0))
    taken = taken[users[taken].argsort(kind="stable")]
    rows = numbers_of(known, log.items.ids.tolist(), missing=BEGIN)[log.item[taken]]
    taken, rows = taken[rows != BEGIN], rows[rows != BEGIN]  # an item that has no row is passed over, as in a request
    lengths = np.bincount(users[taken], minlength=len(number))
    return Histories(rows, np.concatenate([[0], lengths[lengths > 0].cumsum()]).astype(np.int64))


def from_requests(known: Numbered, requests: Table, history: str, size: int) -> list[np.ndarray]:
    """Returns the known items of each request's history, oldest first.

    Raises:
        InvalidRequest: a history that is no list of str.
    """
    column = requests.get(history)
    if column is None:
        return [np.zeros(0, np.int64)] * size
    found = []
    for value in column.tolist():
        if not isinstance(value, (list, tuple)) and value is not None and value == value:
            raise InvalidRequest(f"{history!r} must be a list of the ids of what the user took, oldest first, got {value!r}.")
        rows = numbers_of(known, value, missing=BEGIN) if isinstance(value, (list, tuple)) else np.zeros(0, np.int64)
        found.append(rows[rows != BEGIN])
    return found


def windows(histories: Histories, held: np.ndarray, length: int, most: int) -> np.ndarray:
    """Cuts histories into overlapping windows for training.

    Args:
        histories: of U users.
        held: bool[U], users whose last item is held back.
        length: L.
        most: windows per user, the latest.

    Returns:
        i32[W, L + 1]: place t + 1 is to be predicted from places 0 to t; padded behind with `BEGIN`, which is never to be predicted.
    """
    found = []
    for begin, end in zip(histories.start[:-1].tolist(), (histories.start[1:] - held).tolist(), strict=True):
        stop = end
        for _ in range(most):
            if stop <= begin:
                break
            first = max(stop - length, begin)
            window = np.full(length + 1, BEGIN, np.int32)
            window[0] = histories.row[first - 1] if first > begin else BEGIN
            window[1 : stop - first + 1] = histories.row[first:stop]
            found.append(window)
            stop = first
    return np.array(found, np.int32).reshape(-1, length + 1)


def padded(histories: list[np.ndarray], length: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns i32[B, T], the latest items after `BEGIN`, padded behind, and i64[B], each row's last place; T is at most `length`."""
    latest = [rows[max(len(rows) - (length - 1), 0) :] for rows in histories]
    last = np.array([len(rows) for rows in latest], np.int64)
    tokens = np.full((len(latest), int(last.max(initial=0)) + 1), BEGIN, np.int32)
    for row, values in zip(tokens, latest, strict=True):
        row[1 : len(values) + 1] = values
    return tokens, last
