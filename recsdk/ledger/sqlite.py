"""The built-in ledger: SQLite, one file, write-ahead log."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import shutil
import sqlite3
import warnings
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, NoReturn
from urllib.request import pathname2url

import attrs
import numpy as np

from recsdk.errors import LedgerCorrupt, LedgerError, LedgerMismatch, LedgerStopped, LostRecords, one_of
from recsdk.ledger import DecisionRecord, ItemRecord, Ledger, Lost, Redacted, RewardRecord, SignalRecord, Verified, _head, _mark, heads
from recsdk.ledger._copy import copy, refuse_full
from recsdk.ledger._files import Files
from recsdk.ledger._lock import LOCK, FolderLock
from recsdk.ledger._packing import pack, unpack
from recsdk.ledger._segments import NUM_ROWS, TABLE, Segments
from recsdk.ledger._verify import verify
from recsdk.ledger.redaction import SCRUB, emptied, emptied_rewards, emptied_signals

FILE = "ledger.sqlite"
LOG = "ledger.sqlite-wal"
SCHEMA_VERSION = 9
SIGNALS = """
CREATE INDEX decisions_of_user ON decisions (user, number);
CREATE TABLE signals (
  number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, decision INTEGER NOT NULL REFERENCES decisions,
  position INTEGER NOT NULL, name TEXT NOT NULL, value REAL NOT NULL, time REAL NOT NULL, crc32 INTEGER NOT NULL) STRICT;
CREATE INDEX signals_of_decision ON signals (decision, number);
"""
CHAIN = "".join(f"ALTER TABLE {table} ADD COLUMN chain BLOB;\n" for table in heads.TABLES)
REVISIONS = """
ALTER TABLE signals ADD COLUMN happened REAL;
ALTER TABLE signals ADD COLUMN about TEXT;
CREATE TABLE revised (
  number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, decision INTEGER NOT NULL REFERENCES decisions,
  position INTEGER NOT NULL, value REAL NOT NULL, time REAL NOT NULL, crc32 INTEGER NOT NULL, chain BLOB,
  replaces TEXT UNIQUE REFERENCES rewards (id), void INTEGER) STRICT;
INSERT INTO revised SELECT number, id, decision, position, value, time, crc32, chain, NULL, NULL FROM rewards;
DROP TABLE rewards;
ALTER TABLE revised RENAME TO rewards;
CREATE UNIQUE INDEX rewards_of_place ON rewards (decision, position) WHERE replaces IS NULL;
CREATE INDEX rewards_of_decision ON rewards (decision, number);
"""
PACKED = "ALTER TABLE decisions ADD COLUMN packed INTEGER NOT NULL DEFAULT 0;\n"
MARKS = "ALTER TABLE decisions ADD COLUMN marks TEXT;\n"
FORGOTTEN = "".join(f"ALTER TABLE {table} ADD COLUMN forgotten INTEGER;\n" for table in ("decisions", "signals", "rewards"))
UPGRADES = {
    1: "ALTER TABLE decisions ADD COLUMN user TEXT;",
    2: SIGNALS,
    3: CHAIN,
    4: REVISIONS,
    5: PACKED,
    6: MARKS,
    7: TABLE,
    8: FORGOTTEN,
}
"""The statements that turn a schema of each version into the next."""
SCHEMA = (
    """
CREATE TABLE blobs (name TEXT PRIMARY KEY, sha256 BLOB NOT NULL, data BLOB NOT NULL) STRICT;
CREATE TABLE items (
  number INTEGER PRIMARY KEY, slot INTEGER NOT NULL, row TEXT NOT NULL, vector BLOB NOT NULL, active INTEGER NOT NULL,
  crc32 INTEGER NOT NULL) STRICT;
