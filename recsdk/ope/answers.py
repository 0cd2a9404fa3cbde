"""Several targets on one log, each with its verdict, its values and how far these are off the logging policy's own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import attrs
import numpy as np

from recsdk.base import Interaction
from recsdk.errors import one_of
from recsdk.ope.checked import Rounds, check_unique, logged_rounds, rounds
from recsdk.ope.comparison import Compared, compare
from recsdk.ope.diagnostics import Clipped, Diagnostics, diagnose
from recsdk.ope.evaluation import chosen, finish
from recsdk.ope.intervals.asked import intervals_of, num_draws, require_bounds
from recsdk.ope.model_based import fit_reward_model
from recsdk.ope.options import LOGGER, NUM_DRAWS, WITH_MODEL, Estimator, Options, named
from recsdk.ope.pages import CONDITIONAL
from recsdk.ope.stream import accumulate
from recsdk.ope.terms import Estimate, Terms, delta
from recsdk.ope.verdict import Judgement, Verdict, doubted, judge
from recsdk.ope.weighting import ips


class Target(NamedTuple):
    """A policy's probabilities on a log.

    Attributes:
        probs: f64[T, K], its distributions, or f64[T], its probability of the logged action.
        matched: bool[T], where a policy that was replayed chose the logged action, or None.
        caveat: why it may look better than it is; empty for no reason.
    """

    probs: np.ndarray
    matched: np.ndarray | None = None
    caveat: str = ""


class Answer(NamedTuple):
    """Evaluation of one target on a log.

    Attributes:
        rounds: the log beside the target.
        diagnostics: overlap of both.
        verdict: "trust", "caution" or "refuse".
        reasons: for the verdict, and what to do.
        estimates: by estimator; empty where they are withheld.
        differences: of the same, from what the target is compared with; those of one estimator hold for all targets at once.
        clipped: IPS with the largest weights clipped.
        notes: what was left out or corrected.
    """

    rounds: Rounds
    diagnostics: Diagnostics
    verdict: Verdict
    reasons: tuple[str, ...]
    estimates: dict[str, Estimate]
    differences: dict[str, Compared]
    clipped: tuple[Clipped, ...]
    notes: tuple[str, ...] = ()


class Answers(NamedTuple):
    """Evaluations of several targets on a log, and of the policy that wrote it.

    Attributes:
        logged: mean reward of the log, with its normal interval.
        targets: by name.
        options: what was asked.
    """

    logged: Estimate
    targets: dict[str, Answer]
    options: Options


def answer(log: Interaction, targets: Mapping[str, Target], options: Options | None = None, *, ids: Any = None) -> Answers:
    """Evaluates every target that the log can answer for, and withholds the values of the others.

    Args:
        log: a log, leading T.
        targets: by name.
        options: what to find out; by default the defaults of `Options`.
        ids: [T], the name of each row's decision.

    Raises:
        InvalidValue: options that contradict one another, or lack what an interval or estimator needs.
        InvalidLog: a decision that is there twice. Otherwise as `rounds`.
    """
    asked = options or Options()
    one_of("against", asked.against, (LOGGER, *targets))
    require_bounds(asked)
    if ids is not None:
        check_unique(ids, len(log.action))
    base = ips(logged_rounds(log))
    found = {name: _judged(rounds(log, target.probs, matched=target.matched), target, asked) for name, target in targets.items()}
    able = {name: each for name, each in found.items() if _may_answer(each, asked)}
    functions: dict[str, dict[str, Estimator]] = {}
    for name, each in able.items():
        functions[name], notes = chosen(asked, log, each.rounds.probs is not None)
        able[name] = each._replace(notes=(*each.notes, *notes))
    if any(name in WITH_MODEL for names in functions.values() for name in names):
        q_hat = fit_reward_model(log, seed=asked.seed).q_hat
        able = {name: each._replace(rounds=each.rounds._replace(q_hat=q_hat)) for name, each in able.items()}
    found |= {name: _estimated(each, functions[name], asked) for name, each in able.items()}
    return Answers(delta(base, level=asked.level), _compared(found, functions, base, asked), asked)


def _judged(beside: Rounds, target: Target, asked: Options) -> Answer:
    diagnostics = diagnose(beside, default_reward=asked.default_reward, num_decisions=asked.num_decisions)
    doubts = (CONDITIONAL if asked.position else "", target.caveat)
    verdict, reasons = doubted(judge(diagnostics), filter(None, doubts))
    return Answer(beside, diagnostics, verdict, reasons, {}, {}, ())


def _may_answer(found: Answer, asked: Options) -> bool:
    return found.diagnostics.effective_size > 0 and (asked.force or found.verdict != "refuse")


def _estimated(found: Answer, functions: Mapping[str, Estimator], asked: Options) -> Answer:
    in_blocks = asked.interval in (None, "delta", "bootstrap")
    partial = accumulate(
        [found.rounds],
        estimators=functions if in_blocks else ("ips",),
        num_draws=num_draws(asked),
        seed=asked.seed,
        default_reward=asked.default_reward,
    )
    summed = finish(partial, options=attrs.evolve(asked, force=True))
    estimates = summed.estimates if in_blocks else intervals_of(found.rounds, functions, asked)
    verdict, reasons = doubted(Judgement(found.verdict, found.reasons), (each for each in summed.reasons if each not in found.reasons))
    return found._replace(
        estimates=estimates,
        clipped=summed.clipped,
        verdict=verdict,
        reasons=reasons,
        notes=(*found.notes, *summed.notes),
    )


def _compared(found: dict[str, Answer], functions: Mapping[str, Mapping[str, Estimator]], base: Terms, asked: Options) -> dict[str, Answer]:
    against = asked.against
    differences: dict[str, dict[str, Compared]] = {target: {} for target in found}
    for name in dict.fromkeys(name for names in functions.values() for name in names):
        function = named([name])[name]
        if against != LOGGER:
            if name not in functions.get(against, ()):
                continue
            base = function(found[against].rounds)
        terms = {target: function(found[target].rounds) for target, names in functions.items() if name in names and target != against}
        terms = {
            target: each for target, each in terms.items() if math.isfinite(delta(each).stderr)
        }  # one round alone compares with nothing
        if terms:
            compared = compare(terms, base, level=asked.level, num_draws=asked.num_draws or NUM_DRAWS, seed=asked.seed)
            for target, each in compared.items():
                differences[target][name] = each
    return {target: each._replace(differences=differences[target]) for target, each in found.items()}
