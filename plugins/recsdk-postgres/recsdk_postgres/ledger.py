"""The `recsdk.ledger.Ledger` of one session with a server."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TypeVar

import psycopg
from psycopg.pq import TransactionStatus

from recsdk.errors import LedgerCorrupt, LedgerError, LedgerStopped
from recsdk.ledger import DecisionRecord, ItemRecord, RewardRecord, SignalRecord, heads
from recsdk_postgres import rows, tables
from recsdk_postgres.failures import translated
from recsdk_postgres.rows import Row, checksum

FIRST_PAGE, PAGE = 16, 1_000
"""Rows that are fetched at once: few at first, since many a reader stops early."""
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
        self._last: dict[str, heads.Last] = {}
        self._parts: dict[str, int] = {}
        self._stopped = ""

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        self._write("BEGIN")
        try:
            yield
            if self._connection.info.transaction_status == TransactionStatus.INERROR:  # PostgreSQL would roll back without a word
                raise LedgerError("The ledger could not be written: a call in this transaction has failed, and nothing of it is kept.")
            self._write("COMMIT")
        except BaseException:
            self._last, self._parts = {}, {}
            if not self._connection.closed and self._connection.info.transaction_status != TransactionStatus.IDLE:
                self._write("ROLLBACK")
            raise

    def get(self, name: str) -> bytes | None:
        row = self._first("SELECT sha256, data FROM blobs WHERE name = %s", name.encode())
        if row is None:
            return None
        if hashlib.sha256(row[1]).digest() != row[0]:
            raise LedgerCorrupt(f"The ledger's {name!r} does not have the checksum it was written with.")
        return bytes(row[1])

    def put(self, name: str, data: bytes) -> None:
        self._write(tables.PUT, name.encode(), hashlib.sha256(data).digest(), data)

    def add_decision(self, record: DecisionRecord) -> None:
        name, time, payload, parts, *rest = values = rows.decision_values(record)
        if record.parts not in self._parts:
            self._parts[record.parts] = self._number_of(parts)
        self._append("decisions", tables.ADD_DECISION, name, time, payload, self._parts[record.parts], *rest, checksum(values))

    def decision(self, decision_id: str) -> DecisionRecord | None:
        return self._one(rows.decision, f"{tables.DECISIONS} WHERE d.id = %s", decision_id.encode())

    def decisions(self, start: int = 0) -> Iterator[DecisionRecord]:
        return map(rows.decision, self._pages(f"{tables.DECISIONS} WHERE d.number > %s ORDER BY d.number", start))

    def decisions_of(self, user: str) -> Iterator[DecisionRecord]:
        query = f"{tables.DECISIONS} WHERE sha256(d.user_key) = sha256(%s) AND d.user_key = %s AND d.number < %s ORDER BY d.number DESC"
        return map(rows.decision, self._pages(query, user.encode(), user.encode(), 2**63 - 1))

    def add_signal(self, record: SignalRecord) -> None:
        values = rows.signal_values(record)
        self._append("signals", tables.ADD_SIGNAL, *values, checksum(values))

    def signal(self, signal_id: str) -> SignalRecord | None:
        return self._one(rows.signal, f"{tables.SIGNALS} WHERE s.id = %s", signal_id.encode())

    def signals(self, start: int = 0) -> Iterator[SignalRecord]:
        return map(rows.signal, self._pages(f"{tables.SIGNALS} WHERE s.number > %s ORDER BY s.number", start))

    def signals_of(self, decision_id: str) -> list[SignalRecord]:
        found = self._rows(f"{tables.SIGNALS} WHERE d.id = %s ORDER BY s.number", decision_id.encode())
        return [rows.signal(row[1:]) for row in found]

    def add_reward(self, record: RewardRecord) -> None:
        if record.replaces is not None:
            earlier = self.reward(record.replaces)
            if earlier is None or (earlier.decision_id, earlier.position) != (record.decision_id, record.position):
                raise LedgerError(f"A reward must replace one of its own place, got {record} and {earlier}.")
        values = rows.reward_values(record)
        self._append("rewards", tables.ADD_REWARD, *values, checksum(values))

    def reward(self, reward_id: str) -> RewardRecord | None:
        return self._one(rows.reward, f"{tables.REWARDS} WHERE r.id = %s", reward_id.encode())

    def rewards(self, start: int = 0) -> Iterator[RewardRecord]:
        return map(rows.reward, self._pages(f"{tables.REWARDS} WHERE r.number > %s ORDER BY r.number", start))

    def rewards_of(self, decision_id: str) -> list[RewardRecord]:
        found = self._rows(f"{tables.REWARDS} WHERE d.id = %s ORDER BY r.number", decision_id.encode())
        return [rows.reward(row[1:]) for row in found]

    def outcomes(self, start: int = 0) -> Iterator[tuple[RewardRecord, DecisionRecord]]:
        for row in self._pages(f"{tables.OUTCOMES} WHERE r.number > %s ORDER BY r.number", start):
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

    def close(self) -> None:
        if self._connection.closed:
            return
        try:
            if self._head is not None and not self._stopped:
                # One commit that waits for the disk takes all before it there.
                with translated("The ledger could not be closed"):
                    self._connection.execute("SET synchronous_commit = on")
                    self._connection.execute("UPDATE meta SET version = version")
                self._head.finish(safe=True)
        finally:
            if self._head is not None:
                self._head.close()
            self._connection.close()

    def _number_of(self, parts: bytes) -> int:
        digest = hashlib.sha256(parts).digest()
        self._write("INSERT INTO parts (sha256, text) VALUES (%s, %s) ON CONFLICT DO NOTHING", digest, parts)
        ((number,),) = self._rows("SELECT number FROM parts WHERE sha256 = %s", digest)
        return int(number)

    def _append(self, table: str, statement: str, *values: Any) -> None:
        """Inserts a record of values that end with its checksum; its number and its chained hash are added."""
        if not self._last:
            self._check_going()
            with translated("The ledger could not be read"):
                self._last = dict(zip(heads.TABLES, last_records(self._connection), strict=True))
        last = self._last[table] = heads.chained(self._last[table], values[-1])
        self._write(statement, *values, *last)

    def _write(self, statement: str, *values: Any) -> None:
        self._check_going()
        try:
            with translated("The ledger could not be written"):
                self._connection.execute(statement, values)
        except BaseException as error:
            self._last, self._parts = {}, {}  # what is there has to be looked up
            if self._connection.broken:
                self._stop(f"The connection to the PostgreSQL server is lost, and whether the last call was kept is not known: {error}")
            raise
        if self._connection.info.transaction_status == TransactionStatus.IDLE:
            self._acknowledge()

    def _acknowledge(self) -> None:
        """Notes, after a commit, how far the ledger is acknowledged."""
        last = tuple(self._last.values())
        if self._head is not None and last and last != self._head.head.tables:
            try:
                self._head.write(last)
            except OSError as error:
                self._stop(f"How far the ledger is acknowledged could not be written: {error}.")

    def _rows(self, query: str, *values: Any) -> list[Row]:
        self._check_going()
        try:
            with translated("The ledger could not be read"):
                return self._connection.execute(query, values, binary=True).fetchall()
        except LedgerError as error:
            if self._connection.broken:
                self._stop(f"The connection to the PostgreSQL server is lost: {error}")
            raise

    def _first(self, query: str, *values: Any) -> Row | None:
        return next(iter(self._rows(f"{query} LIMIT 1", *values)), None)

    def _one(self, read: Callable[[Row], R], query: str, *values: Any) -> R | None:
        found = self._rows(query, *values)
        return read(found[0][1:]) if found else None

    def _pages(self, query: str, *values: Any) -> Iterator[Row]:
        """Yields the rows of a query without their numbers, by which it is ordered and of which the last value is a bound."""
        *fixed, bound = values
        size = FIRST_PAGE
        while True:
            page = self._rows(f"{query} LIMIT %s", *fixed, bound, size)
            for row in page:
                yield row[1:]
            if len(page) < size:
                return
            bound, size = page[-1][0], PAGE

    def _check_going(self) -> None:
        """Refuses everything once the ledger has stopped, reads too: the answer to what was sent twice is an acknowledgement."""
        if self._stopped:
            raise LedgerStopped(self._stopped)

    def _stop(self, why: str) -> NoReturn:
        self._stopped = f"{why} From here on nothing is acknowledged: open the folder again."
        if self._head is not None:
            self._head.close()
        raise LedgerStopped(self._stopped)


def last_records(connection: psycopg.Connection[Row]) -> tuple[heads.Last, ...]:
    """Returns the last record of each table."""
    found = []
    for table in heads.TABLES:
        row = connection.execute(f"SELECT number, chain FROM {table} ORDER BY number DESC LIMIT 1", binary=True).fetchone()
        found.append(heads.Last(*(row or ())))
    return tuple(found)
