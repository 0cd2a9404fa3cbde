"""Steps that change values. What they need they learn from the rows they are fitted on, and nothing from those they are applied to."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

import attrs
import numpy as np

from recsdk.base import Table
from recsdk.checks import integer, number, require_number
from recsdk.columns import BAG, NUMBER, column_kind, mean_and_scale, objects
from recsdk.errors import InvalidRequest, InvalidValue, one_of
from recsdk.steps.base import Learned, codes, numbers, require, seen
from recsdk.validators import as_tuple, choice, some_text, some_texts

PERIODS = {"day": 86_400.0, "week": 604_800.0, "year": 365.2425 * 86_400.0}
"""Seconds."""
KNOTS = 1_001
"""Quantiles by which a distribution is kept."""


def _filler(instance: Any, field: Any, value: Any) -> None:
    if not (value is None or isinstance(value, str)):
        require_number("FillMissing.value", value)


@attrs.frozen(kw_only=True)
class FillMissing:
    """Gives missing values one: a statistic of those that are there, or a value of yours.

    Encoders need it not: there, missing is a feature of its own.

    Attributes:
        columns: of numbers, or of texts with "most frequent" or a text as `value`.
        by: "median", "mean" or "most frequent"; of equally frequent ones the first.
        value: to be filled in instead of a statistic.

    Example:
        >>> from recsdk.datasets import read_rows
        >>> step, rows = FillMissing(columns=("age",)), read_rows([{"age": 30}, {"age": None}, {"age": 50}])
        >>> step.change(step.fit(rows.columns), rows.columns)["age"]
        array([30., 40., 50.])
    """

    columns: tuple[str, ...] = attrs.field(converter=as_tuple, validator=some_texts)
    by: Literal["median", "mean", "most frequent"] = attrs.field(default="median", validator=choice("median", "mean", "most frequent"))
    value: str | float | None = attrs.field(default=None, validator=_filler)

    def fit(self, table: Table) -> Learned:
        """Learns what is filled in, by column."""
        require(table, self.columns)
        if self.value is not None:
            return dict.fromkeys(self.columns, self.value)
        if self.by == "most frequent":
            return {name: self._most_frequent(name, table[name]) for name in self.columns}
        statistic = np.median if self.by == "median" else lambda column: mean_and_scale(column)[0]
        return {name: float(statistic(seen(name, column))) for name, column in numbers(table, self.columns).items()}

    def change(self, learned: Learned, table: Table) -> Table:
        """Returns the columns without missing values; one that the table lacks is missing in all its rows."""
        size = len(next(iter(table.values()), ()))
        return {name: self._filled(name, table.get(name, objects([None] * size)), learned[name]) for name in self.columns}

    def _most_frequent(self, name: str, column: np.ndarray) -> Any:
        if column_kind(column) == BAG:
            raise InvalidRequest(f"{name!r} must hold numbers or texts, got a {BAG}.")
        code, values = codes(column)
        if not values:
            raise InvalidRequest(f"{name!r} must have a value in at least one row to learn from, got none in {len(column)}.")
        return values[int(np.bincount(code[code >= 0]).argmax())]

    def _filled(self, name: str, column: np.ndarray, value: Any) -> np.ndarray:
        kind = column_kind(column)
        if isinstance(value, str):
            if kind in (NUMBER, BAG):
                raise InvalidRequest(f"{name!r} must hold texts where {value!r} is filled in, got a {kind}.")
            return objects([value if each is None else each for each in column.tolist()])
        found = numbers({name: column}, (name,))[name]
        return np.where(np.isnan(found), value, found)


@attrs.frozen(kw_only=True)
class Clip:
    """Moves outliers to the quantiles beyond which they lie.

    Attributes:
        columns: of numbers.
        low: share of the values below the lower end.
        high: share of the values below the upper end.

    Example:
        >>> from recsdk.datasets import read_rows
        >>> rows = read_rows([{"price": price} for price in (1, 2, 3, 4, 1000)])
        >>> step = Clip(columns=("price",), low=0.0, high=0.75)
        >>> step.change(step.fit(rows.columns), rows.columns)["price"]
        array([1., 2., 3., 4., 4.])
    """

    columns: tuple[str, ...] = attrs.field(converter=as_tuple, validator=some_texts)
    low: float = attrs.field(default=0.01, validator=number(at_least=0, at_most=1))
    high: float = attrs.field(default=0.99, validator=number(at_least=0, at_most=1))

    def __attrs_post_init__(self) -> None:
        if self.low >= self.high:
            raise InvalidValue(f"Clip.low must lie below Clip.high, {self.high}, got {self.low}.")

    def fit(self, table: Table) -> Learned:
        """Learns both ends, by column."""
        require(table, self.columns)
        return {
            name: np.quantile(seen(name, column), [self.low, self.high]).tolist() for name, column in numbers(table, self.columns).items()
        }

    def change(self, learned: Learned, table: Table) -> Table:
        """Returns the columns between their ends."""
        return {name: np.clip(column, *learned[name]) for name, column in numbers(table, self.columns).items()}


@attrs.frozen(kw_only=True)
class Scale:
    """Brings numbers to a common size.

    Encoders need it not: they standardise numbers themselves.

    Attributes:
        columns: of numbers.
        by: "standard": to mean 0 and standard deviation 1. "log": log(1 + x), and of negative numbers its mirror image. "quantile": to the
            share of values below, in [0, 1].

    Example:
        >>> from recsdk.datasets import read_rows
        >>> step, rows = Scale(columns=("price",)), read_rows([{"price": 1}, {"price": 3}])
        >>> step.change(step.fit(rows.columns), rows.columns)["price"]
        array([-1.,  1.])
    """

    columns: tuple[str, ...] = attrs.field(converter=as_tuple, validator=some_texts)
    by: Literal["standard", "log", "quantile"] = attrs.field(default="standard", validator=choice("standard", "log", "quantile"))

    def fit(self, table: Table) -> Learned:
        """Learns the mean and the standard deviation, or the quantiles, by column."""
        require(table, self.columns)
        found = {name: seen(name, column) for name, column in numbers(table, self.columns).items()}
        if self.by == "standard":
            return {name: list(mean_and_scale(column)) for name, column in found.items()}
        return {name: _distribution(column) for name, column in found.items()} if self.by == "quantile" else {}

    def change(self, learned: Learned, table: Table) -> Table:
        """Returns the columns, scaled."""
        return {name: self._scaled(column, learned.get(name)) for name, column in numbers(table, self.columns).items()}

    def _scaled(self, column: np.ndarray, learned: Any) -> np.ndarray:
        if self.by == "standard":
            mean, scale = learned
            found = column / scale - mean / scale  # so that huge numbers stay finite
        elif self.by == "log":
            found = np.sign(column) * np.log1p(np.abs(column))
        else:
            found = np.where(np.isnan(column), np.nan, np.interp(column, learned["values"], learned["shares"]))
        return np.asarray(found)


def _distribution(column: np.ndarray) -> dict[str, list[float]]:
    """Returns values in rising order, and the share of a column below each; of equal ones the middle."""
    shares = np.linspace(0, 1, KNOTS)
    values, first, count = np.unique(np.quantile(column, shares, method="lower"), return_index=True, return_counts=True)
    return {"values": values.tolist(), "shares": ((shares[first] + shares[first + count - 1]) / 2).tolist()}


@attrs.frozen(kw_only=True)
class Rare:
    """Gives categories that are rare, or were not there at the fit, one name: what is learned of it serves all that is unknown.

    Attributes:
        columns: of texts or of lists of texts.
        at_least: rows in which a category must be to keep its own name.
        name: of all others.

    Example:
        >>> from recsdk.datasets import read_rows
        >>> step, rows = Rare(columns=("brand",), at_least=2), read_rows([{"brand": name} for name in ("a", "a", "b", "c")])
        >>> step.change(step.fit(rows.columns), rows.columns)["brand"]
        array(['a', 'a', '(rare)', '(rare)'], dtype=object)
    """

    columns: tuple[str, ...] = attrs.field(converter=as_tuple, validator=some_texts)
    at_least: int = attrs.field(default=5, validator=integer(at_least=1))
    name: str = attrs.field(default="(rare)", validator=some_text)

    def fit(self, table: Table) -> Learned:
        """Learns the kind and the categories that keep their names, by column."""
        require(table, self.columns)
        return {name: {"kind": column_kind(table[name]), "kept": self._frequent(name, table[name])} for name in self.columns}

    def change(self, learned: Learned, table: Table) -> Table:
        """Returns the columns with one name for all that is rare; a list has it once."""
        return {name: self._renamed(name, table[name], **learned[name]) for name in self.columns if name in table}

    def _frequent(self, name: str, column: np.ndarray) -> list[str]:
        count = Counter(part for parts in _parts(name, column) for part in dict.fromkeys(parts or ()))
        return sorted(part for part, number in count.items() if number >= self.at_least)

    def _renamed(self, name: str, column: np.ndarray, kind: str | None, kept: list[str]) -> np.ndarray:
        rows, got, known = _parts(name, column), column_kind(column), frozenset(kept)
        if None not in (kind, got) and got != kind:
            raise InvalidRequest(f"{name!r} must hold a {kind} as at the fit, got a {got}.")
        found = [None if parts is None else list(dict.fromkeys(part if part in known else self.name for part in parts)) for parts in rows]
        return objects(found if got == BAG else [None if parts is None else parts[0] for parts in found])


def _parts(name: str, column: np.ndarray) -> list[list[str] | None]:
    """Returns the categories of each row."""
    kind = column_kind(column)
    if kind == NUMBER:
        raise InvalidRequest(f"{name!r} must hold texts or lists of texts, got a {kind}.")
    return [None if value is None else [value] if isinstance(value, str) else value for value in column.tolist()]


@attrs.frozen(kw_only=True)
class Cyclic:
    """Adds the time of day, of the week or of the year as a point on a circle, so that 23:59 lies beside 0:00. Of UTC.

    Attributes:
        column: of seconds since the epoch.
        periods: "day", "week" or "year", each of which adds a column for its sine and one for its cosine.

    Example:
        >>> from recsdk.datasets import read_rows
        >>> step, rows = Cyclic(periods=("day",)), read_rows([{"time": 0}, {"time": 43_200}])
        >>> step.change(step.fit(rows.columns), rows.columns)["time_day_cos"]
        array([ 1., -1.])
    """

    column: str = attrs.field(default="time", validator=some_text)
    periods: tuple[str, ...] = attrs.field(default=("day", "week"), converter=as_tuple, validator=some_texts)

    def __attrs_post_init__(self) -> None:
        for each in self.periods:
            one_of("Cyclic.periods", each, PERIODS)

    def fit(self, table: Table) -> Learned:
        """Learns nothing."""
        require(table, (self.column,))
        return {}

    def change(self, learned: Learned, table: Table) -> Table:
        """Returns the added columns."""
        require(table, (self.column,))
        angles = {
            period: numbers(table, (self.column,))[self.column] % PERIODS[period] * (2 * np.pi / PERIODS[period]) for period in self.periods
        }
        parts = {"sin": np.sin, "cos": np.cos}
        return {f"{self.column}_{period}_{part}": of(angle) for period, angle in angles.items() for part, of in parts.items()}
