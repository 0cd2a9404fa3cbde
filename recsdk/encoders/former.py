"""Reads the two-tower models of folders made before states were written as records of arrays."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from recsdk.encoders._bags import Column, columns_of
from recsdk.encoders._tower import Tower
from recsdk.errors import LedgerCorrupt, LedgerMismatch

MAGIC = b"recsdk two-tower 1\n"
DIGEST_SIZE = 16


def read(component: Any, template: Any, data: bytes) -> Any:
    """Reads a model: after `MAGIC` a digest, the length of a JSON header, the header, and float32 arrays in a fixed order.

    Args:
        component: the encoder, for messages.
        template: a `TwoTowerState` of the same sizes.
        data: the stored bytes.

    Raises:
        LedgerCorrupt: bytes that do not match their digest.
        LedgerMismatch: bytes of a model of other sizes.
    """
    begin = len(MAGIC) + DIGEST_SIZE
    body = data[begin:]
    if data[len(MAGIC) : begin] != hashlib.blake2b(body, digest_size=DIGEST_SIZE).digest():
        reason = f"its {len(data)} bytes must match the digest that follows {MAGIC!r}"
        raise LedgerCorrupt(f"The stored state of {component!r} cannot be read: {reason}.")
    length = int.from_bytes(body[:4], "little")
    header = json.loads(body[4 : 4 + length])  # the digest has shown that it is what was written
    wanted = [array.shape for tower in template[:2] for array in (tower.table, *tower.weights, *tower.biases)]
    wanted += [template.centre.shape, template.scale.shape]
    found = [tuple(shape) for shape in header["arrays"]]
    if found != wanted:
        raise LedgerMismatch(
            f"A two-tower model with arrays of {wanted} is wanted, got one with {found}: dim, num_buckets or hidden differ."
        )
    numbers = np.frombuffer(body, "<f4", offset=4 + length).astype(np.float32)
    parts = np.split(numbers, np.cumsum([math.prod(shape) for shape in wanted])[:-1])
    arrays = iter([part.reshape(shape) for part, shape in zip(parts, wanted, strict=True)])
    user, item = (_tower(old, header[name], arrays) for old, name in zip(template[:2], ("user", "item"), strict=True))
    notes = {name: np.array(value) for name, value in header["notes"].items()}
    return template._replace(user=user, item=item, centre=next(arrays), scale=next(arrays), **notes)


def _tower(template: Tower, columns: list[Any], arrays: Iterator[np.ndarray]) -> Tower:
    table, *layers = (next(arrays) for _ in range(1 + 2 * len(template.weights)))
    known = columns_of(Column(*column) for column in columns)
    return Tower(known, table, tuple(layers[: len(template.weights)]), tuple(layers[len(template.weights) :]))
