"""A log with the target policy's probabilities, checked once so that no estimator has to."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import numpy as np

from recsdk.base import Context, Interaction
from recsdk.checks import check_log, plain_array
from recsdk.errors import EmptyLog, InvalidLog, InvalidProbs, InvalidPropensity, InvalidScores, InvalidValue, RecsdkError
from recsdk.rounding import ROUNDING, given_chances, given_probs

TINY = 1e-300
"""With a propensity above this, an importance weight is finite."""
COPIES = 5
"""From this many pages on, equal rewards other than 0 at all positions are taken as copies."""


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
        rounded: bool[T], where rounding errors of the propensity or of the target were corrected, or None.

    Example:
        >>> from recsdk.datasets import log_from_frame
        >>> log = log_from_frame({"action": [0, 1], "reward": [0.0, 1.0], "propensity": [0.5, 0.5]})
        >>> rounds(log, [[0.9, 0.1], [0.9, 0.1]]).target
        array([0.9, 0.1])
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
    rounded: np.ndarray | None = None


N = TypeVar("N", Interaction, Rounds)


def rounds(log: Interaction, target: Any, *, q_hat: Any = None, matched: Any = None) -> Rounds:
    """Checks a log and a target policy's probabilities.

    Probabilities may have rounding errors, as `recsdk.checks.given_probs` allows; they are corrected.

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

    Example:
        >>> from recsdk.datasets import log_from_frame
        >>> log = log_from_frame({"action": [0, 1], "reward": [0.0, 1.0], "propensity": [0.5, 0.25]})
        >>> rounds(log, [[0.5, 0.5], [0.5, 0.5]]).target
        array([0.5, 0.5])
    """
    return _not_empty(checked_rounds(log, target, q_hat=q_hat, matched=matched))


def checked_rounds(log: Interaction, target: Any, *, q_hat: Any = None, matched: Any = None) -> Rounds:
    """Checks as `rounds` does, but allows a log whose rows all have weight 0, as a block of a longer log may."""
    checked = _checked(log)
    target = plain_array("target", target, error=InvalidProbs)
    if target.ndim == 2:
        given = given_probs("target", target, checked.mask)
        checked = checked._replace(probs=given.values)
        chance = at(given.values, checked.action)
    else:
        if target.shape != checked.propensity.shape:
            raise InvalidProbs(f"target must be float64[T, K] or float64[{len(checked.propensity)}], got {list(target.shape)}.")
        given = given_chances("target", target, above_zero=False, error=InvalidProbs)
        chance = given.values
    if given.num_rounded and checked.rounded is not None:
        checked.rounded[:] |= (given.values != target).reshape(len(target), -1).any(1)
    if not checked.propensity.min() > TINY:
        with np.errstate(over="ignore"):
            overflows = ~np.isfinite(chance / checked.propensity)
        _refuse("propensity", checked.propensity, overflows, InvalidPropensity, "large enough that target / propensity is finite")
    if q_hat is not None:
        q_hat = _check_scores(plain_array("q_hat", q_hat, error=InvalidScores), checked.mask)
    if matched is not None:
        matched = plain_array("matched", matched)
        if matched.shape != chance.shape or matched.dtype != np.bool_:
            raise InvalidLog(f"matched must be bool[{len(chance)}], one for each row, got {matched.dtype}{list(matched.shape)}.")
    return checked._replace(target=chance, q_hat=q_hat, matched=matched)


def logged_rounds(log: Interaction) -> Rounds:
    """Checks a log alone.

    Returns:
        The log beside the policy that wrote it: `target` is `propensity`.

    Raises:
        EmptyLog, InvalidLog: as in `rounds`.
    """
    return _not_empty(_checked(log))


def require_log(log: Any) -> None:
    """Refuses a value that is not a log.

    Raises:
        InvalidLog: naming its type.
    """
    for name, value, wanted in (("log", log, Interaction), ("log.context", getattr(log, "context", None), Context)):
        if not isinstance(value, wanted):
            kind = f"a recsdk.{wanted.__name__} with a leading T, as `recsdk.read_ledger` returns it"
            raise InvalidLog(f"{name} must be {kind}, got {type(value).__name__}.")


def _checked(log: Interaction) -> Rounds:
    log, rounded = _without_rounding(log)
    check_log(log)
    action, reward, propensity, weight, mask, item = map(np.asarray, (*log[1:], log.context.mask, log.context.item))
    return Rounds(action, reward, propensity, weight, mask, item, target=propensity, rounded=rounded)


def _without_rounding(log: Interaction) -> tuple[Interaction, np.ndarray]:
    """Sets propensities to 1 that rounding has made slightly larger."""
    require_log(log)
    propensity = log.propensity
    if not isinstance(propensity, np.ndarray) or propensity.dtype != np.float64 or isinstance(propensity, np.ma.MaskedArray):
        return log, np.zeros(len(log.action), np.bool_)
    rounded = (propensity > 1) & (propensity <= 1 + ROUNDING)
    return (log._replace(propensity=np.where(rounded, 1.0, propensity)) if rounded.any() else log), rounded


def _not_empty(rounds: Rounds) -> Rounds:
    if not rounds.weight.any():
        raise EmptyLog(f"The log must have a row of positive weight, got {len(rounds.weight)} rows of weight 0.")
    return rounds


def take(record: N, rows: Any) -> N:
    """Returns some rows of a log or of rounds, by a mask, indices or a slice; by a slice without a copy."""

    def part(field: Any) -> Any:
        return None if field is None else Context(*map(part, field)) if isinstance(field, Context) else field[rows]

    return type(record)(*map(part, record))


def at(table: np.ndarray, action: np.ndarray) -> np.ndarray:
    """Returns f64[T], the entry of f64[T, K] for each row's action; faster than indexing by two arrays."""
    places = table.shape[1]
    entries: np.ndarray = table.ravel().take(np.arange(0, len(action) * places, places) + action, mode="clip")  # they are in range
    return entries


