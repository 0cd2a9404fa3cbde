"""Empties records of a ledger in SQLite, and removes their bytes from its files."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from recsdk.ledger import DecisionRecord, _mark
from recsdk.ledger._files import FILE
from recsdk.ledger._rows import Row
from recsdk.ledger._segments import Segments
from recsdk.ledger.records import checksum
from recsdk.ledger.redaction import SCRUB


def empty_decision(record: DecisionRecord, left: DecisionRecord) -> Row:
    """Returns the statement, with its values, that leaves of a decision what is `left`."""
    kept, dim = (left.decision_id, left.time + 0.0, left.payload), left.features.shape[1]
    crc32 = checksum((*kept, left.parts, left.num_learned, b"", b"", b"", dim, b""))
    statement = (
        "UPDATE decisions SET id = ?, time = ?, payload = ?, slots = x'', action = x'', probs = x'', features = x'', user = NULL, "
        "marks = NULL, packed = 0, forgotten = ? WHERE id = ?"
    )
    return (statement, *kept, crc32, record.decision_id)


def empty_other(table: str, names: str, record_id: str, values: Row) -> Row:
    """Returns the statement, with its values, that leaves of a signal or a reward, whose columns have these names, only `values`."""
    columns = [name.split(".")[1] for name in names.split(", ")[2 : len(values)]]
    changes = ", ".join(f"{column} = ?" for column in ("id", *columns, "forgotten"))
    return (f"UPDATE {table} SET {changes} WHERE id = ?", values[0], *values[2:], checksum(values), record_id)  # noqa: S608 -- constants


def scrub(db: sqlite3.Connection, folder: Path | None) -> bool:
    """Writes the files anew, without what was removed; returns whether nothing of that is left in the write-ahead log either.

    Args:
        db: of the ledger.
        folder: of a writer; None of a ledger in memory, and of a reader, whose database refuses.
    """
    if folder is None:
        db.execute("VACUUM")
        db.execute("DELETE FROM blobs WHERE name = ?", (SCRUB,))
        return True
    segments = Segments(db, folder)
    emptied_here = (  # others were empty when they were moved
        "SELECT number FROM segments JOIN decisions ON number BETWEEN first AND last WHERE forgotten IS NOT NULL AND payload <> ''"
    )
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
