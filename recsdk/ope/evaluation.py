"""The value that another policy would have had on a log, with an interval and a verdict."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recsdk.base import Interaction
from recsdk.checks import plain_array, require_integer
from recsdk.errors import InsufficientOverlap, InvalidProbs, InvalidValue, RecsdkError, one_of
from recsdk.ope._blocks import blocks
from recsdk.ope.checked import Rounds, check_unique, checked_rounds, require_log, rounds
from recsdk.ope.diagnostics import Clipped, Diagnostics, clipped, diagnose_tally
from recsdk.ope.intervals.asked import intervals_of, name_of, num_draws
from recsdk.ope.intervals.resampling import studentised
from recsdk.ope.intervals.validity import VALIDITY, caveats
from recsdk.ope.model_based import fit_reward_model
from recsdk.ope.options import BOUNDED, SEQUENCES, WITH_MODEL, Estimator, Options, changed, named
from recsdk.ope.pages import CONDITIONAL, page_numbers, refuse_copies
from recsdk.ope.stream import Partial, fold, is_policy
from recsdk.ope.tally import moments
from recsdk.ope.terms import Estimate, normal, ratio
from recsdk.ope.verdict import Judgement, Verdict, doubted, judge

if TYPE_CHECKING:
    from recsdk.drivers.loop import Engine
    from recsdk.drivers.replay import LearnFrom

FEW_ROUNDS = 20_000
"""A log of so few rounds is replayed on NumPy: to compile by JAX takes longer."""
ONE_ROUND = "dr is left out: a reward model needs at least 2 rounds; give q_hat"
NOT_WHOLE = "dr is left out: it needs the target's probabilities of all candidates, not of the logged action alone"
NO_FEATURES = "dr is left out: the log has no features to fit a reward model to; give q_hat"


class Evaluation(NamedTuple):
    """Estimates of a policy's value, and how far to believe them. A notebook shows it as a table.

    Attributes:
        estimates: by estimator's name, in the order asked for.
        diagnostics: overlap of log and target.
        verdict: "trust", "caution" or, only when forced, "refuse".
        reasons: why the verdict is not "trust", the gravest first, and what to do.
        clipped: what IPS says when the largest weights are clipped.
        notes: what was left out or corrected.

    Example:
        >>> from recsdk.datasets import log_from_frame
        >>> log = log_from_frame({"action": [0, 1] * 50, "reward": [0.0, 1.0] * 50, "propensity": [0.5] * 100})
        >>> found = evaluate(log, np.full((100, 2), 0.5), estimators=["ips"])
        >>> found.estimates["ips"].value, found.verdict
        (0.5, 'caution')
    """

    estimates: dict[str, Estimate]
    diagnostics: Diagnostics
    verdict: Verdict
    reasons: tuple[str, ...]
    clipped: tuple[Clipped, ...] = ()
    notes: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        from recsdk.ope.report import html

        return html(self)


def evaluate(
    log: Interaction,
    target: Any,
    *,
    q_hat: Any = None,
    ids: Any = None,
    page: Any = None,
    learn_from: LearnFrom = "none",
    state: Any = None,
    engine: Engine = "auto",
    options: Options | None = None,
    **changes: Any,
) -> Evaluation:
    """Estimates what a target policy would have earned per round of a log.

    Normal and bootstrap intervals assume a logger that did not learn from these rounds, rewards that do not depend on one another, and
    one look at the log. If it is otherwise, say so by `logger`, `rewards` or `num_looks`: the verdict then names an interval that holds.
    For a log that does not fit in memory there is `accumulate`.

    Args:
        log: a log, leading T.
        target: f64[T, K], the target policy's distribution in each round; f64[T], only its probability of the logged action, enough for
            "ips" and "snips"; a function from the log's `Context` to f64[T, K]; or a `Policy`, which is replayed over the log.
        q_hat: f64[T, K], expected rewards for "dm", "dr" and "sndr", or a function from the log's `Context` to them; by default
            `fit_reward_model(log, seed=seed)`.
        ids: str or int [T], the name of each row's decision: a log that has one twice is refused.
        page: str or int [T], the name of the page on which each row's item was shown, if several items were shown together. Errors are then
            by page, and the verdict is at best "caution".
        learn_from: what a `Policy` learns from while it is replayed: "none", "matched" or "all".
        state: what a `Policy` has learned before, consumed; by default nothing. `read_policy` reads both from a recommender's folder.
        engine: what replays a `Policy`, as in `replay`; "auto" takes NumPy for up to 20,000 rounds where the policy runs on it.
        options: see `Options`; by default its defaults.
        changes: fields of `Options`, as keywords: `level=0.9`.

    Raises:
        InsufficientOverlap: when the verdict is "refuse", unless forced; and when nothing overlaps at all, forced or not.
        InvalidLog: when one of `ids` is there twice, or a page's reward was copied to each of its rows.
        InvalidValue: an option out of its range, an estimator that is not known or lacks what it needs; and all that `rounds` refuses.

    Example:
        >>> from recsdk.datasets import log_from_frame
        >>> rng = np.random.default_rng(0)
        >>> action = rng.integers(2, size=4000)
        >>> log = log_from_frame({"action": action, "reward": (rng.random(4000) < 0.2 + 0.3 * action).astype(float),
        ...                       "propensity": np.full(4000, 0.5)})
        >>> found = evaluate(log, np.tile([0.1, 0.9], (4000, 1)))
        >>> found.verdict, found.estimates["snips"]
        ('trust', Estimate(value=0.4768, stderr=0.01009, low=0.457, high=0.4966, level=0.95))
        >>> found.notes
        ('dr is left out: the log has no features to fit a reward model to; give q_hat',)
    """
    asked = changed(options, changes)
    if callable(asked.interval) and asked.num_draws:
        raise InvalidValue(f"num_draws must be 0 where an interval is given, got {asked.num_draws}.")
    one_of("learn_from", learn_from, ("none", "matched", "all"))
    require_log(log)
    if ids is not None:
        check_unique(ids, len(log.action))
    pages = None if page is None else page_numbers(page, len(log.action))
    target, matched = _probabilities(target, log, learn_from, state, asked.seed, engine)
    q_hat = q_hat(log.context) if callable(q_hat) else q_hat
    functions, notes = chosen(asked, log, np.ndim(target) == 2, q_hat)
    if q_hat is None and not isinstance(asked.estimators, dict) and any(name in WITH_MODEL for name in functions):
        partial = fold(_checked(log, target, None, matched), {}, default_reward=asked.default_reward)
        finish(partial, options=asked)  # before a model is fitted to what cannot answer
        q_hat = fit_reward_model(log, seed=asked.seed).q_hat
    if pages is not None:
        refuse_copies(pages, log.reward)
    in_blocks = not isinstance(asked.estimators, dict) and asked.interval in (None, "delta", "bootstrap") and pages is None
    partial = fold(
        _checked(log, target, q_hat, matched),
        functions if in_blocks else {},
        num_draws=num_draws(asked) if in_blocks else 0,
        seed=asked.seed,
        default_reward=asked.default_reward,
    )
    found = finish(partial, options=asked)
    found = found._replace(notes=(*found.notes, *notes))
    if in_blocks:
        return found
    whole = rounds(log, target, q_hat=q_hat, matched=matched)
    found = found._replace(estimates=intervals_of(whole, functions, asked, pages))
    if pages is None or pages.max() + 1 == len(pages) or asked.position:
        return found
    verdict, reasons = doubted(Judgement(found.verdict, found.reasons), (CONDITIONAL,))
    return found._replace(verdict=verdict, reasons=reasons)


def finish(partial: Partial, *, options: Options | None = None, **changes: Any) -> Evaluation:
    """Answers from what `accumulate` and `merge` have kept of a log.

    Intervals are those of the bootstrap if `accumulate` was told to draw, else normal ones.

    Args:
        partial: of the whole log.
        options: see `Options`; those that concern estimates, draws and rewards are in `partial` already.
        changes: fields of `Options`, as keywords. An `interval` names the one that will be put in the place of these.

    Raises:
        InsufficientOverlap: as `evaluate`.
        InvalidValue: an option out of its range, too few draws for the level, or fewer decisions than rows.

    Example:
        >>> from recsdk.datasets import log_from_frame
        >>> log = log_from_frame({"action": [0, 1] * 50, "reward": [0.0, 1.0] * 50, "propensity": [0.5] * 100})
        >>> from recsdk.ope import accumulate
        >>> partial = accumulate([log], np.full((100, 2), 0.5))
        >>> finish(partial, level=0.9).estimates["ips"].level
        0.9
    """
    asked = changed(options, changes)
    if asked.num_decisions is not None:
        require_integer("num_decisions", asked.num_decisions, at_least=partial.tally.num_rounds)
    diagnostics = diagnose_tally(partial.tally, default_reward=partial.default_reward, num_decisions=asked.num_decisions)
    verdict, reasons = doubted(judge(diagnostics), (CONDITIONAL,) if asked.position else ())
    if verdict == "refuse" and not asked.force:
        raise InsufficientOverlap(f"The log cannot answer for this target: {'; '.join(reasons)}. `force=True` answers all the same.")
    name = name_of(asked) if asked.interval else "bootstrap" if partial.draws else "delta"
    if name in VALIDITY:  # nothing is known of a function of the caller's own; the verdict speaks of the effective size already
        doubts = caveats(name, effective_size=math.inf, logger=asked.logger, rewards=asked.rewards, num_looks=asked.num_looks)
        verdict, reasons = doubted(Judgement(verdict, reasons), doubts)
    if diagnostics.effective_size == 0:
        raise InsufficientOverlap(f"None of {diagnostics.num_rounds} rounds has an action that the target policy could have taken.")
    if partial.draws:
        estimates = {name: studentised(draws, level=asked.level) for name, draws in zip(partial.layout, partial.draws, strict=True)}
    else:
        total = moments(partial.tally)
        estimates = {name: normal(*ratio(total, *layout), level=asked.level) for name, layout in partial.layout.items()}
    return Evaluation(estimates, diagnostics, verdict, reasons, clipped(partial.tally), _roundings(partial.tally.num_rounded))


def chosen(asked: Options, log: Interaction, is_whole: bool, q_hat: Any = None) -> tuple[dict[str, Estimator], tuple[str, ...]]:
    """Returns the estimators by name, and what was left out.

    Args:
        asked: the options.
        log: a log, leading T.
        is_whole: whether the target's whole distributions are known.
        q_hat: a reward model's answers, or None.

    Raises:
        InvalidValue: estimators that the interval does not hold for.
    """
    if asked.interval in (*BOUNDED, *SEQUENCES):
        if asked.estimators not in (None, ("ips",)):
            raise InvalidValue(f"estimators must be ('ips',) for {asked.interval}, which is of IPS alone, got {asked.estimators}.")
        return named(("ips",)), ()
    if asked.estimators is not None:
        return named(asked.estimators), ()
    if not is_whole:
        return named(("ips", "snips")), (
            "dr is left out: it needs the target's probabilities of all candidates, not of the logged action alone",
        )
    if q_hat is None and not np.shape(log.context.features)[-1]:
        return named(("ips", "snips")), (NO_FEATURES,)
    if q_hat is None and len(log.action) < 2:
        return named(("ips", "snips")), (ONE_ROUND,)
    return named(("ips", "snips", "dr")), ()


def _roundings(num_rows: int) -> tuple[str, ...]:
    return (f"rounding errors of given probabilities were corrected in {num_rows:,} rows",) if num_rows else ()


def _probabilities(target: Any, log: Interaction, learn_from: LearnFrom, state: Any, seed: int, engine: Engine) -> tuple[Any, Any]:
    if is_policy(target):
        return _replay(target, log, learn_from, state, seed, engine)
    if state is not None or learn_from != "none":
        raise InvalidValue("state and learn_from are for a target that is a Policy; this one is given by its probabilities.")
    if target is None:
        raise InvalidProbs("target must be probabilities, a function from a Context to them, or a Policy, got None.")
    return plain_array("target", target(log.context) if callable(target) else target, error=InvalidProbs), None


def _checked(log: Interaction, target: Any, q_hat: Any, matched: Any) -> Iterator[tuple[int, Callable[[], Rounds]]]:
    size = len(log.action)
    columns = (("target", target), ("q_hat", q_hat), ("matched", matched))
    given = [None if value is None else plain_array(name, value) for name, value in columns]
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

    if engine == "auto" and "numpy" in policy.runs_on and len(log.action) <= FEW_ROUNDS:
        engine = "numpy"
    played = replay(policy, log, learn_from=learn_from, state=state, seed=seed, engine=engine)
    return np.asarray(played.decision.probs), np.asarray(played.matched)
