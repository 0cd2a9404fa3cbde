"""Arrays in few bytes, and back to the bit.

Probabilities take most of a ledger. Those of a policy with a floor, or with a number of draws, are of few different values, which deflate
finds. Integers and float32 are alike in their high bytes, so these are put side by side first.
"""

from __future__ import annotations

import zlib

from recsdk.errors import LedgerCorrupt

PLAIN, DEFLATED, TRANSPOSED = b"\0", b"\1", b"\2"
"""The first byte says what follows: the bytes; deflated bytes; deflated bytes of 4-byte values: all first bytes, then all second ones."""
LITTLE = 4_096
"""Bytes that a window of their size holds whole. With less memory to make ready, deflate takes two thirds of the time for them."""
SHORT = 1_024
"""Bytes of numbers of 4 bytes each, below which deflate finds something only where many are zero."""


def pack(data: bytes, *, transposing: bool = False) -> bytes:
    r"""Returns bytes in fewer, or with one more where they cannot be; level 1 takes some 10 microseconds, higher ones save little.

    Args:
        data: of an array.
        transposing: for values of 4 bytes each.

    Example:
        >>> packed = pack(bytes(800))
        >>> len(packed) < 40, unpack(packed) == bytes(800), pack(b"short")
        (True, True, b'\x00short')
    """
    if transposing and len(data) < SHORT and data.count(0) * 8 < len(data):
        return PLAIN + data  # few numbers with many digits: looking for what is alike takes 30 microseconds, and finds nothing
    kind, body = (TRANSPOSED, b"".join(data[place::4] for place in range(4))) if transposing else (DEFLATED, data)
    deflate = zlib.compressobj(1, zlib.DEFLATED, 12, 4) if len(data) <= LITTLE else zlib.compressobj(1)
    packed = kind + deflate.compress(body) + deflate.flush()
    return packed if len(packed) <= len(data) else PLAIN + data


def unpack(packed: bytes) -> bytes:
    """Returns what was given to `pack`.

    Raises:
        LedgerCorrupt: bytes that `pack` has not made.
    """
    kind = packed[:1]
    if kind == PLAIN:
        return packed[1:]
    try:
        data = zlib.decompress(packed[1:])
    except zlib.error as error:
        raise LedgerCorrupt(f"The ledger has an array that is not as it was written: {error}.") from error
    if kind == DEFLATED:
        return data
    if kind != TRANSPOSED or len(data) % 4:
        raise LedgerCorrupt("The ledger has an array that is not as it was written.")
    columns, num_values = bytearray(len(data)), len(data) // 4
    for place in range(4):
        columns[place::4] = data[place * num_values : (place + 1) * num_values]
    return bytes(columns)
