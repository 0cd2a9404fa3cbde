"""Evaluation of several target policies on one log, and their differences.

The errors of two estimates on one log are correlated, so their difference is often more certain than either value.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from recsdk.base import Interaction
from recsdk.errors import InvalidLog, InvalidValue, one_of
from recsdk.ope.checked import Rounds, check_unique, logged_rounds, rounds
from recsdk.ope.evaluation import Evaluation, Target, evaluated
from recsdk.ope.intervals.resampling import multiplicities, weighted_sums
from recsdk.ope.model_based import fit_reward_model
from recsdk.ope.options import LOGGER, NUM_DRAWS, WITH_MODEL, Options, named
from recsdk.ope.terms import Estimate, Terms, add, check_level, delta, influence, value
from recsdk.ope.weighting import ips


class Compared(NamedTuple):
    """Comparison of one target with the baseline.

    Attributes:
        difference: its value less the baseline's; the intervals of all targets compared hold at once, with probability `level`.
        p_value: two-sided, of no difference, as if this were the only one compared; at least 1 / (num_draws + 1).
        adjusted: the same for all compared: in at most 5 % of logs one below .05 is of a target that does not differ.

    Example:
        >>> from recsdk.ope import average
        >>> terms = average(np.array([0.0, 1.0] * 50), np.ones(100))
        >>> compare({"same": terms}, terms)["same"].difference.value
        0.0
    """

    difference: Estimate
    p_value: float
    adjusted: float


def difference(a: Terms, b: Terms) -> Terms:
    """Returns the terms of a's value less b's, on the same rounds: for `delta`, `bootstrap` or any other interval of terms.

    What moves both estimates, such as a run of generous users, cancels. So the interval is often narrower than either of theirs.

    Raises:
        InvalidLog: terms of different lengths.

    Example:
        >>> from recsdk.ope import average
        >>> rewards, clicks = np.array([1.0, 2.0, 4.0]), np.array([1.0, 1.0, 3.0])
        >>> value(difference(average(rewards, np.ones(3)), average(clicks, np.ones(3))))
        0.6666666666666667
    """
    if len(a.numerator) != len(b.numerator):
        raise InvalidLog(f"both estimates must be of the same rounds, got {len(a.numerator)} and {len(b.numerator)}.")
    return add(a, b._replace(numerator=-b.numerator))


def compare(
    targets: Mapping[str, Terms], baseline: Terms, *, level: float = 0.95, num_draws: int = 2000, seed: int = 0
) -> dict[str, Compared]:
    """Compares many targets with a baseline. The intervals hold for all at once, so you may pick the best target afterwards.

    Intervals reach as many standard errors as the largest of all |t| does in `level` of resampled logs, each with its own standard errors;
    targets that are alike count for little more than one. Rounds must be independent, and the log looked at once.

    Args:
        targets: terms by name, of one log.
        baseline: terms of the same log, as of `ips` for the logger itself: the mean reward.
        level: nominal coverage of all intervals together.
        num_draws: resampled logs, at least level / (1 - level).
        seed: of the draws.

    Raises:
        InsufficientOverlap: when a target has no round with weight.
        InvalidLog: terms of different lengths.
        InvalidValue: no target, or `level` or `num_draws` out of range.

    Example:
        >>> from recsdk.ope import average
        >>> rng = np.random.default_rng(0)
        >>> base, better = (average(rng.random(500) + lift, np.ones(500)) for lift in (0.0, 0.3))
        >>> compare({"better": better}, base)["better"].adjusted < 0.01
        True

    References:
        Romano and Wolf, "Exact and approximate stepdown methods for multiple hypothesis testing", JASA, 2005.
        Chernozhukov, Chetverikov and Kato, "Gaussian approximations and multiplier bootstrap for maxima of sums of high-dimensional
        random vectors", The Annals of Statistics, 2013.
    """
    check_level(level)
    if not targets:
        raise InvalidValue("targets must name at least one target, got none.")
    rank = math.ceil((num_draws + 1) * level - 1e-9)
    if rank > num_draws:
        raise InvalidValue(f"num_draws must be at least {math.ceil(level / (1 - level))} for level {level:g}, got {num_draws}.")
    base = value(baseline)
    middle, stderr = np.empty((2, len(targets)))
    moves = np.empty((len(targets), len(baseline.numerator)), np.float32)  # in standard errors, of which this keeps a millionth
    for row, target in enumerate(targets.values()):
        each, middle[row] = influence(difference(target, baseline)), value(target) - base
        stderr[row] = math.sqrt((each**2).sum())
        # Two targets that do the same differ by rounding errors alone, which count as 0.
        rounding = 1e-12 * (abs(value(target)) + abs(base))
        middle[row], stderr[row] = (0 if abs(number) <= rounding else number for number in (middle[row], stderr[row]))
        moves[row] = each / stderr[row] if 0 < stderr[row] < math.inf else 0
    draws = _statistics(moves, num_draws, seed)
    most = np.sort(draws.max(1))[rank - 1]
    reach = np.array([error * most if 0 < error < math.inf else error for error in stderr])
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.where(middle == 0, 0, np.abs(middle) / stderr)
    rows = zip(middle.tolist(), stderr.tolist(), reach.tolist(), strict=True)
    estimates = [Estimate(each, error, each - to, each + to, level) for each, error, to in rows]
    alone = (1 + (draws >= found).sum(0)) / (num_draws + 1)
    return dict(zip(targets, map(Compared, estimates, alone.tolist(), _stepdown(found, draws).tolist()), strict=True))


def _statistics(moves: np.ndarray, num_draws: int, seed: int) -> np.ndarray:
    """Returns f64[B, M], |t| of each resampled log against this one, from f32[M, T]; 0 where the difference is 0."""
    off, squares = np.zeros((2, num_draws, len(moves)))
    for rows, times in multiplicities(moves.shape[1], num_draws=num_draws, seed=seed):
        off += weighted_sums(times, moves[:, rows])
        squares += weighted_sums(times, moves[:, rows] ** 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        statistic = np.abs(off) / np.sqrt(np.maximum(squares - off**2 / moves.shape[1], 0))
    return np.where(off == 0, 0, statistic)


def _stepdown(found: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Step-down test: compares each |t| with the maximum over itself and all smaller ones, which finds more than one maximum for all."""
    order = np.argsort(-found)
    largest = np.maximum.accumulate(draws[:, order[::-1]], axis=1)[:, ::-1]
    adjusted = np.empty(len(found))
    adjusted[order] = np.maximum.accumulate((1 + (largest >= found[order]).sum(0)) / (len(draws) + 1))
    return adjusted


