"""What ledgers share: checksums, the bytes of a decision's arrays, the rule of corrections. For who writes a ledger of their own."""

from __future__ import annotations

import hashlib
import itertools
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from recsdk.errors import LedgerCorrupt, LedgerError
from recsdk.ledger import DecisionRecord, ItemRecord, RewardRecord

INT32, FLOAT32, FLOAT64 = np.dtype("<i4"), np.dtype("<f4"), np.dtype("<f8")


def checksum(values: Sequence[Any]) -> int:
    """Returns the CRC-32 of values: of bytes as they are, of all else as its text. None counts as nothing, so columns can be added later.

    Example:
        >>> checksum(["d1", 0.5, None, b"ab"]) == checksum(["d1", 0.5, b"ab"])
        True
    """
    if bytes in map(type, values):
        return zlib.crc32(b"".join([value if isinstance(value, bytes) else str(value).encode() for value in values if value is not None]))
    return zlib.crc32("".join([str(value) for value in values if value is not None]).encode())


def verify(what: str, row: Sequence[Any]) -> None:
    """Refuses values that end with another checksum than theirs.

    Args:
        what: is stored, such as "Decision".
        row: the values, of which the first names it; then the checksum that it was written with.

    Raises:
        LedgerCorrupt: naming it.

    Example:
        >>> verify("Decision", ["d1", 0.5, checksum(["d1", 0.5])])
    """
    if checksum(row[:-1]) != row[-1]:
        raise damaged(what, row[0])


def damaged(what: str, name: object) -> LedgerCorrupt:
    """Returns the error of what ends with another checksum than its own.

    Example:
        >>> str(damaged("Decision", "d1"))
        "Decision 'd1' does not have the checksum it was written with."
    """
    return LedgerCorrupt(f"{what} {name!r} does not have the checksum it was written with.")


def verified_bytes(name: str, sha256: bytes, data: bytes) -> bytes:
    """Returns named bytes, once their SHA-256 is the one they were written with.

    Raises:
        LedgerCorrupt: when it is another.

    Example:
        >>> verified_bytes("salt", hashlib.sha256(b"123").digest(), b"123")
        b'123'
    """
    if hashlib.sha256(data).digest() != sha256:
        raise LedgerCorrupt(f"The ledger's {name!r} does not have the checksum it was written with.")
    return bytes(data)


def arrays_of(record: DecisionRecord) -> tuple[bytes, bytes, bytes, int, bytes]:
    r"""Returns the bytes of a decision's slots, action and probabilities, the number of its features, and their bytes; little-endian.

    Example:
        >>> one = np.ones((1, 1))
        >>> arrays_of(DecisionRecord("d1", 0.0, "{}", "{}", 0, np.array([7]), np.array([0]), one, one))[0]
        b'\x07\x00\x00\x00'
    """
    slots, action, probs, features = (
        np.ascontiguousarray(array, kind).tobytes()
        for array, kind in ((record.slots, INT32), (record.action, INT32), (record.probs, FLOAT64), (record.features, FLOAT32))
    )
    return slots, action, probs, record.features.shape[1], features


def fields_of(record: DecisionRecord) -> tuple[Any, ...]:
    r"""Returns the fields of a decision, in order, with what `arrays_of` returns in place of the arrays.

    Example:
        >>> one = np.ones((1, 1))
        >>> fields_of(DecisionRecord("d1", 0.0, "{}", "{}", 0, np.array([7]), np.array([0]), one, one, user="u17"))[8:]
        (1, b'\x00\x00\x80?', 'u17', None)
    """
    return (*record[:5], *arrays_of(record), record.user, record.marks)


def decision(fields: Sequence[Any]) -> DecisionRecord:
    """Returns a decision of what `fields_of` gave.

    Example:
        >>> one = np.ones((1, 1))
        >>> decision(fields_of(DecisionRecord("d1", 0.0, "{}", "{}", 0, np.array([7]), np.array([0]), one, one))).slots
        array([7], dtype=int32)
    """
    decision_id, time, payload, parts, num_learned, slots, action, probs, dim, features, user, marks = fields
    shown = np.frombuffer(action, INT32)
    return DecisionRecord(
        decision_id,
        time,
        payload,
        parts,
        num_learned,
        np.frombuffer(slots, INT32),
        shown,
        np.frombuffer(probs, FLOAT64).reshape(len(shown), len(slots) // 4),
        np.frombuffer(features, FLOAT32).reshape(-1, dim),
        user,
        marks,
    )


def in_order(items: Iterable[ItemRecord], decisions: Iterable[tuple[int, DecisionRecord]]) -> Iterator[ItemRecord | DecisionRecord]:
    """Yields items and decisions in the order in which they were appended, given with each decision how many items were before it.

    Example:
        >>> item = ItemRecord(0, "{}", np.zeros(2, np.float32), active=True)
        >>> len(list(in_order([item, item], [])))
        2
    """
    left, num_items = iter(items), 0
    for before, record in decisions:
        yield from itertools.islice(left, max(before - num_items, 0))
        num_items = max(num_items, before)
        yield record
    yield from left


def refuse_elsewhere(record: RewardRecord, earlier: RewardRecord | None) -> None:
    """Refuses a reward that replaces another, unless that one is there and of the same place.

    Args:
        record: the new one.
        earlier: the reward whose id is `record.replaces`; None when there is none.

    Raises:
        LedgerError: naming both.

    Example:
        >>> first = RewardRecord("d1/0", "d1", position=0, value=1.0, time=0.0)
        >>> refuse_elsewhere(first._replace(reward_id="d1/0/1", value=0.5, replaces="d1/0"), first)
    """
    if earlier is None or (earlier.decision_id, earlier.position) != (record.decision_id, record.position):
        raise LedgerError(f"A reward must replace one of its own place, got {record} and {earlier}.")
