"""Refusals of bad input, each a typed error with the field, the value and what would be right."""

from __future__ import annotations

import os
from collections.abc import Callable
from math import inf, isfinite
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recsdk.errors import EmptyLog, InvalidContext, InvalidLog, InvalidProbs, InvalidPropensity, InvalidReward, InvalidValue

Validator = Callable[[Any, Any, Any], None]


def number(*, above: float = -inf, at_least: float = -inf, at_most: float = inf) -> Validator:
    """Returns an attrs validator for a finite number in the given range.

    Example:
        >>> import attrs
        >>> @attrs.frozen(kw_only=True)
        ... class Config:
        ...     rate: float = attrs.field(validator=number(above=0, at_most=1))
        >>> Config(rate=2.0)
        Traceback (most recent call last):
        recsdk.errors.InvalidValue: Config.rate must be a finite number > 0 <= 1, got 2.0.
    """

    def validate(instance: Any, field: Any, value: Any) -> None:
        require_number(f"{type(instance).__name__}.{field.name}", value, above=above, at_least=at_least, at_most=at_most)

    return validate


def require_number(name: str, value: Any, *, above: float = -inf, at_least: float = -inf, at_most: float = inf) -> None:
    """Refuses an argument that is not a finite number in the given range.

    Raises:
        InvalidValue: naming the argument.

    Example:
        >>> require_number("level", 0.95, above=0, at_most=1)
        >>> require_number("level", 95, above=0, at_most=1)
        Traceback (most recent call last):
        recsdk.errors.InvalidValue: level must be a finite number > 0 <= 1, got 95.
    """
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and _fits(value)
    if not (good and above < value and at_least <= value <= at_most):
        bounds = "".join(f" {sign} {bound:g}" for sign, bound in ((">", above), (">=", at_least), ("<=", at_most)) if isfinite(bound))
        raise InvalidValue(f"{name} must be a finite number{bounds}, got {value!r}.")


def integer(*, at_least: int) -> Validator:
    """Returns an attrs validator for a whole number from `at_least` on.

    Example:
        >>> import attrs
        >>> @attrs.frozen(kw_only=True)
        ... class Config:
        ...     size: int = attrs.field(validator=integer(at_least=1))
        >>> Config(size=0)
        Traceback (most recent call last):
        recsdk.errors.InvalidValue: Config.size must be a whole number >= 1, got 0.
    """

    def validate(instance: Any, field: Any, value: Any) -> None:
        require_integer(f"{type(instance).__name__}.{field.name}", value, at_least=at_least)

    return validate


def require_integer(name: str, value: Any, *, at_least: int) -> None:
    """Refuses an argument that is not a whole number from `at_least` on.

    Raises:
        InvalidValue: naming the argument.

    Example:
        >>> require_integer("size", 3, at_least=1)
        >>> require_integer("size", 0, at_least=1)
        Traceback (most recent call last):
        recsdk.errors.InvalidValue: size must be a whole number >= 1, got 0.
    """
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < at_least:
        raise InvalidValue(f"{name} must be a whole number >= {at_least}, got {value!r}.")


def folder_path(given: Any) -> Path:
    """Returns the path of a folder, which need not be there.

    Raises:
        InvalidValue: no path, or an empty one, which would be the current folder.

    Example:
        >>> folder_path("shop").name
        'shop'
    """
    try:
        encoded = os.fsencode(given) if isinstance(given, (str, os.PathLike)) else b""
    except UnicodeEncodeError:
        encoded = b""
    if not encoded or b"\0" in encoded:
        raise InvalidValue(f"folder must be a path that is not empty, got {given!r}.")
    return Path(os.fsdecode(encoded))


def check_probs(probs: np.ndarray, total: float, mask: np.ndarray) -> None:
    """Refuses what is not a distribution over K places; `total` is the sum of `probs`.

    Raises:
        InvalidProbs: naming what is wrong and by how much.

    Example:
        >>> probs = np.array([0.5, 0.7])
        >>> check_probs(probs, probs.sum(), np.array([True, True]))
        Traceback (most recent call last):
        recsdk.errors.InvalidProbs: probs must be finite float64[2] >= 0 that sum to 1, got array([0.5, 0.7]) with sum 1.2.
    """
    # `not (...)` rather than the reverse comparisons, so that NaN is refused too.
    if not (-1e-9 <= total - 1 <= 1e-9 and probs[probs.argmin()] >= 0 and probs.dtype == np.float64 and probs.shape == mask.shape):
        raise InvalidProbs(f"probs must be finite float64{list(mask.shape)} >= 0 that sum to 1, got {probs!r} with sum {total}.")


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


