"""What the values of a column are: inferred where nobody says, and made of what a file or a frame holds."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np

from recsdk.columns import BAG, CATEGORY, LARGEST_INTEGER, NUMBER, objects

TIME = "time"
KINDS = (NUMBER, CATEGORY, BAG, TIME)
ROLES = {"id": CATEGORY, "item": CATEGORY, "user_id": CATEGORY, "time": TIME, "added": TIME, "reward": NUMBER}
"""Columns that recsdk knows by name, and their kinds. An identifier is a text, whatever it looks like."""

WANTED = {
    NUMBER: "a finite number of at most 64 bits",
    CATEGORY: "a text",
    BAG: "a list of texts",
    TIME: "a number of seconds since the epoch, or a date such as '2024-01-31T12:00:00Z'",
}
# What looks like a number but begins with 0, such as a postal code, is a text; so is what float() takes and few would: 1_000, nan.
PLAIN = re.compile(r"[+-]?(?:0|[1-9]\d*)(?:\.\d*)?(?:[eE][+-]?\d+)?|[+-]?\.\d+(?:[eE][+-]?\d+)?", re.ASCII)
NUMBERS = (bool, int, float, np.number, np.bool_, Decimal)


class Typed(NamedTuple):
    """A column of T values of one kind.

    Attributes:
        values: f64[T] with NaN, or object[T] with None, where a value is missing or bad.
        bad: what the values had to be, by row, of those that are something else.
    """

    values: np.ndarray
    bad: dict[int, str]


def typed(values: Sequence[Any], kind: str, *, parts: float = 1, list_separator: str | None = None, strict: bool = False) -> Typed:
    """Makes a column of a kind.

    Args:
        values: None where missing.
        kind: one of `KINDS`.
        parts: how many of a time's units are a second.
        list_separator: between the texts of a list that is one text; None for any white space.
        strict: values of another kind are bad, even where they could be converted.
    """
    convert: dict[str, Callable[[Any], Any]] = {
        NUMBER: _number,
        CATEGORY: _text,
        BAG: lambda value: _list(value, list_separator),
        TIME: lambda value: _time(value, parts),
    }
    whole = _whole(values, kind, parts)
    if whole is not None:
        return Typed(whole, {})
    found, bad, one = [None] * len(values), {}, convert[kind]
    for row, value in enumerate(values):
        if value is not None:
            try:
                found[row] = one(_of_kind(value, kind) if strict else value)
            except (ValueError, OverflowError, TypeError):
                bad[row] = WANTED[kind]
    if kind in (NUMBER, TIME):
        return Typed(np.array([math.nan if value is None else value for value in found], np.float64), bad)
    return Typed(objects(found), bad)


def _whole(values: Sequence[Any], kind: str, parts: float) -> np.ndarray | None:
    """Returns the column where all values are of one type that is easily made of this kind, or None: then each is looked at."""
    types = set(map(type, values)) - {type(None)}
    if kind == CATEGORY and types == {str} and all(map(str.isascii, filter(None, values))):
        one: dict[str | None, str | None] = {}
        return objects([one.setdefault(value, value) for value in values])  # equal texts are kept once
    if kind in (CATEGORY, BAG) or not types or not (types <= {int, float} or types == {str}):
        return None
    if types == {str} and any("_" in value for value in values if value):
        return None
    try:
        column = np.array([math.nan if value is None else float(value) for value in values])
    except (ValueError, OverflowError):
        return None
    present = column[np.isfinite(column)]
    exact = len(present) == len(values) - values.count(None) and (int not in types or np.abs(present).max() < LARGEST_INTEGER)
    return column / (parts if kind == TIME else 1) if exact else None


def inferred(values: Sequence[Any], *, is_text: bool) -> str | None:
    """Returns the kind that the values have, or most of them; None for a kind that no feature has.

    Args:
        values: None where missing.
        is_text: all are cells of text: they are numbers if all look like numbers that float64 holds exactly enough to be no identifiers.
    """
    present = [value for value in values if value is not None]
    if is_text:
        is_number = bool(present) and all(map(PLAIN.fullmatch, present)) and all(map(_is_small, present))
        return NUMBER if is_number else CATEGORY
    count: Counter[str | None] = Counter()
    for kind, number in Counter(map(type, present)).items():
        count[_kind_of(kind)] += number
    return count.most_common(1)[0][0] if count else CATEGORY


def _of_kind(value: Any, kind: str) -> Any:
    if _kind_of(type(value)) != kind or (kind == BAG and not all(isinstance(part, str) for part in value)):
        raise ValueError
    return value


def _is_small(cell: str) -> bool:
    return abs(float(cell)) <= LARGEST_INTEGER


def _kind_of(kind: type) -> str | None:
    if issubclass(kind, NUMBERS):
        return NUMBER
    if issubclass(kind, str):
        return CATEGORY
    if issubclass(kind, (list, tuple, np.ndarray)):
        return BAG
    return TIME if issubclass(kind, date) else None


def _number(value: Any) -> float:
    if not isinstance(value, (*NUMBERS, str)) or (isinstance(value, str) and "_" in value):
        raise ValueError
    found = float(value)
    if not math.isfinite(found) or (isinstance(value, (int, np.integer)) and abs(int(value)) > LARGEST_INTEGER):
        raise ValueError
    return found


def _text(value: Any) -> str:
    if isinstance(value, str):
        if not value.isascii():
            value.encode()  # half of a surrogate pair is no text
        return str(value)
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, NUMBERS):
        raise ValueError
    number = float(value)
    if number.is_integer() and not isinstance(value, (int, np.integer)) and abs(number) > LARGEST_INTEGER:
        raise ValueError  # the digits of an identifier are lost already
    return str(int(value)) if number.is_integer() else repr(number)


def _list(value: Any, separator: str | None) -> list[str]:
    if isinstance(value, str):
        return [part for part in _text(value).split(separator) if part]
    if not isinstance(value, (list, tuple, np.ndarray)):
        raise ValueError
    return [_text(part) for part in value]


def _time(value: Any, parts: float) -> float:
    if isinstance(value, str):
        try:
            return _number(value) / parts
        except ValueError:
            value = datetime.fromisoformat(value)
    if isinstance(value, date):
        moment = value if isinstance(value, datetime) else datetime(value.year, value.month, value.day)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return _number(value) / parts
