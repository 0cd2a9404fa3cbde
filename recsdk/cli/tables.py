"""Tables that are logs: JSON Lines, CSV or Parquet, one file or several, with columns named as the user says."""

from __future__ import annotations

import bisect
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recsdk.base import Interaction
from recsdk.datasets import interactions, log_from_frame
from recsdk.datasets.files import table_rows
from recsdk.errors import EmptyLog, InvalidLog, InvalidValue, RecsdkError, Unknown, nearest, quoted
from recsdk.rounding import given_chances, given_probs

FIELDS = ("action", "reward", "propensity", "weight", "features", "item", "id")
NUMBERS = ("action", "reward", "propensity", "weight")
IDS = ("decision_id", "event_id", "id")
"""Columns that name a row's decision where `--columns` does not say; the first that is there."""


class Table(NamedTuple):
    """A log of T rows by column, from one file or several."""

    columns: dict[str, list[Any]]
    files: Sequence[Path]
    starts: Sequence[int]
    lines: Sequence[Sequence[int]]

    def where(self, row: int) -> str:
        """Returns the file and line of a row."""
        part = bisect.bisect_right(self.starts, row) - 1
        return f"{self.files[part]}, line {self.lines[part][row - self.starts[part]]}"


class Read(NamedTuple):
    """A log, the columns that were asked for, the ids of its rows or None, and what is to be said of it."""

    interactions: Interaction
    columns: dict[str, np.ndarray]
    ids: list[Any] | None
    notes: tuple[str, ...]


def parsed(mapping: str | None) -> dict[str, str]:
    """Returns what `--columns reward=visit,propensity=0.5` says, by field.

    Raises:
        InvalidValue: what is no such list, or a field that a log does not have.
    """
    found: dict[str, str] = {}
    for part in (mapping or "").split(",") if mapping else []:
        field, sign, column = (text.strip() for text in part.partition("="))
        if not (field and sign and (column or field == "id")):
            raise InvalidValue(f"columns must be fields and their columns, such as reward=visit,propensity=0.5, got {part!r}.")
        if field not in FIELDS:
            raise InvalidValue(f"columns: a log has no field {field!r}.{nearest(field, FIELDS)} It has: {list(FIELDS)}.")
        if field in found:
            raise InvalidValue(f"columns must name each field once, got {field!r} twice.")
        found[field] = column
    return found


def names_of(path: Path) -> list[str]:
    """Returns the columns of a file."""
    return list(next((row for _, row in _rows(path)), {}))


def read(paths: Sequence[Path], wanted: Sequence[str], mapping: Mapping[str, str]) -> Read:
    """Reads files as one log, with some of its columns as probabilities.

    Raises:
        Unknown: a column or a file that is not there.
        InvalidLog: a bad row, by its file and line; files with other columns; one file twice.
    """
    _refuse_twice(paths)
    table = _table(paths)
    columns = _fields(table, mapping)
    notes = []
    with _Naming(table):
        if any(isinstance(value, str) for value in columns["action"]):
            columns["action"], note = _numbered(table, columns["action"])
            notes.append(note)
        frame = {name: columns[name] for name in FIELDS if name in columns and name != "id"}
        lists = [max(len(each) for each in table.columns[name]) for name in wanted if isinstance(table.columns[name][0], list)]
        size = None if "features" in frame or not (lists or notes) else max([*lists, max(columns["action"]) + 1])
        notes.append(given_chances("propensity", frame["propensity"], error=InvalidLog).note("propensity"))
        log = log_from_frame(frame, num_candidates=size)
        found = {}
        for name in wanted:
            given = _probabilities(table, name, log.context.mask)
            found[name] = given.values
            notes.append(given.note(name))
    return Read(log, found, columns.get("id"), tuple(note for note in notes if note))


