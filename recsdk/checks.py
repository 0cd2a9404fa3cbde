"""Refusals of bad input, each a typed error with the field, the value and what would be right."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, isfinite
from typing import Any

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
        recsdk.errors.InvalidValue: Config.rate must be a finite number > 0 and <= 1, got 2.0.
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
        recsdk.errors.InvalidValue: level must be a finite number > 0 and <= 1, got 95.
    """
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and _fits(value)
    if not (good and above < value and at_least <= value <= at_most):
        bounds = " and".join(f" {sign} {bound:g}" for sign, bound in ((">", above), (">=", at_least), ("<=", at_most)) if isfinite(bound))
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


def is_number(value: Any) -> bool:
    """Tells whether a value is a finite real number that float64 holds: no bool, no text, no timedelta64, no longdouble.

    Example:
        >>> [is_number(value) for value in (1, np.float32(0.5), True, float("nan"), "1", np.timedelta64(1, "s"), 10**400)]
        [True, True, False, False, False, False, False]
    """
    if type(value) is float:
        return isfinite(value)
    real = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, (bool, np.timedelta64, np.longdouble))
    return real and _fits(value)


def is_within(array: np.ndarray, largest: float) -> bool:
    """Tells whether all numbers of an array are finite, and none is larger; for any shape.

    Example:
        >>> [is_within(np.array(values), 2.0) for values in ([1.0, -2.0], [-2.5], [np.nan, 1.0], [])]
        [True, False, False, True]
    """
    sizes = np.abs(array)
    return not sizes.size or bool(sizes.item(sizes.argmax()) <= largest)  # `argmax` stops at NaN; it takes a third of the time of `max`


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