class Evaluations(NamedTuple):
    """Evaluations of several targets on a log, and of the policy that wrote it.

    Attributes:
        logged: mean reward of the log, with its normal interval.
        targets: by name; those whose values are withheld have no estimates.
        rounds: the log beside each target, by name.
        differences: by target and estimator, from what the targets are compared with; those of one estimator hold for all targets at once.
        options: what was asked.
    """

    logged: Estimate
    targets: dict[str, Evaluation]
    rounds: dict[str, Rounds]
    differences: dict[str, dict[str, Compared]]
    options: Options


def evaluate_all(log: Interaction, targets: Mapping[str, Target], asked: Options, *, ids: Any = None) -> Evaluations:
    """Evaluates several targets as `evaluate` does, and compares them; values that the log cannot answer for are withheld.

    Args:
        log: a log, leading T.
        targets: by name.
        asked: the options.
        ids: [T], the name of each row's decision.

    Raises:
        InvalidValue: options that contradict one another, or lack what an interval or estimator needs.
        InvalidLog: a decision that is there twice. Otherwise as `rounds`.
    """
    one_of("against", asked.against, (LOGGER, *targets))
    if ids is not None:
        check_unique(ids, len(log.action))

    @functools.cache  # one model for all targets, where one is needed
    def model() -> np.ndarray:
        return fit_reward_model(log, seed=asked.seed).q_hat

    found = {name: evaluated(log, target, asked, model=model) for name, target in targets.items()}
    in_use = any(name in WITH_MODEL for each in found.values() for name in each.estimates)
    beside = {
        name: rounds(log, target.probs, matched=target.matched, q_hat=model() if in_use and found[name].estimates else None)
        for name, target in targets.items()
    }
    base = ips(logged_rounds(log))
    return Evaluations(delta(base, level=asked.level), found, beside, _differences(found, beside, base, asked), asked)


def _differences(
    found: Mapping[str, Evaluation], beside: Mapping[str, Rounds], logged: Terms, asked: Options
) -> dict[str, dict[str, Compared]]:
    differences: dict[str, dict[str, Compared]] = {target: {} for target in found}
    for name in dict.fromkeys(name for each in found.values() for name in each.estimates):
        function = named([name])[name]
        terms = {target: function(beside[target]) for target, each in found.items() if name in each.estimates}
        base = logged if asked.against == LOGGER else terms.pop(asked.against, None)
        # One round that carries an estimate alone compares with nothing.
        terms = {target: each for target, each in terms.items() if math.isfinite(delta(each).stderr)}
        if base is not None and terms:
            compared = compare(terms, base, level=asked.level, num_draws=asked.num_draws or NUM_DRAWS, seed=asked.seed)
            for target, each in compared.items():
                differences[target][name] = each
    return differences
