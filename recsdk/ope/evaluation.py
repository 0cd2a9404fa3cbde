"""The front door: what another policy would have earned on a log, with intervals and a verdict."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recsdk.base import Interaction
from recsdk.checks import plain_array, require_integer
from recsdk.errors import InsufficientOverlap, InvalidLog, InvalidProbs, InvalidValue, RecsdkError, one_of
from recsdk.ope import fused
from recsdk.ope.blocks import Walk, beside, is_policy, replayed
from recsdk.ope.checked import Rounds, check_unique, page_numbers, refuse_copies, require_log, rounds
from recsdk.ope.diagnostics import Clipped, Diagnostics, clipped, diagnose_tally
from recsdk.ope.intervals.bounds import bounded, clopper_pearson, empirical_bernstein, empirical_likelihood
from recsdk.ope.intervals.resampling import moving_block, resample, studentised
from recsdk.ope.intervals.sequence import confidence_sequence, drifting_sequence
from recsdk.ope.intervals.validity import VALIDITY, caveats
from recsdk.ope.model_based import fit_reward_model
from recsdk.ope.options import BOUNDED, NUM_DRAWS, SEQUENCES, WITH_MODEL, Estimator, Options, changed, named
from recsdk.ope.stream import Partial, fold
from recsdk.ope.tally import moments
from recsdk.ope.terms import Estimate, by_page, delta, normal, ratio
from recsdk.ope.verdict import CONDITIONAL, Judgement, Verdict, doubted, judge
from recsdk.ope.weighting import ips

if TYPE_CHECKING:
    from recsdk.drivers.replay import Engine, LearnFrom

ONE_ROUND = "dr is left out: a reward model needs at least 2 rounds; give q_hat"
NOT_WHOLE = "dr is left out: it needs the target's probabilities of all candidates, not of the logged action alone"
NO_FEATURES = "dr is left out: the log has no features to fit a reward model to; give q_hat"


class Evaluation(NamedTuple):
    """Estimates of a policy's value, with diagnostics and a verdict. A notebook shows it as a table.

    Attributes:
        estimates: by estimator's name, in the order asked for.
        diagnostics: overlap of log and target.
        verdict: "trust", "caution" or, only when forced, "refuse".
        reasons: why the verdict is not "trust", the gravest first, each with what to do.
        clipped: IPS with the largest weights clipped.
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

    Normal and bootstrap intervals assume a logging policy that did not learn from these rounds, rewards that do not depend on one another,
    and one look at the log. If this is not so, declare it by `logger`, `rewards` or `num_looks`: the verdict then names a valid interval.
    For a log that does not fit in memory use `accumulate`.

    Args:
        log: a log, leading T.
        target: f64[T, K], the target policy's distribution in each round; f64[T], only its probability of the logged action, enough for
            "ips" and "snips"; a function from the log's `Context` to f64[T, K]; or a `Policy`, which is replayed over the log.
        q_hat: f64[T, K], expected rewards for "dm", "dr" and "sndr", or a function from the log's `Context` to them; by default
            `fit_reward_model(log, seed=seed)`.
        ids: str or int [T], the name of each row's decision; a log with a repeated name is refused.
        page: str or int [T], the name of the page on which each row's item was shown, if several items were shown together. Errors are then
            by page, and the verdict is at best "caution".
        learn_from: what a `Policy` learns from while it is replayed: "none", "matched" or "all".
        state: what a `Policy` has learned before, consumed; by default nothing. `read_policy` reads both from a recommender's folder.
        engine: what replays a `Policy`, as in `replay`.
        options: see `Options`; by default its defaults.
        changes: fields of `Options`, as keywords: `level=0.9`.

    Raises:
        InsufficientOverlap: if the verdict is "refuse", unless forced; and if nothing overlaps at all, even if forced.
        InvalidLog: if one of `ids` is repeated, or a page's reward was copied to each of its rows.
        InvalidValue: an option out of its range, an unknown estimator, or one that lacks what it needs. Other errors as in `rounds`.

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
    require_log(log)
    if ids is not None:
        check_unique(ids, len(log.action))
    pages = None if page is None else page_numbers(page, len(log.action))
    found = evaluated(log, _target(log, target, q_hat, Walk(learn_from, state, asked.seed, engine)), asked, pages=pages)
    return _answered(found, asked)


