"""The head of a ledger: how far it was acknowledged, in a file of its own, so that records that go missing are noticed.

What keeps the records may lose some without a word: SQLite opens a file that was cut, or whose write-ahead log was, as a shorter one, and
a server may be an older copy of itself. So each record carries a hash that is chained over the records of its table before it, and the
head has the number and the hash of the last acknowledged record of each. The file has two places, written in turn, each with a checksum: a
write that was cut off leaves the one before. For who writes a ledger of their own.
"""

from __future__ import annotations

import itertools
import os
import struct
import weakref
from collections.abc import Callable, Iterable
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO, NamedTuple

from recsdk.errors import LedgerCorrupt

HEAD = "ledger.head"
TABLES = ("decisions", "signals", "rewards", "items")
PLACES = (0, 4096)
FIELDS = struct.Struct("<Q?16s" + len(TABLES) * "Q16s")
CHECKSUM = 16
START = bytes(16)
"""The hash before the first record."""
BOOT = Path("/proc/sys/kernel/random/boot_id")


class HeadDamaged(LedgerCorrupt):
    """A head that is damaged: how far the ledger was acknowledged is not known."""


class Last(NamedTuple):
    """The last record of a table.

    Attributes:
        number: of records.
        chain: hash of all of them.

    Example:
        >>> Last().number
        0
    """

    number: int = 0
    chain: bytes = START


class Head(NamedTuple):
    """How far a ledger was acknowledged.

    Attributes:
        sequence: number of this head.
        safe: whether all of it was synced to the disk: at "power-loss", or by closing.
        boot: which start of the machine, or of the server that keeps the records, it was written in; zeros where that cannot be known.
        tables: the last record of each of `TABLES`.

    Example:
        >>> Head(1, True, START, (Last(2), Last(), Last(1), Last())).numbers()
        {'decisions': 2, 'rewards': 1}
    """

    sequence: int
    safe: bool
    boot: bytes
    tables: tuple[Last, ...]

    def numbers(self) -> dict[str, int]:
        """Returns how many records the tables have that have any."""
        return {table: last.number for table, last in zip(TABLES, self.tables, strict=True) if last.number}

    def excuses(self, missing: dict[str, int], now: bytes) -> bool:
        """Tells whether a crash may have taken these records: at "process-crash", once what keeps them has started again."""
        return not self.safe and self.boot != now and all(missing.values())

    def dumps(self) -> bytes:
        """Returns the bytes for one place."""
        data = FIELDS.pack(self.sequence, self.safe, self.boot, *itertools.chain.from_iterable(self.tables))
        return data + blake2b(data, digest_size=CHECKSUM).digest()


def chained(before: Last, crc32: int) -> Last:
    """Returns the last record of a table after one more, given that one's checksum.

    Example:
        >>> chained(Last(), 17).number, chained(Last(), 17) == chained(Last(), 18)
        (1, False)
    """
    number = before.number + 1
    return Last(number, blake2b(before.chain + struct.pack("<QI", number, crc32), digest_size=len(START)).digest())


def follow(records: Iterable[tuple[int, int, bytes]]) -> bool:
    """Tells whether the hashes of a table's records, given as number, checksum and hash, each follow from the one before.

    Example:
        >>> one = chained(Last(), 17)
        >>> follow([(1, 17, one.chain)]), follow([(1, 18, one.chain)])
        (True, False)
    """
    last = Last()
    for number, crc32, chain in records:
        last = chained(last._replace(number=number - 1), crc32)
        if last.chain != chain:
            return False
    return True


def missing(head: Head, there: tuple[Last, ...], chain: Callable[[str, int], bytes | None]) -> dict[str, int]:
    """Returns how many acknowledged records of each table are missing, of those tables that lack some or hold others.

    Args:
        head: how far was acknowledged.
        there: the last record of each of `TABLES` that the store has.
        chain: returns the hash of a table's record of a number; None where there is none.

    Example:
        >>> one, two = chained(Last(), 17), chained(chained(Last(), 17), 18)
        >>> head = Head(1, True, START, (two, one, Last(), Last()))
        >>> missing(head, (one, one, Last(), Last()), lambda table, number: one.chain if number == 1 else None)
        {'decisions': 1}
    """
    known = [(table, last, found) for table, last, found in zip(TABLES, head.tables, there, strict=True) if last.number]
    return {table: max(0, last.number - found.number) for table, last, found in known if chain(table, last.number) != last.chain}


