"""Notices that the files of an open ledger are not those in its folder any more."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from recsdk.errors import LedgerError

FILE = "ledger.sqlite"
LOG = "ledger.sqlite-wal"
JOURNAL = "ledger.sqlite-journal"
RESCUED = "rescued"
SETTLED = 3.0
"""Seconds after which another change of a folder has another time: file systems count these in ticks, of two seconds at most."""


class Files:
    """The files in a folder that a ledger has open. What is written to a file that was deleted or replaced is lost without an error.

    Args:
        folder: of the ledger.
        names: of the files, which are there.
    """

    def __init__(self, folder: Path, names: tuple[str, ...]) -> None:
        self.folder = folder
        paths = [os.fspath((folder / name).absolute()) for name in names]
        self._opened = [(name, path, _place(os.stat(path))) for name, path in zip(names, paths, strict=True)]
        self._path = os.fspath(folder.absolute())
        self._seen: tuple[int, ...] = ()  # of the folder, when all were last there; as long as no name in it changes, they still are

    def changed(self) -> tuple[str, ...]:
        """Returns the names of those that were deleted or replaced; it takes some microseconds, and opens nothing."""
        try:
            found = os.stat(self._path)
        except OSError:
            return tuple([name for name, _, _ in self._opened])
        seen = (*_place(found), found.st_mtime_ns, found.st_ctime_ns)  # the second can be set back by nobody
        if seen == self._seen:
            return ()
        changed = tuple([name for name, path, opened in self._opened if not _is(path, opened)])
        self._seen = seen if not changed and time.time() - max(found.st_mtime, found.st_ctime) > SETTLED else ()
        return changed

    def rescue(self, copy: Callable[[Path], None]) -> str:
        """Copies what the open ledger holds into a folder in the folder, and returns a sentence that says where, or why not."""
        number = 1
        while (destination := self.folder / f"{RESCUED}-{number}").exists():
            number += 1
        try:
            copy(destination)
        except (LedgerError, OSError) as error:
            return f"What it held could not be copied to {str(destination)!r}: {error}"
        return (
            f"All that it held is copied to {str(destination)!r}: compare, and if the folder has less, "
            f"restore into another folder: recsdk ledger restore {destination} FOLDER."
        )


def _is(path: str, opened: tuple[int, int]) -> bool:
    try:
        return _place(os.stat(path)) == opened
    except OSError:
        return False


def _place(found: os.stat_result) -> tuple[int, int]:
    return found.st_ino, found.st_dev
