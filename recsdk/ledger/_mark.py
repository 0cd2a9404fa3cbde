"""Notices a `ledger.sqlite-wal` that was not written to the `ledger.sqlite` beside it.

SQLite applies a write-ahead log to whatever file stands beside it. So a backup that is copied over the file of a crashed recommender
becomes a mixture of two histories, or corrupt. To notice it, each opening gives the file a new number in its header and notes it beside it.
"""

from __future__ import annotations

import secrets
import sqlite3
from pathlib import Path

from recsdk.errors import LedgerCorrupt
from recsdk.ledger import heads

MARK = "ledger.mark"
"""The file with what the header of `ledger.sqlite` says while a recommender has it open."""
COOKIE, NUMBER = slice(40, 44), slice(68, 72)  # https://www.sqlite.org/fileformat.html: schema cookie, application id


def may_check(database: Path) -> bool:
    """Tells whether there are a write-ahead log that was left and a mark to check it by."""
    mark, log = _beside(database)
    return mark.is_file() and database.is_file() and log.is_file() and log.stat().st_size > 0


def check(database: Path) -> None:
    """Refuses a write-ahead log that belongs to another database. The caller holds the folder's lock: closing a file ends SQLite's own.

    Raises:
        LedgerCorrupt: saying what to do.
    """
    mark, log = _beside(database)
    if not may_check(database):
        return
    with database.open("rb") as file:
        header = file.read(100)
    if mark.read_text().strip() != _text(int.from_bytes(header[COOKIE]), int.from_bytes(header[NUMBER])):
        raise LedgerCorrupt(
            f"{log.name} in {str(database.parent)!r} belongs to another {database.name}, as when a backup was copied over a folder that was"
            " not closed; together they would be a mixture. Restore into an empty folder: recsdk ledger restore BACKUP FOLDER. "
            f"To keep the copied file alone, delete {log.name}, {database.name}-shm and ledger.head; what only they have is lost then."
        )


def clear(database: Path) -> None:
    """Takes the mark away, before anything is written."""
    database.with_name(MARK).unlink(missing_ok=True)
    heads.sync(database.parent)


def put(db: sqlite3.Connection, database: Path) -> None:
    """Gives a database a new number, and notes it beside the file once the file itself has it; a busy reader may prevent that."""
    renumber(db)
    busy, pages, moved = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    if busy or pages != moved:
        return
    (cookie,), (number,) = db.execute("PRAGMA schema_version").fetchone(), db.execute("PRAGMA application_id").fetchone()
    heads.put(database.with_name(MARK), _text(cookie, number).encode())


def renumber(db: sqlite3.Connection) -> None:
    """Gives a database a number that no other has."""
    db.execute(f"PRAGMA application_id={1 + secrets.randbelow(2**31 - 1)}")


def _beside(database: Path) -> tuple[Path, Path]:
    return database.with_name(MARK), database.with_name(f"{database.name}-wal")


def _text(cookie: int, number: int) -> str:
    return f"{cookie} {number}"
