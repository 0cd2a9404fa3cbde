"""Old decisions in Parquet files beside the database, which keeps a row of each: its id, time, user, checksum and hash.

So the live part stays small, nothing counts twice, and the hashes still chain every record. A file is whole, synced and named before the
database refers to it, and is deleted after the database has ceased to: killed anywhere in between, a ledger is as before or after.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import pathname2url

import numpy as np

from recsdk.errors import LedgerChanged, LedgerCorrupt, MissingExtra, install
from recsdk.ledger import DecisionRecord
from recsdk.ledger.heads import sync

FOLDER = "segments"
TABLE = (
    "CREATE TABLE segments (first INTEGER PRIMARY KEY, last INTEGER NOT NULL, name TEXT NOT NULL UNIQUE, sha256 BLOB NOT NULL) STRICT;\n"
)
NUM_ROWS = 10_000
"""Decisions of one file."""
FLAT = {"slots": np.int32, "action": np.int32, "probs": np.float64, "features": np.float32}
MOVED = "payload = '', slots = x'', action = x'', probs = x'', features = x''"
"""What a row of the database is without what a segment holds. No payload is empty."""
Numbered = tuple[int, DecisionRecord]
Turn = Callable[[Callable[[], None]], None]
"""Calls what it is given while nobody else writes."""


class Segments:
    """The segments of an opened ledger; polars is loaded when one is read.

    Args:
        db: of the ledger.
        folder: of the ledger.
    """

    def __init__(self, db: sqlite3.Connection, folder: Path) -> None:
        self._db = db
        self._folder = folder / FOLDER
        self._read = functools.lru_cache(maxsize=2)(self._frame)

    def record(self, number: int) -> DecisionRecord | None:
        """Returns a decision that was moved; None when its segment has it no more."""
        row = self._db.execute("SELECT last, name FROM segments WHERE first <= ? ORDER BY first DESC LIMIT 1", (number,)).fetchone()
        if row is None or row[0] < number:
            return None
        frame, numbers = self._read(row[1])
        place = int(np.searchsorted(numbers, number))
        if place == len(numbers) or numbers[place] != number:
            return None
        return _record(frame.row(place, named=True))

    def move(self, rows: Iterable[Numbered], turn: Turn) -> None:
        """Moves decisions of following numbers, at least one, into a new segment; only what `turn` is given writes to the database."""
        found = list(rows)
        first, last = found[0][0], found[-1][0]
        name, digest = self._write(f"{first:012}-{last:012}", found)

        def refer() -> None:
            with _transaction(self._db):
                self._db.execute("INSERT INTO segments VALUES (?, ?, ?, ?)", (first, last, name, digest))
                self._db.execute(f"UPDATE decisions SET {MOVED} WHERE number BETWEEN ? AND ?", (first, last))  # noqa: S608 -- constants

        turn(refer)

    def rewrite(self, numbers: set[int]) -> None:
        """Takes decisions out of the segments that have them, also out of their bytes; their rows in the database are the caller's."""
        for first, last, name, _ in self.listed():
            if not any(first <= number <= last for number in numbers):
                continue
            frame, held = self._read(name)
            kept = [(int(number), _record(frame.row(place, named=True))) for place, number in enumerate(held) if int(number) not in numbers]
            with _transaction(self._db):
                if kept:
                    stem, _, version = name.removesuffix(".parquet").partition("~")
                    new = self._write(f"{stem}~{int(version or 0) + 1}", kept)
                    self._db.execute("UPDATE segments SET name = ?, sha256 = ? WHERE first = ?", (*new, first))
                else:
                    self._db.execute("DELETE FROM segments WHERE first = ?", (first,))
            (self._folder / name).unlink()

    def listed(self) -> list[tuple[int, int, str, bytes]]:
        """Returns of each segment the numbers of its first and last decision, its name and its SHA-256."""
        if not self._db.execute("SELECT COUNT(*) FROM sqlite_master WHERE name = 'segments'").fetchone()[0]:
            return []  # a ledger of an earlier version that is read
        return list(self._db.execute("SELECT first, last, name, sha256 FROM segments ORDER BY first"))

    def clean(self) -> None:
        """Deletes the files that a move or a rewriting has left when it was killed. Nobody else may have the folder open."""
        names = {name for _, _, name, _ in self.listed()}
        for path in self._folder.glob("*"):
            if path.name not in names:
                path.unlink()

    def problems(self) -> Iterator[str]:
        """Yields what is wrong with the files."""
        for _, _, name, digest in self.listed():
            path = self._folder / name
            if not path.is_file():
                self._refuse_replaced(name)
                yield f"the segment {name} is missing"
            elif hashlib.sha256(path.read_bytes()).digest() != digest:
                yield f"the segment {name} is not as it was written"

    def copy(self, folder: Path) -> None:
        """Copies the files into another ledger's folder, and checks them.

        Raises:
            LedgerCorrupt: one that is missing or damaged.
        """
        for _, _, name, digest in self.listed():
            (folder / FOLDER).mkdir(exist_ok=True)
            try:
                data = (self._folder / name).read_bytes()
            except FileNotFoundError as error:
                self._refuse_replaced(name)
                raise LedgerCorrupt(f"The segment {name} of the ledger is missing: {error}.") from error
            if hashlib.sha256(data).digest() != digest:
                raise LedgerCorrupt(f"The segment {name} of the ledger is not as it was written.")
            _put(folder / FOLDER / name, functools.partial(Path.write_bytes, data=data))

    def _write(self, stem: str, rows: list[Numbered]) -> tuple[str, bytes]:
        polars = _polars()
        schema = {"number": polars.Int64, "time": polars.Float64, "num_learned": polars.Int64, "dim": polars.Int64}
        schema |= {name: polars.List(getattr(polars, np.dtype(kind).name.capitalize())) for name, kind in FLAT.items()}
        names = ("number", *DecisionRecord._fields, "dim")
        frame = polars.DataFrame([_row(*row) for row in rows], schema={name: schema.get(name, polars.String) for name in names})
        self._folder.mkdir(exist_ok=True)
        path = self._folder / f"{stem}.parquet"
        _put(path, lambda part: frame.write_parquet(part, compression="zstd"))
        return path.name, hashlib.sha256(path.read_bytes()).digest()

    def _refuse_replaced(self, name: str) -> None:
        """Says so where a segment is not missing, but was written anew since this reader has opened the ledger."""
        (file,) = (file for _, database, file in self._db.execute("PRAGMA database_list") if database == "main")
        with contextlib.closing(sqlite3.connect(f"file:{pathname2url(file)}?mode=ro", uri=True)) as now:
            names = {held for (held,) in now.execute("SELECT name FROM segments")}
        if name not in names:
            raise LedgerChanged(f"Records were forgotten or dropped while the ledger was read, and {name} is there no more: read again.")

    def _frame(self, name: str) -> tuple[Any, np.ndarray]:
        polars, path = _polars(), self._folder / name
        try:
            frame = polars.read_parquet(path)
            return frame, frame["number"].to_numpy()
        except FileNotFoundError as error:
            self._refuse_replaced(name)
            raise LedgerCorrupt(f"The segment {name} of the ledger is missing: restore a backup.") from error
        except Exception as error:  # damaged bytes make a reader of Parquet fail in any way
            raise LedgerCorrupt(f"The segment {name} of the ledger cannot be read: {error}.") from error


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _put(path: Path, write: Callable[[Path], Any]) -> None:
    """Writes a file that is there only when it is whole, and stays."""
    part = path.with_name(f"{path.name}.part")
    write(part)
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    part.replace(path)
    sync(path.parent)
    sync(path.parent.parent)


def _row(number: int, record: DecisionRecord) -> dict[str, Any]:
    arrays = {name: np.asarray(getattr(record, name), kind).ravel() for name, kind in FLAT.items()}
    return {"number": number, **record._asdict(), **arrays, "dim": record.features.shape[1]}


def _record(row: dict[str, Any]) -> DecisionRecord:
    del row["number"]
    dim = row.pop("dim")
    arrays = {name: np.array(row[name], kind) for name, kind in FLAT.items()}
    arrays["probs"] = arrays["probs"].reshape(len(arrays["action"]), len(arrays["slots"]))
    arrays["features"] = arrays["features"].reshape(-1, dim)
    return DecisionRecord(**row | arrays)


def _polars() -> Any:
    try:
        import polars
    except ImportError as error:
        raise MissingExtra(f"Decisions that were moved into Parquet need polars: {install('parquet')}.") from error
    return polars
