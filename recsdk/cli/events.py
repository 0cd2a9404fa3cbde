"""Logs of events as the command line names them: files whose columns are found by their names, or as `--columns` says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from recsdk.base import Events, Items
from recsdk.cli import tables
from recsdk.data import Unit, events_from_rows, items_from_rows
from recsdk.datasets import read_rows
from recsdk.datasets.forms import form_of
from recsdk.errors import EmptyLog, InvalidLog, InvalidValue, Unknown, nearest

USER = "user_id"
FIELDS = {"user": USER, "item": "item", "time": "time", "reward": "reward"}
"""What `recsdk.data` calls each column of events."""
KNOWN = {
    "user": ("user_id", "user", "userId", "session_id"),
    "item": ("item", "item_id", "itemId", "movieId"),
    "time": ("time", "timestamp"),
    "reward": ("reward", "rating"),
}
"""Names by which each column is found; the first that is there."""
REQUIRED = ("user", "item", "time")
HISTORY = "history"
"""The feature in which the splits give a request its history."""
ID = ("id", *KNOWN["item"])


class Read(NamedTuple):
    """Events with their catalogue, and what is to be said of how they were read."""

    log: Events
    notes: tuple[str, ...]


def read(path: Path, items: Path | None, *, columns: str | None, time_unit: Unit, features: str | None = None) -> Read:
    """Reads events, and the features of their items where there is a file of them.

    Of other columns only those that `features` names are features of the request: a column such as a review is known after the event alone,
    and would tell a model what the user took.

    Raises:
        Unknown: a file or a column that is not there.
        InvalidValue: `columns` or `features` that cannot be read.
        InvalidLog, InvalidRequest, InvalidReward: a bad row, by its line. Others as `recsdk.datasets.read_rows` gives them.
    """
    mapping, names = _mapping(columns), _names(path)
    chosen = {field: _column(path, field, mapping, names) for field in KNOWN}
    missing = [field for field in REQUIRED if not chosen[field]]
    if missing:
        hint = ", ".join(f"{field}=COLUMN" for field in missing)
        raise InvalidLog(f"{path} must say {' and '.join(missing)}; it has the columns {names}. Name them: --columns {hint}.")
    guessed = {field: name for field, name in chosen.items() if name and field not in mapping and name != KNOWN[field][0]}
    notes = [f"{field} is the column {name!r}" for field, name in guessed.items()]
    renamed: dict[str, str | None] = {name: FIELDS[field] for field, name in chosen.items() if name}
    for name in FIELDS.values():
        if name in names and name not in renamed:
            renamed[name] = None
            notes.append(f"the column {name!r} is left out, since another one is named for it")
    named = _features(path, features, [*renamed, HISTORY], names)
    if others := [name for name in names if name not in renamed and name not in named]:
        renamed |= dict.fromkeys(others)
        hint = "those that are known before the user takes an item may be features of the request"
        notes.append(f"left out are the columns {others}; {hint}: --features NAME,NAME")
    if not chosen["reward"]:
        notes.append("there is no reward: every event counts as taken")
    rows: Any = read_rows(path, columns=renamed, time_unit=time_unit)
    catalogue, note = _catalogue(rows.columns["item"].tolist(), items)
    log = events_from_rows(catalogue, rows)
    not_taken = int((log.reward <= 0).sum())
    notes += [note] if note else []
    notes += [f"{not_taken:,} of {len(log.item):,} events have a reward <= 0 and do not count as taken"] if not_taken else []
    return Read(log, tuple(f"{path}: {note}." for note in notes))


def moment(option: str, text: str) -> float:
    """Returns the seconds since the epoch that an option gives as a number or as a date.

    Raises:
        InvalidValue: it is neither.
    """
    try:
        return float(read_rows([{"time": text}]).columns["time"][0])
    except InvalidLog as error:
        raise InvalidValue(f"{option} must be seconds since the epoch or an ISO date such as 2026-03-01, got {text!r}.") from error


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


def _features(path: Path, features: str | None, taken: Sequence[str], names: Sequence[str]) -> list[str]:
    named = [name.strip() for name in features.split(",")] if features is not None else []
    for name in named:
        if name in taken:
            raise InvalidValue(f"features must be other columns than user, item, time, reward and {HISTORY}, got {name!r}.")
        if name not in names:
            raise Unknown(f"{path} has no column {name!r}, for features.{nearest(name, names)} It has: {list(names)}.")
    return named


def _names(path: Path) -> list[str]:
    """Returns the columns of a file that has rows."""
    if not path.is_file():
        raise Unknown(f"No file is named {str(path)!r}.")
    if path.suffix == ".parquet":
        return tables.names_of(path)
    parsed = form_of(path).parse(path)
    rows = iter(parsed.rows)
    first = next(rows, None)
    if first is None:
        raise EmptyLog(f"{path} must have at least one row, got none.")
    if isinstance(first[1], InvalidLog):
        raise first[1]
    if parsed.names is not None:
        return list(parsed.names)
    later = (row for _, row in rows if not isinstance(row, InvalidLog))
    return list(dict.fromkeys([*first[1], *(name for row in later for name in row)]))


def _column(path: Path, field: str, mapping: Mapping[str, str], names: Sequence[str]) -> str:
    """Returns the name of a field's column; "" where there is none."""
    if field in mapping:
        if mapping[field] not in names:
            hint = nearest(mapping[field], names)
            raise Unknown(f"{path} has no column {mapping[field]!r}, for {field}.{hint} It has: {list(names)}.")
        return mapping[field]
    return next((name for name in KNOWN[field] if name in names), "")


def _catalogue(taken: Sequence[str | None], path: Path | None) -> tuple[Items, str]:
    """Returns the items of the file, and after them those that only events have; and how many these are."""
    rows = []
    if path is not None:
        names = _names(path)
        column = next((name for name in ID if name in names), None)
        if column is None:
            raise InvalidLog(f"{path} must have a column that is one of {list(ID)}, the item's id; it has the columns {names}.")
        found: Any = read_rows(path, columns={column: "id"})
        items_from_rows(found)  # so that a bad row is told by its line
        rows = found.to_dicts()
    there = {row["id"] for row in rows}
    only = [{"id": name} for name in dict.fromkeys(taken) if name is not None and name not in there]
    note = f"{len(only):,} of its items are not in {path}: they have no features" if only and path is not None else ""
    return items_from_rows([*rows, *only]), note
