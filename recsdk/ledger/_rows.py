"""What a record is in SQLite, and back."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

from recsdk.ledger import DecisionRecord, ItemRecord, RewardRecord, SignalRecord, records
from recsdk.ledger._packing import unpack
from recsdk.ledger.records import arrays_of

Row = tuple[Any, ...]


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
        before, after = f"{decision_id}{time}{payload}{parts}{num_learned}".encode(), f"{user or ''}{marks or ''}".encode()
        found = zlib.crc32(b"".join((before, slots, action, probs, b"%d" % dim, features, after)))  # is `checksum`, in a third of the time
    except TypeError:  # what is no array any more
        found = None
    if found != crc32:
        raise records.damaged("Decision", decision_id)
    return decision_id, time, payload, parts, num_learned, slots, action, probs, dim, features, user, marks


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
    reward_id, decision_id, position, value, time, replaces, void, crc32 = row
    text = f"{reward_id}{decision_id}{position}{value}{time}{replaces or ''}{void or ''}"  # is `checksum`, in half of the time
    if zlib.crc32(text.encode()) != crc32:
        raise records.damaged("Reward", reward_id)
    return tuple.__new__(RewardRecord, (reward_id, decision_id, position, value, time, replaces, bool(void)))  # in half of the time


def reward_of(values: Row) -> RewardRecord:
    """Returns the reward of its values."""
    reward_id, decision_id, position, value, time, replaces, void = values
    return RewardRecord(reward_id, decision_id, position, value, time, replaces, bool(void))


def signal(row: Row) -> SignalRecord:
    """Reads a signal."""
    records.verify("Signal", row)
    return SignalRecord(*row[:-1])


def item(row: Row) -> ItemRecord:
    """Reads an item."""
    records.verify("The item in slot", row)
    slot, text, vector, active, _ = row
    return ItemRecord(slot, text, np.frombuffer(vector, "<f4"), bool(active))