def finish(partial: Partial, *, options: Options | None = None, **changes: Any) -> Evaluation:
    """Computes the evaluation from the sums of `accumulate` and `merge`.

    Intervals are those of the bootstrap if `accumulate` had `num_draws`, else normal ones.

    Args:
        partial: sums over the whole log.
        options: see `Options`; those that concern estimates, draws and rewards are in `partial` already.
        changes: fields of `Options`, as keywords. `interval` names the interval that the verdict judges.

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
    return _answered(_summed_up(partial, asked), asked)


class Target(NamedTuple):
    """A policy's probabilities on a log, and what a reward model expects.

    Attributes:
        probs: f64[T, K], its distributions, or f64[T], its probability of the logged action.
        matched: bool[T], where a policy that was replayed chose the logged action, or None.
        q_hat: f64[T, K], expected rewards, or None.
        caveat: why its value may look better than it is, or empty.
    """

    probs: np.ndarray
    matched: np.ndarray | None = None
    q_hat: np.ndarray | None = None
    caveat: str = ""


def evaluated(
    log: Interaction, target: Target, asked: Options, *, pages: np.ndarray | None = None, model: Callable[[], np.ndarray] | None = None
) -> Evaluation:
    """Evaluates one target.

    Args:
        log: a log, leading T.
        target: what to evaluate.
        asked: the options.
        pages: i64[T], the number of each row's page, or None.
        model: fits the reward model where one is needed, f64[T, K]; by default `fit_reward_model`.

    Returns:
        An evaluation without estimates where these are withheld.

    Raises:
        InvalidValue, InvalidLog: as in `evaluate`.
    """
    asked.require_bounds()
    functions, notes = chosen(asked, log, np.ndim(target.probs) == 2, target.q_hat)
    if target.q_hat is None and not isinstance(asked.estimators, dict) and any(name in WITH_MODEL for name in functions):
        found = _summed_up(_fold(log, target, {}, asked), asked, (target.caveat,))
        if _is_withheld(found, asked):  # before a model is fitted to what cannot answer
            return found
        target = target._replace(q_hat=fit_reward_model(log, seed=asked.seed).q_hat if model is None else model())
    if pages is not None:
        refuse_copies(pages, log.reward)
    in_blocks = pages is None and asked.in_blocks and not isinstance(asked.estimators, dict)
    found = _summed_up(_fold(log, target, functions if in_blocks else {}, asked), asked, (target.caveat,))
    if _is_withheld(found, asked):
        return found
    if not in_blocks:
        found = found._replace(
            estimates=_intervals(rounds(log, target.probs, q_hat=target.q_hat, matched=target.matched), functions, asked, pages)
        )
    if pages is not None and pages.max() + 1 < len(pages) and not asked.position:
        verdict, reasons = doubted(Judgement(found.verdict, found.reasons), (CONDITIONAL,))
        found = found._replace(verdict=verdict, reasons=reasons)
    return found._replace(notes=(*found.notes, *notes))


def _summed_up(partial: Partial, asked: Options, doubts: Iterable[str] = ()) -> Evaluation:
    if asked.num_decisions is not None:
        require_integer("num_decisions", asked.num_decisions, at_least=partial.tally.num_rounds)
    diagnostics = diagnose_tally(partial.tally, default_reward=partial.default_reward, num_decisions=asked.num_decisions)
    doubts = filter(None, (CONDITIONAL if asked.position else "", *doubts))
    found = Evaluation({}, diagnostics, *doubted(judge(diagnostics), doubts), notes=_roundings(partial.tally.num_rounded))
    if _is_withheld(found, asked):
        return found
    name = asked.interval_name if asked.interval else "bootstrap" if partial.draws else "delta"
    if name in VALIDITY:  # nothing is known of a function of the caller's own; the verdict speaks of the effective size already
        caveat = caveats(name, effective_size=math.inf, logger=asked.logger, rewards=asked.rewards, num_looks=asked.num_looks)
        verdict, reasons = doubted(Judgement(found.verdict, found.reasons), caveat)
        found = found._replace(verdict=verdict, reasons=reasons)
    if partial.draws:
        estimates = {name: studentised(draws, level=asked.level) for name, draws in zip(partial.layout, partial.draws, strict=True)}
    else:
        total = moments(partial.tally)
        estimates = {name: normal(*ratio(total, *layout), level=asked.level) for name, layout in partial.layout.items()}
    return found._replace(estimates=estimates, clipped=clipped(partial.tally))


def _is_withheld(found: Evaluation, asked: Options) -> bool:
    return found.diagnostics.effective_size == 0 or (found.verdict == "refuse" and not asked.force)


def _answered(found: Evaluation, asked: Options) -> Evaluation:
    """Returns an evaluation, or raises where its estimates are withheld."""
    if not _is_withheld(found, asked):
        return found
    if asked.force:
        raise InsufficientOverlap(f"None of {found.diagnostics.num_rounds} rounds has an action that the target policy could have taken.")
    raise InsufficientOverlap(f"The log cannot answer for this target: {'; '.join(found.reasons)}. `force=True` answers all the same.")


def chosen(asked: Options, log: Interaction, is_whole: bool, q_hat: Any = None) -> tuple[dict[str, Estimator], tuple[str, ...]]:
    """Returns the estimators by name, and notes on what was left out.

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
        return named(("ips", "snips")), (NOT_WHOLE,)
    if q_hat is None and not np.shape(log.context.features)[-1]:
        return named(("ips", "snips")), (NO_FEATURES,)
    if q_hat is None and len(log.action) < 2:
        return named(("ips", "snips")), (ONE_ROUND,)
    return named(("ips", "snips", "dr")), ()


