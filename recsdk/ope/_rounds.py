"""A log beside what the target policy would have done, checked once so that no estimator needs to."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from recsdk.base import Interaction
from recsdk.checks import check_log
from recsdk.errors import EmptyLog, InvalidLog, InvalidProbs, InvalidPropensity, InvalidScores, InvalidValue, RecsdkError

TINY = 1e-300
"""A propensity above it leaves a weight that is finite."""


class Rounds(NamedTuple):
    """A checked log beside the target policy's probabilities, over K candidates a round.

    Attributes:
        action: i64[T], index of the shown candidate.
        reward: f64[T], finite.
        propensity: f64[T], in (0, 1].
        weight: f64[T], how many rounds each stands for, >= 0.
        mask: bool[T, K], true for a real candidate.
        item: i64[T, K], catalogue slot of each candidate.
        target: f64[T], the target policy's probability of `action`.
        probs: f64[T, K], the target policy's whole distribution, or None where only `target` is known.
        q_hat: f64[T, K], a reward model's answer for each candidate, zero on padding, or None.
        matched: bool[T], where the target policy, when replayed, drew the logged action itself, or None.
    """

    action: np.ndarray
    reward: np.ndarray
    propensity: np.ndarray
    weight: np.ndarray
    mask: np.ndarray
    item: np.ndarray
    target: np.ndarray
    probs: np.ndarray | None = None
    q_hat: np.ndarray | None = None
    matched: np.ndarray | None = None


def rounds(log: Interaction, target: Any, *, q_hat: Any = None, matched: Any = None) -> Rounds:
    """Checks a log and a target policy's probabilities.

    Args:
        log: a log, leading T.
        target: f64[T, K], the target policy's distribution in each round, zero on padding; or f64[T], only its
            probability of the logged action, which is enough for IPS and SNIPS.
        q_hat: f64[T, K], for DM and DR: expected reward of each candidate, by a model that has not seen that round.
        matched: bool[T], for the matched mean of a replayed policy.

    Raises:
        EmptyLog: no rows, or none of positive weight.
        InvalidLog: a row of the log that cannot be used, by its number.
        InvalidProbs: a row of `target` that is no distribution, by its number.
        InvalidPropensity: a propensity so small that an importance weight overflows.
        InvalidScores: `q_hat` of a wrong shape or not finite.
    """
    return _not_empty(checked_rounds(log, target, q_hat=q_hat, matched=matched))


def checked_rounds(log: Interaction, target: Any, *, q_hat: Any = None, matched: Any = None) -> Rounds:
    """Does the same with a block of a log, whose rows may all be of weight 0."""
    checked = _checked(log)
    target = np.asarray(target, np.float64)
    if target.ndim == 2:
        check_distributions("target", target, checked.mask)
        checked = checked._replace(probs=target)
        target = at(target, checked.action)
    if checked.probs is None or not checked.propensity.min() > TINY:
        _check_chances(target, checked.propensity)
    if q_hat is not None:
        q_hat = _check_scores(np.asarray(q_hat, np.float64), checked.mask)
    if matched is not None:
        matched = np.asarray(matched)
        if matched.shape != target.shape or matched.dtype != np.bool_:
            raise InvalidLog(f"matched must be bool[{len(target)}], one for each row, got {matched.dtype}{list(matched.shape)}.")
    return checked._replace(target=target, q_hat=q_hat, matched=matched)


def logged_rounds(log: Interaction) -> Rounds:
    """Checks a log alone.

    Returns:
        The log beside the policy that wrote it: `target` is `propensity`.

    Raises:
        EmptyLog, InvalidLog: as in `rounds`.
    """
    return _not_empty(_checked(log))


def _checked(log: Interaction) -> Rounds:
    check_log(log)
    action, reward, propensity, weight, mask, item = map(np.asarray, (*log[1:], log.context.mask, log.context.item))
    return Rounds(action, reward, propensity, weight, mask, item, target=propensity)


def _not_empty(rounds: Rounds) -> Rounds:
    if not rounds.weight.any():
        raise EmptyLog(f"The log must have a row of positive weight, got {len(rounds.weight)} rows of weight 0.")
    return rounds


def take(rounds: Rounds, rows: Any) -> Rounds:
    """Returns some of the rounds, by a mask, a slice or indices."""
    return Rounds(*(None if column is None else column[rows] for column in rounds))  # type: ignore[arg-type]


def at(table: np.ndarray, action: np.ndarray) -> np.ndarray:
    """Returns f64[T], the entry of f64[T, K] for each row's action; quicker than indexing by two arrays."""
    places = table.shape[1]
    entries: np.ndarray = table.ravel().take(np.arange(0, len(action) * places, places) + action, mode="clip")  # they are in range
    return entries


