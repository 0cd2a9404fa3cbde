"""Rows of plain values to the records that recsdk works on, checked once, here.

A feature is a str (a category), a number or bool (a quantity; True is 1.0), a list of str (a bag), or None (missing).
Identifiers belong in a str: a number is taken for a quantity, so user 17 would lie between user 16 and user 18.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from recsdk.base import Events, Items
from recsdk.errors import DuplicateCandidates, InvalidLog, InvalidRequest, InvalidReward, UnknownItem, nearest

NUMBER, CATEGORY, BAG = "number", "str", "list of str"
ALLOWED = "a str, a finite number, a bool, a list of str, or None"
LARGEST_INTEGER = 2**53  # the last integer up to which float64 has every one


def items_from_rows(rows: Iterable[Mapping[str, Any]], *, time: float = 0.0) -> Items:
    """Makes a catalogue of rows, one item each.

    Args:
        rows: each with "id", a str that no other row has; optionally "added", seconds since the epoch;
            everything else is a feature.
        time: when the rows without "added" entered the catalogue.

    Returns:
        The items in the order of the rows, with slots 0 to N - 1.

    Raises:
        InvalidRequest: a value that is no feature, a missing id, or two kinds of value in one column, by row number.
        DuplicateCandidates: an id that two rows have.

    Example:
        >>> items = items_from_rows([{"id": "a", "price": 3}, {"id": "b", "tags": ["new", "red"]}])
        >>> items.ids.tolist(), items.features["price"].tolist(), items.features["tags"].tolist()
        (['a', 'b'], [3.0, nan], [None, ['new', 'red']])
    """
    plain = [dict(row) for row in rows]
    ids = [_identifier(row.pop("id", None), number) for number, row in enumerate(plain)]
    added = [_seconds(row.pop("added", None), number, "added", time) for number, row in enumerate(plain)]
    _check_distinct(ids)
    return Items(_objects(ids), requests_table(plain), np.arange(len(plain)), np.array(added, np.float64))


def events_from_rows(items: Items, rows: Iterable[Mapping[str, Any]]) -> Events:
    """Makes a log of rows, one event each, and sorts it by time; events of one time keep their order.

    Args:
        items: the catalogue that the events are about.
        rows: each with "item", an id in `items`; "time", seconds since the epoch; optionally "reward", which is 1.0 when
            absent, since most logs hold only what was taken; everything else is a feature of the request.

    Raises:
        UnknownItem: an item that is not in `items`, with the nearest that is.
        InvalidReward: a reward that is not a finite number.
        InvalidLog: a row without a time.
        InvalidRequest: a value that is no feature, or two kinds of value in one column. All by row number.
    """
    plain = [dict(row) for row in rows]
    place = {name: index for index, name in enumerate(items.ids.tolist())}
    item = [_place(row.pop("item", None), number, place) for number, row in enumerate(plain)]
    reward = [_reward(row.pop("reward", 1.0), number) for number, row in enumerate(plain)]
    time = np.array([_event_time(row.pop("time", None), number) for number, row in enumerate(plain)], np.float64)
    order = np.argsort(time, kind="stable")
    requests = {name: column[order] for name, column in requests_table(plain).items()}
    return Events(requests, items, np.array(item, np.int64)[order], np.array(reward, np.float64)[order], time[order])


def rows_from_items(items: Items) -> list[dict[str, Any]]:
    """Returns rows of plain values from which `items_from_rows` makes the same items; what is missing is left out."""
    rows: list[dict[str, Any]] = [
        {"id": item_id, "added": added} for item_id, added in zip(items.ids.tolist(), items.added.tolist(), strict=True)
    ]
    for name, column in items.features.items():
        for row, value in zip(rows, column.tolist(), strict=True):
            if value is not None and value == value:
                row[name] = value
    return rows


def requests_table(rows: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Makes columns of rows. Rows need not have the same names; what a row lacks is missing.

    Args:
        rows: B mappings of feature names to values.

    Returns:
        Columns of length B in the order in which their names appear: f64[B] with NaN for a missing number, else object[B]
        of str or of list of str with None where missing. Without any feature the table has no columns.

    Raises:
        InvalidRequest: a value that is no feature, or two kinds of value in one column, by row number.
    """
    names = rows[0] if len(rows) == 1 else dict.fromkeys(name for row in rows for name in row)
    return {_name(name): _column(name, [row.get(name) for row in rows]) for name in names}


def column_kind(column: np.ndarray) -> str | None:
    """Returns "number", "str" or "list of str"; None for a column in which everything is missing."""
    if column.dtype.kind in "biuf":
        return NUMBER
    first = next((value for value in column if value is not None), None)
    if first is None:
        return None
    return CATEGORY if isinstance(first, str) else BAG


def take(items: Items, index: Any) -> Items:
    """Selects items, keeping their slots.

    Args:
        items: N items.
        index: i64[K], a bool[N] mask, or a slice.
    """
    features = {name: column[index] for name, column in items.features.items()}
    return Items(items.ids[index], features, items.slot[index], items.added[index])


