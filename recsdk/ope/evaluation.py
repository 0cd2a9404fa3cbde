"""What another policy would have earned on a log, and how far to believe it."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recsdk.base import Interaction
from recsdk.checks import require_integer
from recsdk.errors import InsufficientOverlap, InvalidValue, RecsdkError
from recsdk.ope._blocks import blocks
from recsdk.ope._moments import ratio
from recsdk.ope._rounds import Rounds, checked_rounds, rounds
from recsdk.ope.diagnostics import Clipped, Diagnostics, clipped, diagnose_tally
from recsdk.ope.duplicates import check_unique
from recsdk.ope.estimate import Estimate, delta, normal
from recsdk.ope.estimators import WITH_MODEL, Estimator, named
from recsdk.ope.intervals._bootstrap import resample, studentised
from recsdk.ope.intervals._caveats import VALIDITY, Logger, Rewards, caveats
from recsdk.ope.reward_model import fit_reward_model
from recsdk.ope.stream import Partial, fold, is_policy
from recsdk.ope.tally import moments
from recsdk.ope.verdict import Verdict, judge

if TYPE_CHECKING:
    from recsdk.drivers.loop import Engine
    from recsdk.drivers.replay import LearnFrom


class Evaluation(NamedTuple):
    """An answer and how far to believe it. A notebook shows it as a table.

    Attributes:
        estimates: by estimator's name, in the order asked for.
        diagnostics: overlap of log and target.
        verdict: "trust", "caution" or, only when forced, "refuse".
        reasons: why the verdict is not "trust", the gravest first, and what to do.
        clipped: what IPS says when the largest weights are clipped.
    """

    estimates: dict[str, Estimate]
    diagnostics: Diagnostics
    verdict: Verdict
    reasons: tuple[str, ...]
    clipped: tuple[Clipped, ...] = ()

    def _repr_html_(self) -> str:
        from recsdk.ope._html import html

        return html(self)


def evaluate(
    log: Interaction,
    target: Any,
    *,
    estimators: Sequence[str] | Mapping[str, Estimator] = ("ips", "snips", "dr"),
    q_hat: Any = None,
    interval: Callable[..., Estimate] | None = None,
    num_draws: int = 0,
    level: float = 0.95,
    ids: Any = None,
    default_reward: float = 0.0,
    num_decisions: int | None = None,
    logger: Logger = "fixed",
    rewards: Rewards = "independent",
    num_looks: int = 1,
    force: bool = False,
    learn_from: LearnFrom = "none",
    state: Any = None,
    seed: int = 0,
    engine: Engine = "auto",
) -> Evaluation:
    """Estimates what a target policy would have earned per round of a log.

    Normal and bootstrap intervals suppose a logger that did not learn from these rounds, rewards that do not depend on one another, and
    one look at the log; say so where it is otherwise, and the verdict tells which interval holds then. For a log that memory does not hold
    there is `accumulate`.

    Args:
        log: a log, leading T.
        target: f64[T, K], the target policy's distribution in each round; f64[T], only its probability of the logged action,
            enough for "ips" and "snips"; a function from the log's `Context` to f64[T, K]; or a `Policy`, which is replayed over the log.
        estimators: names among `ESTIMATORS`, or functions of `Rounds` by names of your own.
        q_hat: f64[T, K], expected rewards for "dm", "dr" and "sndr", or a function from the log's `Context` to them; by default
            `fit_reward_model(log, seed=seed)`, where an estimator named needs it.
        interval: from `Terms` and `level` to an `Estimate`; by default `delta`.
        num_draws: of the bootstrap, which is then the interval; all estimators share the draws. 0 for none.
        level: nominal coverage of the intervals.
        ids: str or int [T], what each row's decision is called: a log that has one twice is refused.
        default_reward: what the log says of a decision of which nothing was heard.
        num_decisions: how many decisions were made, also those that the log leaves out since they got no reward.
        logger: "adaptive" when the logging policy learnt from the rounds of this log.
        rewards: "dependent" when a round's reward tells of the next one's: the hour, a campaign, a user's visits side by side.
        num_looks: times that the log was looked at as it grew, this one included, with a view to stop.
        force: answers also where the verdict is "refuse".
        learn_from: what a `Policy` learns from while it is replayed: "none", "matched" or "all".
        state: what a `Policy` has learnt before, consumed; by default nothing. Both are in a recommender's folder: `read_policy`.
        seed: of a `Policy`'s draws, of the reward model's folds, and of the bootstrap's draws.
        engine: what replays a `Policy`, as in `replay`.

    Raises:
        InsufficientOverlap: when the verdict is "refuse", unless forced; and when nothing at all overlaps, forced or not.
        InvalidLog: when one of `ids` is there twice.
        InvalidValue: an estimator that is not known, or lacks what it needs; and all that `rounds` refuses.
    """
    functions = named(estimators)
    if interval is not None and num_draws:
        raise InvalidValue(f"num_draws must be 0 where an interval is given, got {num_draws}.")
    if ids is not None:
        check_unique(ids, len(log.action))
    matched = None
    if is_policy(target):
        target, matched = _replay(target, log, learn_from, state, seed, engine)
    elif state is not None or learn_from != "none":
        raise InvalidValue("state and learn_from are for a target that is a Policy; this one is given by its probabilities.")
    target, q_hat = (value(log.context) if callable(value) else value for value in (target, q_hat))
    if q_hat is None and not isinstance(estimators, Mapping) and any(name in WITH_MODEL for name in functions):
        partial = fold(_checked(log, target, None, matched), {}, default_reward=default_reward)
        finish(partial, force=force)  # before a model is fitted to what cannot answer
        q_hat = fit_reward_model(log, seed=seed).q_hat
    in_blocks = not isinstance(estimators, Mapping) and interval is None
    checked = _checked(log, target, q_hat, matched)
    asked, draws = (functions, num_draws) if in_blocks else ({}, 0)
    partial = fold(checked, asked, num_draws=draws, seed=seed, default_reward=default_reward)
    name = "bootstrap" if num_draws else getattr(interval, "func", interval or delta).__name__
    found = finish(
        partial,
        level=level,
        num_decisions=num_decisions,
        interval=name,
        logger=logger,
        rewards=rewards,
        num_looks=num_looks,
        force=force,
    )
    if in_blocks:
        return found
    whole = rounds(log, target, q_hat=q_hat, matched=matched)
    terms = {name: function(whole) for name, function in functions.items()}
    if num_draws:
        drawn = resample(list(terms.values()), num_draws=num_draws, seed=seed)
        return found._replace(estimates={name: studentised(each, level=level) for name, each in zip(terms, drawn, strict=True)})
    return found._replace(estimates={name: (interval or delta)(each, level=level) for name, each in terms.items()})


def finish(
    partial: Partial,
    *,
    level: float = 0.95,
    num_decisions: int | None = None,
    interval: str | None = None,
    logger: Logger = "fixed",
    rewards: Rewards = "independent",
    num_looks: int = 1,
    force: bool = False,
) -> Evaluation:
    """Answers from what `accumulate` and `merge` have kept of a log.

    Intervals are those of the bootstrap where `accumulate` was told to draw, else normal ones.

    Args:
        partial: of the whole log.
        level: as in `evaluate`.
        num_decisions: as in `evaluate`.
        interval: what intervals will be put in the place of these; by default none.
        logger: as in `evaluate`.
        rewards: as in `evaluate`.
        num_looks: as in `evaluate`.
        force: as in `evaluate`.

    Raises:
        InsufficientOverlap: as `evaluate`.
        InvalidValue: `level` outside (0, 1), too few draws for it, or fewer decisions than rows.
    """
    if num_decisions is not None:
        require_integer("num_decisions", num_decisions, at_least=partial.tally.num_rounds)
    diagnostics = diagnose_tally(partial.tally, default_reward=partial.default_reward, num_decisions=num_decisions)
    verdict, reasons = judge(diagnostics)
    if verdict == "refuse" and not force:
        raise InsufficientOverlap(f"The log cannot answer for this target: {'; '.join(reasons)}. `force=True` answers all the same.")
    name = interval or ("bootstrap" if partial.draws else "delta")
    if name in VALIDITY:  # of a function of the caller's own nothing is known; of the effective size the verdict speaks
        doubts = caveats(name, effective_size=math.inf, logger=logger, rewards=rewards, num_looks=num_looks)
        verdict, reasons = "caution" if doubts and verdict == "trust" else verdict, (*reasons, *doubts)
    if diagnostics.effective_size == 0:
        raise InsufficientOverlap(f"None of {diagnostics.num_rounds} rounds has an action that the target policy could have taken.")
    if partial.draws:
        estimates = {name: studentised(draws, level=level) for name, draws in zip(partial.layout, partial.draws, strict=True)}
    else:
        total = moments(partial.tally)
        estimates = {name: normal(*ratio(total, *layout), level=level) for name, layout in partial.layout.items()}
    return Evaluation(estimates, diagnostics, verdict, reasons, clipped(partial.tally))


def _checked(log: Interaction, target: Any, q_hat: Any, matched: Any) -> Iterator[tuple[int, Callable[[], Rounds]]]:
    size = len(log.action)
    given = [None if value is None else np.asarray(value) for value in (target, q_hat, matched)]
    if any(value is not None and value.shape[:1] != (size,) for value in given):
        rounds(log, target, q_hat=q_hat, matched=matched)  # says which

    def check(row: int, block: Interaction) -> Rounds:
        parts = [None if value is None else value[row : row + len(block.action)] for value in given]
        try:
            return checked_rounds(block, parts[0], q_hat=parts[1], matched=parts[2])
        except RecsdkError:
            rounds(log, target, q_hat=q_hat, matched=matched)  # says which row of the whole log
            raise

    for row, block in blocks([log]):
        yield row, functools.partial(check, row, block)


def _replay(policy: Any, log: Interaction, learn_from: LearnFrom, state: Any, seed: int, engine: Engine) -> tuple[np.ndarray, np.ndarray]:
    from recsdk.drivers.replay import replay  # it may load JAX, which probabilities do not need

    played = replay(policy, log, learn_from=learn_from, state=state, seed=seed, engine=engine)
    return np.asarray(played.decision.probs), np.asarray(played.matched)