def plain_array(name: str, values: Any, *, error: type[InvalidValue] = InvalidLog) -> np.ndarray:
    """Returns values as an array, and refuses masked entries, which NumPy would otherwise read as real.

    Args:
        name: of the argument or column, for messages.
        values: anything that NumPy takes for an array.
        error: raised for a masked entry.

    Raises:
        InvalidLog: or `error`: a masked entry, by its row, or rows of different lengths.

    Example:
        >>> plain_array("reward", np.ma.array([1.0, 0.0], mask=[False, True]))
        Traceback (most recent call last):
        recsdk.errors.InvalidLog: reward[1] must be a value, got a masked one (1 of 2 rows are masked).
    """
    if isinstance(values, np.ma.MaskedArray):
        by_row = np.atleast_1d(np.ma.getmaskarray(values))
        missing = np.any(by_row.reshape(len(by_row), -1), axis=1)
        if missing.any():
            counts = f"{int(missing.sum())} of {len(missing)} rows are masked"
            raise error(f"{name}[{int(missing.argmax())}] must be a value, got a masked one ({counts}).")
        values = values.data
    try:
        return np.asarray(values)
    except (TypeError, ValueError) as cause:  # nested lists of different lengths
        raise error(f"{name} must be an array, got {type(values).__name__}: {cause}.") from cause


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


def is_number(value: Any) -> bool:
    """Tells whether a value is a finite real number that float64 holds: no bool, no text, no timedelta64, no longdouble.

    Example:
        >>> [is_number(value) for value in (1, np.float32(0.5), True, float("nan"), "1", np.timedelta64(1, "s"), 10**400)]
        [True, True, False, False, False, False, False]
    """
    real = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, (bool, np.timedelta64, np.longdouble))
    return real and _fits(value)


def check_reward(reward: float) -> None:
    """Refuses a reward that is not a finite number.

    Raises:
        InvalidReward: also for bool, None and text.

    Example:
        >>> check_reward(0.5)
        >>> check_reward(float("nan"))
        Traceback (most recent call last):
        recsdk.errors.InvalidReward: reward must be a finite number, got nan.
    """
    if not is_number(reward):
        raise InvalidReward(f"reward must be a finite number, got {reward!r}.")


def check_context(context: Any) -> None:
    """Refuses a context whose arrays do not fit together, or with features that are not finite.

    Raises:
        InvalidContext: naming the field, and what it must be.

    Example:
        >>> from recsdk import Context
        >>> check_context(Context(np.array([[1.0], [np.nan]]), np.ones(2, bool), np.arange(2)))
        Traceback (most recent call last):
        recsdk.errors.InvalidContext: features must be finite, got features[1, 0] = nan.
    """
    _check_shapes(context)
    if not isfinite(context.features.sum()):  # one pass without a temporary: NaN and inf survive a sum
        _refuse_not_finite(context.features)


def check_interaction(interaction: Any) -> None:
    """Refuses an interaction that no policy may learn from; of the features it reads the chosen candidate's only.

    Raises:
        InvalidContext: shapes, types, a chosen candidate that is padding, out of range or not finite.
        InvalidReward: not finite.
        InvalidPropensity: outside (0, 1].
        InvalidValue: a weight that is negative or not finite.

    Example:
        >>> from recsdk import Context, Interaction
        >>> context = Context(np.eye(2), np.ones(2, bool), np.arange(2))
        >>> check_interaction(Interaction(context, action=0, reward=1.0, propensity=0.0, weight=1.0))
        Traceback (most recent call last):
        recsdk.errors.InvalidPropensity: propensity must be in (0, 1], got 0.0.
    """
    context, action, reward, propensity, weight = interaction
    _check_shapes(context)
    if not 0 <= action < len(context.mask) or not context.mask[action]:
        raise InvalidContext(f"action must be the index of a real candidate, one of {np.flatnonzero(context.mask)}, got {action}.")
    chosen = context.features[action]
    if not isfinite(chosen.dot(chosen)):  # NaN and inf survive it, in half the time of a sum
        _refuse_not_finite(context.features)
    if not isfinite(reward):
        raise InvalidReward(f"reward must be a finite number, got {reward!r}.")
    if not 0 < propensity <= 1:
        raise InvalidPropensity(f"propensity must be in (0, 1], got {propensity!r}.")
    if not 0 <= weight < inf:
        raise InvalidValue(f"weight must be finite and >= 0, got {weight!r}.")