def concatenate_items(*parts: Items) -> Items:
    """Joins catalogues end to end, keeping slots; what a part has no column for is missing there.

    Raises:
        DuplicateCandidates: an id that is there twice.
        InvalidRequest: a column that holds one kind of value in one part and another in the next.
    """
    if not parts:
        return items_from_rows([])
    ids = np.concatenate([part.ids for part in parts])
    _check_distinct(ids.tolist())
    names = dict.fromkeys(name for part in parts for name in part.features)
    features = {name: _join(name, parts) for name in names}
    slot = np.concatenate([part.slot for part in parts])
    return Items(ids, features, slot, np.concatenate([part.added for part in parts]))


def _join(name: str, parts: Sequence[Items]) -> np.ndarray:
    columns = [part.features.get(name) for part in parts]
    kinds = {column_kind(column) for column in columns if column is not None} - {None}
    if len(kinds) > 1:
        raise InvalidRequest(f"{name!r} must hold one kind of value, got {' and '.join(sorted(map(str, kinds)))}.")
    missing, dtype = (np.nan, np.float64) if kinds == {NUMBER} else (None, object)
    filled = [
        np.full(len(part.ids), missing, dtype) if column is None or (dtype == np.float64 and column.dtype == object) else column
        for part, column in zip(parts, columns, strict=True)
    ]
    return np.concatenate(filled)


def _column(name: str, values: list[Any]) -> np.ndarray:
    kinds = [_kind(name, value, number) for number, value in enumerate(values)]
    present = [(kind, number) for number, kind in enumerate(kinds) if kind is not None]
    for kind, number in present[1:]:
        if kind != present[0][0]:
            first, row = present[0]
            raise InvalidRequest(
                f"{name!r} must hold one kind of value, got {first} in row {row} and {kind} in row {number}: {values[number]!r}."
            )
    if not present or present[0][0] == CATEGORY:
        return _objects(values)
    if present[0][0] == NUMBER:
        return np.array([math.nan if value is None else value for value in values], np.float64)
    return _objects([None if value is None else list(value) for value in values])


def _kind(name: str, value: Any, number: int) -> str | None:
    if value is None:
        return None
    if isinstance(value, str):
        _check_text(name, value, number)
        return CATEGORY
    if isinstance(value, (float, int, np.number, np.bool_)):
        _check_number(name, value, number)
        return NUMBER
    if isinstance(value, (list, tuple)):
        for element in value:
            if not isinstance(element, str):
                raise InvalidRequest(f"{name!r} in row {number} must be {ALLOWED}, got a list with {element!r}.")
            _check_text(name, element, number)
        return BAG
    raise InvalidRequest(f"{name!r} in row {number} must be {ALLOWED}, got {type(value).__name__} {value!r}.")


def _check_text(name: str, value: str, number: int) -> None:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise InvalidRequest(f"{name!r} in row {number} must be text that UTF-8 can hold, got {value!r}.") from error


def _check_number(name: str, value: Any, number: int) -> None:
    if isinstance(value, np.complexfloating) or not -math.inf < value < math.inf:
        raise InvalidRequest(f"{name!r} in row {number} must be a finite number, or None where it is missing, got {value!r}.")
    if isinstance(value, (int, np.integer)) and not -LARGEST_INTEGER <= value <= LARGEST_INTEGER:
        raise InvalidRequest(f"{name!r} in row {number} must lie within ±2**53, got {value!r}: give an identifier as a str.")


def _name(name: Hashable) -> str:
    if not isinstance(name, str) or not name:
        raise InvalidRequest(f"A feature's name must be a str that is not empty, got {name!r}.")
    return name


def _identifier(value: Any, number: int) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidRequest(f"'id' in row {number} must be a str that is not empty, got {value!r}.")
    _check_text("id", value, number)
    return value


def _seconds(value: Any, number: int, field: str, default: float) -> float:
    value = default if value is None else value
    if not isinstance(value, (float, int, np.number)) or isinstance(value, bool) or not -math.inf < value < math.inf:
        raise InvalidRequest(f"{field!r} in row {number} must be finite seconds since the epoch, got {value!r}.")
    return float(value)


def _event_time(value: Any, number: int) -> float:
    try:
        return _seconds(value, number, "time", math.nan)
    except InvalidRequest as error:
        raise InvalidLog(str(error)) from error


def _reward(value: Any, number: int) -> float:
    if not isinstance(value, (float, int, np.number)) or isinstance(value, bool) or not -math.inf < value < math.inf:
        raise InvalidReward(f"'reward' in row {number} must be a finite number, got {value!r}.")
    return float(value)


def _place(name: Any, number: int, place: Mapping[str, int]) -> int:
    if not isinstance(name, str) or name not in place:
        raise UnknownItem(f"'item' in row {number} must be an id of the catalogue, got {name!r}.{nearest(name, place)}")
    return place[name]


def _check_distinct(ids: Sequence[str]) -> None:
    first: dict[str, int] = {}
    for number, name in enumerate(ids):
        if first.setdefault(name, number) != number:
            raise DuplicateCandidates(f"An id must be there once, got {name!r} in rows {first[name]} and {number}.")


def _objects(values: Sequence[Any]) -> np.ndarray:
    return np.fromiter(values, object, len(values))
