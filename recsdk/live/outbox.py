"""What a process has decided and learned by itself, until the recommender has it: one table of a SQLite file, or of memory."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from pathlib import Path
from typing import Any, Literal, NamedTuple

from recsdk.errors import LedgerError, LedgerLocked

Kind = Literal["decision", "reward"]
TABLE = """
CREATE TABLE IF NOT EXISTS calls (
    number INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, id TEXT NOT NULL, about TEXT NOT NULL, told TEXT NOT NULL,
    waits INTEGER NOT NULL DEFAULT 1, UNIQUE (kind, id)
) STRICT;
CREATE INDEX IF NOT EXISTS waiting ON calls (number) WHERE waits;
CREATE INDEX IF NOT EXISTS rewards ON calls (about) WHERE kind = 'reward';
"""
PERSONAL = "'$.fields', '$.user'"
"""Of a decision, what is not needed any more once it is sent."""
REMEMBERED = 100_000
"""Calls that are remembered after they were sent, so that their ids are known."""


class Call(NamedTuple):
    """A decision or a reward.

    Attributes:
        number: counts up.
        kind: which of them.
        name: its id.
        told: what is to be sent, in plain JSON.
    """

    number: int
    kind: Kind
    name: str
    told: dict[str, Any]


class Outbox:
    """Calls that wait, and the last that were sent. Threads may share it, processes may not.

    Args:
        path: of the file, which is made where it is not there; None for memory.
        most: calls that may wait.

    Raises:
        LedgerLocked: another process has the file open.
        LedgerError: what is no such file.
    """

    def __init__(self, path: str | Path | None, most: int) -> None:
        self._most, self._lock = most, threading.RLock()
        self._name = "memory" if path is None else str(path)
        if path is not None:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # who was shown what is nobody else's
        self._db = sqlite3.connect(":memory:" if path is None else path, isolation_level=None, check_same_thread=False, timeout=0)
        try:
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.execute("PRAGMA secure_delete = ON")
            self._db.executescript(f"BEGIN EXCLUSIVE; {TABLE} COMMIT;")
            (self.num_waiting,) = self._db.execute("SELECT COUNT(*) FROM calls WHERE waits").fetchone()
        except sqlite3.Error as error:
            self._db.close()
            if "locked" in str(error):
                raise LedgerLocked(f"{self._name} is open in another process: each process needs an outbox of its own.") from error
            raise LedgerError(f"{self._name} must be an outbox, or not be there: {error}") from error

    def add(self, kind: Kind, name: str, told: dict[str, Any], about: str = "") -> None:
        """Keeps a call; durable, but for a loss of power, when this returns.

        Raises:
            LedgerError: as many wait as may, or the disk fails.
        """
        with self._lock:
            if self.num_waiting >= self._most:
                raise LedgerError(f"{self._most} calls wait in the outbox {self._name}, and no more may: send them.")
            self._do(
                "INSERT INTO calls (kind, id, about, told) VALUES (?, ?, ?, ?)", (kind, name, about, json.dumps(told, allow_nan=False))
            )
            self.num_waiting += 1

    def find(self, kind: Kind, name: str) -> dict[str, Any] | None:
        """Returns a call by its id, waiting or sent; None for one that is not known."""
        row = self._do("SELECT told FROM calls WHERE kind = ? AND id = ?", (kind, name)).fetchone()
        return None if row is None else json.loads(row[0])

    def rewards_of(self, decision_id: str) -> list[dict[str, Any]]:
        """Returns the rewards of a decision."""
        rows = self._do("SELECT told FROM calls WHERE kind = 'reward' AND about = ? ORDER BY number", (decision_id,)).fetchall()
        return [json.loads(told) for (told,) in rows]

    def waiting(self, num: int, size: int, after: int = 0) -> list[Call]:
        """Returns the first calls that wait, after one of a number: at most `num`, and but for the first no more than `size` characters."""
        chosen = "SELECT number, kind, id, told FROM calls WHERE waits AND number > ? ORDER BY number LIMIT ?"
        rows = self._do(chosen, (after, num)).fetchall()
        found, total = list[Call](), 0
        for number, kind, name, told in rows:
            total += len(told)
            if found and total > size:
                break
            found.append(Call(number, kind, name, json.loads(told)))
        return found

    def sent(self, numbers: list[int]) -> None:
        """Notes that calls wait no more."""
        with self._lock:
            self._do("BEGIN")
            try:
                for number in numbers:
                    self._do(f"UPDATE calls SET waits = 0, told = json_remove(told, {PERSONAL}) WHERE number = ?", (number,))  # noqa: S608 -- a constant
                least = "SELECT MAX(number) - ? FROM calls"
                self._do(f"DELETE FROM calls WHERE NOT waits AND number <= ({least})", (REMEMBERED,))  # noqa: S608 -- a constant
                self._do("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._do("ROLLBACK")
                raise
            self._count()

    def forget(self, user: str) -> int:
        """Deletes the decisions of a user that wait, with their rewards, also from the bytes of the file; returns how many calls.

        Raises:
            LedgerError: the disk fails.
        """
        of_user = "waits AND told ->> '$.user' = ?"
        with self._lock:
            about = f"kind = 'reward' AND about IN (SELECT id FROM calls WHERE kind = 'decision' AND {of_user})"  # noqa: S608 -- a constant
            num: int = self._do(f"DELETE FROM calls WHERE {about}", (user,)).rowcount  # noqa: S608 -- a constant
            num += self._do(f"DELETE FROM calls WHERE kind = 'decision' AND {of_user}", (user,)).rowcount  # noqa: S608 -- a constant
            self._count()
            self._do("VACUUM")
            self._do("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return num

    def _count(self) -> None:
        (self.num_waiting,) = self._do("SELECT COUNT(*) FROM calls WHERE waits").fetchone()

    def is_waiting(self, kind: Kind, name: str) -> bool:
        """Tells whether a call waits."""
        return self._do("SELECT 1 FROM calls WHERE kind = ? AND id = ? AND waits", (kind, name)).fetchone() is not None

    def close(self) -> None:
        """Closes the file; what waits stays in it."""
        with self._lock:
            self._db.close()

    def __enter__(self) -> Outbox:
        """Keeps other threads out."""
        self._lock.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        """Lets them in."""
        self._lock.release()

    def _do(self, statement: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        with self._lock:
            try:
                return self._db.execute(statement, values)
            except sqlite3.Error as error:
                raise LedgerError(f"The outbox {self._name} failed: {error}") from error
