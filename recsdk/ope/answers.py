"""Several targets on one log, each with its verdict, its values and how far these are off the logging policy's own."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from recsdk.base import Interaction
from recsdk.checks import require_integer
from recsdk.errors import InvalidValue, one_of
from recsdk.ope._importance import ips
from recsdk.ope._rounds import Rounds, logged_rounds, rounds
from recsdk.ope.comparison import Compared, compare
from recsdk.ope.diagnostics import Clipped, Diagnostics, diagnose
from recsdk.ope.duplicates import check_unique
from recsdk.ope.estimate import Estimate, delta
from recsdk.ope.estimators import WITH_MODEL, named
from recsdk.ope.evaluation import finish
from recsdk.ope.intervals._bounded import bounded, clopper_pearson, empirical_bernstein, empirical_likelihood
from recsdk.ope.intervals._caveats import Logger, caveats
from recsdk.ope.intervals.blocks import moving_block
from recsdk.ope.intervals.sequence import Sequence as ConfidenceSequence
from recsdk.ope.intervals.sequence import confidence_sequence, drifting_sequence
from recsdk.ope.reward_model import fit_reward_model
from recsdk.ope.stream import accumulate
from recsdk.ope.terms import Terms
from recsdk.ope.verdict import Verdict, judge

LOGGER = "logging policy"
BOUNDED: Mapping[str, Callable[..., Estimate]] = {
    "empirical_likelihood": empirical_likelihood,
    "empirical_bernstein": empirical_bernstein,
    "clopper_pearson": clopper_pearson,
}
SEQUENCES: Mapping[str, Callable[..., ConfidenceSequence]] = {
    "confidence_sequence": confidence_sequence,
    "drifting_sequence": drifting_sequence,
}
INTERVALS = ("delta", "bootstrap", "moving_block", *BOUNDED, *SEQUENCES)


class Target(NamedTuple):
    """What a policy would have done on a log.

    Attributes:
        probs: f64[T, K], its distributions, or f64[T], its probability of the logged action.
        matched: bool[T], where a policy that was replayed chose the logged action, or None.
        caveat: why it may look better than it is; empty for no reason.
    """

    probs: np.ndarray
    matched: np.ndarray | None = None
    caveat: str = ""


class Question(NamedTuple):
    """What to find out of each target.

    Attributes:
        estimators: names among `ESTIMATORS`; None for IPS, SNIPS, and DR where the log has features and the target is known whole.
        interval: one of `INTERVALS`. From empirical likelihood on they are of IPS alone, and need the bounds below.
        level: nominal coverage.
        reward_range: the least and the greatest reward possible, known beforehand.
        max_weight: the largest importance weight possible, known beforehand.
        against: the target that all are compared with, or `LOGGER`.
        logger: "adaptive" where the logging policy learnt from this log.
        default_reward: of a decision of which nothing was heard.
        num_decisions: that were made, also those that the log leaves out; None for unknown.
        num_draws: of the bootstrap, and of the comparison.
        seed: of these, and of the reward model's folds.
        force: gives values that are refused, too.
    """

    estimators: tuple[str, ...] | None = None
    interval: str = "delta"
    level: float = 0.95
    reward_range: tuple[float, float] | None = None
    max_weight: float | None = None
    against: str = LOGGER
    logger: Logger = "fixed"
    default_reward: float = 0.0
    num_decisions: int | None = None
    num_draws: int = 1000
    seed: int = 0
    force: bool = False


class Answer(NamedTuple):
    """What a log says of one target.

    Attributes:
        rounds: the log beside the target.
        diagnostics: overlap of both.
        verdict: "trust", "caution" or "refuse".
        reasons: for the verdict, and what to do.
        estimates: by estimator; empty where they are withheld.
        differences: of the same, from what the target is compared with; those of one estimator hold for all targets at once.
        clipped: IPS with the largest weights clipped.
    """

    rounds: Rounds
    diagnostics: Diagnostics
    verdict: Verdict
    reasons: tuple[str, ...]
    estimates: dict[str, Estimate]
    differences: dict[str, Compared]
    clipped: tuple[Clipped, ...]


class Answers(NamedTuple):
    """What a log says of several targets, and of the policy that wrote it.

    Attributes:
        logged: mean reward of the log, with its normal interval.
        targets: by name.
        question: what was asked.
    """

    logged: Estimate
    targets: dict[str, Answer]
    question: Question


def answer(log: Interaction, targets: Mapping[str, Target], question: Question, *, ids: Any = None) -> Answers:
    """Evaluates every target that the log can answer for, and withholds the values of the others.

    Args:
        log: a log, leading T.
        targets: by name.
        question: what to find out.
        ids: [T], what each row's decision is called.

    Raises:
        InvalidValue: a question that contradicts itself, or lacks what an interval or estimator needs.
        InvalidLog: a decision that is there twice. Otherwise as `rounds`.
    """
    _check(targets, question)
    if ids is not None:
        check_unique(ids, len(log.action))
    base = ips(logged_rounds(log))
    found = {name: _judged(rounds(log, target.probs, matched=target.matched), target, question) for name, target in targets.items()}
    able = {name: each for name, each in found.items() if _may_answer(each, question)}
    asked = {name: _estimators(each.rounds, log, question) for name, each in able.items()}
    if any(name in WITH_MODEL for names in asked.values() for name in names):
        q_hat = fit_reward_model(log, seed=question.seed).q_hat
        able = {name: each._replace(rounds=each.rounds._replace(q_hat=q_hat)) for name, each in able.items()}
    found |= {name: _estimated(each, asked[name], question) for name, each in able.items()}
    return Answers(delta(base, level=question.level), _compared(found, asked, base, question), question)


def _check(targets: Mapping[str, Target], question: Question) -> None:
    one_of("interval", question.interval, INTERVALS)
    one_of("against", question.against, (LOGGER, *targets))
    require_integer("num_draws", question.num_draws, at_least=1)
    if not 0 < question.level < 1:
        raise InvalidValue(f"level must be in (0, 1), got {question.level!r}.")
    if question.estimators is not None:
        named(question.estimators)
    if question.interval not in (*BOUNDED, *SEQUENCES):
        return
    if question.reward_range is None:
        raise InvalidValue(f"{question.interval} needs reward_range, the least and the greatest reward possible, got None.")
    if question.interval in BOUNDED and question.max_weight is None:
        raise InvalidValue(f"{question.interval} needs max_weight, the largest importance weight that the policies allow, got None.")
    if question.estimators not in (None, ("ips",)):
        raise InvalidValue(f"estimators must be ('ips',) for {question.interval}, which is of IPS alone, got {question.estimators}.")


def _judged(beside: Rounds, target: Target, question: Question) -> Answer:
    diagnostics = diagnose(beside, default_reward=question.default_reward, num_decisions=question.num_decisions)
    verdict, reasons = judge(diagnostics)
    if target.caveat:
        verdict, reasons = "caution" if verdict == "trust" else verdict, (*reasons, target.caveat)
    return Answer(beside, diagnostics, verdict, reasons, {}, {}, ())


def _may_answer(found: Answer, question: Question) -> bool:
    return found.diagnostics.effective_size > 0 and (question.force or found.verdict != "refuse")


def _estimators(beside: Rounds, log: Interaction, question: Question) -> tuple[str, ...]:
    if question.interval in (*BOUNDED, *SEQUENCES):
        return ("ips",)
    has_model = beside.probs is not None and log.context.features.shape[-1] and len(log.action) > 1
    return question.estimators or (("ips", "snips", "dr") if has_model else ("ips", "snips"))


def _estimated(found: Answer, estimators: Sequence[str], question: Question) -> Answer:
    draws = question.num_draws if question.interval == "bootstrap" else 0
    partial = accumulate([found.rounds], estimators=estimators, num_draws=draws, seed=question.seed, default_reward=question.default_reward)
    normal = finish(partial, level=question.level, num_decisions=question.num_decisions, force=True)
    estimates = normal.estimates if question.interval in ("delta", "bootstrap") else _intervals(found.rounds, estimators, question)
    # Of the effective size the verdict speaks already.
    doubts = caveats(question.interval, effective_size=math.inf, logger=question.logger)
    verdict: Verdict = "caution" if doubts and found.verdict == "trust" else found.verdict
    return found._replace(estimates=estimates, clipped=normal.clipped, verdict=verdict, reasons=(*found.reasons, *doubts))


def _intervals(beside: Rounds, estimators: Sequence[str], question: Question) -> dict[str, Estimate]:
    name, level = question.interval, question.level
    bounds: dict[str, Any] = {"reward_range": question.reward_range, "max_weight": question.max_weight}
    if name in SEQUENCES:
        last = SEQUENCES[name](beside, **bounds, looks=np.array([len(beside.action)]), level=level)
        return {"ips": Estimate(float(last.value[0]), delta(ips(beside)).stderr, float(last.low[0]), float(last.high[0]), level)}
    if name in BOUNDED:
        return {"ips": BOUNDED[name](bounded(beside, **bounds), level=level)}
    time = np.arange(len(beside.action), dtype=np.float64)
    block = functools.partial(moving_block, time=time, level=level, num_draws=question.num_draws, seed=question.seed)
    return {each: block(terms(beside)) for each, terms in named(estimators).items()}


def _compared(found: dict[str, Answer], asked: Mapping[str, Sequence[str]], base: Terms, question: Question) -> dict[str, Answer]:
    against = question.against
    differences: dict[str, dict[str, Compared]] = {target: {} for target in found}
    for name in dict.fromkeys(name for names in asked.values() for name in names):
        function = named([name])[name]
        if against != LOGGER:
            if name not in asked.get(against, ()):
                continue
            base = function(found[against].rounds)
        terms = {target: function(found[target].rounds) for target, names in asked.items() if name in names and target != against}
        terms = {
            target: each for target, each in terms.items() if math.isfinite(delta(each).stderr)
        }  # one round alone compares with nothing
        if terms:
            compared = compare(terms, base, level=question.level, num_draws=question.num_draws, seed=question.seed)
            for target, each in compared.items():
                differences[target][name] = each
    return {target: each._replace(differences=differences[target]) for target, each in found.items()}
