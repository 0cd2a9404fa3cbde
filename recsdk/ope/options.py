"""The options of an evaluation, and the estimators that they name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import attrs

from recsdk.checks import integer, is_number, number
from recsdk.errors import InvalidValue, nearest, one_of
from recsdk.ope.checked import Rounds
from recsdk.ope.intervals.validity import Logger, Rewards
from recsdk.ope.model_based import dm, dr, sndr
from recsdk.ope.terms import Estimate, Terms, check_level
from recsdk.ope.weighting import ips, matched_mean, snips

Estimator = Callable[[Rounds], Terms]

ESTIMATORS: Mapping[str, Estimator] = MappingProxyType(
    {"ips": ips, "snips": snips, "dm": dm, "dr": dr, "sndr": sndr, "matched": matched_mean}
)
"""Estimators by name; each takes `Rounds` and gives `Terms`, row by row: the terms of a block of a log are those of its rows."""

WITH_MODEL = ("dm", "dr", "sndr")


Estimators = Iterable[str] | Mapping[str, Estimator]
"""Names among `ESTIMATORS`, or functions of `Rounds` by names of your own."""


def named(estimators: Estimators) -> dict[str, Estimator]:
    """Returns the estimators by name, in the order given.

    Raises:
        InvalidValue: no estimator, an unknown name, or a value that is not a function.

    Example:
        >>> list(named(["snips", "dr"]))
        ['snips', 'dr']
    """
    if isinstance(estimators, Mapping):
        found = dict(estimators)
    elif isinstance(estimators, str) or not isinstance(estimators, Iterable):
        found = {}
    else:
        names = list(estimators)
        for name in names:
            one_of("estimators", name, tuple(ESTIMATORS))
        found = {name: ESTIMATORS[name] for name in names}
    if not found or not all(callable(each) for each in found.values()):
        raise InvalidValue(f"estimators must be names among {tuple(ESTIMATORS)}, or functions by name, got {estimators!r}.")
    return found


LOGGER = "logging policy"
DRAWN = ("bootstrap", "moving_block")
BOUNDED = ("empirical_likelihood", "empirical_bernstein", "clopper_pearson")
SEQUENCES = ("confidence_sequence", "drifting_sequence")
INTERVALS = ("delta", *DRAWN, *BOUNDED, *SEQUENCES)
NUM_DRAWS = 1000


def _estimators(given: Any) -> dict[str, Estimator] | tuple[str, ...] | None:
    if given is None:
        return None
    found = named(given)
    return found if hasattr(given, "keys") else tuple(found)


def _check_interval(instance: Any, field: Any, interval: Any) -> None:
    del instance
    if isinstance(interval, str):
        one_of(field.name, interval, INTERVALS)
    elif interval is not None and not callable(interval):
        raise InvalidValue(f"interval must be one of {INTERVALS}, or a function of Terms and level, got {interval!r}.")


def _check_range(instance: Any, field: Any, bounds: Any) -> None:
    del instance
    if bounds is not None and not (isinstance(bounds, (tuple, list)) and len(bounds) == 2 and all(map(is_number, bounds))):
        raise InvalidValue(f"{field.name} must be two finite numbers, the least and the greatest reward possible, got {bounds!r}.")


@attrs.frozen(kw_only=True)
class Options:
    """Options of an evaluation. `evaluate` and `finish` take them as keywords, or as one record.

    Attributes:
        estimators: names among `ESTIMATORS`, or functions of `Rounds` by names of your own. By default "ips" and "snips", and "dr" if the
            log has features or there is a `q_hat`, and the target is known for every candidate.
        interval: one of `INTERVALS`, or a function from `Terms` and `level` to an `Estimate`; by default "bootstrap" if there are
            `num_draws`, else "delta". The last five names of `INTERVALS` are for IPS alone and need the bounds below.
        num_draws: resampled logs of the bootstrap, of moving blocks and of comparisons; 0 for 1,000 where they are needed.
        level: nominal coverage of the intervals.
        reward_range: the least and the greatest reward possible, known beforehand.
        max_weight: the largest importance weight possible, known beforehand.
        default_reward: reward of a decision without feedback.
        num_decisions: number of decisions that were made, including those that the log leaves out because they got no reward.
        position: the position on a page of all rows, from 0, as given to `read_ledger`. Below the top one the verdict is at best "caution".
        logger: "adaptive" if the logging policy learned from the rounds of this log.
        rewards: "dependent" if a round's reward depends on the rounds before it: by the hour, a campaign, or the visits of one user.
        num_looks: how often the log was looked at as it grew in order to decide when to stop, this time included.
        against: name of the target that all others are compared with.
        seed: of the reward model's folds, of a policy's draws and of the bootstrap.
        force: gives values also where the verdict is "refuse".

    Raises:
        InvalidValue: an option out of its range.

    Example:
        >>> Options(level=0.9).num_looks
        1
    """

    estimators: Any = attrs.field(default=None, converter=_estimators)
    interval: str | Callable[..., Estimate] | None = attrs.field(default=None, validator=_check_interval)
    num_draws: int = attrs.field(default=0, validator=integer(at_least=0))
    level: float = attrs.field(default=0.95, validator=lambda _instance, _field, value: check_level(value))
    reward_range: tuple[float, float] | None = attrs.field(default=None, validator=_check_range)
    max_weight: float | None = attrs.field(default=None, validator=attrs.validators.optional(number(above=0)))
    default_reward: float = attrs.field(default=0.0, validator=number())
    num_decisions: int | None = None
    position: int = attrs.field(default=0, validator=integer(at_least=0))
    logger: Logger = attrs.field(default="fixed", validator=lambda _instance, _field, value: one_of("logger", value, ("fixed", "adaptive")))
    rewards: Rewards = attrs.field(
        default="independent", validator=lambda _instance, _field, value: one_of("rewards", value, ("independent", "dependent"))
    )
    num_looks: int = attrs.field(default=1, validator=integer(at_least=1))
    against: str = LOGGER
    seed: int = attrs.field(default=0, validator=integer(at_least=0))
    force: bool = False

    def __attrs_post_init__(self) -> None:
        """Refuses draws beside an interval that draws for itself."""
        if callable(self.interval) and self.num_draws:
            raise InvalidValue(f"num_draws must be 0 where an interval is given, got {self.num_draws}.")

    @property
    def interval_name(self) -> str:
        """Name of the interval; of a function of the caller's own, its name."""
        if callable(self.interval):
            return str(getattr(getattr(self.interval, "func", self.interval), "__name__", "interval"))
        return self.interval or ("bootstrap" if self.num_draws else "delta")

    @property
    def in_blocks(self) -> bool:
        """Whether the interval can be computed from sums over blocks of a log."""
        return self.interval in (None, "delta", "bootstrap")

    @property
    def bootstrap_draws(self) -> int:
        """Resampled logs that the bootstrap needs; 0 for another interval."""
        return (self.num_draws or NUM_DRAWS) if self.interval_name == "bootstrap" else 0

    def require_bounds(self) -> None:
        """Refuses an interval by bounds without its bounds.

        Raises:
            InvalidValue: naming what is missing.
        """
        if self.interval in (*BOUNDED, *SEQUENCES) and self.reward_range is None:
            raise InvalidValue(f"{self.interval} needs reward_range, the least and the greatest reward possible, got None.")
        if self.interval in BOUNDED and self.max_weight is None:
            raise InvalidValue(f"{self.interval} needs max_weight, the largest importance weight that the policies allow, got None.")


def changed(options: Options | None, changes: dict[str, Any]) -> Options:
    """Returns options with changes.

    Raises:
        InvalidValue: an option that is not known, with the nearest one.
    """
    known = [field.name for field in attrs.fields(Options)]
    for name in changes:
        if name not in known:
            raise InvalidValue(f"No option is named {name!r}.{nearest(name, known)} Options: {known}.")
    return attrs.evolve(options or Options(), **changes)
