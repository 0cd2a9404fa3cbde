"""A two-tower model as bytes: a digest, a JSON header, and raw little-endian arrays. The same model gives the same bytes."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any, NamedTuple

import numpy as np

from recsdk.encoders._bags import Column
from recsdk.errors import LedgerCorrupt, LedgerMismatch

MAGIC = b"recsdk two-tower 1\n"
DIGEST_SIZE = 16


class Stored(NamedTuple):
    """What is written.

    Attributes:
        user: the requests' columns.
        item: the items' columns.
        notes: numbers about the last fit, by name.
        arrays: f32 of any shapes, in a fixed order.
    """

    user: tuple[Column, ...]
    item: tuple[Column, ...]
    notes: dict[str, Any]
    arrays: list[np.ndarray]


def dumps(stored: Stored) -> bytes:
    """Writes a model."""
    header = stored._asdict() | {"arrays": [array.shape for array in stored.arrays]}
    text = json.dumps(header, allow_nan=False, sort_keys=True).encode()
    body = b"".join([len(text).to_bytes(4, "little"), text, *(array.astype("<f4").tobytes() for array in stored.arrays)])
    return MAGIC + _digest(body) + body


def loads(data: bytes, shapes: list[tuple[int, ...]]) -> Stored:
    """Reads what `dumps` wrote.

    Args:
        data: the bytes.
        shapes: of the arrays that are wanted.

    Raises:
        LedgerCorrupt: bytes that `dumps` did not write.
        LedgerMismatch: bytes of a model of other sizes.
    """
    begin = len(MAGIC) + DIGEST_SIZE
    body = data[begin:]
    if not data.startswith(MAGIC) or data[len(MAGIC) : begin] != _digest(body):
        raise LedgerCorrupt(f"The {len(data)} bytes of a two-tower model must begin with {MAGIC!r} and match the digest that follows it.")
    length = int.from_bytes(body[:4], "little")
    header = json.loads(body[4 : 4 + length])  # the digest has shown that `dumps` wrote it
    found = [tuple(shape) for shape in header["arrays"]]
    if found != shapes:
        raise LedgerMismatch(
            f"A two-tower model with arrays of {shapes} is wanted, got one with {found}: dim, num_buckets or hidden differ."
        )
    numbers = np.frombuffer(body, "<f4", offset=4 + length).astype(np.float32)
    parts = np.split(numbers, np.cumsum([math.prod(shape) for shape in shapes])[:-1])
    arrays = [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
    user, item = (tuple(Column(*column) for column in header[tower]) for tower in ("user", "item"))
    return Stored(user, item, header["notes"], arrays)


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=DIGEST_SIZE).digest()
