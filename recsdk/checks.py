"""Refusals of bad input, each a typed error with the field, the value and what would be right."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, isfinite
from typing import Any

import numpy as np

from recsdk.errors import EmptyLog, InvalidContext, InvalidLog, InvalidProbs, InvalidPropensity, InvalidReward, InvalidValue

Validator = Callable[[Any, Any, Any], None]


def number(*, above: float = -inf, at_least: float = -inf, at_most: float = inf) -> Validator:
    """Returns an attrs validator for a finite number in the given range."""

    def validate(instance: Any, field: Any, value: Any) -> None:
        require_number(f"{type(instance).__name__}.{field.name}", value, above=above, at_least=at_least, at_most=at_most)

    return validate


def require_number(name: str, value: Any, *, above: float = -inf, at_least: float = -inf, at_most: float = inf) -> None:
    """Refuses an argument that is not a finite number in the given range.

    Raises:
        InvalidValue: naming the argument.
    """
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and _fits(value)
    if not (good and above < value and at_least <= value <= at_most):
        bounds = "".join(f" {sign} {bound:g}" for sign, bound in ((">", above), (">=", at_least), ("<=", at_most)) if isfinite(bound))
        raise InvalidValue(f"{name} must be a finite number{bounds}, got {value!r}.")


def integer(*, at_least: int) -> Validator:
    """Returns an attrs validator for a whole number from `at_least` on."""

    def validate(instance: Any, field: Any, value: Any) -> None:
        require_integer(f"{type(instance).__name__}.{field.name}", value, at_least=at_least)

    return validate


def require_integer(name: str, value: Any, *, at_least: int) -> None:
    """Refuses an argument that is not a whole number from `at_least` on.

    Raises:
        InvalidValue: naming the argument.
    """
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < at_least:
        raise InvalidValue(f"{name} must be a whole number >= {at_least}, got {value!r}.")


def check_probs(probs: np.ndarray, total: float, mask: np.ndarray) -> None:
    """Refuses what is not a distribution over K places; `total` is the sum of `probs`.

    Raises:
        InvalidProbs: naming what is wrong and by how much.
    """
    # `not (...)` rather than the reverse comparisons, so that NaN is refused too.
    if not (-1e-9 <= total - 1 <= 1e-9 and probs[probs.argmin()] >= 0 and probs.dtype == np.float64 and probs.shape == mask.shape):
        raise InvalidProbs(f"probs must be finite float64{list(mask.shape)} >= 0 that sum to 1, got {probs!r} with sum {total}.")


def check_reward(reward: float) -> None:
    """Refuses a reward that is not a finite number.

    Raises:
        InvalidReward: also for bool, None and text.
    """
    if not isinstance(reward, (int, float, np.integer, np.floating)) or isinstance(reward, bool) or not _fits(reward):
        raise InvalidReward(f"reward must be a finite number, got {reward!r}.")


def check_context(context: Any) -> None:
    """Refuses a context whose arrays do not fit together, or with features that are not finite.

    Raises:
        InvalidContext: naming the field, and what it must be.
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
    """
    (features, mask, item), action, reward, propensity, weight = log
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
