"""Logs as the command line names them: a recommender's folder, a file, or several."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recsdk.base import Interaction
from recsdk.errors import InvalidLog, InvalidProbs, InvalidValue, MissingExtra, Unknown
from recsdk.ope.intervals.validity import Logger


class Log(NamedTuple):
    """A log, and what its source tells beside it.

    Attributes:
        interactions: leading T.
        columns: those that were asked for, f64[T] or f64[T, K].
        ids: what each row's decision is called, or None.
        num_decisions: that were made, also those the log leaves out, or None.
        logger: whether the logging policy learnt from this log.
    """

    interactions: Interaction
    columns: Mapping[str, np.ndarray] = {}
    ids: Any = None
    num_decisions: int | None = None
    logger: Logger = "fixed"


def is_folder(name: str | Path) -> bool:
    """Tells whether a recommender's folder is named, whatever kind of ledger it holds."""
    from recsdk.ledger.stores import stores_of

    return not Path(name).is_file() and bool(stores_of(name))


def names_of(paths: Sequence[Path]) -> list[str]:
    """Returns the columns of a log; none of a folder or a decision-service log."""
    path = paths[0]
    if is_folder(path) or _is_dsjson(path):
        return []
    return list(next(_rows(path), {}))


def read(paths: Sequence[Path], columns: Sequence[str], *, position: int = 0, default_reward: float | None = None) -> Log:
    """Reads a log with some of its columns.

    Raises:
        Unknown: nothing is there.
        InvalidValue: several logs that are not tables.
        MissingExtra: a reader that is not installed. Otherwise as the readers of `recsdk.datasets`, `recsdk.live.log` and `recsdk_vw`.
    """
    alone = [path for path in paths if is_folder(path) or _is_dsjson(path)]
    if alone and len(paths) > 1:
        raise InvalidValue(f"log must be one where it is a folder or decision-service log, which number items their own way, got {paths}.")
    if alone and is_folder(paths[0]):
        return _ledger(paths[0], position, default_reward)
    if position:
        raise InvalidValue(f"position must be 0 where the log is no recommender's folder, got {position}.")
    return _dsjson(paths[0]) if alone else _tables(paths, columns)


def _ledger(folder: Path, position: int, default_reward: float | None) -> Log:
    from recsdk.live.log import count_decisions, read_ledger

    log = read_ledger(folder, position=position, default_reward=default_reward)
    return Log(log, num_decisions=count_decisions(folder, position=position), logger="adaptive")


def _is_dsjson(path: Path) -> bool:
    return path.name.removesuffix(".gz").endswith((".dsjson", ".json"))


def _dsjson(path: Path) -> Log:
    _check_there(path)
    try:
        reader = importlib.import_module("recsdk_vw")
    except ImportError as error:
        raise MissingExtra("A decision-service log needs recsdk-vw: pip install recsdk-vw.") from error
    found = reader.read_dsjson(path)
    names = [f"{event}, slot {position}" for event, position in zip(found.event_id, found.position, strict=True)]
    return Log(found.log, ids=np.array(names) if all(found.event_id) else None)


def _tables(paths: Sequence[Path], columns: Sequence[str]) -> Log:
    from recsdk.datasets import log_from_frame, read_log

    if len(paths) == 1 and not columns and ".jsonl" in paths[0].name:
        _check_there(paths[0])
        return Log(read_log(paths[0]))  # its errors name the line
    rows = list(itertools.chain.from_iterable(_same_columns(path) for path in paths))
    if len({frozenset(row) for row in rows}) > 1:
        raise InvalidLog(f"all files of a log must have the same columns, got {sorted({tuple(sorted(row)) for row in rows})}.")
    table = {name: [row[name] for row in rows] for name in rows[0]}
    lists = [max(map(len, table[name])) for name in columns if isinstance(table[name][0], list)]
    log = log_from_frame(table, num_candidates=None if "features" in table or not lists else max(lists))
    return Log(log, {name: _probabilities(name, table[name], log.context.mask) for name in columns})


def _same_columns(path: Path) -> list[dict[str, Any]]:
    rows = list(_rows(path))
    if not rows:
        raise InvalidLog(f"{path} must have at least one row, got none.")
    for number, row in enumerate(rows, start=1):
        if row.keys() != rows[0].keys():
            raise InvalidLog(f"{path}, line {number}: must have the columns {list(rows[0])} like line 1, got {list(row)}.")
    return rows


def _rows(path: Path) -> Any:
    from recsdk.datasets import interactions

    _check_there(path)
    return interactions.rows(path)


def _check_there(path: Path) -> None:
    if not path.is_file():
        raise Unknown(f"No file and no recommender's folder is named {str(path)!r}.")


def _probabilities(name: str, column: list[Any], mask: np.ndarray) -> np.ndarray:
    """Returns f64[T], or from lists f64[T, K], padded with 0 as candidates are."""
    if not isinstance(column[0], list):
        return _numbers(name, column, 1)
    table = np.zeros(mask.shape)
    sizes = mask.sum(1).tolist()
    for row, (each, size) in enumerate(zip(column, sizes, strict=True)):
        if not isinstance(each, list) or len(each) != size:
            raise InvalidProbs(f"{name}[{row}] must be {size} probabilities, one for each candidate, got {each!r:.80}.")
        table[row, :size] = _numbers(f"{name}[{row}]", each, 1)
    return table


def _numbers(name: str, values: list[Any], num_axes: int) -> np.ndarray:
    array = np.asarray(values, dtype=None if all(isinstance(value, (int, float)) for value in values) else object)
    if array.ndim != num_axes or array.dtype.kind not in "iuf":
        raise InvalidProbs(f"{name} must be probabilities, got {values!r:.80}.")
    return array.astype(np.float64)
