"""The built-in ledger: SQLite, one file, write-ahead log."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import attrs
import numpy as np

from recsdk.errors import LedgerCorrupt, LedgerError, LedgerLocked, LedgerMismatch, one_of
from recsdk.ledger import DecisionRecord, ItemRecord, Ledger, RewardRecord

SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE blobs (name TEXT PRIMARY KEY, sha256 BLOB NOT NULL, data BLOB NOT NULL) STRICT;
CREATE TABLE items (slot INTEGER PRIMARY KEY, row TEXT NOT NULL, vector BLOB NOT NULL, active INTEGER NOT NULL) STRICT;
CREATE TABLE parts (number INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE decisions (
  number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, time REAL NOT NULL, payload TEXT NOT NULL,
  parts INTEGER NOT NULL REFERENCES parts, num_learned INTEGER NOT NULL,
  slots BLOB NOT NULL, action BLOB NOT NULL, probs BLOB NOT NULL, dim INTEGER NOT NULL, features BLOB NOT NULL) STRICT;
CREATE TABLE rewards (
  number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, decision INTEGER NOT NULL REFERENCES decisions,
  position INTEGER NOT NULL, value REAL NOT NULL, time REAL NOT NULL, UNIQUE (decision, position)) STRICT;
"""
DECISION = "d.id, d.time, d.payload, p.text, d.num_learned, d.slots, d.action, d.probs, d.dim, d.features"
REWARD = "r.id, d.id, r.position, r.value, r.time"


def _known_durability(instance: Any, field: Any, value: str) -> None:
    del instance
    one_of(field.name, value, ("process-crash", "power-loss"))


@attrs.frozen(kw_only=True)
class Sqlite:
    """Keeps the ledger in `ledger.sqlite` in the folder.

    Attributes:
        durability: "process-crash": what was acknowledged survives the death of the process (SQLite's synchronous=NORMAL);
            "power-loss": it survives that of the machine too, for one fsync, some milliseconds, per call (FULL).
    """

    durability: Literal["process-crash", "power-loss"] = attrs.field(default="process-crash", validator=_known_durability)

    def open(self, folder: str | Path) -> Ledger:
        """Opens the ledger in a folder, which is made when it is not there.

        Raises:
            LedgerLocked: when another recommender, of this process or another, has it open.
            LedgerMismatch: when a newer version of recsdk wrote it.
            LedgerError: when the folder cannot be used.
        """
        return SqliteLedger(Path(folder), "NORMAL" if self.durability == "process-crash" else "FULL")


