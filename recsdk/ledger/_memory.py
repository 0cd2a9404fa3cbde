"""Ledgers of SQLite in the memory of this process: they last as long as it does, and nothing of them is on a disk.

The name of a folder is the name of a ledger; the folder itself is neither read nor made.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import sqlite3
import threading
import weakref
from pathlib import Path

from recsdk.errors import LedgerError, LedgerLocked
from recsdk.ledger._failures import translated
from recsdk.ledger._ledger import SqliteLedger
from recsdk.ledger._schema import upgrade

PATIENCE = 5.0
"""Seconds that a reader waits for the end of a writer's transaction."""
BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_guard, _numbers = threading.Lock(), itertools.count()
_kept: dict[Path, tuple[str, sqlite3.Connection]] = {}
_open: set[Path] = set()


class _Hold:
    """The right to write to a ledger, until `close` or until nothing refers to it."""

    def __init__(self, folder: Path) -> None:
        if folder in _open:
            raise LedgerLocked(f"The ledger {str(folder)!r} in memory is open in this process: close that recommender first.")
        _open.add(folder)
        self.close = weakref.finalize(self, _open.discard, folder)


def holds(folder: Path) -> bool:
    """Tells whether this process has a ledger of this name."""
    return folder.absolute() in _kept


def writing(folder: Path) -> SqliteLedger:
    """Opens a ledger, and makes it when it is not there."""
    folder = folder.absolute()
    with contextlib.ExitStack() as opened, _guard, translated(f"The ledger {str(folder)!r} in memory cannot be opened"):
        opened.enter_context(contextlib.closing(_Hold(folder)))
        place = _kept[folder][0] if folder in _kept else f"file:/recsdk/{next(_numbers)}?vfs=memdb"
        db = opened.enter_context(contextlib.closing(_connection(place)))
        for setting in ("journal_mode=MEMORY", "synchronous=OFF", "foreign_keys=ON"):
            db.execute(f"PRAGMA {setting}")
        upgrade(db)
        _kept.setdefault(folder, (place, _connection(place)))  # the memory lasts as long as one connection to it
        return SqliteLedger(db, folder, opened.pop_all())


def reading(folder: Path) -> SqliteLedger:
    """Opens a copy of a ledger as it is at this moment."""
    folder = folder.absolute()
    if folder not in _kept:
        raise LedgerError(f"There is no ledger {str(folder)!r} in the memory of this process.")
    with contextlib.ExitStack() as opened, translated(f"The ledger {str(folder)!r} in memory cannot be read"):
        db = opened.enter_context(contextlib.closing(_connection(":memory:")))
        with contextlib.closing(_connection(_kept[folder][0])) as source:
            source.backup(db, progress=functools.partial(_give_up, folder))
        for setting in ("synchronous=OFF", "query_only=ON"):
            db.execute(f"PRAGMA {setting}")
        return SqliteLedger(db, folder, opened.pop_all())


def _connection(place: str) -> sqlite3.Connection:
    return sqlite3.connect(place, uri=True, isolation_level=None, check_same_thread=False, timeout=PATIENCE)


def _give_up(folder: Path, status: int, left: int, total: int) -> None:
    del left, total
    if status in BUSY:
        raise LedgerError(
            f"The ledger {str(folder)!r} in memory is in a transaction for more than {PATIENCE:.0f} seconds: read it after that."
        )