def _roundings(num_rows: int) -> tuple[str, ...]:
    return (f"rounding errors of given probabilities were corrected in {num_rows:,} rows",) if num_rows else ()


def _target(log: Interaction, target: Any, q_hat: Any, walk: Walk) -> Target:
    """Returns arrays for the whole log, from whatever the caller gave."""
    one_of("learn_from", walk.learn_from, ("none", "matched", "all"))
    matched = None
    if target is None:
        raise InvalidProbs("target must be probabilities, a function from a Context to them, or a Policy, got None.")
    if is_policy(target):
        _, target, matched = replayed(target, log, walk)
    else:
        walk.require_policy()
    target, q_hat = (value(log.context) if callable(value) else value for value in (target, q_hat))
    return Target(plain_array("target", target, error=InvalidProbs), matched, None if q_hat is None else plain_array("q_hat", q_hat))


def _fold(log: Interaction, target: Target, functions: Mapping[str, Estimator], asked: Options) -> Partial:
    probs, matched, q_hat, _ = target
    walk = Walk("none", None, asked.seed, "auto")
    try:
        if any(value is not None and value.shape[:1] != (len(log.action),) for value in (probs, matched, q_hat)):
            raise InvalidLog("target, q_hat and matched must have a row for each of the log's.")
        runs_from = fused.starts(functions, asked.bootstrap_draws)
        return fold(beside([log], probs, q_hat, walk, matched=matched, runs_from=runs_from), functions, asked)
    except RecsdkError:
        rounds(log, probs, q_hat=q_hat, matched=matched)  # says which row of the whole log
        raise


BY_BOUNDS: Mapping[str, Callable[..., Any]] = {
    "empirical_likelihood": empirical_likelihood,
    "empirical_bernstein": empirical_bernstein,
    "clopper_pearson": clopper_pearson,
    "confidence_sequence": confidence_sequence,
    "drifting_sequence": drifting_sequence,
}


def _intervals(whole: Rounds, functions: Mapping[str, Estimator], asked: Options, pages: np.ndarray | None) -> dict[str, Estimate]:
    """Returns estimates with the interval that is asked for, from all rounds at once."""
    if asked.interval in (*BOUNDED, *SEQUENCES):
        return {"ips": _by_bounds(whole, asked)}
    level, draws = asked.level, asked.num_draws or NUM_DRAWS
    terms = {name: function(whole) for name, function in functions.items()}
    if pages is not None:
        terms = {name: by_page(found, pages) for name, found in terms.items()}
    if asked.interval_name == "bootstrap" and not callable(asked.interval):
        drawn = resample(list(terms.values()), num_draws=draws, seed=asked.seed)
        return {name: studentised(found, level=level) for name, found in zip(terms, drawn, strict=True)}
    interval: Callable[..., Estimate] = delta
    if callable(asked.interval):
        interval = asked.interval
    elif asked.interval == "moving_block":
        order = np.arange(len(next(iter(terms.values())).numerator), dtype=np.float64)
        interval = functools.partial(moving_block, time=order, num_draws=draws, seed=asked.seed)
    return {name: interval(found, level=level) for name, found in terms.items()}


def _by_bounds(whole: Rounds, asked: Options) -> Estimate:
    bounds: dict[str, Any] = {"reward_range": asked.reward_range, "max_weight": asked.max_weight}
    function = BY_BOUNDS[str(asked.interval)]
    if asked.interval in BOUNDED:
        found: Estimate = function(bounded(whole, **bounds), level=asked.level)
        return found
    last = function(whole, **bounds, looks=np.array([len(whole.action)]), level=asked.level)
    return Estimate(float(last.value[0]), delta(ips(whole)).stderr, float(last.low[0]), float(last.high[0]), asked.level)
