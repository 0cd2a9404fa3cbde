"""What a record is in SQLite, and back."""

from __future__ import annotations

import functools
import operator
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from recsdk.ledger import DecisionRecord, ItemRecord, RewardRecord, SignalRecord, records
from recsdk.ledger._packing import unpack, unpack_all
from recsdk.ledger.records import arrays_of

Row = tuple[Any, ...]
_made = functools.partial(tuple.__new__, RewardRecord)
"""Is `RewardRecord._make` in a third of the time."""


def decision_values(record: DecisionRecord) -> Row:
    """Returns the values of a decision over which its checksum is."""
    before = (record.decision_id, record.time + 0.0, record.payload, record.parts, record.num_learned)  # SQLite has one zero
    return (*before, *arrays_of(record), record.user, record.marks)


def decision_fields(row: Row) -> Row:
    """Returns the fields of a decision, unpacked, once their checksum is the one they were written with."""
    decision_id, time, payload, parts, num_learned, slots, action, probs, dim, features, user, marks, _, _, packed, crc32 = row
    try:
        if packed:
            slots, probs, features = unpack(slots), unpack(probs), unpack(features)
        after = (num_learned, slots, action, probs, dim, features, user, marks)
        found = _decision_crc32(decision_id, time, payload, str(parts).encode(), *after)
    except TypeError:  # what is no array any more
        found = None
    if found != crc32:
        raise records.damaged("Decision", decision_id)
    return decision_id, time, payload, parts, *after


def decisions_fields(columns: Sequence[Sequence[Any]]) -> Iterable[Row] | None:
    """Is `decision_fields` of many rows, given as columns; None where not all of them are as they were written."""
    decision_id, time, payload, parts, num_learned, slots, action, probs, dim, features, user, marks, _, _, packed, crc32s = columns
    slots, probs, features = (_unpacked(packed, column) for column in (slots, probs, features))
    before, after = (decision_id, time, payload), (num_learned, slots, action, probs, dim, features, user, marks)
    encoded = {text: str(text).encode() for text in set(parts)}  # few long ones
    found = map(_decision_crc32, *before, map(encoded.__getitem__, parts), *after)
    return zip(*before, parts, *after, strict=True) if all(map(operator.eq, found, crc32s)) else None


def _unpacked(packed: Sequence[int], column: Sequence[bytes]) -> Sequence[bytes]:
    if all(packed):
        return unpack_all(column)
    return [unpack(data) if is_packed else data for is_packed, data in zip(packed, column, strict=True)]


def _decision_crc32(
    decision_id: str, time: float, payload: str, parts: bytes, num_learned: int, slots: bytes, action: bytes, probs: bytes, dim: int,
    features: bytes, user: str | None, marks: str | None,
) -> int:  # fmt: skip
    """Is `checksum` of a decision, in a third of the time."""
    before, after = f"{decision_id}{time}{payload}".encode(), f"{user or ''}{marks or ''}".encode()
    return zlib.crc32(b"".join((before, parts, b"%d" % num_learned, slots, action, probs, b"%d" % dim, features, after)))


def reward_values(record: RewardRecord) -> Row:
    """Returns the values of a reward over which its checksum is."""
    own = (record.reward_id, record.decision_id, record.position, record.value + 0.0, record.time + 0.0)  # SQLite has one zero
    return (*own, record.replaces, 1 if record.void else None)


def signal_values(record: SignalRecord) -> Row:
    """Returns the values of a signal over which its checksum is."""
    happened = None if record.happened is None else record.happened + 0.0
    own = (record.signal_id, record.decision_id, record.position, record.name, record.value + 0.0, record.time + 0.0)
    return (*own, happened, record.about)


def item_values(record: ItemRecord) -> Row:
    """Returns the values of an item over which its checksum is."""
    return record.slot, record.row, np.ascontiguousarray(record.vector, "<f4").tobytes(), int(record.active)


def reward(row: Row) -> RewardRecord:
    """Reads a reward."""
    *values, crc32 = row
    if _reward_crc32(*values) != crc32:
        raise records.damaged("Reward", row[0])
    return reward_of(values)


def rewards(columns: Sequence[Sequence[Any]]) -> Iterable[RewardRecord] | None:
    """Is `reward` of many rows, given as columns; None where not all of them are as they were written."""
    *values, void, crc32s = columns
    if not all(map(operator.eq, map(_reward_crc32, *values, void), crc32s)):
        return None
    return map(_made, zip(*values, map(bool, void), strict=True))


def _reward_crc32(
    reward_id: str, decision_id: str, position: int, value: float, time: float, replaces: str | None, void: int | None
) -> int:  # fmt: skip
    """Is `checksum` of a reward, in half of the time."""
    return zlib.crc32(f"{reward_id}{decision_id}{position}{value}{time}{replaces or ''}{void or ''}".encode())


def reward_of(values: Sequence[Any]) -> RewardRecord:
    """Returns the reward of its values."""
    *before, void = values
    return _made((*before, bool(void)))


def signal(row: Row) -> SignalRecord:
    """Reads a signal."""
    records.verify("Signal", row)
    return SignalRecord(*row[:-1])


def item(row: Row) -> ItemRecord:
    """Reads an item."""
    records.verify("The item in slot", row)
    slot, text, vector, active, _ = row
    return ItemRecord(slot, text, np.frombuffer(vector, "<f4"), bool(active))
