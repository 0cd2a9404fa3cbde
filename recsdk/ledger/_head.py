"""The chain of hashes in a ledger of SQLite, compared with its head."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from recsdk.ledger import heads
from recsdk.ledger.heads import TABLES, Head, Last, chained


def advice(folder: Path) -> str:
    """Returns what to do about a ledger that is not as its head says."""
    return (
        f"Restore a backup into another folder, or accept what is there: recsdk.ledger.sqlite.Sqlite().repair({str(folder)!r}), "
        "which returns how many records are lost; copy the folder first."
    )


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

    def chain(table: str, number: int) -> bytes | None:
        row = db.execute(f"SELECT chain FROM {table} WHERE number = ?", (number,)).fetchone()  # noqa: S608 -- constants
        return None if row is None else row[0]

    return heads.missing(head, last_records(db), chain)


def is_whole(db: sqlite3.Connection) -> bool:
    """Tells whether every record's hash follows from the one before; it reads the whole ledger."""
    return all(follows(db, table) for table in TABLES)


def follows(db: sqlite3.Connection, table: str) -> bool:
    """Tells it of one table."""
    return heads.follow(db.execute(f"SELECT number, crc32, chain FROM {table} ORDER BY number"))  # noqa: S608 -- constants
