"""Turns what SQLite raises into errors of recsdk."""

from __future__ import annotations

import sqlite3
from typing import Any

from recsdk.errors import LedgerCorrupt, LedgerError


class translated:  # noqa: N801 -- read as the verb of a `with`; a generator in its place takes four times as long
    """Raises an error of recsdk instead of SQLite's; it begins with `what`."""

    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, sqlite3.Error | OSError | UnicodeDecodeError) and not isinstance(error, LedgerError):
            damaged = getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
            damaged = damaged or isinstance(error, UnicodeDecodeError)
            damaged = damaged or any(text in str(error) for text in ("Could not decode to UTF-8", "no such column", "no such table"))
            raise (LedgerCorrupt if damaged else LedgerError)(f"{self._what}: {error}.") from error


def is_disk_failure(error: BaseException | None) -> bool:
    """Tells whether a sync or a read failed. After a failed sync the system may call the pages written, and the next sync succeeds.

    A failed write is no such failure: it is told at once, nothing of its transaction is kept, and there may be room later.
    """
    code = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF == sqlite3.SQLITE_IOERR and code != sqlite3.SQLITE_IOERR_WRITE
