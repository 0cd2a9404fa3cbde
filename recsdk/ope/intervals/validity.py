"""The conditions under which each interval is valid."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

from recsdk.errors import InvalidValue, one_of
from recsdk.rounding import apart

ENOUGH = 1000
"""Effective size from which normal intervals cover what they claim. At an effective size of 37, those at 95 % covered 93 %."""
SMALL = 30
"""The same for `empirical_likelihood`. It also covered at an effective size of 4, but not in all simulated worlds."""

Logger = Literal["fixed", "adaptive"]
Rewards = Literal["independent", "dependent"]


class Validity(NamedTuple):
    """The conditions under which an interval is valid.

    Attributes:
        least_size: effective size from which it is valid.
        adaptive: valid if the logging policy learned from the log.
        peeking: valid if the log was also looked at earlier, while it was shorter.
        dependence: valid if a round's reward depends on the rounds just before it.

    Example:
        >>> VALIDITY["confidence_sequence"].peeking
        True
    """

    least_size: float = ENOUGH
    adaptive: bool = False
    peeking: bool = False
    dependence: bool = False


VALIDITY: Mapping[str, Validity] = MappingProxyType(
    {
        "delta": Validity(),
        "bootstrap": Validity(),
        "moving_block": Validity(dependence=True),
        "empirical_likelihood": Validity(least_size=SMALL),
        "empirical_bernstein": Validity(least_size=0),
        "clopper_pearson": Validity(least_size=0, adaptive=True),
        "adaptively_weighted": Validity(adaptive=True),
        "confidence_sequence": Validity(least_size=0, adaptive=True, peeking=True),
        "drifting_sequence": Validity(least_size=0, adaptive=True, peeking=True, dependence=True),
    }
)
"""The conditions under which each interval is valid, by its name."""


def caveats(
    interval: str, *, effective_size: float, logger: Logger = "fixed", rewards: Rewards = "independent", num_looks: int = 1
) -> tuple[str, ...]:
    """Lists why an interval may cover less than it claims, and what to use instead.

    Args:
        interval: a key of `VALIDITY`.
        effective_size: of the importance weights, `Diagnostics.effective_size`.
        logger: "adaptive" if the logging policy learned from the rounds of this log.
        rewards: "dependent" if a round's reward depends on the rounds before it: by the hour, a campaign, or the visits of one user.
        num_looks: how often the log was looked at as it grew in order to decide when to stop, this time included.

    Returns:
        The reasons; none if the interval is valid.

    Raises:
        InvalidValue: an unknown name, or `num_looks` below 1.

    Example:
        >>> caveats("delta", effective_size=5000, num_looks=3)
        ('delta holds for one look at the log, and there were 3: use confidence_sequence',)
    """
    one_of("interval", interval, VALIDITY)
    one_of("logger", logger, ("fixed", "adaptive"))
    one_of("rewards", rewards, ("independent", "dependent"))
    if num_looks < 1:
        raise InvalidValue(f"num_looks must be at least 1, got {num_looks}.")
    valid = VALIDITY[interval]
    size = apart(effective_size, valid.least_size, ".1f")
    found = (
        (
            not valid.peeking and num_looks > 1,
            f"{interval} holds for one look at the log, and there were {num_looks}: use confidence_sequence",
        ),
        (
            not valid.adaptive and logger == "adaptive",
            f"{interval} assumes a logging policy that does not learn, and this one learned from the log: use "
            "confidence_sequence, or in Python `recsdk.ope.intervals.adaptively_weighted`",
        ),
        (
            not valid.dependence and rewards == "dependent",
            f"{interval} assumes independent rounds, and their rewards depend on one another: use moving_block or drifting_sequence",
        ),
        (
            not effective_size >= valid.least_size,
            f"effective size is {size}, below {valid.least_size}, where {interval} covers less than it claims: use "
            f"{'empirical_likelihood' if effective_size >= SMALL else 'clopper_pearson'} or confidence_sequence",
        ),
    )
    return tuple(reason for is_so, reason in found if is_so)
