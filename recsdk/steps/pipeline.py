"""Steps one after the other: fitted once, applied to a log, a table or a request, saved as JSON."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import attrs
import numpy as np

from recsdk.base import Table
from recsdk.checks import require_number
from recsdk.columns import requests_table
from recsdk.errors import CheckpointCorrupt, CheckpointMismatch, InvalidRequest, InvalidValue, quoted
from recsdk.printing import text_table
from recsdk.rows import Rows
from recsdk.steps.base import Changes, Learned, Selects, Step, table_of
from recsdk.steps.selecting import DropDuplicates, DropMissing, KCore
from recsdk.steps.values import Clip, Cyclic, FillMissing, Rare, Scale

FORMAT = 1
KNOWN: dict[str, Any] = {step.__name__: step for step in (Clip, Cyclic, DropDuplicates, DropMissing, FillMissing, KCore, Rare, Scale)}


class Fitted(NamedTuple):
    """Steps, each with what it has learned.

    Attributes:
        steps: in their order.
        learned: of each step, plain values.

    Example:
        >>> from recsdk.datasets import read_rows
        >>> fit([FillMissing(columns=("age",))], read_rows([{"age": 30}, {"age": None}])).learned
        ({'age': 30.0},)
    """

    steps: tuple[Step, ...]
    learned: tuple[Learned, ...]


class Done(NamedTuple):
    """What one step did to one column, or to the rows.

    Attributes:
        step: its name.
        column: that was changed or added; "" where rows were looked at.
        num_dropped: rows.
        num_changed: values that are other than before, or were added.

    Example:
        >>> Done("Clip", "price", 0, 12).num_changed
        12
    """

    step: str
    column: str
    num_dropped: int
    num_changed: int


class Report(NamedTuple):
    """What steps did to rows, by number. Printed, it is a table.

    Attributes:
        done: in the order of the steps.
        num_before: rows that were given.
        num_after: rows that are left.

    Example:
        >>> print(Report((Done("DropDuplicates", "", 3, 0), Done("Clip", "price", 0, 12)), 1000, 997))
        step            column  rows dropped  values changed
        DropDuplicates                     3               0
        Clip            price              0              12
        997 of 1,000 rows are left
    """

    done: tuple[Done, ...]
    num_before: int
    num_after: int

    def __str__(self) -> str:
        """Returns the table."""
        cells = [[each.step, each.column, f"{each.num_dropped:,}", f"{each.num_changed:,}"] for each in self.done]
        table = text_table(["step", "column", " rows dropped", " values changed"], cells)
        return f"{table}\n{self.num_after:,} of {self.num_before:,} rows are left"


class Applied(NamedTuple):
    """Rows after the steps.

    Attributes:
        rows: those that are left.
        report: what was dropped and changed.

    Example:
        >>> from recsdk.datasets import read_rows
        >>> rows = read_rows([{"age": 30}, {"age": None}])
        >>> apply(fit([FillMissing(columns=("age",))], rows), rows).report.done
        (Done(step='FillMissing', column='age', num_dropped=0, num_changed=1),)
    """

    rows: Rows
    report: Report


def fit(steps: Sequence[Step], rows: Rows | Table) -> Fitted:
    """Fits steps one after the other, each to what the steps before it leave.

    Fit to what you train on, and to nothing that you test on: what a step learns from tested rows leaks into training.

    Args:
        steps: in the order in which they are applied.
        rows: from `read_rows`; or columns, such as `events.requests` or `items.features`.

    Raises:
        InvalidValue: something that is no step.
        InvalidRequest: a column that is not there, of another kind, or without any value.

    Example:
        >>> from recsdk.datasets import read_rows
        >>> fit([Clip(columns=("price",), low=0, high=0.5)], read_rows([{"price": price} for price in (1, 2, 90)])).learned
        ({'price': [1.0, 2.0]},)
    """
    table = table_of(rows)
    learned: list[Learned] = []
    if not isinstance(steps, (list, tuple)):
        raise InvalidValue(f"steps must be a list of steps, got {steps!r}.")
    for step in steps:
        if not isinstance(step, (Changes, Selects)):
            raise InvalidValue(f"steps must be steps, such as DropDuplicates(), got {step!r}.")
        learned.append(step.fit(table))
        table = _after(step, learned[-1], table)[0]
    return Fitted(tuple(steps), tuple(learned))


def apply(fitted: Fitted, rows: Rows) -> Applied:
    """Applies steps to rows of a log, and reports what they dropped and changed.

    Raises:
        InvalidRequest: a column of another kind than at the fit, or one by which rows are dropped that is not there.

    Example:
        >>> from recsdk.datasets import read_rows
        >>> rows = read_rows([{"user_id": "ann", "item": "tea", "time": 5}] * 3)
        >>> print(apply(fit([DropDuplicates()], rows), rows).report)
        step            column  rows dropped  values changed
        DropDuplicates                     2               0
        1 of 3 rows are left
    """
    num_before, done = len(rows.line), []
    for step, learned in zip(fitted.steps, fitted.learned, strict=True):
        table, kept = _after(step, learned, rows.columns)
        name = type(step).__name__
        if kept is None:
            done += [Done(name, each, 0, _num_changed(rows.columns.get(each), table[each])) for each in table if _is_new(each, rows, table)]
            rows = rows._replace(columns=table)
        else:
            done.append(Done(name, "", int((~kept).sum()), 0))
            rows = rows.take(kept)
    return Applied(rows, Report(tuple(done), num_before, len(rows.line)))


def apply_to_table(fitted: Fitted, table: Table) -> Table:
    """Applies the steps that change values; no row is dropped.

    Args:
        fitted: from `fit` or `load`.
        table: columns, such as `events.requests`, `items.features` or the requests of cases. A column that is not there is missing in all
            rows.

    Raises:
        InvalidRequest: a column of another kind than at the fit.

    Example:
        >>> fitted = fit([DropMissing(columns=("age",)), Scale(columns=("age",), by="log")], {"age": np.array([np.e - 1, 5.0])})
        >>> apply_to_table(fitted, {"age": np.array([0.0, np.nan])})["age"]
        array([ 0., nan])
    """
    table = table_of(table)
    for step, learned in zip(fitted.steps, fitted.learned, strict=True):
        if isinstance(step, Changes):
            table = {**table, **step.change(learned, table)}
    return table


def apply_to_request(fitted: Fitted, request: Mapping[str, Any], *, time: float | None = None) -> dict[str, Any]:
    """Returns the features of a new request, changed as those of the log were.

    Args:
        fitted: from `fit` or `load`.
        request: features by name.
        time: of the request, in seconds since the epoch, for steps that read the column "time".

    Raises:
        InvalidRequest: a value that is no feature, or of another kind than at the fit; no time for a step that needs it.

    Example:
        >>> fitted = fit([FillMissing(columns=("age",), by="mean")], {"age": np.array([30.0, 50.0])})
        >>> apply_to_request(fitted, {"device": "phone"})
        {'device': 'phone', 'age': 40.0}
    """
    if not isinstance(request, Mapping):
        raise InvalidRequest(f"request must be features by name, such as {{'device': 'phone'}}, got {quoted(request)}.")
    if time is not None:
        require_number("time", time)
    table = requests_table([dict(request) if time is None else {**request, "time": time}])
    found = apply_to_table(fitted, table or {"time": np.array([np.nan])})
    (row,) = Rows(found, np.zeros(1, np.int64)).to_dicts()
    return {name: value for name, value in row.items() if value is not None and name != "time"}


def save(fitted: Fitted, path: str | Path) -> None:
    """Writes fitted steps as JSON, to be read by people and by `load`. A crash leaves the old file or the new one.

    Raises:
        InvalidValue: a step of your own, which `load` would not know.

    Example:
        >>> save(fit([Clip(columns=("age",))], {"age": np.array([30.0, 50.0])}), "steps.json")
        >>> load("steps.json").learned
        ({'age': [30.2, 49.8]},)
    """
    for step in fitted.steps:
        if KNOWN.get(type(step).__name__) is not type(step):
            raise InvalidValue(f"steps that are saved must be some of {list(KNOWN)}, got {step!r}.")
    steps = [
        {"step": type(step).__name__, "settings": attrs.asdict(cast(attrs.AttrsInstance, step)), "learned": learned}
        for step, learned in zip(fitted.steps, fitted.learned, strict=True)
    ]
    path = Path(path)
    beside = path.with_name(f"{path.name}.new")
    with beside.open("w", encoding="utf-8") as file:
        json.dump({"format": FORMAT, "digest": _digest(steps), "steps": steps}, file, indent=1, allow_nan=False)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def load(path: str | Path) -> Fitted:
    """Reads what `save` wrote; the steps then give the same numbers to the last bit.

    Raises:
        CheckpointCorrupt: a file that is cut, changed, or was not written by `save`.
        CheckpointMismatch: a file of another version.
        FileNotFoundError: no such file.

    Example:
        >>> save(fit([DropDuplicates()], {name: np.array(["a"], object) for name in ("user_id", "item", "time")}), "steps.json")
        >>> load("steps.json").steps
        (DropDuplicates(columns=('user_id', 'item', 'time')),)
    """
    text = Path(path).read_bytes()
    try:
        found = json.loads(text)
        steps, version, digest = found["steps"], found["format"], found["digest"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointCorrupt(f"{path} must hold steps that `save` wrote, got {quoted(text)}: {error}.") from error
    if version != FORMAT:
        raise CheckpointMismatch(f"{path} must be of format {FORMAT}, got {version!r}.")
    if digest != _digest(steps):
        raise CheckpointCorrupt(f"The digest of {path} must be that of its steps, {_digest(steps)}, got {digest!r}.")
    try:
        made = tuple(KNOWN[each["step"]](**each["settings"]) for each in steps)
        return Fitted(made, tuple(each["learned"] for each in steps))
    except (KeyError, TypeError, InvalidValue) as error:
        raise CheckpointMismatch(f"{path} must hold steps of this version, {list(KNOWN)}, got one that cannot be made: {error}.") from error


def _after(step: Step, learned: Learned, table: Table) -> tuple[Table, np.ndarray | None]:
    """Returns a table after a step, and which rows it kept, if it is one that drops some."""
    if isinstance(step, Changes):
        return {**table, **step.change(learned, table)}, None
    kept = step.keep(learned, table)
    return {name: column[kept] for name, column in table.items()}, kept


def _is_new(name: str, rows: Rows, table: Table) -> bool:
    return name not in rows.columns or table[name] is not rows.columns[name]


def _num_changed(before: np.ndarray | None, after: np.ndarray) -> int:
    if before is None:
        return len(after)
    pairs = zip(before.tolist(), after.tolist(), strict=True)
    return sum(one != other and not (one != one and other != other) for one, other in pairs)


def _digest(steps: Any) -> str:
    return hashlib.sha256(json.dumps(steps, sort_keys=True).encode()).hexdigest()
