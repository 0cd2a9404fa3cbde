"""Selection of a policy, and of how much to shrink the weights, from the log itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from recsdk.arrays import tree_map
from recsdk.base import Interaction, Policy
from recsdk.checks import check_log, require_number
from recsdk.errors import InsufficientOverlap, InvalidValue, one_of
from recsdk.ope.checked import Rounds, logged_rounds, rounds
from recsdk.ope.comparison import difference
from recsdk.ope.evaluation import Evaluation, evaluate
from recsdk.ope.model_based import fit_reward_model
from recsdk.ope.options import ESTIMATORS, WITH_MODEL
from recsdk.ope.terms import Estimate, Terms, delta
from recsdk.ope.verdict import REFUSE_SIZE, is_below
from recsdk.ope.weighting import Clip, Optimistic, SubGaussian, Switch, importance, ips
from recsdk.rounding import apart

if TYPE_CHECKING:
    from recsdk.drivers.replay import Engine, LearnFrom
    from recsdk.drivers.sweep import Sweep


By = Literal["time", "random"]


class Selection(NamedTuple):
    """The winner of a choice among policies, and its honest value.

    Attributes:
        policy: the winner's configuration.
        evaluation: of the winner, on the part of the log that was held out.
        gain: its value there less the logging policy's mean reward, per round.
        tried: all policies on the part of the log that they were chosen on. The winner's `reward` there is too high: the best of many is
            also the luckiest.
        state: what the winner has learned from the whole log: go on from there.

    Example:
        >>> from recsdk import LinUCB, Uniform, simulate
        >>> from recsdk.environments import LinearWorld
        >>> log = simulate(Uniform(), LinearWorld(), 400, engine="numpy").log
        >>> found = select([Uniform(), LinUCB()], log, estimator="snips", engine="numpy", num_processes=1)
        >>> bool(found.gain.value == found.evaluation.estimates["snips"].value - log.reward[200:].mean())
        True
    """

    policy: Policy[Any]
    evaluation: Evaluation
    gain: Estimate
    tried: Sweep
    state: Any


def split(log: Interaction, *, share: float = 0.5, by: By = "time", seed: int = 0) -> tuple[Interaction, Interaction]:
    """Splits a log in two: learn or choose on the first part, value on the second.

    Args:
        log: a log, leading T.
        share: of the rounds that the first part gets, in (0, 1).
        by: "time" for the first rounds, as in use, where the future is not known. "random" if rounds are independent. Both parts keep the
            order of time.
        seed: of a random split.

    Raises:
        EmptyLog, InvalidLog: as in `rounds`.
        InvalidValue: `share` or `by` out of range, or a log too short for it.

    Example:
        >>> from recsdk.datasets import log_from_frame
        >>> log = log_from_frame({"action": [0, 1, 0, 1], "reward": [1.0, 0.0, 1.0, 0.0], "propensity": [0.5] * 4})
        >>> early, late = split(log)
        >>> len(early.action), len(late.action)
        (2, 2)
    """
    require_number("share", share, above=0)
    one_of("by", by, ("time", "random"))
    check_log(log)
    num_rounds = len(log.action)
    size = round(share * num_rounds)
    if not 0 < size < num_rounds:
        raise InvalidValue(f"share must leave rounds in both parts of {num_rounds}, got {share!r}.")
    order = np.arange(num_rounds) if by == "time" else np.random.default_rng(seed).permutation(num_rounds)
    is_first = order < size
    return tree_map(lambda column: column[is_first], log), tree_map(lambda column: column[~is_first], log)


def select(
    policies: Sequence[Policy[Any]],
    log: Interaction,
    *,
    share: float = 0.5,
    by: By = "time",
    estimator: str = "dr",
    learn_from: LearnFrom = "all",
    level: float = 0.95,
    seed: int = 0,
    engine: Engine = "auto",
    num_processes: int | None = None,
) -> Selection:
    """Chooses among policies on one part of a log by `sweep`, and values the winner on the other, where it goes on as it was left.

    The winner has the highest lower end of its interval for SNIPS at `level`, not the highest value: among policies that the log can hardly
    answer for, some look good by chance. Only the winner is evaluated on the second part, so no correction is needed. To compare several
    policies there, use `compare` on the second part of `split`.

    Args:
        policies: their configurations, as for `sweep`.
        log: a log, leading T.
        share: of the rounds that are for choosing.
        by: "time" or "random", as in `split`.
        estimator: of the winner's value: "ips", "snips", "dm", "dr" or "sndr".
        learn_from: as in `replay`, on both parts.
        level: nominal coverage of the intervals.
        seed: of a random split, of the policies' choices, and of the reward model's folds.
        engine: as for `replay`.
        num_processes: as for `sweep`.

    Raises:
        InsufficientOverlap: when the log can answer for none of the policies, or not for the winner.
        EmptyLog, InvalidLog, InvalidValue: as in `split`, `sweep` and `evaluate`.

    Example:
        >>> from recsdk import LinUCB, Uniform, simulate
        >>> from recsdk.environments import LinearWorld
        >>> log = simulate(Uniform(), LinearWorld(), 400, engine="numpy").log
        >>> select([Uniform(), LinUCB()], log, estimator="snips", engine="numpy", num_processes=1).policy
        LinUCB(alpha=0.5, ridge=1.0)

    References:
        Kuzborskij, Vernade, Gyorgy, Szepesvari, "Confident off-policy evaluation and selection through self-normalized importance
        weighting", AISTATS, 2021: choosing by the lower end.
    """
    from recsdk.drivers.replay import replay  # they may load JAX
    from recsdk.drivers.sweep import sweep

    one_of("estimator", estimator, [name for name in ESTIMATORS if name != "matched"])
    if not 0 < level < 1:
        raise InvalidValue(f"level must be in (0, 1), got {level!r}.")
    first, second = split(log, share=share, by=by, seed=seed)
    tried = sweep(policies, first, seeds=(seed,), learn_from=learn_from, engine=engine, num_processes=num_processes)
    able = np.array([not is_below(size, REFUSE_SIZE) for size in tried.effective_size.tolist()])
    if not able.any():
        most = apart(tried.effective_size.max(), REFUSE_SIZE, ".1f")
        raise InsufficientOverlap(f"effective_size must be at least {REFUSE_SIZE} for one of the policies, got {most} at most: log more.")
    low = tried.reward - NormalDist().inv_cdf((1 + level) / 2) * tried.stderr
    winner = tried.policy[int(np.where(able, low, -np.inf).argmax())]

    state = replay(winner, first, learn_from=learn_from, seed=seed, engine=engine).state
    played = replay(winner, second, learn_from=learn_from, state=state, seed=seed, engine=engine)
    q_hat = fit_reward_model(second, seed=seed).q_hat if estimator in WITH_MODEL else None
    beside = rounds(second, played.decision.probs, q_hat=q_hat)
    evaluation = evaluate(second, beside.probs, estimators=(estimator,), q_hat=q_hat, level=level)
    gain = difference(ESTIMATORS[estimator](beside), ips(logged_rounds(second)))
    return Selection(winner, evaluation, delta(gain, level=level), tried, played.state)


Kind = type[Clip] | type[Switch] | type[Optimistic] | type[SubGaussian]


class Chosen(NamedTuple):
    """The estimate that SLOPE chose among several, see `slope`.

    Attributes:
        place: index of the chosen estimate among the candidates, from 0.
        terms: those of the chosen estimate. Their interval does not include the effect of the choice, nor the bias that it accepted.
        estimates: the value of every candidate, with its interval at the given level.

    Example:
        >>> from recsdk.ope import average
        >>> terms = average(np.array([0.0, 1.0]), np.ones(2))
        >>> slope([terms]).place
        0
    """

    place: int
    terms: Terms
    estimates: tuple[Estimate, ...]


def slope(candidates: Sequence[Terms], *, level: float = 0.95) -> Chosen:
    """Chooses among estimates that trade bias for variance; their order does not matter.

    Goes from the widest interval to the narrowest, and stops before one whose value is off that of a wider one by more than its own half
    width and 1.45 times the other's: from there on only bias explains the difference. The error is within a constant factor of that of the
    best of them, but the constant is not small: report the least shrunk estimate too where it matters.

    Args:
        candidates: at least one of them with little bias, the widest.
        level: of the normal intervals that are compared.

    Raises:
        InvalidValue: no candidates, or a `level` outside (0, 1).

    Example:
        >>> from recsdk.ope import average
        >>> wide = average(np.array([0.0, 4.0, 0.0, 0.0]), np.ones(4))
        >>> narrow = average(np.array([0.5, 1.0, 0.5, 1.0]), np.ones(4))
        >>> slope([wide, narrow]).place
        1

    References:
        Su, Srinath, Krishnamurthy, "Adaptive estimator selection for off-policy evaluation", ICML, 2020: SLOPE.
        Tucker, Lee, "Improved estimator selection for off-policy evaluation", ICML workshop on RL theory, 2021: SLOPE++, with the narrower
        |x_i - x_j| <= c_i + (sqrt(6) - 1) c_j, which is used here.
    """
    if not candidates:
        raise InvalidValue("candidates must be at least one, got none.")
    estimates = tuple(delta(terms, level=level) for terms in candidates)
    values, widths = np.array([(each.value, each.high - each.value) for each in estimates]).T
    order = np.argsort(-widths, kind="stable")
    place = order[0]
    for rank, narrower in enumerate(order[1:], 1):
        wider = order[:rank]
        if (abs(values[narrower] - values[wider]) > widths[narrower] + (math.sqrt(6) - 1) * widths[wider]).any():
            break
        place = narrower
    return Chosen(int(place), candidates[place], estimates)


def shrunk(rounds: Rounds, *, estimator: Callable[..., Terms], kind: Kind, level: float = 0.95) -> Terms:
    """Shrinks the weights of an estimator as far as SLOPE allows, over limits of 1, 2, 4 and so on up to the largest weight.

    Its intervals include neither the effect of the choice nor the bias: in the coverage tests, with a wrong reward model, those at 95 %
    held the truth in 0 to 7 % of logs. It needs the whole log, since chunks may choose differently.

    Args:
        rounds: from `rounds`.
        estimator: `ips`, `snips`, `dr` or `sndr`.
        kind: `Clip`, `Switch`, `Optimistic` or `SubGaussian`.
        level: as in `slope`.

    Example:
        >>> from recsdk.datasets import log_from_frame
        >>> from recsdk.ope import rounds
        >>> log = log_from_frame({"action": [0, 1, 1, 0], "reward": [1.0, 0.0, 1.0, 0.0], "propensity": [0.5] * 4})
        >>> beside = rounds(log, [[0.25, 0.75]] * 4, q_hat=[[0.5, 0.5]] * 4)
        >>> from recsdk.ope import Clip, ips, value
        >>> value(shrunk(beside, estimator=ips, kind=Clip))
        0.375
    """
    steps = math.ceil(math.log2(max(float(importance(rounds).max()), 1.0)))
    limits = [2.0**step for step in range(steps, -1, -1)]
    return slope([estimator(rounds), *(estimator(rounds, shrink=kind.with_limit(limit)) for limit in limits)], level=level).terms
