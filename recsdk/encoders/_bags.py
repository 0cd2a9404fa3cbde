"""Features of any kind as bags of hashed buckets: what makes the towers indifferent to new users, new items and new columns.

Every row of a table becomes a bag of (bucket, weight): a category is its own bucket with weight 1; a number is its column's bucket
with the standardised value as weight; a list of str shares a weight of 1 among its elements; what is missing is a bucket of the
column's own, so that being absent can mean something. Bucket 0 is in every bag: the bias.

References:
    Weinberger, Dasgupta, Langford, Smola, Attenberg, Feature Hashing for Large Scale Multitask Learning, ICML 2009.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

from recsdk.base import Table
from recsdk.columns import BAG, CATEGORY, NUMBER, column_kind, mean_and_scale
from recsdk.errors import InvalidRequest

TEXT = "text"
FARTHEST = 1e6
"""Standard deviations beyond which numbers are no longer told apart; with asinh a weight stays below 15, and finite."""


class Column(NamedTuple):
    """One feature of a request or an item.

    Attributes:
        name: of the feature.
        kind: "str", "number", "list of str" or "text".
        mean: of a number's values at the fit that first saw the column.
        scale: their standard deviation; 1 where they do not vary.
    """

    name: str
    kind: str
    mean: float = 0.0
    scale: float = 1.0


class Columns(NamedTuple):
    """C features as a record of arrays, each a field of `Column`.

    Attributes:
        name: str[C].
        kind: str[C].
        mean: f64[C].
        scale: f64[C].
    """

    name: np.ndarray
    kind: np.ndarray
    mean: np.ndarray
    scale: np.ndarray


def columns_of(columns: Iterable[Column]) -> Columns:
    """Joins features into a record of arrays.

    Raises:
        InvalidRequest: a name that ends in NUL, which NumPy's arrays of text drop.
    """
    columns = list(columns)
    for column in columns:
        if column.name.endswith("\0"):
            raise InvalidRequest(f"A feature's name must not end in NUL, got {column.name!r}.")
    texts = (np.array([column[field] for column in columns], np.str_) for field in (0, 1))
    numbers = (np.array([column[field] for column in columns], np.float64) for field in (2, 3))
    return Columns(*texts, *numbers)


def each(columns: Columns) -> list[Column]:
    """Returns the features of a record of arrays, one by one."""
    return [Column(*fields) for fields in zip(*(array.tolist() for array in columns), strict=True)]


class Bags(NamedTuple):
    """The hashed features of B rows, concatenated: a bag is the M_b weighted buckets of one row.

    Attributes:
        bucket: i64[M], the bucket of each feature.
        weight: f32[M], the weight of each feature.
        start: i64[B], index of each bag's first feature; no bag is empty.
    """

    bucket: np.ndarray
    weight: np.ndarray
    start: np.ndarray


def learn_columns(table: Table, known: Columns, text: tuple[str, ...]) -> Columns:
    """Adds a table's columns to the known ones, which stay as they are: their statistics are part of what the parameters mean.

    Raises:
        InvalidRequest: a column that now holds another kind of value, or a name that ends in NUL.
    """
    columns = {column.name: column for column in each(known)}
    for name, values in table.items():
        kind = column_kind(values)
        if name in columns:
            _check_kind(columns[name], kind)
        elif kind == NUMBER:
            columns[name] = Column(name, kind, *mean_and_scale(values[~np.isnan(values)]))
        elif kind is not None:
            columns[name] = Column(name, TEXT if kind == CATEGORY and name in text else kind)
    return columns_of(columns.values())


def bags(columns: Columns, table: Table, size: int, num_buckets: int) -> Bags:
    """Hashes B = `size` rows; a column that the table lacks is missing in every row, one that is not in `columns` is ignored.

    Raises:
        InvalidRequest: a column that holds another kind of value than at the fit.
    """
    hashed = [_hashed(column, table.get(column.name), size, num_buckets) for column in each(columns)]
    bucket: list[int] = []
    weight: list[float] = []
    start: list[int] = []
    for row in zip(*hashed, strict=True) if hashed else [()] * size:
        start.append(len(bucket))
        bucket.append(0)
        weight.append(1.0)
        for buckets, weights in row:
            bucket += buckets
            weight += weights
    return Bags(np.array(bucket, np.int64), np.array(weight, np.float32), np.array(start, np.int64))


def num_rows(table: Table) -> int:
    """Returns the length of a table; a table without columns is one row without features."""
    return next((len(column) for column in table.values()), 1)


def _hashed(column: Column, values: np.ndarray | None, size: int, num_buckets: int) -> Iterator[tuple[list[int], list[float]]]:
    """Yields the buckets and weights of each row of one column."""
    missing = ([_bucket(column.name, num_buckets)], [1.0])
    if values is None:
        yield from [missing] * size
        return
    own = _bucket(f"{column.name}\0", num_buckets)
    is_number = column.kind == NUMBER
    if is_number is not (values.dtype.kind in "biuf") and any(value is not None for value in values):
        _check_kind(column, column_kind(values))
    for value in values.tolist():
        if value is None or value != value:
            yield missing
        elif is_number:
            yield [own], [_standardised(value, column)]
        else:
            words = _words(column, value)
            share = 1 / max(len(words), 1)
            yield ([_bucket(f"{column.name}\0{word}", num_buckets) for word in words], [share] * len(words)) if words else missing


def _words(column: Column, value: Any) -> list[str]:
    if column.kind == BAG:
        if not isinstance(value, (list, tuple)):
            _check_kind(column, CATEGORY)
        return list(value)
    if not isinstance(value, str):
        _check_kind(column, BAG)
    return value.lower().split() if column.kind == TEXT else [value]


def _bucket(text: str, num_buckets: int) -> int:
    return crc32(text.encode(errors="surrogatepass")) % (num_buckets - 1) + 1


def _standardised(value: float, column: Column) -> float:
    distance = value / column.scale - column.mean / column.scale
    return math.asinh(min(max(distance, -FARTHEST), FARTHEST))


def _check_kind(column: Column, kind: str | None) -> None:
    wanted = CATEGORY if column.kind == TEXT else column.kind
    if kind not in (wanted, None):
        raise InvalidRequest(f"{column.name!r} must be a {wanted}, as at the fit, got a {kind}.")
