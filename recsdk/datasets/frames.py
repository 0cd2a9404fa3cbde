"""Logs that are tables in memory: of pandas, polars or Arrow, or columns by name. None of these libraries is needed for the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recsdk.base import Context, Interaction
from recsdk.checks import check_log, plain_array, require_integer
from recsdk.datasets.files import import_polars
from recsdk.errors import EmptyLog, InvalidLog, InvalidValue, nearest, quoted
from recsdk.rounding import given_chances

REQUIRED = ("action", "reward", "propensity")
OPTIONAL = ("weight", "features", "item")
MANY = 10_000_000
"""Candidates, beyond which an action is taken for an id that is no candidate's number."""


def log_from_frame(frame: Any, *, num_candidates: int | None = None) -> Interaction:
    """Reads logged bandit feedback from the columns `action`, `reward` and `propensity`, and `weight`, `features` and `item` if there are.

    Other columns are left alone: one of them may be the target's probability, to be given to `recsdk.ope.evaluate`.

    Args:
        frame: a data frame of pandas or polars, a LazyFrame, an Arrow table, whatever gives an Arrow stream, such as a relation of DuckDB
            (then polars reads it), or a mapping of columns.
        num_candidates: K, where there are no `features` to tell; by default the largest action and 1. A row of `features` is K lists of D
            numbers; rows may differ in K, the shorter are padded.

    Raises:
        EmptyLog: no rows.
        InvalidLog: a missing column, one of a wrong type, or a bad row, by its number. Rounding errors of propensities are no fault, see
            `recsdk.checks.given_chances`.
        InvalidValue: what is no frame, or `num_candidates` beside `features`.
        MissingExtra: an Arrow stream without polars.

    Example:
        >>> log = log_from_frame({"action": [0, 1], "reward": [0.0, 1.0], "propensity": [0.5, 0.5]})
        >>> log.context.mask.shape, log.weight
        ((2, 2), array([1., 1.]))
    """
    names, column = columns_of(frame)
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise InvalidLog(f"a log must have the columns {REQUIRED}, but {missing} are missing.{nearest(missing[0], names)}")
    action = _numbers("action", column("action"), np.int64)
    if not len(action):
        raise EmptyLog("frame must have at least one row, got none.")
    reward = _numbers("reward", column("reward"), np.float64)
    _numbers("propensity", column("propensity"), np.float64)
    propensity = given_chances("propensity", column("propensity"), error=InvalidLog).values
    weight = _numbers("weight", column("weight"), np.float64) if "weight" in names else np.ones(len(action))
    if "features" in names:
        if num_candidates is not None:
            raise InvalidValue(f"num_candidates must be None where features tell it, got {num_candidates!r}.")
        context = _context(values_of(column("features")), values_of(column("item")) if "item" in names else None)
    else:
        context = _bare_context(action, num_candidates)
    log = Interaction(context, action, reward, propensity, weight)
    check_log(log)
    return log


def columns_of(frame: Any) -> tuple[list[str], Any]:
    """Returns the names of a table's columns, and what gives a column by its name.

    Raises:
        InvalidValue: what is no table.
        MissingExtra: an Arrow stream without polars.
    """
    if isinstance(frame, Mapping):
        columns = {str(name): column for name, column in frame.items()}
        return list(columns), columns.__getitem__
    if hasattr(frame, "collect_schema") and hasattr(frame, "collect"):  # a plan, as polars' LazyFrame, and no rows yet
        return columns_of(frame.collect())
    names = getattr(frame, "column_names", getattr(frame, "columns", None))  # an Arrow table's columns are not their names
    # Of a relation, as DuckDB's, a column is a relation again.
    if names is not None and hasattr(frame, "__getitem__") and not any(isinstance(frame[name], type(frame)) for name in list(names)[:1]):
        return [str(name) for name in names], frame.__getitem__
    if hasattr(frame, "__arrow_c_stream__"):
        return columns_of(_read_stream(frame))
    raise InvalidValue(
        f"frame must be a data frame, an Arrow table, what gives an Arrow stream, or a mapping of columns, got {type(frame).__name__}."
    )


