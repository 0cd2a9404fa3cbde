"""The `recsdk.ledger.Ledger` of one connection to SQLite."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from recsdk.errors import LedgerCorrupt, LedgerError
from recsdk.ledger import LEVELS, DecisionRecord, ItemRecord, Ledger, Redacted, RewardRecord, SignalRecord, Verified, _head, heads
from recsdk.ledger import _rows as rows
from recsdk.ledger._copy import copy
from recsdk.ledger._failures import is_disk_failure, translated
from recsdk.ledger._files import FILE, LOG, Files
from recsdk.ledger._packing import pack
from recsdk.ledger._recent import Recent
from recsdk.ledger._redact import empty_decision, empty_other, scrub
from recsdk.ledger._rows import Row
from recsdk.ledger._schema import (
    DECISIONS,
    ITEM,
    NUM_ITEMS,
    PARTS,
    PAYLOAD,
    REWARD,
    REWARD_FIELDS,
    REWARDS,
    SIGNAL,
    SIGNALS_OF,
    columns,
    version,
)
from recsdk.ledger._segments import NUM_ROWS, Segments
from recsdk.ledger._verify import verify
from recsdk.ledger.progress import Progress
from recsdk.ledger.records import checksum, decision, in_order, refuse_elsewhere, verified_bytes
from recsdk.ledger.redaction import SCRUB, Named, emptying

BLOCK = 200
"""Outcomes that are read and checked together."""


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
        self._progress = Progress(functools.partial(_last_records, db), head)
        self._recent = Recent()
        self._parts: dict[str, int] = {}
        found = version(db)
        self._has_signals, self._is_chained, self._has_corrections = found >= 3, found >= 4, found >= 5
        self._decision, self._signal, self._reward = columns(found)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        try:
            self._write("BEGIN IMMEDIATE")
            yield
            self._write("COMMIT")
        except BaseException:
            self._forget()
            if self._db.in_transaction:
                with translated("The ledger could not be written"):
                    self._db.execute("ROLLBACK")
            raise

    def get(self, name: str) -> bytes | None:
        row = self._first("SELECT sha256, data FROM blobs WHERE name = ?", name)
        return None if row is None else verified_bytes(name, *row)

    def put(self, name: str, data: bytes) -> None:
        self._write("INSERT OR REPLACE INTO blobs VALUES (?, ?, ?)", name, hashlib.sha256(data).digest(), data)

    def add_decision(self, record: DecisionRecord) -> None:
        if not record.payload:
            raise LedgerError(f"Decision {record.decision_id!r} must have a payload.")
        values = rows.decision_values(record)
        decision_id, time, payload, parts, num_learned, slots, action, probs, dim, features, user, marks = values
        before = (decision_id, time, payload, self._number_of(parts), num_learned, num_items := self._progress.number("items"))
        after = (pack(slots, transposing=True), action, pack(probs), dim, pack(features, transposing=True), user, marks)
        self._append(
            "decisions",
            "INSERT INTO decisions (id, time, payload, parts, num_learned, num_items, "
            "slots, action, probs, dim, features, user, marks, packed, crc32, number, chain) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?)",
            *(*before, *after, checksum(values)),
            keep=lambda number: self._recent.add(number, values, num_items),
        )

    def _number_of(self, parts: str) -> int:
        """Returns the number of a text of parts, which is written when it is new."""
        if parts not in self._parts:
            row = self._first("SELECT number FROM parts WHERE text = ?", parts)
            if row is None:
                self._write("INSERT INTO parts (text) VALUES (?)", parts)
                return self._number_of(parts)
            self._parts[parts] = int(row[0])
        return self._parts[parts]

    def decision(self, decision_id: str) -> DecisionRecord | None:
        self._progress.check()
        recent = self._recent.decision(decision_id)
        if recent is not None:
            return recent
        row = self._first(f"SELECT {self._decision} FROM {DECISIONS} WHERE d.id = ?", decision_id)  # noqa: S608 -- constants
        return None if row is None else self._whole(row)

    def decisions(self, start: int = 0) -> Iterator[DecisionRecord]:
        query = f"SELECT {self._decision} FROM {DECISIONS} WHERE d.number > ? ORDER BY d.number"  # noqa: S608 -- constants
        return map(self._whole, self._rows(query, start))

    def decisions_of(self, user: str) -> Iterator[DecisionRecord]:
        query = f"SELECT {self._decision} FROM {DECISIONS} WHERE d.user = ? ORDER BY d.number DESC"  # noqa: S608 -- constants
        return map(self._whole, self._rows(query, user))

    def add_signal(self, record: SignalRecord) -> None:
        values = rows.signal_values(record)
        self._append(
            "signals",
            "INSERT INTO signals (id, decision, position, name, value, time, happened, about, crc32, number, chain) "
            "VALUES (?, (SELECT number FROM decisions WHERE id = ?), ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(*values, checksum(values)),
        )

    def signal(self, signal_id: str) -> SignalRecord | None:
        row = self._first(f"SELECT {self._signal} FROM {SIGNALS_OF} WHERE s.id = ?", signal_id)  # noqa: S608 -- constants
        return None if row is None else rows.signal(row)

    def signals(self, start: int = 0) -> Iterator[SignalRecord]:
        query = f"SELECT {self._signal} FROM {SIGNALS_OF} WHERE s.number > ? ORDER BY s.number"  # noqa: S608 -- constants
        return map(rows.signal, self._rows(query, start) if self._has_signals else ())

    def signals_of(self, decision_id: str) -> list[SignalRecord]:
        if self._is_chained and not self._progress.number("signals"):
            return []
        query = f"SELECT {self._signal} FROM {SIGNALS_OF} WHERE d.id = ? ORDER BY s.number"  # noqa: S608 -- constants
        return [rows.signal(row) for row in self._rows(query, decision_id)]

    def add_reward(self, record: RewardRecord) -> None:
        values = rows.reward_values(record)
        if record.replaces is not None:
            refuse_elsewhere(record, self.reward(record.replaces))
        self._append(
            "rewards",
            "INSERT INTO rewards (id, decision, position, value, time, replaces, void, crc32, number, chain) "
            "VALUES (?, COALESCE(?, (SELECT number FROM decisions WHERE id = ?)), ?, ?, ?, ?, ?, ?, ?, ?)",
            *(values[0], self._recent.number(record.decision_id), *values[1:], checksum(values)),
            keep=lambda _: self._recent.reward(rows.reward_of(values)),
        )

    def reward(self, reward_id: str) -> RewardRecord | None:
        if self._first("SELECT 1 FROM rewards WHERE id = ?", reward_id) is None:  # mostly so, and sooner known than by a join
            return None
        row = self._first(f"SELECT {self._reward} FROM {REWARDS} WHERE r.id = ?", reward_id)  # noqa: S608 -- constants
        return None if row is None else rows.reward(row)

    def rewards(self, start: int = 0) -> Iterator[RewardRecord]:
        query = f"SELECT {self._reward} FROM {REWARDS} WHERE r.number > ? ORDER BY r.number"  # noqa: S608 -- constants
        return map(rows.reward, self._rows(query, start))

    def replaced(self, start: int = 0) -> frozenset[str]:
        corrections = self._rows("SELECT replaces FROM rewards WHERE number > ? AND replaces IS NOT NULL", start)
        return frozenset(name for (name,) in corrections) if self._has_corrections else frozenset()

    def rewards_of(self, decision_id: str) -> list[RewardRecord]:
        self._progress.check()
        recent = self._recent.rewards(decision_id)
        if recent is not None:
            return recent
        query = f"SELECT {self._reward} FROM {REWARDS} WHERE d.id = ? ORDER BY r.number"  # noqa: S608 -- constants
        return [rows.reward(row) for row in self._rows(query, decision_id)]

    def outcomes(self, start: int = 0) -> Iterator[tuple[RewardRecord, DecisionRecord]]:
        for reward, fields in self.outcome_fields(start):
            yield reward, decision(fields)

    def outcome_fields(self, start: int = 0) -> Iterator[tuple[RewardRecord, Row]]:
        """See `recsdk.ledger.YieldsFields`."""
        texts = dict[int, str | None]()
        fields = self._decision.replace("p.text", "d.parts")  # hardly any two decisions have different ones
        query = f"SELECT {self._reward}, {fields}, r.number FROM {REWARDS} WHERE r.number > ? ORDER BY r.number LIMIT {BLOCK}"  # noqa: S608 -- constants
        while True:
            try:
                block = list(self._rows(query, start))
            except LedgerError:  # those that come before what cannot be read
                yield from (self._outcome(row, texts) for row in self._rows(query, start))
                raise
            if not block:
                return
            start = block[-1][-1]
            yield from self._together(block, texts) or (self._outcome(row, texts) for row in block)

    def _together(self, block: list[Row], texts: dict[int, str | None]) -> Iterable[tuple[RewardRecord, Row]] | None:
        """Returns outcomes in half of the time; None where one is not as it was written, or was moved."""
        columns = list(zip(*block, strict=True))
        reward, decision = columns[:REWARD_FIELDS], columns[REWARD_FIELDS:-1]
        decision[PARTS] = tuple([self._text(number, texts) for number in decision[PARTS]])
        try:
            rewards, decisions = rows.rewards(reward), rows.decisions_fields(decision)
        except (LedgerCorrupt, TypeError):  # what is no array any more
            return None
        if rewards is None or decisions is None or "" in decision[PAYLOAD]:
            return None
        self._recent.note_all(decision[0], decision[NUM_ITEMS])
        return zip(rewards, decisions, strict=True)

    def _outcome(self, row: Row, texts: dict[int, str | None]) -> tuple[RewardRecord, Row]:
        reward, decision = row[:REWARD_FIELDS], list(row[REWARD_FIELDS:-1])
        decision[PARTS] = self._text(decision[PARTS], texts)
        return rows.reward(reward), self._fields(tuple(decision))

    def _text(self, number: int, texts: dict[int, str | None]) -> str | None:
        """Returns the text of parts of a number; None where it is missing."""
        if number not in texts:
            (texts[number],) = self._first("SELECT text FROM parts WHERE number = ?", number) or (None,)
        return texts[number]

    def num_rewards(self) -> int:
        (number,) = next(self._rows("SELECT COALESCE(MAX(number), 0) FROM rewards"))
        return int(number)

    def put_item(self, record: ItemRecord) -> None:
        values = rows.item_values(record)
        statement = "INSERT INTO items (slot, row, vector, active, crc32, number, chain) VALUES (?, ?, ?, ?, ?, ?, ?)"
        self._recent.put_item(record.slot)
        self._append("items", statement, *values, checksum(values))

    def items(self) -> Iterator[ItemRecord]:
        latest = "SELECT MAX(number) FROM items GROUP BY slot"
        return map(rows.item, self._rows(f"SELECT {ITEM} FROM items i WHERE i.number IN ({latest}) ORDER BY i.slot"))  # noqa: S608

    def shown(self, decision_id: str, slot: int) -> ItemRecord:
        self._progress.check()
        item = self._recent.shown(decision_id, slot)
        if item is None:
            with translated("The ledger could not be read"):
                item = self._recent.looked_up(self._db, decision_id, slot)
        if item is None:
            raise LedgerCorrupt(f"The ledger has no item in slot {slot}, which decision {decision_id!r} has shown.")
        return item

    def names(self) -> list[str]:
        return [name for (name,) in self._rows("SELECT name FROM blobs ORDER BY name")]

    def events(self) -> Iterator[ItemRecord | DecisionRecord]:
        items = map(rows.item, self._rows(f"SELECT {ITEM} FROM items i ORDER BY i.number"))  # noqa: S608 -- constants
        query = f"SELECT {self._decision} FROM {DECISIONS} ORDER BY d.number"  # noqa: S608 -- constants
        yield from in_order(items, ((row[NUM_ITEMS], self._whole(row)) for row in self._rows(query)))

    @property
    def durability(self) -> str:
        return LEVELS[next(self._rows("PRAGMA synchronous"))[0]]

    def redact(self, decision_ids: Iterable[str], *, drop: tuple[str, ...], named: Named | None = None) -> Redacted:
        done = Redacted()
        self._recent.forget()
        self._write("PRAGMA defer_foreign_keys=ON")
        for found in emptying(self, decision_ids, named):
            self._write(*empty_decision(*found.decision))
            for signal, left in found.signals:
                self._write(*empty_other("signals", SIGNAL, signal.signal_id, rows.signal_values(left)))
            for reward, void in found.rewards:
                self._write(*empty_other("rewards", REWARD, reward.reward_id, rows.reward_values(void)))
            done = found.added_to(done)
        for prefix in drop:
            self._write("DELETE FROM blobs WHERE substr(name, 1, ?) = ?", len(prefix), prefix)
        self.put(SCRUB, b"due")
        return done

    def scrub(self) -> None:
        self._progress.check()
        with translated("The ledger could not be scrubbed"):
            done = scrub(self._db, None if self._files is None else self._files.folder)
        if not done:
            raise LedgerError(f"A reader has the ledger open as it was, so {LOG} still has what was removed: call again once it is closed.")

    def copy(self, folder: Path) -> None:
        copy(self._db, self._segments, folder, FILE)

    def verify(self) -> Verified:
        verified = verify(self._db)
        return verified._replace(problems=(*verified.problems, *self._segments.problems()))

    def close(self) -> None:
        self._opened.close()

    def compact(self, before: float, limit: int | None, reading: Ledger, turn: Callable[[Callable[[], None]], None]) -> int:
        """See `recsdk.ledger.CompactsOpen`."""
        if self._files is None:
            raise LedgerError("Decisions could not be moved into files: the ledger is in memory, or open for reading.")
        ends: list[int] = []
        turn(lambda: ends.extend(self._old(before, limit)))
        last, end = ends

        def noticed(refer: Callable[[], None]) -> None:
            with self._noticing(), translated("Decisions could not be moved"):
                refer()

        for start in range(last, end, NUM_ROWS):
            moving = itertools.islice(reading.decisions(start), min(NUM_ROWS, end - start))
            with translated("Decisions could not be moved"):
                self._segments.move(enumerate(moving, start=start + 1), lambda refer: turn(lambda: noticed(refer)))
        return max(end - last, 0)

    def _old(self, before: float, limit: int | None) -> tuple[int, int]:
        """Returns the numbers of the last decision that was moved, and of the last to be moved; deletes what a killed move has left."""
        self._segments.clean()
        (whole,) = self._first("SELECT number FROM decisions WHERE forgotten IS NULL ORDER BY number") or (1,)
        last = max((last for _, last, _, _ in self._segments.listed()), default=whole - 1)  # of what is empty there is nothing to move
        first_young = "SELECT number FROM decisions WHERE number > ? AND time >= ? ORDER BY number LIMIT 1"
        (oldest,) = next(self._rows(f"SELECT COALESCE(({first_young}) - 1, MAX(number), 0) FROM decisions", last, before))  # noqa: S608 -- constants
        return last, oldest if limit is None else min(oldest, limit)

    def vacuum(self) -> None:
        """Gives the room of what was moved back to the disk. The caller has the folder alone."""
        self._write("VACUUM")

    def _whole(self, row: Row) -> DecisionRecord:
        """Returns the decision of a row."""
        return decision(self._fields(row))

    def _fields(self, row: Row) -> Row:
        """Returns the fields of the decision of a row, from its segment where it was moved."""
        self._recent.note(row[0], row[NUM_ITEMS])
        if row[PAYLOAD] != "":
            return rows.decision_fields(row)
        *_, number, _, crc32 = row
        record = self._segments.record(number)
        if record is None or record[0] != row[0] or checksum(values := rows.decision_values(record)) != crc32:
            raise LedgerCorrupt(f"Decision {row[0]!r} is in no segment as it was written.")
        return values

    def _append(self, table: str, statement: str, *values: Any, keep: Callable[[int], None] | None = None) -> None:
        """Inserts a record of values that end with its checksum; its number and its chained hash are added. Then calls `keep(number)`."""
        try:
            number, chain = self._progress.chain(table, values[-1])
            self._write(statement, *values, number, chain)
            if keep is not None:
                keep(number)
        except BaseException:  # also an interrupt between two of these: what is written is looked up then
            self._forget()
            raise

    def _write(self, statement: str, *values: Any) -> None:
        self._progress.check()
        try:
            self._db.execute(statement, values)
        except BaseException:
            with self._noticing(), translated("The ledger could not be written"):
                raise
        if not self._db.in_transaction:
            self._check_files()
            self._progress.acknowledge()

    def _forget(self) -> None:
        """Lets what is there be looked up, after a failure or a change that is no record."""
        self._progress.forget()
        self._recent.forget()
        self._parts.clear()

    @contextlib.contextmanager
    def _noticing(self) -> Iterator[None]:
        """Stops after a failure of the disk, and lets what is there be looked up after any."""
        try:
            yield
        except BaseException as error:
            self._forget()
            if is_disk_failure(error.__cause__):
                self._progress.stop(f"The disk failed, and what was written may be lost whatever it says from now on: {error}")
            raise

    def _rows(self, query: str, *values: Any) -> Iterator[Row]:
        self._progress.check()
        with translated("The ledger could not be read"):
            for row in self._db.execute(query, values):  # noqa: UP028 -- when left early, `yield from` would close the cursor of a closed connection
                yield row

    def _first(self, query: str, *values: Any) -> Row | None:
        self._progress.check()
        with translated("The ledger could not be read"):
            row: Row | None = self._db.execute(query, values).fetchone()
            return row

    def _check_files(self) -> None:
        """Stops after a commit that did not reach the files in the folder."""
        changed = () if self._files is None else self._files.changed()
        if self._files is not None and changed:
            what = f"In {str(self._files.folder)!r}, {' and '.join(changed)} was deleted or replaced while the ledger was open."
            self._progress.stop(f"{what} {self._files.rescue(self.copy)}")


def _last_records(db: sqlite3.Connection) -> tuple[heads.Last, ...]:
    with translated("The ledger could not be read"):
        return _head.last_records(db)
