"""Keeping a folder small: what is old and settled moves into files of its own."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recsdk.checks import require_number
from recsdk.errors import InvalidValue, LedgerError, LedgerLocked
from recsdk.ledger import Compacts, CompactsOpen, Ledger
from recsdk.ledger.stores import store
from recsdk.live.rewards import num_settled

DAY = 86_400.0


def compact(folder: str | Path, *, days: float = 30.0, now: float | None = None, ledger: Any = None) -> int:
    """Moves the decisions of a folder that are old and settled into compressed Parquet files beside the ledger. Nobody may have it open.

    `Recommender.compact` does the same in a recommender that serves.

    All reads go on as before: of the recommender, of `read_ledger`, of a backup. The ledger keeps of each its id, time, user, checksum and
    rewards, so nothing counts twice. Killed anywhere, a folder is as before or after. Needs `recsdk[parquet]`, as does then whatever reads
    the old decisions.

    Args:
        folder: the recommender's.
        days: how old a decision must be. In a folder with a feedback its window must have closed, too.
        now: seconds since the epoch; None asks the system.
        ledger: the kind of ledger, by name or as a config; None looks which installed one the folder holds.

    Returns:
        How many decisions were moved.

    Raises:
        LedgerLocked: a recommender has the folder open.
        LedgerError: no ledger in the folder, or one of a kind that cannot do this.
        MissingExtra: without polars.
        InvalidValue: days below 0.

    Example:
        >>> import recsdk
        >>> with recsdk.Recommender.open("attic", items=[{"id": "lamp"}]) as attic:
        ...     _ = attic.recommend({})
        >>> compact("attic", days=30), compact("attic", days=0, now=4e9)
        (0, 1)
    """
    require_number("days", days, at_least=0)
    kind = store(folder, ledger)
    if not isinstance(kind, Compacts):
        raise LedgerError(f"The ledger in {str(folder)!r} is kept by {kind!r}, which has no files to move decisions to.")
    with contextlib.closing(kind.read(folder)) as stored:
        limit = num_settled(stored)
    try:
        return kind.compact(folder, before=(time.time() if now is None else now) - days * DAY, limit=limit)
    except LedgerLocked as error:
        raise LedgerLocked(f"{error} To compact it while it serves, call `Recommender.compact` in the process that has it open.") from error


def compact_open(ledger: Ledger, reading: Ledger, before: float, turn: Callable[[Callable[[], None]], None]) -> int:
    """Moves the settled decisions that were made before a moment, while the ledger is written to.

    Raises:
        InvalidValue: a ledger that cannot do this.
    """
    if not isinstance(ledger, CompactsOpen):
        told = "compact needs a ledger that can move decisions while it is open (recsdk.ledger.CompactsOpen)"
        raise InvalidValue(f"{told}, got {type(ledger).__name__}.")
    return ledger.compact(before, num_settled(reading), reading, turn)
