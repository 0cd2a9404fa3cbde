"""Checks a database: its pages, and that its records follow each other."""

from __future__ import annotations

import sqlite3

from recsdk.ledger import Verified, _head, heads

NUM_TOLD = 5


def verify(db: sqlite3.Connection) -> Verified:
    """Returns what SQLite finds wrong, and which tables have records that do not follow each other."""
    problems = [text for (text,) in db.execute(f"PRAGMA integrity_check({NUM_TOLD})") if text != "ok"]
    problems += [
        f"a record of {table} refers to one of {other} that is missing" for table, _, other, _ in db.execute("PRAGMA foreign_key_check")
    ]
    tables = heads.TABLES if _head.is_chained(db) else ()
    problems += [f"the {table} do not follow each other" for table in tables if not _head.follows(db, table)]
    counts = [db.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] for table in tables]  # noqa: S608 -- constants
    return Verified(sum(counts), tuple(" ".join(text.split()) for text in problems))