def told(lost: dict[str, int]) -> str:
    """Returns what `missing` found, in words.

    Example:
        >>> told({"decisions": 2, "rewards": 0})
        '2 decisions and other rewards than were written'
    """
    return " and ".join(f"{number:,} {table}" if number else f"other {table} than were written" for table, number in lost.items())


def boot() -> bytes:
    """Returns which start of the machine this is.

    Example:
        >>> boot() == boot()
        True
    """
    try:
        return bytes.fromhex(BOOT.read_text().strip().replace("-", ""))
    except (OSError, ValueError):
        return START


def read(folder: Path) -> Head | None:
    """Returns the head in a folder, or None when there is none.

    Raises:
        HeadDamaged: when both places are damaged.

    Example:
        >>> from recsdk.ledger.sqlite import Sqlite
        >>> Sqlite().open("shop").close()
        >>> read(Path("shop")).numbers()
        {}
    """
    try:
        data = (folder / HEAD).read_bytes()
    except FileNotFoundError:
        return None
    heads = [head for place in PLACES if (head := _loads(data[place : place + FIELDS.size + CHECKSUM])) is not None]
    if not heads:
        raise HeadDamaged(f"{HEAD} in {str(folder)!r} does not have the checksum it was written with.")
    return max(heads)


def _loads(data: bytes) -> Head | None:
    if len(data) < FIELDS.size + CHECKSUM or blake2b(data[: FIELDS.size], digest_size=CHECKSUM).digest() != data[FIELDS.size :]:
        return None
    sequence, safe, start, *tables = FIELDS.unpack(data[: FIELDS.size])
    return Head(sequence, safe, start, tuple(Last(*pair) for pair in zip(tables[::2], tables[1::2], strict=True)))


class HeadFile:
    """The file of an open ledger's head. A new folder has it before all else, so that an empty ledger beside none is a loss.

    Args:
        folder: of the ledger.

    Example:
        >>> head = HeadFile(Path("."))
        >>> head.start((Last(),) * len(TABLES), safe=True, now=boot())
        >>> head.write((Last(1, bytes(16)), Last(), Last(), Last()))
        >>> head.close()
        >>> read(Path(".")).numbers()
        {'decisions': 1}
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / HEAD
        self._file: BinaryIO | None = None
        self.head = Head(0, False, START, (Last(),) * len(TABLES))
        if not self._path.exists():
            self._create()

    def start(self, tables: tuple[Last, ...], *, safe: bool, now: bytes) -> None:
        """Writes what the ledger begins with, whether what it acknowledges is synced, and which start, as `boot` says, this is."""
        self.head = Head(1, safe, now, tables)
        self._create()
        self._file = self._path.open("r+b", buffering=0)
        weakref.finalize(self, self._file.close)

    def write(self, tables: tuple[Last, ...]) -> None:
        """Writes how far is acknowledged now. It needs no sync: a head that is behind the ledger only notices less."""
        sequence, safe, start, _ = self.head
        self.head = Head(sequence + 1, safe, start, tables)
        self._put()

    def finish(self, *, safe: bool) -> None:
        """Notes that the ledger was closed, if all of it is synced."""
        if self._file is not None and safe:
            self.head = self.head._replace(sequence=self.head.sequence + 1, safe=True)
            self._put()
            os.fsync(self._file.fileno())
        self.close()

    def close(self) -> None:
        """Lets go of the file; from here on nothing is written."""
        if self._file is not None:
            self._file.close()
        self._file = None

    def _put(self) -> None:
        if self._file is not None:
            self._file.seek(PLACES[self.head.sequence % 2])
            self._file.write(self.head.dumps())

    def _create(self) -> None:
        put(self._path, self.head.dumps().ljust(PLACES[1], b"\0") + self.head.dumps())


def put(path: Path, data: bytes) -> None:
    """Writes a file that is whole or not there, whenever the process or the machine stops.

    Example:
        >>> put(Path("a"), b"1")
        >>> Path("a").read_bytes()
        b'1'
    """
    part = path.with_name(f"{path.name}.part")
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    sync(path.parent)


def make(folder: Path) -> None:
    """Makes a folder, with those above it, whose names are durable: no later sync inside of it would keep them.

    Example:
        >>> make(Path("shops/tea"))
        >>> make(Path("shops/tea"))  # it is there
        >>> Path("shops/tea").is_dir()
        True
    """
    if not folder.is_dir():
        make(folder.parent)
        folder.mkdir(exist_ok=True)
        sync(folder.parent)


def sync(folder: Path) -> None:
    """Makes the names in a folder durable.

    Example:
        >>> sync(Path("."))
    """
    if os.name == "posix":  # elsewhere a folder cannot be opened
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