def _read_stream(stream: Any) -> Any:
    polars = import_polars("An Arrow stream")
    frame = polars.DataFrame(stream)
    return frame.with_columns(polars.col(polars.Decimal).cast(polars.Float64))  # as DuckDB has 0.5, and sums of whole numbers


def _numbers(name: str, column: Any, dtype: type) -> np.ndarray:
    array = plain_array(name, column)
    if array.ndim != 1 or (array.size and array.dtype.kind not in ("iu" if dtype is np.int64 else "iuf")):
        whole = "whole numbers" if dtype is np.int64 else "numbers"
        raise InvalidLog(f"{name} must be a column of {whole}, got {array.dtype}{list(array.shape)}.")
    if dtype is np.int64 and array.dtype == np.uint64 and (over := array > np.iinfo(np.int64).max).any():
        row = int(over.argmax())
        raise InvalidLog(f"{name} must be a whole number below 2**63, got {array[row]} in row {row}.")
    return array.astype(dtype)


def values_of(column: Any) -> Sequence[Any]:
    """Returns a column's values as plain ones of Python, with None where one is missing."""
    if hasattr(column, "notna"):  # pandas, whose marks for what is missing are values
        column = column.astype(object).where(column.notna(), None)
    if isinstance(column, np.ndarray) and column.dtype.kind == "M":  # nanoseconds would become whole numbers
        column = column.astype("datetime64[us]")
    for method in ("to_pylist", "to_list", "tolist"):  # Arrow, polars and pandas, others
        if hasattr(column, method):
            rows: Sequence[Any] = getattr(column, method)()
            return rows
    return list(column)


def _bare_context(action: np.ndarray, num_candidates: int | None) -> Context:
    size = int(action.max()) + 1 if num_candidates is None else num_candidates
    require_integer("num_candidates", size, at_least=1)
    if num_candidates is None and size > MANY:
        row = int(action.argmax())
        raise InvalidLog(
            f"action must be a candidate's number from 0 on, got {action[row]} in row {row}: with so many give num_candidates."
        )
    shape = (len(action), size)
    # Views: a million rounds of a thousand candidates take no memory.
    return Context(np.zeros((*shape, 0)), np.broadcast_to(np.True_, shape), np.broadcast_to(np.arange(size), shape))


def _context(features: Sequence[Any], item: Sequence[Any] | None) -> Context:
    tables = [_table("features", row, np.float64, 2, number) for number, row in enumerate(features)]
    if len({table.shape[1] for table in tables}) > 1:
        raise InvalidLog(f"features must have as many columns in each row, got {sorted({table.shape[1] for table in tables})}.")
    sizes = np.array([len(table) for table in tables])
    shape = (len(tables), int(sizes.max()))
    mask = np.arange(shape[1]) < sizes[:, None]
    slots = np.where(mask, np.arange(shape[1]), 0)
    if item is not None:
        rows = [_table("item", row, np.int64, 1, number) for number, row in enumerate(item)]
        wrong = [number for number, row in enumerate(rows) if len(row) != sizes[number]]
        if wrong:
            raise InvalidLog(f"item must be one for each candidate, got {len(rows[wrong[0]])} for {sizes[wrong[0]]} in row {wrong[0]}.")
        slots[mask] = np.concatenate(rows)
    padded = np.zeros((*shape, tables[0].shape[1]))
    padded[mask] = np.concatenate(tables)
    return Context(padded, mask, slots)


def _table(name: str, row: Any, dtype: type, num_axes: int, number: int) -> np.ndarray:
    try:
        array = np.array(row.tolist() if isinstance(row, np.ndarray) else row)
    except ValueError:  # lists of unequal length
        array = np.array(None)
    if array.ndim != num_axes or array.dtype.kind not in ("iu" if dtype is np.int64 else "iuf"):
        wanted = "K lists of D numbers" if num_axes == 2 else "a list of K whole numbers"
        raise InvalidLog(f"{name} must be {wanted}, got {quoted(row)} in row {number}.")
    return array.astype(dtype)
