"""What a record is in the database, and back."""

from __future__ import annotations

from typing import Any

import numpy as np

from recsdk.ledger import DecisionRecord, ItemRecord, RewardRecord, SignalRecord, records
from recsdk.ledger.records import arrays_of

Row = tuple[Any, ...]


def texts(*values: str | None) -> list[bytes | None]:
    """Returns texts as they are stored."""
    return [None if value is None else value.encode() for value in values]


def decision_values(record: DecisionRecord) -> Row:
    """Returns a decision's values in the order of `tables.DECISION`, without the checksum."""
    name, payload, parts, user, marks = texts(record.decision_id, record.payload, record.parts, record.user, record.marks)
    return (name, float(record.time), payload, parts, int(record.num_learned), *arrays_of(record), user, marks)


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
    records.verify("Decision", row)
    name, time, payload, parts, num_learned, *arrays, user, marks, _ = row
    return records.decision((name.decode(), time, payload.decode(), parts.decode(), num_learned, *arrays, _text(user), _text(marks)))


def reward(row: Row) -> RewardRecord:
    """Reads a reward."""
    records.verify("Reward", row)
    name, decision_id, position, value, time, replaces, void, _ = row
    return RewardRecord(name.decode(), decision_id.decode(), position, value, time, _text(replaces), bool(void))


def signal(row: Row) -> SignalRecord:
    """Reads a signal."""
    records.verify("Signal", row)
    signal_id, decision_id, position, name, value, time, happened, about, _ = row
    return SignalRecord(signal_id.decode(), decision_id.decode(), position, name.decode(), value, time, happened, _text(about))


def item(row: Row) -> ItemRecord:
    """Reads an item."""
    records.verify("The item in slot", row)
    slot, text, vector, active, _ = row
    return ItemRecord(slot, text.decode(), np.frombuffer(vector, "<f4"), active)


def _text(stored: bytes | None) -> str | None:
    return None if stored is None else stored.decode()