class _Naming:
    """Says in errors the file and line of a row."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, RecsdkError):
            text = re.sub(r"\bin row (\d+)", lambda found: f"in {self._table.where(int(found[1]))}", str(error))
            text = re.sub(r"^([\w' ]+)\[(\d+)\]", lambda found: f"{self._table.where(int(found[2]))}: {found[1]}", text)
            if text != str(error):
                raise type(error)(text) from error


def _refuse_twice(paths: Sequence[Path]) -> None:
    seen: dict[str, Path] = {}
    for path in paths if len(paths) > 1 else []:
        check_there(path)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest in seen:
            raise InvalidLog(f"{path} is the same to the last byte as {seen[digest]}: each row must be there once.")
        seen[digest] = path


def _table(paths: Sequence[Path]) -> Table:
    parts, lines = [], []
    for path in paths:
        numbered = list(_rows(path))
        if not numbered:
            raise EmptyLog(f"{path} must have at least one row, got none.")
        for line, row in numbered:
            if row.keys() != numbered[0][1].keys():
                raise InvalidLog(f"{path}, line {line}: must have the columns {list(numbered[0][1])} like the first row, got {list(row)}.")
        parts.append([row for _, row in numbered])
        lines.append([line for line, _ in numbered])
        if parts[0][0].keys() != parts[-1][0].keys():
            raise InvalidLog(f"all files of a log must have the same columns, got {list(parts[0][0])} and in {path} {list(parts[-1][0])}.")
    columns = {name: [row[name] for rows in parts for row in rows] for name in parts[0][0]}
    starts = np.cumsum([0, *map(len, parts[:-1])]).tolist()
    return Table(columns, paths, starts, lines)


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields each row with its line; of CSV all cells are text."""
    check_there(path)
    if path.name.removesuffix(".gz").endswith((".csv", ".tsv")):
        return table_rows(path, delimiter="\t" if ".tsv" in path.name else ",")
    return enumerate(interactions.rows(path), start=1)


def check_there(path: Path) -> None:
    """Refuses a file that is not there."""
    if not path.is_file():
        raise Unknown(f"No file and no recommender's folder is named {str(path)!r}.")


def _fields(table: Table, mapping: Mapping[str, str]) -> dict[str, list[Any]]:
    """Returns the columns by field: those that have a field's name, and those that the mapping names."""
    there, size = table.columns, len(next(iter(table.columns.values())))
    found = {name: there[name] for name in FIELDS if name in there and name != "id"}
    ids = next((name for name in IDS if name in there), "") if "id" not in mapping else mapping["id"]
    for field, column in {**mapping, "id": ids}.items():
        if column in there:
            found[field] = there[column]
        elif field in ("reward", "propensity", "weight") and _number(column) is not None:
            found[field] = [_number(column)] * size
        elif column:
            raise Unknown(f"No column of the log is named {column!r}, for {field}.{nearest(column, there)} Columns: {list(there)}.")
    missing = [name for name in ("action", "reward", "propensity") if name not in found]
    if missing:
        hint = (
            f" Name it: --columns {missing[0]}=COLUMN."
            if missing[0] != "propensity"
            else " Name it, or give its value: --columns propensity=0.5."
        )
        raise InvalidLog(f"a log must have {missing[0]}, but there is no such column.{hint} Columns: {list(there)}.")
    return {name: _numbers(table, name, column) if name in NUMBERS else column for name, column in found.items()}


def _numbers(table: Table, name: str, column: list[Any]) -> list[Any]:
    """Returns cells of text as numbers, and refuses what is missing; an action may stay text, a name."""
    for row, value in enumerate(column):
        if value is None or value == "" or value != value:
            raise InvalidLog(f"{table.where(row)}: {name} must be a number, got {value!r}.")
    if not any(isinstance(value, str) for value in column):
        return column
    numbers = [_number(value) if isinstance(value, str) else value for value in column]
    if name == "action":
        whole = all(number is not None and number == int(number) for number in numbers)
        return [int(number) for number in numbers if number is not None] if whole else column
    if None in numbers:
        row = numbers.index(None)
        raise InvalidLog(f"{table.where(row)}: {name} must be a finite number, got {column[row]!r}.")
    return numbers


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None


def _numbered(table: Table, actions: list[Any]) -> tuple[list[int], str]:
    """Numbers actions that are names, in the order of the alphabet, and says so."""
    for row, action in enumerate(actions):
        if not isinstance(action, str):
            raise InvalidLog(f"{table.where(row)}: action must be a name as in the first row, got {action!r}.")
    names = sorted(set(actions))
    place = {name: number for number, name in enumerate(names)}
    shown = ", ".join(f"{number} = {name!r}" for number, name in enumerate(names[:10])) + ", ..." * (len(names) > 10)
    return [place[action] for action in actions], f"action names are numbered: {shown}"


def _probabilities(table: Table, name: str, mask: np.ndarray) -> Any:
    """Returns f64[T], or from lists f64[T, K], padded with 0 as candidates are, without rounding errors."""
    column = table.columns[name]
    if not isinstance(column[0], list):
        return given_chances(name, _numbers(table, name, column), above_zero=False, error=InvalidLog)
    padded = np.zeros(mask.shape)
    sizes = mask.sum(1).tolist()
    for row, (each, size) in enumerate(zip(column, sizes, strict=True)):
        good = isinstance(each, list) and len(each) == size and all(type(value) in (int, float) for value in each)
        if not good:
            raise InvalidLog(f"{table.where(row)}: {name} must be {size} probabilities, one for each candidate, got {quoted(each)}.")
        padded[row, :size] = each
    return given_probs(name, padded, mask, error=InvalidLog)
