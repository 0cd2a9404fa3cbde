"""The `recsdk.ledger.Ledger` of one session with a server."""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator
from time import monotonic, sleep
from typing import Any, TypeVar

import psycopg
from psycopg.pq import TransactionStatus

from recsdk.errors import LedgerCorrupt, LedgerError
from recsdk.ledger import DecisionRecord, ItemRecord, Redacted, RewardRecord, SignalRecord, Verified, heads
from recsdk.ledger.progress import Progress
from recsdk.ledger.records import checksum, in_order, refuse_elsewhere, verified_bytes
from recsdk.ledger.redaction import SCRUB, Named, emptying
from recsdk_postgres import rows, tables
from recsdk_postgres.failures import translated
from recsdk_postgres.rows import Row

FIRST_PAGE, PAGE = 16, 1_000
"""Rows that are fetched at once: few at first, since many a reader stops early."""
PATIENCE = 2.0
"""Seconds that `scrub` waits for other sessions."""
STILL_SEEN = (
    "Another session has the ledger open, or sees the database as it was, and the server keeps what was removed for it: "
    "call again once it has ended."
)
R = TypeVar("R")


class PostgresLedger:
    """A ledger in one schema of a database.

    Args:
        connection: with the schema as its search path; for a writer, it holds the lock.
        durability: the level at which a writer acknowledges.
        head: of a ledger that is written to: how far it is acknowledged.
    """

    def __init__(self, connection: psycopg.Connection[Row], durability: str, head: heads.HeadFile | None = None) -> None:
        self.durability = durability
        self._connection = connection
        self._head = head
        self._progress = Progress(functools.partial(last_records, connection), head)
        self._parts: dict[str, int] = {}
        ((version,),) = connection.execute("SELECT version FROM meta").fetchall()
        self._decisions, self._signals, self._rewards, self._outcomes = (
            tables.of_version(query, int(version)) for query in (tables.DECISIONS, tables.SIGNALS, tables.REWARDS, tables.OUTCOMES)
        )

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        self._write("BEGIN")
        try:
            yield
            if self._connection.info.transaction_status == TransactionStatus.INERROR:  # PostgreSQL would roll back without a word
                raise LedgerError("The ledger could not be written: a call in this transaction has failed, and nothing of it is kept.")
            self._write("COMMIT")
        except BaseException:
            self._forget()
            if not self._connection.closed and self._connection.info.transaction_status != TransactionStatus.IDLE:
                self._write("ROLLBACK")
            raise

    def get(self, name: str) -> bytes | None:
        row = self._first("SELECT sha256, data FROM blobs WHERE name = %s", name.encode())
        return None if row is None else verified_bytes(name, *row)

    def put(self, name: str, data: bytes) -> None:
        self._write(tables.PUT, name.encode(), hashlib.sha256(data).digest(), data)

    def add_decision(self, record: DecisionRecord) -> None:
        name, time, payload, parts, *rest = values = rows.decision_values(record)
        if record.parts not in self._parts:
            self._parts[record.parts] = self._number_of(parts)
        self._append("decisions", tables.ADD_DECISION, name, time, payload, self._parts[record.parts], *rest, checksum(values))

    def decision(self, decision_id: str) -> DecisionRecord | None:
        return self._one(rows.decision, f"{self._decisions} WHERE d.id = %s", decision_id.encode())

    def decisions(self, start: int = 0) -> Iterator[DecisionRecord]:
        return map(rows.decision, self._pages(f"{self._decisions} WHERE d.number > %s ORDER BY d.number", start))

    def decisions_of(self, user: str) -> Iterator[DecisionRecord]:
        query = f"{self._decisions} WHERE sha256(d.user_key) = sha256(%s) AND d.user_key = %s AND d.number < %s ORDER BY d.number DESC"
        return map(rows.decision, self._pages(query, user.encode(), user.encode(), 2**63 - 1))

    def add_signal(self, record: SignalRecord) -> None:
        values = rows.signal_values(record)
        self._append("signals", tables.ADD_SIGNAL, *values, checksum(values))

    def signal(self, signal_id: str) -> SignalRecord | None:
        return self._one(rows.signal, f"{self._signals} WHERE s.id = %s", signal_id.encode())

    def signals(self, start: int = 0) -> Iterator[SignalRecord]:
        return map(rows.signal, self._pages(f"{self._signals} WHERE s.number > %s ORDER BY s.number", start))

    def signals_of(self, decision_id: str) -> list[SignalRecord]:
        found = self._rows(f"{self._signals} WHERE d.id = %s ORDER BY s.number", decision_id.encode())
        return [rows.signal(row[1:]) for row in found]

    def add_reward(self, record: RewardRecord) -> None:
        if record.replaces is not None:
            refuse_elsewhere(record, self.reward(record.replaces))
        values = rows.reward_values(record)
        self._append("rewards", tables.ADD_REWARD, *values, checksum(values))

    def reward(self, reward_id: str) -> RewardRecord | None:
        return self._one(rows.reward, f"{self._rewards} WHERE r.id = %s", reward_id.encode())

    def rewards(self, start: int = 0) -> Iterator[RewardRecord]:
        return map(rows.reward, self._pages(f"{self._rewards} WHERE r.number > %s ORDER BY r.number", start))

    def rewards_of(self, decision_id: str) -> list[RewardRecord]:
        found = self._rows(f"{self._rewards} WHERE d.id = %s ORDER BY r.number", decision_id.encode())
        return [rows.reward(row[1:]) for row in found]

    def outcomes(self, start: int = 0) -> Iterator[tuple[RewardRecord, DecisionRecord]]:
        for row in self._pages(f"{self._outcomes} WHERE r.number > %s ORDER BY r.number", start):
            yield rows.reward(row[: tables.REWARD_FIELDS]), rows.decision(row[tables.REWARD_FIELDS :])

    def num_rewards(self) -> int:
        ((number,),) = self._rows("SELECT COALESCE(MAX(number), 0) FROM rewards")
        return int(number)

    def put_item(self, record: ItemRecord) -> None:
        values = rows.item_values(record)
        self._append("items", tables.ADD_ITEM, *values, checksum(values))

    def items(self) -> Iterator[ItemRecord]:
        latest = "SELECT MAX(number) FROM items GROUP BY slot"
        return (rows.item(row[1:]) for row in self._rows(f"{tables.ITEMS} WHERE i.number IN ({latest}) ORDER BY i.slot"))

    def shown(self, decision_id: str, slot: int) -> ItemRecord:
        query = f"{tables.ITEMS}, decisions d WHERE d.id = %s AND i.slot = %s AND i.number <= d.num_items ORDER BY i.number DESC LIMIT 1"
        found = self._one(rows.item, query, decision_id.encode(), slot)
        if found is None:
            raise LedgerCorrupt(f"The ledger has no item in slot {slot}, which decision {decision_id!r} has shown.")
        return found

    def names(self) -> list[str]:
        return sorted(name.decode() for (name,) in self._rows("SELECT name FROM blobs"))

    def events(self) -> Iterator[ItemRecord | DecisionRecord]:
        items = map(rows.item, self._pages(f"{tables.ITEMS} WHERE i.number > %s ORDER BY i.number", 0))
        query = self._decisions.replace("SELECT d.number, ", "SELECT d.number, d.num_items, ")
        found = self._pages(f"{query} WHERE d.number > %s ORDER BY d.number", 0)
        yield from in_order(items, ((before, rows.decision(tuple(row))) for before, *row in found))

    def redact(self, decision_ids: Iterable[str], *, drop: tuple[str, ...], named: Named | None = None) -> Redacted:
        done = Redacted()
        self._write("SET CONSTRAINTS ALL DEFERRED")
        for found in emptying(self, decision_ids, named):
            record, left = found.decision
            name, time, payload, _, *rest = values = rows.decision_values(left)
            self._write(tables.EMPTY_DECISION, name, time, payload, *rest, checksum(values), record.decision_id.encode())
            for signal, none in found.signals:
                name, _, *rest = values = rows.signal_values(none)
                self._write(tables.EMPTY_SIGNAL, name, *rest, checksum(values), signal.signal_id.encode())
            for reward, void in found.rewards:
                name, _, *rest = values = rows.reward_values(void)
                self._write(tables.EMPTY_REWARD, name, *rest, checksum(values), reward.reward_id.encode())
            done = found.added_to(done)
        for prefix in drop:
            self._write(tables.DROP, len(prefix.encode()), prefix.encode())
        ((number,),) = self._rows("SELECT pg_current_xact_id()::text")
        self.put(SCRUB, number.encode())
        return done

    def scrub(self) -> None:
        """Writes the tables anew: rows that were removed leave bytes in them until then."""
        due = self.get(SCRUB)
        if due is None:
            return
        deadline = monotonic() + PATIENCE
        while self._rows(tables.HELD, due.decode())[0][0]:
            if monotonic() > deadline:
                raise LedgerError(STILL_SEEN)
            sleep(PATIENCE / 50)
        self._write(f"SET lock_timeout = {PATIENCE * 1000:.0f}")
        try:
            self._write("VACUUM (FULL) decisions, signals, rewards, blobs")
        except LedgerError as error:
            raise LedgerError(STILL_SEEN) if isinstance(error.__cause__, psycopg.errors.LockNotAvailable) else error from error
        finally:
            if not self._progress.is_stopped:
                self._write("SET lock_timeout = 0")
        self._write("DELETE FROM blobs WHERE name = %s", SCRUB.encode())

    def verify(self) -> Verified:
        """Returns which tables have records that do not follow each other, of one that is read."""
        num, problems = 0, []
        for table in heads.TABLES:
            query = f"SELECT number, crc32, chain FROM {table} WHERE number > %s ORDER BY number"
            if not heads.follow(self._numbered(query, 0)):
                problems.append(f"the {table} do not follow each other")
            num += self._rows(f"SELECT count(*) FROM {table}")[0][0]
        return Verified(num, tuple(problems))

    def close(self) -> None:
        if self._connection.closed:
            return
        try:
            if self._head is not None and not self._progress.is_stopped:
                # One commit that waits for the disk takes all before it there.
                with translated("The ledger could not be closed"):
                    self._connection.execute("SET synchronous_commit = on")
                    self._connection.execute("UPDATE meta SET version = version")
                self._head.finish(safe=True)
        finally:
            self._progress.close()
            self._connection.close()

    def _number_of(self, parts: bytes) -> int:
        digest = hashlib.sha256(parts).digest()
        self._write("INSERT INTO parts (sha256, text) VALUES (%s, %s) ON CONFLICT DO NOTHING", digest, parts)
        ((number,),) = self._rows("SELECT number FROM parts WHERE sha256 = %s", digest)
        return int(number)

    def _append(self, table: str, statement: str, *values: Any) -> None:
        """Inserts a record of values that end with its checksum; its number and its chained hash are added."""
        try:
            self._write(statement, *values, *self._progress.chain(table, values[-1]))
        except BaseException:  # also an interrupt between the two
            self._forget()
            raise

    def _forget(self) -> None:
        """Forgets, after a failure, what was written: what is there has to be looked up."""
        self._progress.forget()
        self._parts = {}

    def _write(self, statement: str, *values: Any) -> None:
        self._progress.check()
        try:
            with translated("The ledger could not be written"):
                self._connection.execute(statement, values)
        except BaseException as error:
            self._forget()
            if self._connection.broken:
                self._progress.stop(
                    f"The connection to the PostgreSQL server is lost, and whether the last call was kept is not known: {error}"
                )
            raise
        if self._connection.info.transaction_status == TransactionStatus.IDLE:
            self._progress.acknowledge()

    def _rows(self, query: str, *values: Any) -> list[Row]:
        self._progress.check()
        try:
            with translated("The ledger could not be read"):
                return self._connection.execute(query, values, binary=True).fetchall()
        except LedgerError as error:
            if self._connection.broken:
                self._progress.stop(f"The connection to the PostgreSQL server is lost: {error}")
            raise

    def _first(self, query: str, *values: Any) -> Row | None:
        return next(iter(self._rows(f"{query} LIMIT 1", *values)), None)

    def _one(self, read: Callable[[Row], R], query: str, *values: Any) -> R | None:
        found = self._rows(query, *values)
        return read(found[0][1:]) if found else None

    def _pages(self, query: str, *values: Any) -> Iterator[Row]:
        """Yields the rows of a query without their numbers."""
        return (row[1:] for row in self._numbered(query, *values))

    def _numbered(self, query: str, *values: Any) -> Iterator[Row]:
        """Yields the rows of a query that begin with their numbers, by which it is ordered and of which the last value is a bound."""
        *fixed, bound = values
        size = FIRST_PAGE
        while True:
            page = self._rows(f"{query} LIMIT %s", *fixed, bound, size)
            yield from page
            if len(page) < size:
                return
            bound, size = page[-1][0], PAGE


def last_records(connection: psycopg.Connection[Row]) -> tuple[heads.Last, ...]:
    """Returns the last record of each table."""
    with translated("The ledger could not be read"):
        last = "SELECT number, chain FROM {} ORDER BY number DESC LIMIT 1"
        found = [connection.execute(last.format(table), binary=True).fetchone() for table in heads.TABLES]
        return tuple(heads.Last(*(row or ())) for row in found)
