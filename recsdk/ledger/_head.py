"""The head of a ledger: how far it was acknowledged, in a file of its own, so that records that go missing are noticed.

SQLite opens a file that was cut, or whose write-ahead log was cut or damaged, as a shorter one. So each record carries a hash that is
chained over the records of its table before it, and the head has the number and the hash of the last acknowledged record of each.
The file has two places, written in turn, each with a checksum: a write that was cut off leaves the one before.
"""

from __future__ import annotations

import os
import sqlite3
import struct
import weakref
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO, NamedTuple

from recsdk.errors import LedgerCorrupt
from recsdk.ledger._mark import sync

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
    """

    number: int = 0
    chain: bytes = START


class Head(NamedTuple):
    """How far a ledger was acknowledged.

    Attributes:
        sequence: number of this head.
        safe: whether all of it was synced to the disk: at "power-loss", or by closing.
        boot: which start of the machine it was written in; zeros where that cannot be known.
        tables: the last record of each of `TABLES`.
    """

    sequence: int
    safe: bool
    boot: bytes
    tables: tuple[Last, ...]

    def numbers(self) -> dict[str, int]:
        """Returns how many records the tables have that have any."""
        return {table: last.number for table, last in zip(TABLES, self.tables, strict=True) if last.number}

    def excuses(self, missing: dict[str, int]) -> bool:
        """Tells whether a power cut may have taken these records: at "process-crash", once the machine has started again."""
        return not self.safe and self.boot != boot() and all(missing.values())

    def dumps(self) -> bytes:
        """Returns the bytes for one place."""
        data = FIELDS.pack(self.sequence, self.safe, self.boot, *(field for last in self.tables for field in last))
        return data + blake2b(data, digest_size=CHECKSUM).digest()


def chained(before: Last, crc32: int) -> Last:
    """Returns the last record of a table after one more, given that one's checksum."""
    number = before.number + 1
    return Last(number, blake2b(before.chain + struct.pack("<QI", number, crc32), digest_size=len(START)).digest())


def boot() -> bytes:
    """Returns which start of the machine this is."""
    try:
        return bytes.fromhex(BOOT.read_text().strip().replace("-", ""))
    except (OSError, ValueError):
        return START


def read(folder: Path) -> Head | None:
    """Returns the head in a folder, or None when there is none, as in folders up to version 3 and beside a file copied by hand.

    Raises:
        LedgerCorrupt: when both places are damaged.
    """
    try:
        data = (folder / HEAD).read_bytes()
    except FileNotFoundError:
        return None
    heads = [head for place in PLACES if (head := _loads(data[place : place + FIELDS.size + CHECKSUM])) is not None]
    if not heads:
        raise HeadDamaged(f"{HEAD} in {str(folder)!r} does not have the checksum it was written with. {advice(folder)}")
    return max(heads)


def _loads(data: bytes) -> Head | None:
    if len(data) < FIELDS.size + CHECKSUM or blake2b(data[: FIELDS.size], digest_size=CHECKSUM).digest() != data[FIELDS.size :]:
        return None
    sequence, safe, start, *tables = FIELDS.unpack(data[: FIELDS.size])
    return Head(sequence, safe, start, tuple(Last(*pair) for pair in zip(tables[::2], tables[1::2], strict=True)))


def advice(folder: Path) -> str:
    """Returns what to do about a ledger that is not as its head says."""
    return (
        f"Restore a backup into another folder, or accept what is there: recsdk.ledger.sqlite.Sqlite().repair({str(folder)!r}), "
        "which returns how many records are lost; copy the folder first."
    )


class HeadFile:
    """The file of an open ledger's head. A new folder has it before all else, so that an empty ledger beside none is a loss.

    Args:
        folder: of the ledger.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / HEAD
        self._file: BinaryIO | None = None
        self.head = Head(0, False, START, (Last(),) * len(TABLES))
        if not self._path.exists():
            self._create()

    def start(self, tables: tuple[Last, ...], *, safe: bool) -> None:
        """Writes what the ledger begins with, and whether what it acknowledges is synced."""
        self.head = Head(1, safe, boot(), tables)
        self._create()
        self._file = self._path.open("r+b", buffering=0)
        weakref.finalize(self, self._file.close)

    def write(self, tables: tuple[Last, ...]) -> None:
        """Writes how far is acknowledged now. It needs no sync: a head that is behind the ledger only notices less."""
        self.head = self.head._replace(sequence=self.head.sequence + 1, tables=tables)
        self._put()

    def finish(self, log: Path) -> None:
        """Notes that the ledger was closed, and all of it is synced, when it has left no write-ahead log."""
        if self._file is not None and not log.exists():
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
        part = self._path.with_name(f"{HEAD}.part")
        with part.open("wb") as file:
            file.write(self.head.dumps().ljust(PLACES[1], b"\0") + self.head.dumps())
            file.flush()
            os.fsync(file.fileno())
        part.replace(self._path)
        sync(self._path.parent)


def last_records(db: sqlite3.Connection) -> tuple[Last, ...]:
    """Returns the last record of each of `TABLES`."""
    return tuple(
        Last(*(db.execute(f"SELECT number, chain FROM {table} ORDER BY number DESC LIMIT 1").fetchone() or ()))  # noqa: S608 -- constants
        for table in TABLES
    )


def is_chained(db: sqlite3.Connection) -> bool:
    """Tells whether the records have hashes: in ledgers since version 4."""
    return bool(db.execute("SELECT COUNT(*) FROM pragma_table_info('rewards') WHERE name = 'chain'").fetchone()[0])


def chain_all(db: sqlite3.Connection) -> None:
    """Gives every record its hash, in a ledger of an earlier version."""
    for table in TABLES:
        last = Last()
        for number, crc32 in db.execute(f"SELECT number, crc32 FROM {table} ORDER BY number").fetchall():  # noqa: S608 -- constants
            last = chained(last._replace(number=number - 1), crc32)
            db.execute(f"UPDATE {table} SET chain = ? WHERE number = ?", (last.chain, number))  # noqa: S608 -- constants


def missing(head: Head, db: sqlite3.Connection) -> dict[str, int]:
    """Returns how many acknowledged records of each table are missing, of those tables that lack some or hold others."""
    found = {}
    for table, last in zip(TABLES, head.tables, strict=True):
        if not last.number:
            continue
        query = f"SELECT chain FROM {table} WHERE number = ?"  # noqa: S608 -- constants
        if db.execute(query, (last.number,)).fetchone() != (last.chain,):
            (there,) = db.execute(f"SELECT COALESCE(MAX(number), 0) FROM {table}").fetchone()  # noqa: S608 -- constants
            found[table] = max(0, last.number - there)
    return found


def is_whole(db: sqlite3.Connection) -> bool:
    """Tells whether every record's hash follows from the one before; it reads the whole ledger."""
    for table in TABLES:
        last = Last()
        for number, crc32, chain in db.execute(f"SELECT number, crc32, chain FROM {table} ORDER BY number"):  # noqa: S608 -- constants
            last = chained(last._replace(number=number - 1), crc32)
            if last.chain != chain:
                return False
    return True
