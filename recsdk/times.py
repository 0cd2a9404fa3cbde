"""Times from outside, in seconds since the epoch: declared units, and values that cannot be right."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, date, datetime

import numpy as np

from recsdk.checks import require_number
from recsdk.errors import InvalidValue, one_of

UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
"""Time units by name, as parts of a second."""
LAST = 1e10
"""The year 2286: a larger number is not in seconds. In milliseconds it is reached in April 1970."""
DAY = 86_400.0
"""How far a time may lie after the clock: clocks and time zones differ by less."""
FIRST_DATE = 1e8
"""March 1973: a number of seconds above it is a date; below, it may be counted from any start."""


def seconds(
    field: str,
    values: np.ndarray,
    *,
    unit: str = "s",
    now: float | None = None,
    error: type[InvalidValue] = InvalidValue,
    rows: Sequence[int] | None = None,
) -> np.ndarray:
    """Returns times in seconds since the epoch.

    One time in the future would outweigh all others in whatever decays, such as popularity. So it is refused.

    Args:
        field: the column's name, for the message.
        values: f64[N], finite.
        unit: of the values: "s", "ms", "us" or "ns".
        now: seconds since the epoch; a time may lie up to a day later. By default the system's clock tells it.
        error: raised for a bad row.
        rows: N row numbers for messages; 0 to N - 1 by default.

    Raises:
        InvalidValue: or `error`: a time in the future, or in another unit than the others, with its row and the unit that would be right.

    Example:
        >>> seconds("time", np.array([1.7e12]), unit="ms").tolist()
        [1700000000.0]
        >>> seconds("time", np.array([1.7e12]))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        recsdk.errors.InvalidValue: 'time' in row 0 must not be in the future, got ... In ms it is 2023-11-14: declare time_unit='ms'.
    """
    one_of("time_unit", unit, UNITS)
    if now is not None:
        require_number("now", now)
    found, numbers = np.asarray(values, np.float64) / UNITS[unit], range(len(values)) if rows is None else rows
    last = latest(now)
    late = found > last
    if late.any():
        row = int(late.argmax())
        hint = _hint(values[row], unit, last, alone=bool(late.all()))
        raise error(f"{field!r} in row {numbers[row]} must not be in the future, got {values[row]} {unit}{_dated(found[row])}.{hint}")
    odd = _in_coarser_unit(values, found, unit, last)
    if odd is not None:
        row, other, date = odd
        raise error(f"{field!r} in row {numbers[row]} must be in {unit} as other rows are, got {values[row]}: in {other} it is {date}.")
    return found


def latest(now: float | None = None) -> float:
    """Returns the last time, in seconds since the epoch, that is not in the future.

    Example:
        >>> latest(now=1e9)
        1000086400.0
    """
    return min(LAST, (time.time() if now is None else now) + DAY)


def _hint(value: float, unit: str, latest: float, *, alone: bool) -> str:
    """Names the first unit in which a time would be a date of the past."""
    for other, parts in UNITS.items():
        if FIRST_DATE <= value / parts <= latest and other != unit:
            what = f"declare time_unit={other!r}" if alone else f"give all rows in {unit}"
            return f" In {other} it is {datetime.fromtimestamp(value / parts, UTC).date()}: {what}."
    return ""


def _dated(value: float) -> str:
    return f", {datetime.fromtimestamp(value, UTC).date()}" if FIRST_DATE <= value <= LAST else ""


def _in_coarser_unit(values: np.ndarray, found: np.ndarray, unit: str, latest: float) -> tuple[int, str, date] | None:
    """Finds a row in a coarser unit than declared, such as 1.7e9 among milliseconds, which would be January 1970."""
    if not (found > FIRST_DATE).any():
        return None
    for other, parts in UNITS.items():
        dated = values / parts
        odd = (found < FIRST_DATE) & (dated > FIRST_DATE) & (dated <= latest)
        if parts < UNITS[unit] and odd.any():
            row = int(odd.argmax())
            return row, other, datetime.fromtimestamp(dated[row], UTC).date()
    return None
