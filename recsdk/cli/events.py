"""Logs of events as the command line names them: files whose columns are found by their names, or as `--columns` says."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from recsdk.base import Events, Items
from recsdk.cli import tables
from recsdk.data import Unit, events_from_rows, items_from_rows
from recsdk.datasets.files import table_rows
from recsdk.errors import EmptyLog, InvalidLog, InvalidValue, RecsdkError, Unknown, nearest
from recsdk.times import UNITS

USER = "user_id"
KNOWN = {
    "user": ("user_id", "user", "userId", "session_id"),
    "item": ("item", "item_id", "itemId", "movieId"),
    "time": ("time", "timestamp"),
    "reward": ("reward", "rating"),
}
"""Names by which each column of events is found; the first that is there."""
REQUIRED = ("user", "item", "time")
ID = ("id", "item_id", "itemId", "movieId", "item")
TYPED = (".inter", ".item", ".user")
"""Ends of RecBole's atomic files: tab-separated, with headers such as `rating:float`."""


class Read(NamedTuple):
    """Events with their catalogue, and what is to be said of how they were read."""

    log: Events
    notes: tuple[str, ...]


class Rows(NamedTuple):
    """Rows of a file, the line of each, and the names of all columns."""

    path: Path
    rows: list[dict[str, Any]]
    lines: list[int]
    names: list[str]


def read(path: Path, items: Path | None, *, columns: str | None, time_unit: Unit) -> Read:
    """Reads events, and the features of their items where there is a file of them.

    Raises:
        Unknown: a file or a column that is not there.
        InvalidValue: `columns` that cannot be read.
        InvalidLog, InvalidRequest, InvalidReward: a bad row, by its line. Others as `recsdk.data` gives them.
    """
    mapping, found = _mapping(columns), _rows(path)
    chosen = {field: _column(found, field, mapping) for field in KNOWN}
    missing = [field for field in REQUIRED if not chosen[field]]
    if missing:
        hint = ", ".join(f"{field}=COLUMN" for field in missing)
        raise InvalidLog(f"{path} must say {' and '.join(missing)}; it has the columns {found.names}. Name them: --columns {hint}.")
    notes = [
        f"{field} is the column {name!r}" for field, name in chosen.items() if name and field not in mapping and name != KNOWN[field][0]
    ]
    if not chosen["reward"]:
        notes.append("there is no reward: every event counts as taken")
    with _naming(found):
        events = [_event(row, number, chosen, time_unit) for number, row in enumerate(found.rows)]
        catalogue, note = _catalogue([event["item"] for event in events], items)
        log = events_from_rows(catalogue, events, time_unit=time_unit)
    others = int((log.reward <= 0).sum())
    notes += [note] if note else []
    notes += [f"{others:,} of {len(log.item):,} events have a reward <= 0 and do not count as taken"] if others else []
    return Read(log, tuple(f"{path}: {note}." for note in notes))


def moment(option: str, text: str) -> float:
    """Returns the seconds since the epoch that an option gives as a number or as a date.

    Raises:
        InvalidValue: it is neither.
    """
    found = _seconds(text)
    if found is None:
        raise InvalidValue(f"{option} must be seconds since the epoch or an ISO date such as 2026-03-01, got {text!r}.")
    return found


