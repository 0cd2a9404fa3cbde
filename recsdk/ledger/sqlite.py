"""The built-in ledger: SQLite, one file, write-ahead log."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path
from typing import Any, Literal
from urllib.request import pathname2url

import attrs

from recsdk.errors import LedgerCorrupt, LedgerError, LostRecords, one_of, warn
from recsdk.ledger import LEVELS, Ledger, Lost, Verified, _head, _mark, _memory, heads
from recsdk.ledger._copy import refuse_full
from recsdk.ledger._failures import translated
from recsdk.ledger._files import FILE, JOURNAL, LOG, Files
from recsdk.ledger._ledger import SqliteLedger
from recsdk.ledger._lock import LOCK, FolderLock
from recsdk.ledger._redact import scrub
from recsdk.ledger._schema import refuse_newer, upgrade, version
from recsdk.ledger.redaction import SCRUB


def _known_durability(instance: Any, field: Any, value: str) -> None:
    del instance
    one_of(field.name, value, LEVELS)


@attrs.frozen(kw_only=True)
class Sqlite:
    """Keeps the ledger in `ledger.sqlite` in the folder, or in memory.

    Attributes:
        durability: "process-crash": what was acknowledged survives the death of the process (SQLite's synchronous=NORMAL);
            "power-loss": it survives that of the machine too, for one fsync, some milliseconds, per call (FULL);
            "memory": nothing is written to a disk, and all ends with the process. The folder is a name then, under which this process can
            open and read the ledger again with the same `durability`; `copy` makes a folder of it.

    Example:
        >>> import recsdk
        >>> with recsdk.Recommender.open("safe", items=[{"id": "tea"}], ledger=Sqlite(durability="power-loss")) as safe:
        ...     safe.num_learned
        0
    """

    durability: Literal["memory", "process-crash", "power-loss"] = attrs.field(default="process-crash", validator=_known_durability)

    def holds(self, folder: str | Path) -> bool:
        """Tells whether `ledger.sqlite` is in the folder; at "memory", whether this process has a ledger of this name."""
        if self.durability == "memory":
            return _memory.holds(Path(folder))
        return (Path(folder) / FILE).is_file()

    def open(self, folder: str | Path) -> Ledger:
        """Opens the ledger in a folder, which is made when it is not there.

        Raises:
            LedgerLocked: when another recommender, of this process or another, has it open.
            LedgerMismatch: when a newer version of recsdk wrote it.
            LedgerCorrupt: when a `ledger.sqlite-wal` is there that belongs to another file, as after a backup was copied over it; when
                the file is damaged or cut; when records that were acknowledged are missing. The folder stays as it is.
            LedgerError: when the folder cannot be used; at "memory", when it holds a ledger on the disk.
        """
        if self.durability == "memory":
            if (Path(folder) / FILE).exists():
                raise LedgerError(f"{str(folder)!r} holds a ledger on the disk: open it without durability='memory', or give another name.")
            return _memory.writing(Path(folder))
        return _writing(Path(folder), "NORMAL" if self.durability == "process-crash" else "FULL")

    def read(self, folder: str | Path) -> Ledger:
        """Opens the ledger in a folder as it is at this moment; the folder stays as it is.

        Raises:
            LedgerMismatch: when a newer version of recsdk wrote it.
            LedgerCorrupt: as `open`.
            LedgerError: when there is no ledger, or it cannot be read.
        """
        return self._read(Path(folder))

    def _read(self, folder: Path) -> SqliteLedger:
        return _memory.reading(folder) if self.durability == "memory" else _reading(folder)

    def repair(self, folder: str | Path, *, backup: str | Path | None = None) -> Lost:
        """Accepts the records that are there, where `open` says that acknowledged ones are missing.

        What is left is the history up to some moment, if the end was cut. What the file itself has lost, only a backup can give back.

        Args:
            folder: that nobody has open.
            backup: where all files are copied before, as they are: an empty folder, or one that is made. Copy them yourself otherwise.

        Returns:
            How many records are lost for good.

        Raises:
            LedgerLocked: when a recommender has it open.
            LedgerCorrupt: when the file cannot be read: restore a backup.
            LedgerError: when there is no ledger, or the backup's folder holds something.

        Example:
            >>> Sqlite().open("shop").close()
            >>> Sqlite().repair("shop")
            Lost(decisions=0, signals=0, rewards=0, items=0)
        """
        return _repair(Path(folder), None if backup is None else Path(backup))

    def copy(self, folder: str | Path, destination: str | Path) -> None:
        """See `recsdk.ledger.Copies`."""
        with contextlib.closing(self._read(Path(folder))) as ledger, translated(f"The ledger in {str(folder)!r} cannot be copied"):
            ledger.copy(Path(destination))

    def compact(self, folder: str | Path, *, before: float, limit: int | None = None) -> int:
        """See `recsdk.ledger.Compacts`."""
        return _compact(Path(folder), before, limit)

    def verify(self, folder: str | Path) -> Verified:
        """See `recsdk.ledger.Verifies`."""
        with contextlib.closing(self._read(Path(folder))) as ledger, translated(f"The ledger in {str(folder)!r} cannot be read"):
            return ledger.verify()


def _writing(folder: Path, synchronous: str) -> SqliteLedger:
    with contextlib.ExitStack() as opened, translated(f"The ledger in {str(folder)!r} cannot be opened"):
        heads.make(folder)
        opened.enter_context(contextlib.closing(FolderLock(folder)))
        _mark.check(folder / FILE)
        _undo_making(folder)
        _refuse_loss(folder, *_missing(folder))
        _mark.clear(folder / FILE)
        head = heads.HeadFile(folder)
        opened.callback(lambda: head.finish(safe=not (folder / LOG).exists()))
        db = sqlite3.connect(folder / FILE, isolation_level=None, check_same_thread=False)
        opened.enter_context(contextlib.closing(db))
        db.execute("PRAGMA journal_mode=WAL")
        db.execute(f"PRAGMA synchronous={synchronous}")
        db.execute("PRAGMA foreign_keys=ON")
        upgrade(db)
        if db.execute("SELECT 1 FROM blobs WHERE name = ?", (SCRUB,)).fetchone():  # it was due when the process was killed
            scrub(db, folder)
        _mark.put(db, folder / FILE)
        head.start(_head.last_records(db), safe=synchronous == "FULL", now=heads.boot())
        return SqliteLedger(db, folder, opened.pop_all(), Files(folder, (FILE, LOG, LOCK)), head)


def _undo_making(folder: Path) -> None:
    """Lets SQLite undo what a process has left that was killed while it made the file, which a connection that only reads cannot."""
    if (folder / JOURNAL).is_file() and (folder / FILE).is_file():
        with contextlib.closing(sqlite3.connect(folder / FILE, isolation_level=None)) as db:
            version(db)


def _reading(folder: Path) -> SqliteLedger:
    if not (folder / FILE).is_file():
        raise LedgerError(f"There is no ledger in {str(folder)!r}.")
    with contextlib.ExitStack() as opened, translated(f"The ledger in {str(folder)!r} cannot be read"):
        _check_unless_open(folder)
        head = _head_of(folder)  # before the ledger, which may grow meanwhile
        db = opened.enter_context(contextlib.closing(_read_only(folder)))
        _refuse_loss(folder, head, _missing_in(head, db))
        return SqliteLedger(db, folder, opened.pop_all())


def _read_only(folder: Path) -> sqlite3.Connection:
    """Returns a connection that sees this moment, and leaves the files as they are when it is closed."""
    if (folder / FILE).stat().st_size == 0:  # SQLite would delete the write-ahead log beside it
        raise LedgerCorrupt(f"{FILE} in {str(folder)!r} is empty. {_head.advice(folder)}")
    path = pathname2url(str((folder / FILE).resolve()))
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
    try:
        db.execute("BEGIN")
        refuse_newer(version(db))  # from here on all that is read is of this moment
        _refuse_cut(folder, db)
    except BaseException:
        db.close()
        raise
    return db


def _refuse_cut(folder: Path, db: sqlite3.Connection) -> None:
    """Refuses a closed file whose last page was cut, which SQLite reads as zeros."""
    log = folder / LOG
    if log.is_file() and log.stat().st_size:
        return
    (pages,), (page_size,) = db.execute("PRAGMA page_count").fetchone(), db.execute("PRAGMA page_size").fetchone()
    size = (folder / FILE).stat().st_size
    if size < pages * page_size:
        raise LedgerCorrupt(f"{FILE} in {str(folder)!r} was cut: it has {size:,} bytes of {pages * page_size:,}. Restore a backup.")


def _head_of(folder: Path) -> heads.Head | None:
    try:
        return heads.read(folder)
    except heads.HeadDamaged as error:
        raise heads.HeadDamaged(f"{error} {_head.advice(folder)}") from None


def _missing(folder: Path) -> tuple[heads.Head | None, dict[str, int]]:
    """Returns the head, and how many acknowledged records of which tables are missing, in a folder that nobody has open."""
    head = _head_of(folder)
    if (folder / FILE).is_file() and (head is None or (folder / FILE).stat().st_size):
        with contextlib.closing(_read_only(folder)) as db:
            return head, _missing_in(head, db)
    return head, {} if head is None else head.numbers()


def _missing_in(head: heads.Head | None, db: sqlite3.Connection) -> dict[str, int]:
    if head is None:
        return {}
    return _head.missing(head, db) if _head.is_chained(db) else head.numbers()


def _refuse_loss(folder: Path, head: heads.Head | None, missing: dict[str, int]) -> None:
    """Refuses a ledger that lacks what was acknowledged, but for the last moments before a power cut at a level that allows it."""
    if not missing:
        return
    told = heads.told(missing)
    if head is not None and head.excuses(missing, heads.boot()):
        warn(f"The machine stopped while the ledger in {str(folder)!r} was open at 'process-crash': {told} are lost.", LostRecords)
        return
    raise LedgerCorrupt(f"The ledger in {str(folder)!r} lacks what was acknowledged: {told}. {_head.advice(folder)}")


def _accepted(folder: Path) -> dict[str, int]:
    try:
        return _missing(folder)[1]
    except heads.HeadDamaged:  # how many were acknowledged is not known
        return {}


def _repair(folder: Path, backup: Path | None) -> Lost:
    if not (folder / FILE).exists():
        raise LedgerError(f"There is no ledger in {str(folder)!r}.")
    with contextlib.closing(FolderLock(folder)), translated(f"The ledger in {str(folder)!r} cannot be repaired"):
        if backup is not None:
            refuse_full(backup)
            shutil.copytree(folder, backup, dirs_exist_ok=True, ignore=shutil.ignore_patterns(LOCK))
        _mark.check(folder / FILE)
        lost = Lost(**_accepted(folder))
        (folder / heads.HEAD).unlink(missing_ok=True)
    _writing(folder, "FULL").close()
    return lost


def _compact(folder: Path, before: float, limit: int | None) -> int:
    if not (folder / FILE).is_file():
        raise LedgerError(f"There is no ledger in {str(folder)!r}.")
    with contextlib.closing(_writing(folder, "FULL")) as ledger, translated(f"The ledger in {str(folder)!r} cannot be made smaller"):
        num = ledger.compact(before, limit, reading=ledger, turn=lambda work: work())
        if num:
            _mark.clear(folder / FILE)  # which the next statement would make false
            ledger.vacuum()
    return num


def _check_unless_open(folder: Path) -> None:
    """Checks the write-ahead log of a folder that no recommender has open: the one that has it open has checked it."""
    if not _mark.may_check(folder / FILE):
        return
    try:
        lock = FolderLock(folder)
    except OSError:  # it is open, or the folder may not be written to
        return
    with contextlib.closing(lock):
        _mark.check(folder / FILE)