def need(name: str, value: np.ndarray | None, estimator: str) -> np.ndarray:
    """Returns `value`, or raises an error that names the estimator which needs it.

    Raises:
        InvalidValue: when `value` is None.
    """
    if value is None:
        raise InvalidValue(f"{estimator} needs {name}, got None.")
    return value


def _check_scores(q_hat: np.ndarray, mask: np.ndarray) -> np.ndarray:
    if q_hat.shape != mask.shape:
        raise InvalidScores(f"q_hat must be float64{list(mask.shape)} like the log's candidates, got {list(q_hat.shape)}.")
    if q_hat.dtype.kind not in "fiub":
        raise InvalidScores(f"q_hat must be numbers, got {q_hat.dtype}{list(q_hat.shape)}.")
    q_hat = q_hat.astype(np.float64, copy=False)
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


def check_unique(ids: Any, num_rounds: int) -> None:
    """Refuses a log that has the same decision twice.

    Args:
        ids: str or int [T], the name of each row's decision.
        num_rounds: T.

    Raises:
        InvalidLog: ids of another length, or a repeated id, with its rows.
    """
    names = np.asarray(ids)
    if names.shape != (num_rounds,):
        raise InvalidLog(f"ids must be one for each of {num_rounds} rows, got {list(names.shape)}.")
    _, first, code = np.unique(names, return_index=True, return_inverse=True)
    again = np.flatnonzero(first[code] != np.arange(num_rounds))
    if len(again):
        row = int(again[0])
        raise InvalidLog(
            f"ids must be unique, got {names[row : row + 1].tolist()[0]!r} in row {int(first[code[row]])} and in row {row} "
            f"({len(again)} of {num_rounds} rows repeat an earlier id): keep one row for each decision."
        )


def num_repeated(log: Interaction) -> int:
    """Returns how many rows are equal to an earlier row in every column.

    In a log without ids this can show that it was read twice. But rows whose features take few values are often equal by chance:
    compare the number with what you expect before you remove rows.

    Raises:
        EmptyLog, InvalidLog: as in `rounds`.

    Example:
        >>> from recsdk.datasets import log_from_frame
        >>> num_repeated(log_from_frame({"action": [0, 0, 1], "reward": [1.0, 1.0, 0.0], "propensity": [0.5] * 3}))
        1
    """
    check_log(log)
    size = len(log.action)
    columns = [log.action, log.reward, log.propensity, log.weight, *log.context]
    bits = np.concatenate([np.ascontiguousarray(column).reshape(size, -1).astype(np.float64).view(np.uint64) for column in columns], axis=1)
    # A random linear map of 64 bits, modulo 2^64: two different rows of 10^7 meet with a chance of about 3 in a million.
    factors = np.random.default_rng(0).integers(2**64, size=bits.shape[1], dtype=np.uint64) | np.uint64(1)
    return size - len(np.unique(_mixed(bits) @ factors))


def _mixed(bits: np.ndarray) -> np.ndarray:
    """Spreads the high bits, in which floats differ, over all 64."""
    bits = (bits ^ (bits >> np.uint64(32))) * np.uint64(0x9E3779B97F4A7C15)
    mixed: np.ndarray = bits ^ (bits >> np.uint64(29))
    return mixed


def page_numbers(page: Any, num_rounds: int) -> np.ndarray:
    """Returns i64[T], the number of each row's page, from names.

    Raises:
        InvalidLog: not one name for each row.
    """
    names = plain_array("page", page)
    if names.shape != (num_rounds,):
        raise InvalidLog(f"page must be one name for each of {num_rounds} rows, got {list(names.shape)}.")
    _, number = np.unique(names, return_inverse=True)
    return np.asarray(number, np.int64)


def refuse_copies(page: np.ndarray, reward: np.ndarray) -> None:
    """Refuses a log in which the reward of a page was copied to each row of the page.

    Raises:
        InvalidLog: in every page all rows have the same reward, in more pages than chance explains.
    """
    size = np.bincount(page)
    least, most = np.full(len(size), np.inf), np.full(len(size), -np.inf)
    np.minimum.at(least, page, reward)
    np.maximum.at(most, page, reward)
    many = size > 1
    if (least[many] == most[many]).all() and np.count_nonzero(most[many]) >= COPIES:
        raise InvalidLog(
            f"reward must be that of each row, but is the same in all rows of each of {int(many.sum())} pages: a page's reward is one "
            "outcome, so give it to one row, the top one, and 0 to the others."
        )
