"""The latest items of a user, from the request's own history or from memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from recsdk.base import Events, Request
from recsdk.errors import InvalidRequest
from recsdk.scorers import _histories
from recsdk.scorers._histories import Histories
from recsdk.vocabulary import Vocabulary, numbers_of, vocabulary

UNKNOWN = -1


class Sequences(NamedTuple):
    """Items by user, in the order of the log.

    Attributes:
        user: i64[T], hash of the user; sorted, so that a user's items stand together, oldest first.
        slot: i64[T], of the items.
        row: i64[T], of the log.
    """

    user: np.ndarray
    slot: np.ndarray
    row: np.ndarray


class Memory(NamedTuple):
    """The catalogue's slots by id, and the latest items of each user.

    Attributes:
        slots: of the items at the fit, by id.
        histories: the users' latest items, kept up to date live.
    """

    slots: Vocabulary
    histories: Histories


def empty(max_users: int, history: int) -> Memory:
    """Returns a memory of nobody."""
    return Memory(vocabulary([], np.zeros(0)), _histories.empty(max_users, history))


def sequences(log: Events, user: str) -> Sequences:
    """Reads who took what from a log: an item is taken when its reward is above 0.

    Raises:
        InvalidRequest: users that are no str.
    """
    users = log.requests.get(user, np.full(len(log.item), None, object))
    rows = np.flatnonzero((log.reward > 0) & np.array([value is not None for value in users], bool))
    keys_of: dict[str, int] = {}  # most users are there many times
    keys = np.empty(len(rows), np.int64)
    for place, value in enumerate(users[rows].tolist()):
        if not isinstance(value, str) or value not in keys_of:
            keys_of[value] = key(user, value)
        keys[place] = keys_of[value]
    rows = rows[keys.argsort(kind="stable")]
    return Sequences(np.sort(keys), log.items.slot[log.item[rows]], rows)


def remember_log(memory: Memory, log: Events, taken: Sequences) -> Memory:
    """Fills a memory with the latest items of each user, who was seen last comes last: of too many users the latest stay."""
    histories, most = memory.histories, memory.histories.items.shape[1]
    start = np.flatnonzero(np.diff(taken.user, prepend=taken.user[:1] - 1))
    end = np.append(start, len(taken.user))[1:]
    for user in taken.row[end - 1].argsort():
        for slot in taken.slot[max(start[user], end[user] - most) : end[user]].tolist():
            histories = _histories.remember(histories, int(taken.user[start[user]]), slot)
    return Memory(vocabulary(log.items.ids.tolist(), log.items.slot), histories)


def recent(memory: Memory, features: Mapping[str, Any], user: str, history: str, most: int) -> np.ndarray:
    """Returns i64[<= most], slots of what the user took, the latest first.

    Raises:
        InvalidRequest: a user that is no str, or a history that is no list of ids.
    """
    given = features.get(history)
    if given is not None:
        if not isinstance(given, (list, tuple)):
            raise InvalidRequest(f"{history!r} must be a list of the ids of what the user took, oldest first, got {given!r}.")
        slots = numbers_of(memory.slots, given[-most:], missing=UNKNOWN)[::-1]
        known: np.ndarray = slots[slots != UNKNOWN]
        return known
    value = features.get(user)
    if value is None:
        return np.empty(0, np.int64)
    found: np.ndarray = _histories.recall(memory.histories, key(user, value))
    return found[:most]


def remember(memory: Memory, user: str, requests: Sequence[Request], slots: Sequence[int], rewards: Sequence[float]) -> Memory:
    """Puts what was taken into a memory, see `extend`. Consumes `memory`."""
    return memory._replace(histories=extend(memory.histories, user, requests, slots, rewards))


def extend(histories: Histories, user: str, requests: Sequence[Request], slots: Sequence[int], rewards: Sequence[float]) -> Histories:
    """Puts each item with a reward above 0 at the front of its user's history. Consumes `histories`.

    Raises:
        InvalidRequest: a user that is no str.
    """
    for request, slot, reward in zip(requests, slots, rewards, strict=True):
        value = request.features.get(user) if reward > 0 else None
        if value is not None:
            histories = _histories.remember(histories, key(user, value), slot)
    return histories


def key(user: str, value: object) -> int:
    """Returns the hash of a user, given the name of the request's feature that says who it is, and its value.

    Raises:
        InvalidRequest: a user that is no str.
    """
    if not isinstance(value, str):
        raise InvalidRequest(f"{user!r} says who the user is and must be a str, got {value!r}.")
    return _histories.key_of(value)
