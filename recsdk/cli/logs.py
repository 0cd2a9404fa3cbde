"""Logs as the command line names them: a recommender's folder, a file, or several."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recsdk.base import Interaction
from recsdk.cli import tables
from recsdk.errors import InvalidValue, MissingExtra
from recsdk.ope.intervals.validity import Logger


class Log(NamedTuple):
    """A log, and what its source tells beside it.

    Attributes:
        interactions: leading T.
        columns: those that were asked for, f64[T] or f64[T, K].
        ids: what each row's decision is called, or None.
        num_decisions: that were made, also those the log leaves out, or None.
        logger: whether the logging policy learned from this log.
        caveat: why a value found on it may be taken for more than it is, or "".
        notes: what was left out or corrected.
    """

    interactions: Interaction
    columns: Mapping[str, np.ndarray] = {}
    ids: Any = None
    num_decisions: int | None = None
    logger: Logger = "fixed"
    caveat: str = ""
    notes: tuple[str, ...] = ()


def is_folder(name: str | Path) -> bool:
    """Tells whether a recommender's folder is named, whatever kind of ledger it holds."""
    from recsdk.ledger.stores import stores_of

    return not Path(name).is_file() and bool(stores_of(name))


def names_of(paths: Sequence[Path]) -> list[str]:
    """Returns the columns of a log; none of a folder or a decision-service log."""
    path = paths[0]
    return [] if is_folder(path) or _is_dsjson(path) else tables.names_of(path)


def read(
    paths: Sequence[Path],
    wanted: Sequence[str] = (),
    *,
    columns: str | None = None,
    position: int = 0,
    default_reward: float | None = None,
    window: float | None = None,
    max_bad: int = 0,
) -> Log:
    """Reads a log with some of its columns.

    Raises:
        Unknown: nothing is there.
        InvalidValue: several logs that are not tables, or an option that is for another kind of log.
        MissingExtra: a reader that is not installed. Otherwise as the readers of `recsdk.datasets`, `recsdk.live.log` and `recsdk_vw`.
    """
    alone = [path for path in paths if is_folder(path) or _is_dsjson(path)]
    if alone and len(paths) > 1:
        raise InvalidValue(f"log must be one where it is a folder or decision-service log, which number items their own way, got {paths}.")
    folder, mapping = bool(alone) and is_folder(paths[0]), tables.parsed(columns)
    if max_bad and (folder or not alone):
        raise InvalidValue(f"max_bad must be 0 where the log is no decision-service log, got {max_bad}.")
    if mapping and alone:
        raise InvalidValue(f"columns are for a table, a .jsonl, .csv or .parquet file, got {str(paths[0])!r}.")
    if position and not alone:
        raise InvalidValue(f"position must be 0 where the log is no recommender's folder and no decision-service log, got {position}.")
    if window is not None and not folder:
        raise InvalidValue(f"window must be None where the log is no recommender's folder, got {window}.")
    if folder:
        return _ledger(paths[0], position, default_reward, window)
    if alone:
        return _dsjson(paths[0], position, max_bad)
    found = tables.read(paths, wanted, mapping)
    ids = None if found.ids is None else np.array(list(map(str, found.ids)))
    return Log(found.interactions, found.columns, ids, notes=found.notes)


def _ledger(folder: Path, position: int, default_reward: float | None, window: float | None) -> Log:
    from recsdk.live.log import count_decisions, read_ledger

    log = read_ledger(folder, position=position, default_reward=default_reward, window=window)
    return Log(log, num_decisions=count_decisions(folder, position=position, window=window), logger="adaptive")


def _is_dsjson(path: Path) -> bool:
    return path.name.removesuffix(".gz").endswith((".dsjson", ".json"))


def _dsjson(path: Path, position: int, max_bad: int) -> Log:
    tables.check_there(path)
    try:
        reader = importlib.import_module("recsdk_vw")
    except ImportError as error:
        raise MissingExtra("A decision-service log needs recsdk-vw: pip install ./plugins/recsdk-vw in recsdk's folder.") from error
    found = reader.read_dsjson(path, position=position, max_bad=max_bad)
    names = [f"{event}, position {place}" for event, place in zip(found.event_id, found.position, strict=True)]
    caveat = ""
    if not position and found.num_slates:
        caveat = "the reward is that of the whole page: a position is judged given what the logging policy showed at the others"
    counts = [*found.skipped.items(), ("bad", found.num_bad)]
    notes = [f"{path}: {number} lines left out: {reason}" for reason, number in counts if number]
    if found.num_repeated:
        notes.append(f"{path}: {found.num_repeated} lines have candidates with one _tag, which are one item")
    return Log(found.log, ids=np.array(names) if all(found.event_id) else None, caveat=caveat, notes=tuple(notes))