def _mapping(columns: str | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in columns.split(",") if columns else []:
        field, sign, column = (text.strip() for text in part.partition("="))
        if not (field and sign and column):
            raise InvalidValue(f"columns must be fields and their columns, such as user=visitor,time=clicked_at, got {part!r}.")
        if field not in KNOWN:
            raise InvalidValue(f"columns: events have no field {field!r}.{nearest(field, KNOWN)} They have: {list(KNOWN)}.")
        found[field] = column
    return found


def _rows(path: Path) -> Rows:
    if not path.is_file():
        raise Unknown(f"No file is named {str(path)!r}.")
    name = path.name.removesuffix(".gz")
    if name.endswith(TYPED):
        numbered = [(line, _untyped(row)) for line, row in table_rows(path, delimiter="\t")]
    else:
        numbered = list(tables._rows(path))
    if not numbered:
        raise EmptyLog(f"{path} must have at least one row, got none.")
    rows = [row for _, row in numbered]
    names = list(dict.fromkeys(name for row in rows for name in row))
    if name.endswith((".csv", ".tsv")):
        _type(rows, names)
    return Rows(path, rows, [line for line, _ in numbered], names)


def _untyped(row: Mapping[str, str]) -> dict[str, Any]:
    """Returns a row of an atomic file, each cell as its header's type says: a number, a list of words, or text."""
    found: dict[str, Any] = {}
    for header, cell in row.items():
        name, _, kind = header.partition(":")
        value: Any = cell
        if kind == "float":
            value = number if (number := tables._number(cell)) is not None else cell or None
        elif kind == "token_seq":
            value = cell.split()
        found[name] = value
    return found


def _type(rows: list[dict[str, Any]], names: Sequence[str]) -> None:
    """Makes numbers of the columns whose cells are all numbers, and nothing of empty cells."""
    for name in names:
        cells = [row[name] or None for row in rows]
        values: list[Any] = [cell if cell is None else tables._number(cell) for cell in cells]
        is_number = all((cell is None) == (value is None) for cell, value in zip(cells, values, strict=True))
        for row, value in zip(rows, values if is_number and name not in ID + KNOWN["user"] else cells, strict=True):
            row[name] = value


def _column(found: Rows, field: str, mapping: Mapping[str, str]) -> str:
    """Returns the name of a field's column; "" where there is none."""
    if field in mapping:
        if mapping[field] not in found.names:
            hint = nearest(mapping[field], found.names)
            raise Unknown(f"{found.path} has no column {mapping[field]!r}, for {field}.{hint} It has: {found.names}.")
        return mapping[field]
    return next((name for name in KNOWN[field] if name in found.names), "")


def _event(row: Mapping[str, Any], number: int, chosen: Mapping[str, str], time_unit: Unit) -> dict[str, Any]:
    event = {name: value for name, value in row.items() if name not in chosen.values()}
    given = row.get(chosen["time"])
    time = _seconds(given, UNITS[time_unit])
    if time is None:
        raise InvalidLog(f"{chosen['time']!r} in row {number} must be a number or an ISO date, got {given!r}.")
    event |= {USER: _name(row.get(chosen["user"])), "item": _name(row.get(chosen["item"])), "time": time}
    if event["item"] is None:
        raise InvalidLog(f"{chosen['item']!r} in row {number} must be an item's id, got None.")
    if chosen["reward"]:
        event["reward"] = row.get(chosen["reward"])
    return event


def _catalogue(names: Sequence[str], path: Path | None) -> tuple[Items, str]:
    """Returns the items of the file, and after them those that only events have; and how many these are."""
    rows: list[dict[str, Any]] = []
    if path is not None:
        found = _rows(path)
        column = next((name for name in ID if name in found.names), None)
        if column is None:
            raise InvalidLog(f"{path} must have a column that is one of {list(ID)}, the item's id; it has the columns {found.names}.")
        with _naming(found):
            rows = [{**{name: row[name] for name in row if name != column}, "id": _name(row.get(column))} for row in found.rows]
            items_from_rows(rows)  # so that a bad row is told by its line
    there = {row["id"] for row in rows}
    only = [{"id": name} for name in dict.fromkeys(names) if name not in there]
    note = f"{len(only):,} of its items are not in {path}: they have no features" if only and path is not None else ""
    return items_from_rows([*rows, *only]), note


def _name(value: Any) -> Any:
    """Returns an id as text; a whole number is one too, since here it is known to be an id."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value or None


def _seconds(value: Any, per_second: float = 1.0) -> float | None:
    """Returns a time in the file's unit: a number as it is, a date in seconds times `per_second`; without a zone it is UTC."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, str):
        if (number := tables._number(value)) is not None:
            return number
        with contextlib.suppress(ValueError):
            value = datetime.fromisoformat(value)
    if not isinstance(value, datetime):
        return None
    return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp() * per_second


@contextlib.contextmanager
def _naming(found: Rows) -> Iterator[None]:
    """Says in errors the file and the line of a row."""
    try:
        yield
    except RecsdkError as error:
        text = re.sub(r"\bin row (\d+)", lambda match: f"in line {found.lines[int(match[1])]}", str(error))
        raise error if str(error).startswith(str(found.path)) else type(error)(f"{found.path}: {text}") from error
