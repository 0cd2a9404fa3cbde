"""What a record is in the database, and back, with a checksum."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

from recsdk.errors import LedgerCorrupt
from recsdk.ledger import DecisionRecord, ItemRecord, RewardRecord, SignalRecord

Row = tuple[Any, ...]


def checksum(values: Row) -> int:
    """Returns the CRC-32 of values; None counts as nothing."""
    found = 0
    for value in values:
        if value is not None:
            found = zlib.crc32(value if isinstance(value, bytes) else str(value).encode(), found)
    return found


def texts(*values: str | None) -> list[bytes | None]:
    """Returns texts as they are stored."""
    return [None if value is None else value.encode() for value in values]


def decision_values(record: DecisionRecord) -> Row:
    """Returns a decision's values in the order of `tables.DECISION`, without the checksum."""
    slots, action, probs, features = (
        np.ascontiguousarray(array, kind).tobytes()
        for array, kind in ((record.slots, "<i4"), (record.action, "<i4"), (record.probs, "<f8"), (record.features, "<f4"))
    )
    name, payload, parts, user, marks = texts(record.decision_id, record.payload, record.parts, record.user, record.marks)
    shape = (slots, action, probs, record.features.shape[1], features)
    return (name, float(record.time), payload, parts, int(record.num_learned), *shape, user, marks)


def reward_values(record: RewardRecord) -> Row:
    """Returns a reward's values in the order of `tables.REWARD`, without the checksum."""
    name, decision, replaces = texts(record.reward_id, record.decision_id, record.replaces)
    return name, decision, int(record.position), float(record.value), float(record.time), replaces, record.void or None


def signal_values(record: SignalRecord) -> Row:
    """Returns a signal's values in the order of `tables.SIGNAL`, without the checksum."""
    name, decision, kind, about = texts(record.signal_id, record.decision_id, record.name, record.about)
    happened = None if record.happened is None else float(record.happened)
    return name, decision, int(record.position), kind, float(record.value), float(record.time), happened, about


def item_values(record: ItemRecord) -> Row:
    """Returns an item's values in the order of `tables.ITEM`, without the checksum."""
    return int(record.slot), record.row.encode(), np.ascontiguousarray(record.vector, "<f4").tobytes(), bool(record.active)


def decision(row: Row) -> DecisionRecord:
    """Reads a decision."""
    verify("Decision", row)
    name, time, payload, parts, num_learned, slots, action, probs, dim, features, user, marks, _ = row
    shown = np.frombuffer(action, "<i4")
    return DecisionRecord(
        name.decode(),
        time,
        payload.decode(),
        parts.decode(),
        num_learned,
        np.frombuffer(slots, "<i4"),
        shown,
        np.frombuffer(probs, "<f8").reshape(len(shown), -1),
        np.frombuffer(features, "<f4").reshape(-1, dim),
        _text(user),
        _text(marks),
    )


def reward(row: Row) -> RewardRecord:
    """Reads a reward."""
    verify("Reward", row)
    name, decision_id, position, value, time, replaces, void, _ = row
    return RewardRecord(name.decode(), decision_id.decode(), position, value, time, _text(replaces), bool(void))


def signal(row: Row) -> SignalRecord:
    """Reads a signal."""
    verify("Signal", row)
    signal_id, decision_id, position, name, value, time, happened, about, _ = row
    return SignalRecord(signal_id.decode(), decision_id.decode(), position, name.decode(), value, time, happened, _text(about))


def item(row: Row) -> ItemRecord:
    """Reads an item."""
    verify("The item in slot", row)
    slot, text, vector, active, _ = row
    return ItemRecord(slot, text.decode(), np.frombuffer(vector, "<f4"), active)


def verify(what: str, row: Row) -> None:
    """Refuses a row whose checksum is another than it was written with."""
    if checksum(row[:-1]) != row[-1]:
        raise LedgerCorrupt(f"{what} {row[0]!r} does not have the checksum it was written with.")


def _text(stored: bytes | None) -> str | None:
    return None if stored is None else stored.decode()
