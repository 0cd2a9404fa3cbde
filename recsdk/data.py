"""Makes catalogues and logs from rows of plain values, and checks them.

A feature is a str (a category), a number or bool (a quantity; True is 1.0), a list of str (a bag), or None (missing).
An identifier must be a str: a number is a quantity, so user 17 would lie between user 16 and user 18.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from recsdk import times
from recsdk.base import Events, Items, Table
from recsdk.checks import is_number, require_number
from recsdk.columns import check_text, column_kind, join, objects, requests_table
from recsdk.errors import (
    DuplicateCandidates,
    IgnoredInput,
    InvalidLog,
    InvalidRequest,
    InvalidReward,
    InvalidValue,
    UnknownItem,
    nearest,
    one_of,
    warn,
)
from recsdk.rows import Rows, naming_lines, plain_rows, value_of

__all__ = [
    "column_kind",
    "concatenate_items",
    "events_from_rows",
    "items_from_rows",
    "items_from_stored",
    "requests_table",
    "rows_from_items",
    "take",
    "take_events",
]

Unit = Literal["s", "ms", "us", "ns"]


def items_from_rows(
    rows: Iterable[Mapping[str, Any]] | Rows, *, time: float = 0.0, time_unit: Unit = "s", now: float | None = None
) -> Items:
    """Makes a catalogue from rows, one item each.

    Args:
        rows: each with "id", a str that no other row has; optionally "added", the time at which the item entered the catalogue; everything
            else is a feature. A data frame of pandas or polars, or an Arrow table, is taken as its rows.
        time: when the rows without "added" entered the catalogue, in seconds since the epoch.
        time_unit: of "added": "s", "ms", "us" or "ns" since the epoch.
        now: no "added" may lie more than a day after it. By default the system's clock tells it.

    Returns:
        The items in the order of the rows, with slots 0 to N - 1.

    Raises:
        InvalidRequest: a missing id, a value that is no feature, two kinds of value in one column, or a time in the future, by row number.
        DuplicateCandidates: an id that two rows have.

    Example:
        >>> items = items_from_rows([{"id": "a", "price": 3}, {"id": "b", "tags": ["new", "red"]}])
        >>> items.ids.tolist(), items.features["price"].tolist(), items.features["tags"].tolist()
        (['a', 'b'], [3.0, nan], [None, ['new', 'red']])
    """
    require_number("time", time)
    with naming_lines(rows):
        return _items(plain_rows("rows", rows), time, time_unit, now)


def _items(plain: list[dict[str, Any]], time: float, time_unit: Unit, now: float | None) -> Items:
    """Returns the items of rows, which are consumed."""
    added = [_time(row.pop("added", None), number, "added", InvalidRequest) for number, row in enumerate(plain)]
    given = [number for number, value in enumerate(added) if value is not None]
    found = np.full(len(plain), float(time))
    if given:
        values = np.array([value for value in added if value is not None], np.float64)
        found[given] = times.seconds("added", values, unit=time_unit, now=now, error=InvalidRequest, rows=given)
    return _catalogue(plain, found)


def items_from_stored(rows: Iterable[Mapping[str, Any]]) -> Items:
    """Makes a catalogue from rows that were accepted before, such as a ledger's: their times are not compared with a clock again.

    Args:
        rows: from `rows_from_items`.

    Example:
        >>> items_from_stored([{"id": "a", "added": 1e12}]).added.tolist()
        [1000000000000.0]
    """
    plain = [dict(row) for row in rows]
    added = [row.pop("added") for row in plain]
    return _catalogue(plain, np.array(added, np.float64))


def events_from_rows(
    items: Items,
    rows: Iterable[Mapping[str, Any]] | Rows,
    *,
    time_unit: Unit = "s",
    now: float | None = None,
    unknown_items: Literal["refuse", "skip"] = "refuse",
) -> Events:
    """Makes a log from rows, one event each, sorted by time; events of one time keep their order.

    Args:
        items: the catalogue that the events are about.
        rows: each with "item", an id in `items`; "time"; optionally "reward", which is 1.0 where it is absent, since most logs hold only
            what was taken; everything else is a feature of the request. A data frame of pandas or polars, or an Arrow table, is taken as
            its rows.
        time_unit: of "time": "s", "ms", "us" or "ns" since the epoch.
        now: no "time" may lie more than a day after it. By default the system's clock tells it.
        unknown_items: "skip" leaves out events whose item is not in `items`, and warns with their number.

    Raises:
        UnknownItem: an item that is not in `items`, with the nearest that is.
        InvalidReward: a reward that is not a finite number.
        InvalidLog: a row without an item or a time, or with a time in the future.
        InvalidRequest: a value that is no feature, or two kinds of value in one column. All by row number.

    Warns:
        IgnoredInput: rows were skipped.

    Example:
        >>> items = items_from_rows([{"id": "a"}, {"id": "b"}])
        >>> log = events_from_rows(items, [{"item": "b", "time": 1_700_000_000_000, "user": "ann"}], time_unit="ms")
        >>> log.item.tolist(), log.reward.tolist(), log.time.tolist(), log.requests["user"].tolist()
        ([1], [1.0], [1700000000.0], ['ann'])
    """
    one_of("unknown_items", unknown_items, ("refuse", "skip"))
    place = {name: index for index, name in enumerate(items.ids.tolist())}
    with naming_lines(rows):
        columns = _columns_of(rows, place, skip=unknown_items == "skip") if isinstance(rows, Rows) else None
        columns = columns or _columns_of_each(plain_rows("rows", rows, error=InvalidLog), place, skip=unknown_items == "skip")
        time = times.seconds("time", columns.time, unit=time_unit, now=now, error=InvalidLog)
    order = np.argsort(time, kind="stable")
    order = order[columns.item[order] >= 0]
    warn_of_skipped(columns.item, columns.names)
    requests = {name: column[order] for name, column in columns.features.items()}
    return Events(requests, items, columns.item[order], columns.reward[order], time[order])


class _Columns(NamedTuple):
    """T events in the order of their rows.

    Attributes:
        names: T ids of items.
        item: i64[T], their places in the catalogue, -1 for an unknown one.
        reward: f64[T].
        time: f64[T], in the unit of the rows.
        features: columns of length T.
    """

    names: Sequence[Any]
    item: np.ndarray
    reward: np.ndarray
    time: np.ndarray
    features: Table


def _columns_of_each(plain: list[dict[str, Any]], place: Mapping[str, int], *, skip: bool) -> _Columns:
    """Returns the columns of rows, which are consumed; each row is checked."""
    item = [_place(row, number, place, skip=skip) for number, row in enumerate(plain)]
    reward = [_reward(row.pop("reward", 1.0), number) for number, row in enumerate(plain)]
    time = [_event_time(row, number) for number, row in enumerate(plain)]
    names = [row["item"] for row in plain]
    features = requests_table([{name: value for name, value in row.items() if name not in ("item", "time")} for row in plain])
    return _Columns(names, np.array(item, np.int64), np.array(reward, np.float64), np.array(time, np.float64), features)


def _columns_of(rows: Rows, place: Mapping[str, int], *, skip: bool) -> _Columns | None:
    """Returns the columns of rows whose values were checked when they were read; None where one is no event, to be found by its row."""
    names = rows.columns.get("item", objects([])).tolist()
    reward, time = rows.columns.get("reward", np.ones(len(names))), rows.columns.get("time", np.zeros(0))
    item = np.array([place.get(name, -1) for name in names], np.int64)
    are_numbers = all(column.dtype == np.float64 and np.isfinite(column).all() for column in (reward, time))
    if len(time) != len(names) or not are_numbers or None in names or (not skip and (item < 0).any()):
        return None
    features = {name: column for name, column in rows.columns.items() if name not in ("item", "time", "reward")}
    return _Columns(names, item, reward, time, features)


def rows_from_items(items: Items) -> list[dict[str, Any]]:
    """Returns rows of plain values from which `items_from_rows` makes the same items; what is missing is left out.

    Example:
        >>> rows_from_items(items_from_rows([{"id": "a", "price": 3}, {"id": "b"}], time=5.0))
        [{'id': 'a', 'added': 5.0, 'price': 3.0}, {'id': 'b', 'added': 5.0}]
    """
    rows: list[dict[str, Any]] = [
        {"id": item_id, "added": added} for item_id, added in zip(items.ids.tolist(), items.added.tolist(), strict=True)
    ]
    for name, column in items.features.items():
        for row, value in zip(rows, column.tolist(), strict=True):
            if value is not None and value == value:
                row[name] = value
    return rows


def take(items: Items, index: Any) -> Items:
    """Selects items, keeping their slots.

    Args:
        items: N items.
        index: i64[K], a bool[N] mask, or a slice.

    Example:
        >>> taken = take(items_from_rows([{"id": "a"}, {"id": "b"}, {"id": "c"}]), np.array([2, 0]))
        >>> taken.ids.tolist(), taken.slot.tolist()
        (['c', 'a'], [2, 0])
    """
    features = {name: column[index] for name, column in items.features.items()}
    return Items(items.ids[index], features, items.slot[index], items.added[index])


def take_events(log: Events, index: Any) -> Events:
    """Selects events, with the catalogue as it is.

    Args:
        log: N events.
        index: i64[K], a bool[N] mask, or a slice.

    Example:
        >>> log = events_from_rows(items_from_rows([{"id": "a"}]), [{"item": "a", "time": seconds} for seconds in (1.0, 2.0)])
        >>> take_events(log, slice(1)).time.tolist()
        [1.0]
    """
    requests = {name: column[index] for name, column in log.requests.items()}
    return Events(requests, log.items, log.item[index], log.reward[index], log.time[index])


def concatenate_items(*parts: Items) -> Items:
    """Joins catalogues end to end, keeping slots; what a part has no column for is missing there.

    Raises:
        DuplicateCandidates: an id that is there twice.
        InvalidRequest: a column that holds one kind of value in one part and another in the next.

    Example:
        >>> joined = concatenate_items(items_from_rows([{"id": "a", "price": 1}]), items_from_rows([{"id": "b"}]))
        >>> joined.ids.tolist(), joined.features["price"].tolist()
        (['a', 'b'], [1.0, nan])
    """
    if not parts:
        return items_from_rows([])
    ids = np.concatenate([part.ids for part in parts])
    _check_distinct(ids.tolist())
    names = dict.fromkeys(name for part in parts for name in part.features)
    sizes = [len(part.ids) for part in parts]
    features = {name: join(name, [part.features.get(name) for part in parts], sizes) for name in names}
    slot = np.concatenate([part.slot for part in parts])
    return Items(ids, features, slot, np.concatenate([part.added for part in parts]))


def _identifier(row: dict[str, Any], number: int) -> str:
    wanted = "a str that is not empty"
    value = value_of(row, number, "id", wanted, InvalidRequest)
    if not isinstance(value, str) or not value:
        raise InvalidRequest(f"'id' in row {number} must be {wanted}, got {value!r}.")
    check_text("id", value, number)
    return value


def _catalogue(rows: list[dict[str, Any]], added: np.ndarray) -> Items:
    """Returns the items of rows, which are consumed."""
    ids = [_identifier(row, number) for number, row in enumerate(rows)]
    _check_distinct(ids)
    for row in rows:
        del row["id"]
    return Items(objects(ids), requests_table(rows), np.arange(len(rows)), added)


def _time(value: Any, number: int, field: str, error: type[InvalidValue]) -> float | None:
    if value is not None and not is_number(value):
        raise error(f"{field!r} in row {number} must be finite seconds since the epoch, got {value!r}.")
    return None if value is None else float(value)


def _event_time(row: Mapping[str, Any], number: int) -> float:
    value = _time(value_of(row, number, "time", "finite seconds since the epoch", InvalidLog), number, "time", InvalidLog)
    if value is None:
        raise InvalidLog(f"'time' in row {number} must be finite seconds since the epoch, got None.")
    return value


def _reward(value: Any, number: int) -> float:
    if not is_number(value):
        raise InvalidReward(f"'reward' in row {number} must be a finite number, got {value!r}.")
    return float(value)


def _place(row: Mapping[str, Any], number: int, place: Mapping[str, int], *, skip: bool) -> int:
    """Returns an item's index in the catalogue; -1 for an unknown one that may be skipped."""
    wanted = "an id of the catalogue"
    name = value_of(row, number, "item", wanted, InvalidLog)
    if isinstance(name, str) and (skip or name in place):
        return place.get(name, -1)
    hint = f"{nearest(name, place)} unknown_items='skip' leaves such rows out." if isinstance(name, str) else " An id is a str."
    raise UnknownItem(f"'item' in row {number} must be {wanted}, got {name!r}.{hint}")


def warn_of_skipped(index: np.ndarray, names: Sequence[str]) -> None:
    """Says how many events are about unknown items, those with an index below 0; `names` are their items' ids."""
    skipped = np.flatnonzero(index < 0)
    if len(skipped):
        first = int(skipped[0])
        which = f"their items are not in the catalogue, such as {names[first]!r} in row {first}"
        warn(f"{len(skipped)} of {len(index)} rows were skipped: {which}.", IgnoredInput)


def _check_distinct(ids: Sequence[str]) -> None:
    first: dict[str, int] = {}
    for number, name in enumerate(ids):
        if first.setdefault(name, number) != number:
            raise DuplicateCandidates(f"An id must be there once, got {name!r} in rows {first[name]} and {number}.")
