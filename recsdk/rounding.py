"""Probabilities from outside, which rounding has moved a little: what is within the rounding is corrected and told, the rest refused."""

from __future__ import annotations

from math import inf
from typing import Any, NamedTuple

import numpy as np

from recsdk.checks import plain_array
from recsdk.errors import InvalidProbs, InvalidPropensity, InvalidValue

ROUNDING = 1e-6
"""How far a probability from a file may be off: one unit in the sixth decimal, as most programs print it."""
EXACT = 1e-9
"""How far the sum of a distribution may be off 1 without being a matter of rounding."""


class Given(NamedTuple):
    """Probabilities from outside, without their rounding errors.

    Attributes:
        values: f64, of the shape that was given.
        num_rounded: rows that were changed.
        largest: the largest error among these; of a distribution, of its sum.
    """

    values: np.ndarray
    num_rounded: int = 0
    largest: float = 0.0

    def note(self, name: str) -> str:
        """Returns a sentence that says what was changed, or "" where nothing was."""
        if not self.num_rounded:
            return ""
        rows = f"{self.num_rounded:,} row" + ("s" if self.num_rounded > 1 else "")
        return f"{name} had rounding errors of up to {self.largest:.1g} in {rows}, which were corrected"


def given_probs(name: str, probs: Any, mask: np.ndarray | None = None, *, error: type[InvalidValue] = InvalidProbs) -> Given:
    """Takes distributions from outside and corrects rounding errors.

    Use it wherever probabilities come from a file, another library or a caller. Each probability may be off by 1e-6, as in six printed
    decimals, or by the precision of its dtype if that is coarser; the sum of a row by that much for each candidate, and by 1 % at most.
    Such a row is divided by its sum. A row of float64 that sums to 1 within 1e-9 is returned bit by bit.

    Args:
        name: of the argument or column, for messages.
        probs: [T, K] or [K].
        mask: bool of the same shape, true for a real candidate; by default all are.
        error: raised for a bad row; of readers `InvalidLog`.

    Raises:
        InvalidProbs: or `error`: other shapes, text, masked or negative entries, mass on padding, or a sum that rounding does not explain.

    Example:
        >>> given = given_probs("target", [[0.333333, 0.333333, 0.333333], [0.5, 0.25, 0.25]])
        >>> given.values[0].sum().round(12), given.values[1].tolist()
        (np.float64(1.0), [0.5, 0.25, 0.25])
        >>> given.note("target")
        'target had rounding errors of up to 1e-06 in 1 row, which were corrected'
    """
    array, unit = _given(name, probs, error)
    if array.ndim not in (1, 2) or (mask is not None and array.shape != mask.shape):
        wanted = "[T, K] or float64[K]" if mask is None else f"{list(mask.shape)} like the log's candidates"
        raise error(f"{name} must be float64{wanted}, got {list(array.shape)}.")
    rows = np.atleast_2d(array)
    real = np.ones((1, 1), np.bool_) if mask is None else np.atleast_2d(mask)
    full = mask is None or bool(mask.all())
    with np.errstate(invalid="ignore", over="ignore"):  # inf - inf, which is refused below
        total = np.einsum("tk->t", rows)  # quicker than a sum or a product over so few
    # `~(...)` rather than the reverse comparison, so that NaN is refused too.
    if rows.size and rows.min() >= 0 and _near_one(total, EXACT).all() and (full or not rows[~real].any()):
        return Given(array)
    shown = f"{name}{{}}" if array.ndim == 2 else name
    _refuse_given(shown, rows, ~np.all((rows >= -unit) & (rows < inf), axis=1), error, "finite and >= 0")
    _refuse_given(shown, rows, np.any((rows != 0) & ~real, axis=1), error, "0 on padding")
    num_candidates = np.full(len(rows), rows.shape[1]) if full else real.sum(1)
    allowed = np.minimum(num_candidates * unit, 0.01)
    _refuse_given(f"{name}'s sum{shown.removeprefix(name)}", total, ~_near_one(total, allowed), error, "1 within {:.1g}", allowed)
    changed = ~_near_one(total, EXACT) | (rows < 0).any(1)
    mended = np.maximum(rows[changed], 0.0)
    values = rows.copy()
    values[changed] = mended / mended.sum(1, keepdims=True)
    largest = max(float(abs(total[changed] - 1).max()), float(-rows.min()))
    return Given(values.reshape(array.shape), int(changed.sum()), largest)


def given_chances(name: str, chance: Any, *, above_zero: bool = True, error: type[InvalidValue] = InvalidPropensity) -> Given:
    """Takes single probabilities from outside, such as propensities, and corrects rounding errors: 1.0000001 is 1.

    Each may be off as in `given_probs`.

    Args:
        name: of the argument or column, for messages.
        chance: [T] or a number.
        above_zero: refuses 0, as for the propensity of an action that was taken; else what is just below 0 becomes 0.
        error: raised for a bad row; of readers `InvalidLog`.

    Raises:
        InvalidPropensity: or `error`: other shapes, text, masked entries, or a value outside of [0, 1] that rounding does not explain.

    Example:
        >>> given_chances("propensity", [0.5, 1.0000001]).values.tolist()
        [0.5, 1.0]
    """
    array, unit = _given(name, chance, error)
    if array.ndim > 1:
        raise error(f"{name} must be float64[T], got {list(array.shape)}.")
    rows = np.atleast_1d(array)
    if not rows.size or (rows.max() <= 1 and (rows.min() > 0 or (rows.min() == 0 and not above_zero))):
        return Given(array)
    low = rows > 0 if above_zero else rows >= -unit
    _refuse_given(f"{name}{{}}" if array.ndim else name, rows, ~(low & (rows <= 1 + unit)), error, f"in {'(' if above_zero else '['}0, 1]")
    values = np.clip(rows, 0.0, 1.0)
    return Given(values.reshape(array.shape), int((values != rows).sum()), float(abs(values - rows).max()))


def apart(value: float, limit: float, form: str) -> str:
    """Prints a number with as many more digits as show on which side of a limit it is.

    Args:
        value: to print.
        limit: what it is compared with.
        form: how it is usually printed, such as ".1f".

    Example:
        >>> apart(9.9, 10, ".1f"), apart(9.996, 10, ".1f")
        ('9.9', '9.996')
    """
    for digits in range(int(form[1]), 13):
        text = f"{value:.{digits}{form[2]}}"
        if text != f"{limit:.{digits}{form[2]}}":
            break
    return text


def _given(name: str, values: Any, error: type[InvalidValue]) -> tuple[np.ndarray, float]:
    """Returns probabilities as float64, and how far each may be off."""
    array = plain_array(name, values, error=error)
    if array.dtype.kind not in "fiub":
        raise error(f"{name} must be numbers, got {array.dtype}{list(array.shape)}.")
    precision = float(np.finfo(array.dtype).eps) if array.dtype.kind == "f" else 0.0
    return array.astype(np.float64, copy=False), max(ROUNDING, precision)


def _near_one(total: np.ndarray, allowed: Any) -> np.ndarray:
    near: np.ndarray = abs(total - 1) <= allowed
    return near


def _refuse_given(name: str, values: np.ndarray, bad: np.ndarray, error: type[InvalidValue], wanted: str, *bounds: np.ndarray) -> None:
    if bad.any():
        row = int(bad.argmax())
        counts = f" ({int(bad.sum())} of {len(bad)} rows are bad)" if "{}" in name else ""
        wanted = wanted.format(*(bound[row] for bound in bounds))
        raise error(f"{name.format(f'[{row}]')} must be {wanted}, got {values[row]}{counts}.")