def need(name: str, value: np.ndarray | None, estimator: str) -> np.ndarray:
    """Returns `value`, or says which estimator lacks it.

    Raises:
        InvalidValue: when `value` is None.
    """
    if value is None:
        raise InvalidValue(f"{estimator} needs {name}, got None.")
    return value


def check_distributions(name: str, probs: np.ndarray, mask: np.ndarray) -> None:
    """Refuses rows that are no distributions over the candidates.

    Raises:
        InvalidProbs: by the row's number.
    """
    if probs.shape != mask.shape:
        raise InvalidProbs(f"{name} must be float64{list(mask.shape)} like the log's candidates, got {list(probs.shape)}.")
    with np.errstate(invalid="ignore"):  # inf - inf, which is refused below
        total = np.einsum("tk->t", probs)  # quicker than a sum or a product over so few
    # `~(...)` rather than the reverse comparison, so that NaN is refused too.
    if probs.min() >= 0 and total.min() >= 1 - 1e-9 and total.max() <= 1 + 1e-9 and (mask.all() or not probs[~mask].any()):
        return
    _refuse(name, probs, ~np.all((probs >= 0) & (probs < np.inf), axis=1), InvalidProbs, "finite and >= 0")
    _refuse(name, probs, ((probs != 0) & ~mask).any(1), InvalidProbs, "0 on padding")
    _refuse(f"{name}'s sum", total, ~(np.abs(total - 1) <= 1e-9), InvalidProbs, "1 within 1e-9")


def _check_chances(target: np.ndarray, propensity: np.ndarray) -> None:
    if target.shape != propensity.shape:
        raise InvalidProbs(f"target must be float64[T, K] or float64[{len(propensity)}], got {list(target.shape)}.")
    _refuse("target", target, ~((target >= 0) & (target <= 1 + 1e-9)), InvalidProbs, "in [0, 1]")
    with np.errstate(over="ignore"):
        overflows = ~np.isfinite(target / propensity)
    _refuse("propensity", propensity, overflows, InvalidPropensity, "large enough that target / propensity is finite")


def _check_scores(q_hat: np.ndarray, mask: np.ndarray) -> np.ndarray:
    if q_hat.shape != mask.shape:
        raise InvalidScores(f"q_hat must be float64{list(mask.shape)} like the log's candidates, got {list(q_hat.shape)}.")
    q_hat = q_hat if mask.all() else np.where(mask, q_hat, 0.0)
    with np.errstate(invalid="ignore", over="ignore"):
        total = q_hat.sum()  # one pass without a temporary: NaN and inf survive a sum
    if not np.isfinite(total):
        _refuse("q_hat", q_hat, ~np.isfinite(q_hat).all(1), InvalidScores, "finite")
    return q_hat


def _refuse(name: str, values: np.ndarray, bad: np.ndarray, error: type[RecsdkError], wanted: str) -> None:
    if bad.any():
        row = int(bad.argmax())
        raise error(f"{name}[{row}] must be {wanted}, got {values[row]} ({int(bad.sum())} of {len(bad)} rows are bad).")