class SqliteLedger:
    """See `recsdk.ledger.Ledger`."""

    def __init__(self, folder: Path, synchronous: str) -> None:
        self._lock: sqlite3.Connection | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(folder)
            self._db = sqlite3.connect(folder / "ledger.sqlite", isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute(f"PRAGMA synchronous={synchronous}")
            self._db.execute("PRAGMA foreign_keys=ON")
            self._create()
        except (sqlite3.Error, OSError) as error:
            if self._lock is not None:
                self._lock.close()
            if isinstance(error, LedgerError):
                raise
            raise LedgerError(f"The ledger in {str(folder)!r} cannot be opened: {error}.") from error

    def _create(self) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            self._db.executescript(f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;")
        elif version != SCHEMA_VERSION:
            raise LedgerMismatch(f"The ledger is of version {version}, this recsdk reads version {SCHEMA_VERSION}.")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """See `Ledger`."""
        with self._translated():
            self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            with self._translated():
                self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def get(self, name: str) -> bytes | None:
        """See `Ledger`."""
        return read_blob(self._db, name)

    def put(self, name: str, data: bytes) -> None:
        """See `Ledger`."""
        self._write("INSERT OR REPLACE INTO blobs VALUES (?, ?, ?)", (name, hashlib.sha256(data).digest(), data))

    def add_decision(self, record: DecisionRecord) -> None:
        """See `Ledger`."""
        parts = self._db.execute("SELECT number FROM parts WHERE text = ?", (record.parts,)).fetchone()
        if parts is None:
            self._write("INSERT INTO parts (text) VALUES (?)", (record.parts,))
            return self.add_decision(record)
        arrays = [
            np.ascontiguousarray(array, kind).tobytes()
            for array, kind in ((record.slots, "<i4"), (record.action, "<i4"), (record.probs, "<f8"), (record.features, "<f4"))
        ]
        values = (
            record.decision_id,
            record.time,
            record.payload,
            *parts,
            record.num_learned,
            *arrays[:3],
            record.features.shape[1],
            arrays[3],
        )
        columns = "id, time, payload, parts, num_learned, slots, action, probs, dim, features"
        return self._write(f"INSERT INTO decisions ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)  # noqa: S608 -- constants

    def decision(self, decision_id: str) -> DecisionRecord | None:
        """See `Ledger`."""
        row = self._db.execute(
            f"SELECT {DECISION} FROM decisions d JOIN parts p ON p.number = d.parts WHERE d.id = ?",  # noqa: S608 -- constants
            (decision_id,),
        ).fetchone()
        return None if row is None else _decision(row)

    def decisions(self) -> Iterator[DecisionRecord]:
        """See `Ledger`."""
        return read_decisions(self._db)

    def add_reward(self, record: RewardRecord) -> None:
        """See `Ledger`."""
        self._write(
            "INSERT INTO rewards (id, decision, position, value, time) VALUES (?, (SELECT number FROM decisions WHERE id = ?), ?, ?, ?)",
            (record.reward_id, record.decision_id, record.position, record.value, record.time),
        )

    def reward(self, reward_id: str) -> RewardRecord | None:
        """See `Ledger`."""
        query = f"SELECT {REWARD} FROM rewards r JOIN decisions d ON d.number = r.decision WHERE r.id = ?"  # noqa: S608 -- constants
        row = self._db.execute(query, (reward_id,)).fetchone()
        return None if row is None else RewardRecord(*row)

    def rewards_of(self, decision_id: str) -> list[RewardRecord]:
        """See `Ledger`."""
        query = f"SELECT {REWARD} FROM rewards r JOIN decisions d ON d.number = r.decision WHERE d.id = ? ORDER BY r.number"  # noqa: S608
        return [RewardRecord(*row) for row in self._db.execute(query, (decision_id,))]

    def outcomes(self, start: int = 0) -> Iterator[tuple[RewardRecord, DecisionRecord]]:
        """See `Ledger`."""
        query = (
            f"SELECT {REWARD}, {DECISION} FROM rewards r JOIN decisions d ON d.number = r.decision "  # noqa: S608 -- constants
            "JOIN parts p ON p.number = d.parts WHERE r.number > ? ORDER BY r.number"
        )
        for row in self._db.execute(query, (start,)):
            yield RewardRecord(*row[:5]), _decision(row[5:])

    def num_rewards(self) -> int:
        """See `Ledger`."""
        (number,) = self._db.execute("SELECT COALESCE(MAX(number), 0) FROM rewards").fetchone()
        return int(number)

    def put_item(self, record: ItemRecord) -> None:
        """See `Ledger`."""
        vector = np.ascontiguousarray(record.vector, "<f4").tobytes()
        self._write("INSERT OR REPLACE INTO items VALUES (?, ?, ?, ?)", (record.slot, record.row, vector, int(record.active)))

    def items(self) -> Iterator[ItemRecord]:
        """See `Ledger`."""
        for slot, row, vector, active in self._db.execute("SELECT slot, row, vector, active FROM items ORDER BY slot"):
            yield ItemRecord(slot, row, np.frombuffer(vector, "<f4"), bool(active))

    def close(self) -> None:
        """See `Ledger`."""
        self._db.close()
        if self._lock is not None:
            self._lock.close()

    def _write(self, statement: str, values: tuple[Any, ...]) -> None:
        with self._translated():
            self._db.execute(statement, values)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise LedgerError(f"The ledger could not be written: {error}.") from error


def read_blob(db: sqlite3.Connection, name: str) -> bytes | None:
    """Returns the bytes kept under a name.

    Raises:
        LedgerCorrupt: when they are not what was written.
    """
    row = db.execute("SELECT sha256, data FROM blobs WHERE name = ?", (name,)).fetchone()
    if row is None:
        return None
    if hashlib.sha256(row[1]).digest() != row[0]:
        raise LedgerCorrupt(f"The ledger's {name!r} does not have the checksum it was written with.")
    return bytes(row[1])


def read_decisions(db: sqlite3.Connection) -> Iterator[DecisionRecord]:
    """Yields every decision, oldest first."""
    query = f"SELECT {DECISION} FROM decisions d JOIN parts p ON p.number = d.parts ORDER BY d.number"  # noqa: S608 -- constants
    return (_decision(row) for row in db.execute(query))


def _decision(row: tuple[Any, ...]) -> DecisionRecord:
    decision_id, time, payload, parts, num_learned, slots, action, probs, dim, features = row
    shown = np.frombuffer(action, "<i4")
    return DecisionRecord(
        decision_id,
        time,
        payload,
        parts,
        num_learned,
        np.frombuffer(slots, "<i4"),
        shown,
        np.frombuffer(probs, "<f8").reshape(len(shown), -1),
        np.frombuffer(features, "<f4").reshape(-1, dim),
    )


def _lock(folder: Path) -> sqlite3.Connection:
    """Holds an exclusive transaction on a file of its own: the lock goes with the process, and readers of the ledger are left alone."""
    lock = sqlite3.connect(folder / "lock.sqlite", isolation_level=None, timeout=0, check_same_thread=False)
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        lock.close()
        raise LedgerLocked(f"The ledger in {str(folder)!r} is open elsewhere: close that recommender first.") from error
    return lock
