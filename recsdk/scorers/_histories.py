"""Every user's latest items, in memory that does not grow.

Built like a processor's cache: a user's key picks a set of `WAYS` rows and may lie in any of them; when all are taken, the row that
was written longest ago makes room. So finding, writing and forgetting a user are O(1), and the state is plain arrays.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np

WAYS = 8


class Histories(NamedTuple):
    """U rows of one user each.

    Attributes:
        key: i64[U], hash of the user.
        items: i64[U, H], slots of the user's latest distinct items, the latest first.
        length: i64[U], how many of `items` are there; 0 in a free row.
        written: i64[U], value of `clock` when the row was last written.
        clock: i64[], number of writes.
    """

    key: np.ndarray
    items: np.ndarray
    length: np.ndarray
    written: np.ndarray
    clock: np.ndarray


def empty(max_users: int, history: int) -> Histories:
    """Returns room for `max_users`, rounded up to whole sets."""
    rows = -(-max_users // WAYS) * WAYS
    counters = (np.zeros(rows, np.int64) for _ in range(3))
    key, length, written = counters
    return Histories(key, np.zeros((rows, history), np.int64), length, written, np.array(0))


def key_of(user: str) -> int:
    """Hashes a user into 64 bits with a sign: among a million users two share a key with probability 3e-8."""
    return int.from_bytes(hashlib.blake2b(user.encode(), digest_size=8).digest(), "little", signed=True)


def recall(state: Histories, key: int) -> np.ndarray:
    """Returns i64[<= H], the user's latest items; none for a user who is not there."""
    row = _find(state, key)
    return state.items[row, : state.length[row]] if row >= 0 else state.items[0, :0]


def remember(state: Histories, key: int, slot: int) -> Histories:
    """Puts an item at the front of a user's history. Consumes `state`."""
    row = _find(state, key)
    if row < 0:
        row = _make_room(state, key)
    length = int(state.length[row])
    place = next(iter(np.flatnonzero(state.items[row, :length] == slot)), length)
    last = min(place, state.items.shape[1] - 1)
    state.items[row, 1 : last + 1] = state.items[row, :last].copy()
    state.items[row, 0] = slot
    state.length[row] = max(length, last + 1)
    state.written[row] = state.clock + 1
    return state._replace(clock=np.asarray(state.clock + 1))


def _first_row(state: Histories, key: int) -> int:
    return key % (len(state.key) // WAYS) * WAYS


def _find(state: Histories, key: int) -> int:
    first = _first_row(state, key)
    there = state.key[first : first + WAYS] == key
    return first + int(there.argmax()) if there.any() else -1


def _make_room(state: Histories, key: int) -> int:
    first = _first_row(state, key)
    row = first + int(state.written[first : first + WAYS].argmin())
    state.key[row], state.length[row] = key, 0
    return row
