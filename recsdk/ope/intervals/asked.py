"""The interval that an evaluation is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from recsdk.errors import InvalidValue
from recsdk.ope.checked import Rounds
from recsdk.ope.intervals.bounds import bounded, clopper_pearson, empirical_bernstein, empirical_likelihood
from recsdk.ope.intervals.resampling import moving_block, resample, studentised
from recsdk.ope.intervals.sequence import confidence_sequence, drifting_sequence
from recsdk.ope.options import BOUNDED, NUM_DRAWS, SEQUENCES, Estimator, Options
from recsdk.ope.pages import by_page
from recsdk.ope.terms import Estimate, Terms, delta
from recsdk.ope.weighting import ips

BY_BOUNDS: Mapping[str, Callable[..., Any]] = {
    "empirical_likelihood": empirical_likelihood,
    "empirical_bernstein": empirical_bernstein,
    "clopper_pearson": clopper_pearson,
    "confidence_sequence": confidence_sequence,
    "drifting_sequence": drifting_sequence,
}


def num_draws(asked: Options) -> int:
    """Returns how many resampled logs the interval needs."""
    return (asked.num_draws or NUM_DRAWS) if name_of(asked) == "bootstrap" else 0


def intervals_of(
    beside: Rounds, functions: Mapping[str, Estimator], asked: Options, pages: np.ndarray | None = None
) -> dict[str, Estimate]:
    """Returns estimates with the interval that is asked for, from all rounds at once.

    Raises:
        InvalidValue: an interval that lacks a bound.
    """
    name, level = name_of(asked), asked.level
    if name in BY_BOUNDS and not callable(asked.interval):
        return {"ips": _by_bounds(beside, asked)}
    terms = {each: function(beside) for each, function in functions.items()}
    if pages is not None:
        terms = {each: by_page(found, pages) for each, found in terms.items()}
    if callable(asked.interval):
        return {each: asked.interval(found, level=level) for each, found in terms.items()}
    if name == "delta":
        return {each: delta(found, level=level) for each, found in terms.items()}
    draws = asked.num_draws or NUM_DRAWS
    if name == "bootstrap":
        drawn = resample(list(terms.values()), num_draws=draws, seed=asked.seed)
        return {each: studentised(found, level=level) for each, found in zip(terms, drawn, strict=True)}
    return {each: _block(found, level=level, num_draws=draws, seed=asked.seed) for each, found in terms.items()}


def _block(terms: Terms, **options: Any) -> Estimate:
    return moving_block(terms, np.arange(len(terms.numerator), dtype=np.float64), **options)


def _by_bounds(beside: Rounds, asked: Options) -> Estimate:
    require_bounds(asked)
    bounds: dict[str, Any] = {"reward_range": asked.reward_range, "max_weight": asked.max_weight}
    function = BY_BOUNDS[str(asked.interval)]
    if asked.interval in BOUNDED:
        found: Estimate = function(bounded(beside, **bounds), level=asked.level)
        return found
    last = function(beside, **bounds, looks=np.array([len(beside.action)]), level=asked.level)
    return Estimate(float(last.value[0]), delta(ips(beside)).stderr, float(last.low[0]), float(last.high[0]), asked.level)


def require_bounds(asked: Options) -> None:
    """Refuses an interval by bounds without its bounds.

    Raises:
        InvalidValue: naming what is missing.
    """
    if asked.interval in (*BOUNDED, *SEQUENCES) and asked.reward_range is None:
        raise InvalidValue(f"{asked.interval} needs reward_range, the least and the greatest reward possible, got None.")
    if asked.interval in BOUNDED and asked.max_weight is None:
        raise InvalidValue(f"{asked.interval} needs max_weight, the largest importance weight that the policies allow, got None.")


def name_of(asked: Options) -> str:
    """Returns the name of the interval that is asked for."""
    if callable(asked.interval):
        return str(getattr(getattr(asked.interval, "func", asked.interval), "__name__", "interval"))
    return asked.interval or ("bootstrap" if asked.num_draws else "delta")
