"""Copies a ledger, as a backup or from one."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from recsdk.errors import LedgerCorrupt, LedgerError
from recsdk.ledger import _head, _mark, heads
from recsdk.ledger._segments import Segments


def copy(source: sqlite3.Connection, segments: Segments, folder: Path, file: str) -> None:
    """Copies a database into a folder that is empty or not there, all of one moment, and checks the copy.

    Args:
        source: may be written to meanwhile by another connection.
        segments: of the source.
        folder: of the copy.
        file: name of the copy, which it has only when it is whole.

    Raises:
        LedgerError: when the folder holds something.
        LedgerCorrupt: when the copy is damaged; it is deleted.
    """
    refuse_full(folder)
    heads.make(folder)
    part = folder / f"{file}.part"
    try:
        with contextlib.closing(sqlite3.connect(part, isolation_level=None)) as copied:
            source.backup(copied)
            problems = [text for (text,) in copied.execute("PRAGMA integrity_check(3)") if text != "ok"]
            if problems:
                raise LedgerCorrupt(
                    f"The ledger is damaged, and was not copied to {str(folder)!r}: {' '.join('; '.join(problems).split())}."
                )
            chained = _head.is_chained(copied)
            if chained and not _head.is_whole(copied):
                raise LedgerCorrupt(f"The ledger has records that do not follow each other, and was not copied to {str(folder)!r}.")
            copied.execute("PRAGMA journal_mode=WAL")
            _mark.renumber(copied)  # the copy is a history of its own
            last = _head.last_records(copied) if chained else ()
        segments.copy(folder)  # of the moment that `source` sees, whose files stay while the folder is served
        part.rename(folder / file)
        if chained:
            head = heads.HeadFile(folder)
            head.start(last, safe=True, now=heads.boot())
            head.close()
    finally:
        for left in folder.glob(f"{file}.part*"):
            left.unlink()


def refuse_full(folder: Path) -> None:
    """Refuses a folder that holds something."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise LedgerError(f"{str(folder)!r} must be an empty folder or none, so that nothing is mixed or lost: give another, or empty it.")
