"""Turns what SQLite raises into errors of recsdk."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator

from recsdk.errors import LedgerCorrupt, LedgerError


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """Raises an error of recsdk instead of SQLite's; it begins with `what`."""
    try:
        yield
    except LedgerError:
        raise
    except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
        damaged = getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
        damaged = damaged or isinstance(error, UnicodeDecodeError)
        damaged = damaged or any(text in str(error) for text in ("Could not decode to UTF-8", "no such column", "no such table"))
        raise (LedgerCorrupt if damaged else LedgerError)(f"{what}: {error}.") from error


def is_disk_failure(error: BaseException | None) -> bool:
    """Tells whether a sync or a read failed. After a failed sync the system may call the pages written, and the next sync succeeds.

    A failed write is no such failure: it is told at once, nothing of its transaction is kept, and there may be room later.
    """
    code = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF == sqlite3.SQLITE_IOERR and code != sqlite3.SQLITE_IOERR_WRITE
