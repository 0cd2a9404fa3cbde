"""What a record is in SQLite, and back, with a checksum."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

from recsdk.errors import LedgerCorrupt
from recsdk.ledger import DecisionRecord, ItemRecord, RewardRecord, SignalRecord
from recsdk.ledger._packing import unpack

PACKED_PLACES = (5, 7, 9)
"""Where a decision has its slots, probabilities and features."""
Row = tuple[Any, ...]


def decision_values(record: DecisionRecord) -> Row:
    """Returns the values of a decision over which its checksum is."""
    slots, action, probs, features = (
        np.ascontiguousarray(array, kind).tobytes()
        for array, kind in ((record.slots, "<i4"), (record.action, "<i4"), (record.probs, "<f8"), (record.features, "<f4"))
    )
    before = (record.decision_id, record.time + 0.0, record.payload, record.parts, record.num_learned)
    return (*before, slots, action, probs, record.features.shape[1], features, record.user, record.marks)


def decision(row: Row) -> DecisionRecord:
    """Reads a decision."""
    *fields, packed, crc32 = row
    if packed:
        for place in PACKED_PLACES:
            fields[place] = unpack(fields[place])
    verify("Decision", (*fields, crc32))
    decision_id, time, payload, parts, num_learned, slots, action, probs, dim, features, user, marks = fields
    shown = np.frombuffer(action, "<i4")
    return DecisionRecord(
        decision_id,
        time,
        payload,
        parts,
        num_learned,
        np.frombuffer(slots, "<i4"),
        shown,
        np.frombuffer(probs, "<f8").reshape(len(shown), len(slots) // 4),
        np.frombuffer(features, "<f4").reshape(-1, dim),
        user,
        marks,
    )


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
    verify("Reward", row)
    reward_id, decision_id, position, value, time, replaces, void, _ = row
    return RewardRecord(reward_id, decision_id, position, value, time, replaces, bool(void))


def signal(row: Row) -> SignalRecord:
    """Reads a signal."""
    verify("Signal", row)
    return SignalRecord(*row[:-1])


def item(row: Row) -> ItemRecord:
    """Reads an item."""
    verify("The item in slot", row)
    slot, text, vector, active, _ = row
    return ItemRecord(slot, text, np.frombuffer(vector, "<f4"), bool(active))


def verify(what: str, row: Row) -> None:
    """Refuses a row whose checksum is another than it was written with."""
    if checksum(row[:-1]) != row[-1]:
        raise LedgerCorrupt(f"{what} {row[0]!r} does not have the checksum it was written with.")


def checksum(values: Row) -> int:
    """Returns the CRC-32 of values."""
    found = 0
    for value in values:
        if value is None:  # as in ledgers that had no such column
            continue
        found = zlib.crc32(value if isinstance(value, bytes) else str(value).encode(), found)
    return found