def check_log(log: Any) -> None:
    """Refuses a log, an interaction with a leading T, that has a row no policy may learn from.

    Raises:
        EmptyLog: when T is 0.
        InvalidLog: naming the first bad row, its field and value.

    Example:
        >>> from recsdk import Context, Interaction
        >>> context = Context(np.ones((2, 3, 1)), np.ones((2, 3), bool), np.zeros((2, 3), int))
        >>> check_log(Interaction(context, np.array([0, 2]), np.ones(2), np.array([0.5, 0.0]), np.ones(2)))
        Traceback (most recent call last):
        recsdk.errors.InvalidLog: propensity must be in (0, 1], got 0.0 in row 1 (1 of 2 rows are bad).
    """
    (features, mask, item), action, reward, propensity, weight = log
    for name, array in zip(("features", "mask", "item", *log._fields[1:]), (features, mask, item, *log[1:]), strict=True):
        if not hasattr(array, "shape"):
            raise InvalidLog(f"{name} must be an array with a leading T, got {type(array).__name__}.")
        if isinstance(array, np.ma.MaskedArray):
            plain_array(name, array)
    if mask.shape[:1] == (0,):
        raise EmptyLog("log must have at least one row, got none.")
    if mask.ndim != 2:
        raise InvalidLog(f"context.mask must be bool[T, K], got {mask.dtype}{list(mask.shape)}.")
    rounds, places = mask.shape
    wanted = {
        "context.features": (features, np.float64, (*mask.shape, features.shape[-1])),
        "context.mask": (mask, np.bool_, (rounds, places)),
        "context.item": (item, np.int64, mask.shape),
        "action": (action, np.int64, (rounds,)),
        "reward": (reward, np.float64, (rounds,)),
        "propensity": (propensity, np.float64, (rounds,)),
        "weight": (weight, np.float64, (rounds,)),
    }
    for field, (array, dtype, shape) in wanted.items():
        plain_array(field, array)
        if array.dtype != dtype or array.shape != shape:
            raise InvalidLog(f"{field} must be {np.dtype(dtype)}{list(shape)}, got {array.dtype}{list(array.shape)}.")
    with np.errstate(invalid="ignore", over="ignore"):
        if _is_good(mask, action, reward, propensity, weight) and isfinite(features.sum()):
            return
    _refuse_rows("action", action, (action < 0) | (action >= places), f"in [0, {places - 1}]")
    _refuse_rows("action", action, ~mask[np.arange(rounds), action], "a real candidate, not padding")
    _refuse_rows("reward", reward, ~np.isfinite(reward), "a finite number")
    _refuse_rows("propensity", propensity, ~((propensity > 0) & (propensity <= 1)), "in (0, 1]")
    _refuse_rows("weight", weight, ~((weight >= 0) & (weight < inf)), "finite and >= 0")
    bad = ~np.isfinite(features)
    if bad.any():  # else only a sum overflowed
        first = np.take_along_axis(features.reshape(rounds, -1), bad.reshape(rounds, -1).argmax(axis=1)[:, None], axis=1)[:, 0]
        _refuse_rows("context.features", first, bad.any(axis=(1, 2)), "finite")


def _is_good(mask: Any, action: Any, reward: Any, propensity: Any, weight: Any) -> bool:
    """Tells in the fewest passes whether the rows of a log are good; NaN makes each comparison false, and survives a sum."""
    return bool(
        action.min() >= 0
        and action.max() < mask.shape[1]
        and (mask.all() or mask[np.arange(len(action)), action].all())
        and isfinite(reward.sum())
        and propensity.min() > 0
        and propensity.max() <= 1
        and weight.min() >= 0
        and weight.max() < inf
    )


def _refuse_rows(field: str, values: np.ndarray, bad: np.ndarray, wanted: str) -> None:
    if bad.any():
        row = int(bad.argmax())
        raise InvalidLog(f"{field} must be {wanted}, got {values[row]} in row {row} ({int(bad.sum())} of {len(bad)} rows are bad).")


def _check_shapes(context: Any) -> None:
    features, mask, item = context
    if not type(features) is type(mask) is type(item) is np.ndarray:
        for field, array in zip(("features", "mask", "item"), context, strict=True):
            plain_array(field, array, error=InvalidContext)
    shape = mask.shape
    if features.dtype != np.float64 or features.ndim != 2 or features.shape[:1] != shape:
        raise InvalidContext(f"features must be float64[K, D] with K = {len(mask)} as in mask, got {features.dtype}{list(features.shape)}.")
    if mask.dtype != np.bool_ or len(shape) != 1:
        raise InvalidContext(f"mask must be bool[K], got {mask.dtype}{list(shape)}.")
    if item.dtype != np.int64 or item.shape != shape:
        raise InvalidContext(f"item must be int64[{len(mask)}] as mask, got {item.dtype}{list(item.shape)}.")


def _refuse_not_finite(features: np.ndarray) -> None:
    bad = np.argwhere(~np.isfinite(features))
    if len(bad):  # else only the sum overflowed
        where = ", ".join(map(str, bad[0]))
        raise InvalidContext(f"features must be finite, got features[{where}] = {features[tuple(bad[0])]}.")


def _fits(value: float) -> bool:
    try:
        return isfinite(value)
    except OverflowError:  # an int that float64 cannot hold
        return False
