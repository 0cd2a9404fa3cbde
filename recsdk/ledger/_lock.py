"""The lock of a folder: one recommender has it open at a time.

It is an flock. That belongs to the opened file, so nothing else that this process does takes it away. The POSIX locks that SQLite takes
belong to the process: closing any descriptor of a file, as after copying or hashing it, drops all of the process's locks on it.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
import weakref
from pathlib import Path

from recsdk.errors import LedgerLocked

LOCK = "ledger.lock"
"""The locked file. It holds the number of the process that had the folder open last."""
FORMER, FORMER_HOLDER = "lock.sqlite", "lock.pid"
"""The files of the lock that ledgers up to version 3 had: an exclusive transaction of SQLite."""
FAR = 1 << 20
"""The byte that is locked on Windows, where a locked byte cannot be read: past the number of the process."""
_held: set[int] = set()


class FolderLock:
    """The lock of a folder, held until `close` or the end of the process.

    Args:
        folder: is there.

    Raises:
        LedgerLocked: when another has it, in this process or elsewhere.
        OSError: when the file cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        _held.add(descriptor)
        self._release = weakref.finalize(self, _release, descriptor)
        try:
            if not _take(descriptor):
                raise LedgerLocked(_locked_by(folder, LOCK))
            _end_former(folder)
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Lets go of the folder; closing twice is no error."""
        self._release()


def _release(descriptor: int) -> None:
    if descriptor in _held:  # not so in a forked child
        _held.remove(descriptor)
        os.close(descriptor)


if sys.platform == "win32":
    import msvcrt

    def _take(descriptor: int) -> bool:
        os.lseek(descriptor, FAR, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
        return True
else:
    import fcntl

    def _take(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _forget() -> None:
        """Lets go in a forked child, which shares the opened files: the lock must end with the parent. Closing does not unlock."""
        for descriptor in _held:
            os.close(descriptor)
        _held.clear()

    os.register_at_fork(after_in_child=_forget)


def _end_former(folder: Path) -> None:
    """Makes sure that no older recsdk has the folder open, and removes the lock that it used; it cannot open a newer ledger."""
    path = folder / FORMER
    if not path.is_file():
        return
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as lock:
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            raise LedgerLocked(_locked_by(folder, FORMER_HOLDER)) from error
        except sqlite3.DatabaseError:  # not a database: nobody holds it
            return
    path.unlink()
    (folder / FORMER_HOLDER).unlink(missing_ok=True)


def _locked_by(folder: Path, name: str) -> str:
    try:
        holder = (folder / name).read_text().strip()
    except (OSError, ValueError):
        holder = ""
    where = "in this process" if holder == str(os.getpid()) else f"in process {holder}" if holder else "elsewhere"
    return (
        f"The ledger in {str(folder)!r} is open {where}: close that recommender first. One process serves a folder, "
        "so start a web server with one worker, or give each worker a folder of its own."
    )