CREATE INDEX items_of_slot ON items (slot, number);
CREATE TABLE parts (number INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE decisions (
  number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, time REAL NOT NULL, payload TEXT NOT NULL,
  parts INTEGER NOT NULL REFERENCES parts, num_learned INTEGER NOT NULL, num_items INTEGER NOT NULL,
  slots BLOB NOT NULL, action BLOB NOT NULL, probs BLOB NOT NULL, dim INTEGER NOT NULL, features BLOB NOT NULL,
  crc32 INTEGER NOT NULL, user TEXT) STRICT;
CREATE TABLE rewards (
  number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, decision INTEGER NOT NULL REFERENCES decisions,
  position INTEGER NOT NULL, value REAL NOT NULL, time REAL NOT NULL, crc32 INTEGER NOT NULL, UNIQUE (decision, position)) STRICT;
"""
    + SIGNALS
    + CHAIN
    + REVISIONS
    + PACKED
    + MARKS
    + TABLE
    + FORGOTTEN
)
ITEM = "i.slot, i.row, i.vector, i.active, i.crc32"
DECISION = (
    "d.id, d.time, d.payload, p.text, d.num_learned, d.slots, d.action, d.probs, d.dim, d.features, d.user, d.marks, "
    "d.number, d.packed, COALESCE(d.forgotten, d.crc32)"
)
PACKED_PLACES = (5, 7, 9)
"""Where the slots, the probabilities and the features are in these. The checksum of an emptied record stands in `forgotten`."""
SIGNAL = "s.id, d.id, s.position, s.name, s.value, s.time, s.happened, s.about, COALESCE(s.forgotten, s.crc32)"
REWARD = "r.id, d.id, r.position, r.value, r.time, r.replaces, r.void, COALESCE(r.forgotten, r.crc32)"
REWARD_FIELDS = 8
# Left joins: a row whose reference is damaged must be noticed by its checksum, not left out.
DECISIONS = "decisions d LEFT JOIN parts p ON p.number = d.parts"
REWARDS = "rewards r LEFT JOIN decisions d ON d.number = r.decision"
SIGNALS_OF = "signals s LEFT JOIN decisions d ON d.number = s.decision"
Row = tuple[Any, ...]


def _known_durability(instance: Any, field: Any, value: str) -> None:
    del instance
    one_of(field.name, value, ("process-crash", "power-loss"))


@attrs.frozen(kw_only=True)
class Sqlite:
    """Keeps the ledger in `ledger.sqlite` in the folder.

    Attributes:
        durability: "process-crash": what was acknowledged survives the death of the process (SQLite's synchronous=NORMAL);
            "power-loss": it survives that of the machine too, for one fsync, some milliseconds, per call (FULL).

    Example:
        >>> import recsdk
        >>> with recsdk.Recommender.open("safe", items=[{"id": "tea"}], ledger=Sqlite(durability="power-loss")) as safe:
        ...     safe.num_learned
        0
    """

    durability: Literal["process-crash", "power-loss"] = attrs.field(default="process-crash", validator=_known_durability)

    def holds(self, folder: str | Path) -> bool:
        """Tells whether `ledger.sqlite` is in the folder."""
        return (Path(folder) / FILE).is_file()

    def open(self, folder: str | Path) -> Ledger:
        """Opens the ledger in a folder, which is made when it is not there.

        Raises:
            LedgerLocked: when another recommender, of this process or another, has it open.
            LedgerMismatch: when a newer version of recsdk wrote it.
            LedgerCorrupt: when a `ledger.sqlite-wal` is there that belongs to another file, as after a backup was copied over it; when
                the file is damaged or cut; when records that were acknowledged are missing. The folder stays as it is.
            LedgerError: when the folder cannot be used.
        """
        return _writing(Path(folder), "NORMAL" if self.durability == "process-crash" else "FULL")

    def read(self, folder: str | Path) -> Ledger:
        """Opens the ledger in a folder as it is at this moment; the folder stays as it is.

        Raises:
            LedgerMismatch: when a newer version of recsdk wrote it.
            LedgerCorrupt: as `open`.
            LedgerError: when there is no ledger, or it cannot be read.
        """
        return _reading(Path(folder))

    def repair(self, folder: str | Path, *, backup: str | Path | None = None) -> Lost:
        """Accepts the records that are there, where `open` says that acknowledged ones are missing.

        What is left is the history up to some moment, if the end was cut. What the file itself has lost, only a backup can give back.

        Args:
            folder: that nobody has open.
            backup: where all files are copied before, as they are: an empty folder, or one that is made. Copy them yourself otherwise.

        Returns:
            How many records are lost for good.

        Raises:
            LedgerLocked: when a recommender has it open.
            LedgerCorrupt: when the file cannot be read: restore a backup.
            LedgerError: when there is no ledger, or the backup's folder holds something.

        Example:
            >>> Sqlite().open("shop").close()
            >>> Sqlite().repair("shop")
            Lost(decisions=0, signals=0, rewards=0, items=0)
        """
        return _repair(Path(folder), None if backup is None else Path(backup))

    def copy(self, folder: str | Path, destination: str | Path) -> None:
        """See `recsdk.ledger.Copies`."""
        with contextlib.closing(_reading(Path(folder))) as ledger, _translated(f"The ledger in {str(folder)!r} cannot be copied"):
            ledger.copy(Path(destination))

    def compact(self, folder: str | Path, *, before: float, limit: int | None = None) -> int:
        """See `recsdk.ledger.Compacts`."""
        return _compact(Path(folder), before, limit)

    def verify(self, folder: str | Path) -> Verified:
        """See `recsdk.ledger.Verifies`."""
        with contextlib.closing(_reading(Path(folder))) as ledger, _translated(f"The ledger in {str(folder)!r} cannot be read"):
            return ledger.verify()


class SqliteLedger:
    """The `recsdk.ledger.Ledger` of one connection.

    Args:
        db: in no transaction, unless it only reads.
        folder: of the ledger.
        opened: what `close` ends.
        files: of a ledger that is written to: those that must stay in the folder.
        head: of a ledger that is written to: how far it is acknowledged.
    """

    def __init__(
        self,
        db: sqlite3.Connection,
        folder: Path,
        opened: contextlib.ExitStack,
        files: Files | None = None,
        head: heads.HeadFile | None = None,
    ) -> None:
        self._db = db
        self._segments = Segments(db, folder)
        self._opened = opened
        self._files = files
        self._head = head
        self._last: dict[str, heads.Last] = {}
        self._stopped = ""
        # A ledger of an earlier version that is read, not opened, lacks columns, or the table of signals.
        version = _version(db)
        self._has_signals = version >= 3
        self._decision = DECISION
        for column, since, before in (("d.user", 2, "NULL"), ("d.packed", 6, "0"), ("d.marks", 7, "NULL"), ("d.forgotten", 9, "NULL")):
            self._decision = self._decision if version >= since else self._decision.replace(column, before)
        self._signal, self._reward = SIGNAL, REWARD
        for column, since in (("happened", 5), ("about", 5), ("replaces", 5), ("void", 5), ("forgotten", 9)):
            if version < since:
                self._signal, self._reward = self._signal.replace(f"s.{column}", "NULL"), self._reward.replace(f"r.{column}", "NULL")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        try:
            self._write("BEGIN IMMEDIATE")
            yield
            self._write("COMMIT")
        except BaseException:
            self._last = {}
            if self._db.in_transaction:
                with _translated("The ledger could not be written"):
                    self._db.execute("ROLLBACK")
            raise

    def get(self, name: str) -> bytes | None:
        row = self._first("SELECT sha256, data FROM blobs WHERE name = ?", name)
        if row is None:
            return None
        if hashlib.sha256(row[1]).digest() != row[0]:
            raise LedgerCorrupt(f"The ledger's {name!r} does not have the checksum it was written with.")
        return bytes(row[1])

    def put(self, name: str, data: bytes) -> None:
        self._write("INSERT OR REPLACE INTO blobs VALUES (?, ?, ?)", name, hashlib.sha256(data).digest(), data)

    def add_decision(self, record: DecisionRecord) -> None:
        parts = self._first("SELECT number FROM parts WHERE text = ?", record.parts)
        if parts is None:
            self._write("INSERT INTO parts (text) VALUES (?)", record.parts)
            return self.add_decision(record)
        if not record.payload:
            raise LedgerError(f"Decision {record.decision_id!r} must have a payload.")
        before = (record.decision_id, record.time + 0.0, record.payload)  # SQLite has one zero
        *_, slots, action, probs, dim, features, _, _ = values = _values(record)
        crc32 = _crc32(values)
        after = (pack(slots, transposing=True), action, pack(probs), dim, pack(features, transposing=True))
        return self._append(
            "INSERT INTO decisions (id, time, payload, parts, num_learned, num_items, "
            "slots, action, probs, dim, features, user, marks, packed, crc32, number, chain) "
            "VALUES (?, ?, ?, ?, ?, (SELECT COALESCE(MAX(number), 0) FROM items), ?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?)",
            *(*before, *parts, record.num_learned, *after, record.user, record.marks, crc32),
        )

    def decision(self, decision_id: str) -> DecisionRecord | None:
        row = self._first(f"SELECT {self._decision} FROM {DECISIONS} WHERE d.id = ?", decision_id)  # noqa: S608 -- constants
        return None if row is None else self._whole(row)

    def decisions(self, start: int = 0) -> Iterator[DecisionRecord]:
        query = f"SELECT {self._decision} FROM {DECISIONS} WHERE d.number > ? ORDER BY d.number"  # noqa: S608 -- constants
        return map(self._whole, self._rows(query, start))

    def decisions_of(self, user: str) -> Iterator[DecisionRecord]:
        query = f"SELECT {self._decision} FROM {DECISIONS} WHERE d.user = ? ORDER BY d.number DESC"  # noqa: S608 -- constants
        return map(self._whole, self._rows(query, user))

    def add_signal(self, record: SignalRecord) -> None:
        values = _signal_values(record)
        self._append(
            "INSERT INTO signals (id, decision, position, name, value, time, happened, about, crc32, number, chain) "
            "VALUES (?, (SELECT number FROM decisions WHERE id = ?), ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(*values, _crc32(values)),
        )

    def signal(self, signal_id: str) -> SignalRecord | None:
        row = self._first(f"SELECT {self._signal} FROM {SIGNALS_OF} WHERE s.id = ?", signal_id)  # noqa: S608 -- constants
        return None if row is None else _signal(row)

    def signals(self, start: int = 0) -> Iterator[SignalRecord]:
        query = f"SELECT {self._signal} FROM {SIGNALS_OF} WHERE s.number > ? ORDER BY s.number"  # noqa: S608 -- constants
        return map(_signal, self._rows(query, start) if self._has_signals else ())

    def signals_of(self, decision_id: str) -> list[SignalRecord]:
        query = f"SELECT {self._signal} FROM {SIGNALS_OF} WHERE d.id = ? ORDER BY s.number"  # noqa: S608 -- constants
        return [_signal(row) for row in self._rows(query, decision_id)]

    def add_reward(self, record: RewardRecord) -> None:
        values = _reward_values(record)
        if record.replaces is not None:
            earlier = self.reward(record.replaces)
            if earlier is None or (earlier.decision_id, earlier.position) != (record.decision_id, record.position):
                raise LedgerError(f"A reward must replace one of its own place, got {record} and {earlier}.")
        self._append(
            "INSERT INTO rewards (id, decision, position, value, time, replaces, void, crc32, number, chain) "
            "VALUES (?, (SELECT number FROM decisions WHERE id = ?), ?, ?, ?, ?, ?, ?, ?, ?)",
            *(*values, _crc32(values)),
        )

    def reward(self, reward_id: str) -> RewardRecord | None:
        row = self._first(f"SELECT {self._reward} FROM {REWARDS} WHERE r.id = ?", reward_id)  # noqa: S608 -- constants
        return None if row is None else _reward(row)

    def rewards(self, start: int = 0) -> Iterator[RewardRecord]:
        query = f"SELECT {self._reward} FROM {REWARDS} WHERE r.number > ? ORDER BY r.number"  # noqa: S608 -- constants
        return map(_reward, self._rows(query, start))

    def rewards_of(self, decision_id: str) -> list[RewardRecord]:
        query = f"SELECT {self._reward} FROM {REWARDS} WHERE d.id = ? ORDER BY r.number"  # noqa: S608 -- constants
        return [_reward(row) for row in self._rows(query, decision_id)]

    def outcomes(self, start: int = 0) -> Iterator[tuple[RewardRecord, DecisionRecord]]:
        tables = f"{REWARDS} LEFT JOIN parts p ON p.number = d.parts"
        query = f"SELECT {self._reward}, {self._decision} FROM {tables} WHERE r.number > ? ORDER BY r.number"  # noqa: S608 -- constants
        for row in self._rows(query, start):
            yield _reward(row[:REWARD_FIELDS]), self._whole(row[REWARD_FIELDS:])

    def num_rewards(self) -> int:
        (number,) = next(self._rows("SELECT COALESCE(MAX(number), 0) FROM rewards"))
        return int(number)

    def put_item(self, record: ItemRecord) -> None:
        values = (record.slot, record.row, np.ascontiguousarray(record.vector, "<f4").tobytes(), int(record.active))
        statement = "INSERT INTO items (slot, row, vector, active, crc32, number, chain) VALUES (?, ?, ?, ?, ?, ?, ?)"
        self._append(statement, *values, _crc32(values))

    def items(self) -> Iterator[ItemRecord]:
        latest = "SELECT MAX(number) FROM items GROUP BY slot"
        return map(_item, self._rows(f"SELECT {ITEM} FROM items i WHERE i.number IN ({latest}) ORDER BY i.slot"))  # noqa: S608

    def shown(self, decision_id: str, slot: int) -> ItemRecord:
        query = f"SELECT {ITEM} FROM decisions d, items i WHERE d.id = ? AND i.slot = ? AND i.number <= d.num_items ORDER BY i.number DESC"  # noqa: S608
        row = self._first(query, decision_id, slot)
        if row is None:
            raise LedgerCorrupt(f"The ledger has no item in slot {slot}, which decision {decision_id!r} has shown.")
        return _item(row)

    def names(self) -> list[str]:
        return [name for (name,) in self._rows("SELECT name FROM blobs ORDER BY name")]

    def events(self) -> Iterator[ItemRecord | DecisionRecord]:
        items, num_items = self._rows(f"SELECT {ITEM} FROM items i ORDER BY i.number"), 0  # noqa: S608 -- constants
        query = f"SELECT d.num_items, {self._decision} FROM {DECISIONS} ORDER BY d.number"  # noqa: S608 -- constants
        for before, *row in self._rows(query):
            for item in itertools.islice(items, before - num_items):
                yield _item(item)
            num_items = max(num_items, before)
            yield self._whole(tuple(row))
        yield from map(_item, items)

    @property
    def durability(self) -> str:
        return "power-loss" if next(self._rows("PRAGMA synchronous"))[0] == 2 else "process-crash"

    def redact(self, decision_ids: Iterable[str], *, drop: tuple[str, ...]) -> Redacted:
        counts = [0, 0, 0]
        self._write("PRAGMA defer_foreign_keys=ON")
        for decision_id in decision_ids:
            record = self.decision(decision_id)
            if record is None:
                continue
            signals, rewards = self.signals_of(decision_id), self.rewards_of(decision_id)
            left = emptied(record)
            self._empty_decision(decision_id, left)
            for signal, new in zip(signals, emptied_signals(signals, left.decision_id), strict=True):
                self._empty("signals", _signal_values(new), signal.signal_id)
            for reward, empty in zip(rewards, emptied_rewards(rewards, left.decision_id), strict=True):
                self._empty("rewards", _reward_values(empty), reward.reward_id)
            counts = [total + num for total, num in zip(counts, (1, len(signals), len(rewards)), strict=True)]
        for prefix in drop:
            self._write("DELETE FROM blobs WHERE substr(name, 1, ?) = ?", len(prefix), prefix)
        self.put(SCRUB, b"due")
        return Redacted(*counts)

    def scrub(self) -> None:
        self._check_going()
        if self._files is None:
            raise LedgerError("The ledger could not be scrubbed: it is open for reading.")
        with _translated("The ledger could not be scrubbed"):
            done = _scrub(self._db, self._files.folder)
        if not done:
            raise LedgerError(f"A reader has the ledger open as it was, so {LOG} still has what was removed: call again once it is closed.")

    def _empty_decision(self, decision_id: str, left: DecisionRecord) -> None:
        kept, dim = (left.decision_id, left.time + 0.0, left.payload), left.features.shape[1]
        checksum = _crc32((*kept, left.parts, left.num_learned, b"", b"", b"", dim, b""))
        self._write(
            "UPDATE decisions SET id = ?, time = ?, payload = ?, slots = x'', action = x'', probs = x'', features = x'', user = NULL, "
            "marks = NULL, packed = 0, forgotten = ? WHERE id = ?",
            *(*kept, checksum, decision_id),
        )

    def _empty(self, table: str, values: Row, record_id: str) -> None:
        names = SIGNAL if table == "signals" else REWARD
        columns = [name.split(".")[1] for name in names.split(", ")[2 : len(values)]]
        changes = ", ".join(f"{column} = ?" for column in ("id", *columns, "forgotten"))
        self._write(f"UPDATE {table} SET {changes} WHERE id = ?", values[0], *values[2:], _crc32(values), record_id)  # noqa: S608

    def copy(self, folder: Path) -> None:
        copy(self._db, self._segments, folder, FILE)

    def verify(self) -> Verified:
        verified = verify(self._db)
        return verified._replace(problems=(*verified.problems, *self._segments.problems()))

    def close(self) -> None:
        self._opened.close()

    def compact(self, before: float, limit: int | None = None) -> int:
        """Moves the decisions from the first on that are older than `before`, of the first `limit` ones, into segments; returns how many.

        The caller has the folder alone.
        """
        self._segments.clean()
        last = max((last for _, last, _, _ in self._segments.listed()), default=0)
        end = last if limit is None else limit
        query = "SELECT COALESCE(MIN(number), (SELECT MAX(number) FROM decisions) + 1) - 1 FROM decisions WHERE number > ? AND time >= ?"
        (oldest,) = next(self._rows(query, last, before))
        end = (oldest or 0) if limit is None else min(oldest or 0, limit)
        for start in range(last, end, NUM_ROWS):
            with _translated("Decisions could not be moved"):
                self._segments.move(enumerate(itertools.islice(self.decisions(start), min(NUM_ROWS, end - start)), start=start + 1))
        return max(end - last, 0)

    def vacuum(self) -> None:
        """Gives the room of what was moved back to the disk. The caller has the folder alone."""
        self._write("VACUUM")

    def _whole(self, row: Row) -> DecisionRecord:
        """Returns the decision of a row, from its segment where it was moved."""
        *fields, number, packed, crc32 = row
        if fields[2] != "":
            return _decision((*fields, packed, crc32))
        record = self._segments.record(number)
        if record is None or record[0] != fields[0] or _crc32(_values(record)) != crc32:
            raise LedgerCorrupt(f"Decision {fields[0]!r} is in no segment as it was written.")
        return record

    def _append(self, statement: str, *values: Any) -> None:
        """Inserts a record of values that end with its checksum; its number and its chained hash are added."""
        table = statement.split()[2]
        if not self._last:
            with _translated("The ledger could not be read"):
                self._last = dict(zip(heads.TABLES, _head.last_records(self._db), strict=True))
        last = self._last[table] = heads.chained(self._last[table], values[-1])
        self._write(statement, *values, *last)

    def _write(self, statement: str, *values: Any) -> None:
        self._check_going()
        try:
            with _translated("The ledger could not be written"):
                self._db.execute(statement, values)
        except BaseException as error:
            self._last = {}  # what is there has to be looked up
            if _is_disk_failure(error.__cause__):
                self._stop(f"The disk failed, and what was written may be lost whatever it says from now on: {error}")
            raise
        if not self._db.in_transaction:
            self._acknowledge()

    def _acknowledge(self) -> None:
        """Makes sure, after a commit, that it is in the folder, and notes how far the ledger is acknowledged."""
        self._check_files()
        last = tuple(self._last.values())
        if self._head is not None and last and last != self._head.head.tables:
            try:
                self._head.write(last)
            except OSError as error:
                self._stop(f"How far the ledger is acknowledged could not be written: {error}.")

    def _rows(self, query: str, *values: Any) -> Iterator[Row]:
        self._check_going()
        with _translated("The ledger could not be read"):
            for row in self._db.execute(query, values):  # noqa: UP028 -- when left early, `yield from` would close the cursor of a closed connection
                yield row

    def _first(self, query: str, *values: Any) -> Row | None:
        return next(self._rows(f"{query} LIMIT 1", *values), None)

    def _check_going(self) -> None:
        """Refuses everything once the ledger has stopped, reads too: the answer to what was sent twice is an acknowledgement."""
        if self._stopped:
            raise LedgerStopped(self._stopped)

    def _check_files(self) -> None:
        """Stops after a commit that did not reach the files in the folder."""
        changed = () if self._files is None else self._files.changed()
        if self._files is not None and changed:
            kept = self._files.rescue(self.copy)
            self._stop(f"In {str(self._files.folder)!r}, {' and '.join(changed)} was deleted or replaced while the ledger was open. {kept}")

    def _stop(self, why: str) -> NoReturn:
        self._stopped = f"{why} From here on nothing is acknowledged: open the folder again."
        if self._head is not None:
            self._head.close()
        raise LedgerStopped(self._stopped)


def _writing(folder: Path, synchronous: str) -> SqliteLedger:
    with contextlib.ExitStack() as opened, _translated(f"The ledger in {str(folder)!r} cannot be opened"):
        heads.make(folder)
        opened.enter_context(contextlib.closing(FolderLock(folder)))
        _mark.check(folder / FILE)
        _refuse_loss(folder, *_missing(folder))
        _mark.clear(folder / FILE)
        head = heads.HeadFile(folder)
        opened.callback(lambda: head.finish(safe=not (folder / LOG).exists()))
        db = sqlite3.connect(folder / FILE, isolation_level=None, check_same_thread=False)
        opened.enter_context(contextlib.closing(db))
        db.execute("PRAGMA journal_mode=WAL")
        db.execute(f"PRAGMA synchronous={synchronous}")
        db.execute("PRAGMA foreign_keys=ON")
        _upgrade(db)
        if db.execute("SELECT 1 FROM blobs WHERE name = ?", (SCRUB,)).fetchone():  # it was due when the process was killed
            _scrub(db, folder)
        _mark.put(db, folder / FILE)
        head.start(_head.last_records(db), safe=synchronous == "FULL", now=heads.boot())
        return SqliteLedger(db, folder, opened.pop_all(), Files(folder, (FILE, LOG, LOCK)), head)


def _scrub(db: sqlite3.Connection, folder: Path) -> bool:
    """Writes the files anew, without what was removed; returns whether nothing of that is left in the write-ahead log either."""
    segments = Segments(db, folder)
    emptied_here = "SELECT number FROM decisions WHERE forgotten IS NOT NULL AND payload <> ''"  # others were empty when they were moved
    emptied_ones = [number for (number,) in db.execute(emptied_here)]
    segments.rewrite({number for number in emptied_ones if segments.record(number) is not None})
    segments.clean()
    _mark.clear(folder / FILE)  # the file's own number changes
    db.execute("VACUUM")  # pages, and places in pages, that are free still hold what was there
    (busy, *_) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if not busy:
        db.execute("DELETE FROM blobs WHERE name = ?", (SCRUB,))
    _mark.put(db, folder / FILE)
    return not busy


def _reading(folder: Path) -> SqliteLedger:
    if not (folder / FILE).is_file():
        raise LedgerError(f"There is no ledger in {str(folder)!r}.")
    with contextlib.ExitStack() as opened, _translated(f"The ledger in {str(folder)!r} cannot be read"):
        _check_unless_open(folder)
        head = _head_of(folder)  # before the ledger, which may grow meanwhile
        db = opened.enter_context(contextlib.closing(_read_only(folder)))
        _refuse_loss(folder, head, _missing_in(head, db))
        return SqliteLedger(db, folder, opened.pop_all())


def _read_only(folder: Path) -> sqlite3.Connection:
    """Returns a connection that sees this moment, and leaves the files as they are when it is closed."""
    if (folder / FILE).stat().st_size == 0:  # SQLite would delete the write-ahead log beside it
        raise LedgerCorrupt(f"{FILE} in {str(folder)!r} is empty. {_head.advice(folder)}")
    path = pathname2url(str((folder / FILE).resolve()))
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
    try:
        db.execute("BEGIN")
        _refuse_newer(_version(db))  # from here on all that is read is of this moment
        _refuse_cut(folder, db)
    except BaseException:
        db.close()
        raise
    return db


def _refuse_cut(folder: Path, db: sqlite3.Connection) -> None:
    """Refuses a closed file whose last page was cut, which SQLite reads as zeros."""
    log = folder / LOG
    if log.is_file() and log.stat().st_size:
        return
    (pages,), (page_size,) = db.execute("PRAGMA page_count").fetchone(), db.execute("PRAGMA page_size").fetchone()
    size = (folder / FILE).stat().st_size
    if size < pages * page_size:
        raise LedgerCorrupt(f"{FILE} in {str(folder)!r} was cut: it has {size:,} bytes of {pages * page_size:,}. Restore a backup.")


def _head_of(folder: Path) -> heads.Head | None:
    try:
        return heads.read(folder)
    except heads.HeadDamaged as error:
        raise heads.HeadDamaged(f"{error} {_head.advice(folder)}") from None


def _missing(folder: Path) -> tuple[heads.Head | None, dict[str, int]]:
    """Returns the head, and how many acknowledged records of which tables are missing, in a folder that nobody has open."""
    head = _head_of(folder)
    if (folder / FILE).is_file() and (head is None or (folder / FILE).stat().st_size):
        with contextlib.closing(_read_only(folder)) as db:
            return head, _missing_in(head, db)
    return head, {} if head is None else head.numbers()


def _missing_in(head: heads.Head | None, db: sqlite3.Connection) -> dict[str, int]:
    if head is None:
        return {}
    return _head.missing(head, db) if _head.is_chained(db) else head.numbers()


def _refuse_loss(folder: Path, head: heads.Head | None, missing: dict[str, int]) -> None:
    """Refuses a ledger that lacks what was acknowledged, but for the last moments before a power cut at a level that allows it."""
    if not missing:
        return
    told = " and ".join(f"{number:,} {table}" if number else f"other {table} than were written" for table, number in missing.items())
    if head is not None and head.excuses(missing, heads.boot()):
        warnings.warn(
            f"The machine stopped while the ledger in {str(folder)!r} was open at 'process-crash': {told} are lost.", LostRecords, 4
        )
        return
    raise LedgerCorrupt(f"The ledger in {str(folder)!r} lacks what was acknowledged: {told}. {_head.advice(folder)}")


def _accepted(folder: Path) -> dict[str, int]:
    try:
        return _missing(folder)[1]
    except heads.HeadDamaged:  # how many were acknowledged is not known
        return {}


def _repair(folder: Path, backup: Path | None) -> Lost:
    if not (folder / FILE).exists():
        raise LedgerError(f"There is no ledger in {str(folder)!r}.")
    with contextlib.closing(FolderLock(folder)), _translated(f"The ledger in {str(folder)!r} cannot be repaired"):
        if backup is not None:
            refuse_full(backup)
            shutil.copytree(folder, backup, dirs_exist_ok=True, ignore=shutil.ignore_patterns(LOCK))
        _mark.check(folder / FILE)
        lost = Lost(**_accepted(folder))
        (folder / heads.HEAD).unlink(missing_ok=True)
    _writing(folder, "FULL").close()
    return lost


def _compact(folder: Path, before: float, limit: int | None) -> int:
    if not (folder / FILE).is_file():
        raise LedgerError(f"There is no ledger in {str(folder)!r}.")
    with contextlib.closing(_writing(folder, "FULL")) as ledger, _translated(f"The ledger in {str(folder)!r} cannot be made smaller"):
        num = ledger.compact(before, limit)
        if num:
            _mark.clear(folder / FILE)  # which the next statement would make false
            ledger.vacuum()
    return num


def _version(db: sqlite3.Connection) -> int:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    return int(version)


def _refuse_newer(version: int) -> None:
    if version > SCHEMA_VERSION:
        raise LedgerMismatch(
            f"The ledger is of version {version}, this recsdk reads versions up to {SCHEMA_VERSION}: open it with the recsdk that wrote it."
        )


def _upgrade(db: sqlite3.Connection) -> None:
    version = _version(db)
    _refuse_newer(version)
    steps = SCHEMA if version == 0 else "".join(UPGRADES[step] for step in range(version, SCHEMA_VERSION))
    if not steps:
        return
    db.execute("BEGIN IMMEDIATE")
    for statement in steps.split(";"):
        db.execute(statement)
    if version < 4:
        _head.chain_all(db)
    db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    db.execute("COMMIT")


def _values(record: DecisionRecord) -> Row:
    """Returns the values of a decision over which its checksum is."""
    slots, action, probs, features = (
        np.ascontiguousarray(array, kind).tobytes()
        for array, kind in ((record.slots, "<i4"), (record.action, "<i4"), (record.probs, "<f8"), (record.features, "<f4"))
    )
    before = (record.decision_id, record.time + 0.0, record.payload, record.parts, record.num_learned)
    return (*before, slots, action, probs, record.features.shape[1], features, record.user, record.marks)


def _decision(row: Row) -> DecisionRecord:
    *fields, packed, crc32 = row
    if packed:
        for place in PACKED_PLACES:
            fields[place] = unpack(fields[place])
    _verify("Decision", (*fields, crc32))
    decision_id, time, payload, parts, num_learned, slots, action, probs, dim, features, user, marks = fields
    shown = np.frombuffer(action, "<i4")
    return DecisionRecord(
        decision_id,
        time,
        payload,
        parts,
        num_learned,
        np.frombuffer(slots, "<i4"),
        shown,
        np.frombuffer(probs, "<f8").reshape(len(shown), len(slots) // 4),
        np.frombuffer(features, "<f4").reshape(-1, dim),
        user,
        marks,
    )


def _reward_values(record: RewardRecord) -> Row:
    own = (record.reward_id, record.decision_id, record.position, record.value + 0.0, record.time + 0.0)  # SQLite has one zero
    return (*own, record.replaces, 1 if record.void else None)


def _signal_values(record: SignalRecord) -> Row:
    happened = None if record.happened is None else record.happened + 0.0
    own = (record.signal_id, record.decision_id, record.position, record.name, record.value + 0.0, record.time + 0.0)
    return (*own, happened, record.about)


def _reward(row: Row) -> RewardRecord:
    _verify("Reward", row)
    reward_id, decision_id, position, value, time, replaces, void, _ = row
    return RewardRecord(reward_id, decision_id, position, value, time, replaces, bool(void))


def _signal(row: Row) -> SignalRecord:
    _verify("Signal", row)
    return SignalRecord(*row[:-1])


def _item(row: Row) -> ItemRecord:
    _verify("The item in slot", row)
    slot, text, vector, active, _ = row
    return ItemRecord(slot, text, np.frombuffer(vector, "<f4"), bool(active))


def _verify(what: str, row: Row) -> None:
    if _crc32(row[:-1]) != row[-1]:
        raise LedgerCorrupt(f"{what} {row[0]!r} does not have the checksum it was written with.")


def _crc32(values: Row) -> int:
    checksum = 0
    for value in values:
        if value is None:  # as in ledgers that had no such column
            continue
        checksum = zlib.crc32(value if isinstance(value, bytes) else str(value).encode(), checksum)
    return checksum


def _is_disk_failure(error: BaseException | None) -> bool:
    """Tells whether a sync or a read failed. After a failed sync the system may call the pages written, and the next sync succeeds.

    A failed write is no such failure: it is told at once, nothing of its transaction is kept, and there may be room later.
    """
    code = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF == sqlite3.SQLITE_IOERR and code != sqlite3.SQLITE_IOERR_WRITE


@contextlib.contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except LedgerError:
        raise
    except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
        damaged = getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
        damaged = damaged or isinstance(error, UnicodeDecodeError)
        damaged = damaged or any(text in str(error) for text in ("Could not decode to UTF-8", "no such column", "no such table"))
        raise (LedgerCorrupt if damaged else LedgerError)(f"{what}: {error}.") from error


def _check_unless_open(folder: Path) -> None:
    """Checks the write-ahead log of a folder that no recommender has open: the one that has it open has checked it."""
    if not _mark.may_check(folder / FILE):
        return
    try:
        lock = FolderLock(folder)
    except OSError:  # it is open, or the folder may not be written to
        return
    with contextlib.closing(lock):
        _mark.check(folder / FILE)
