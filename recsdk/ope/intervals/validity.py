"""Which interval is valid when."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

from recsdk.errors import InvalidValue, one_of

ENOUGH = 1000
"""Effective size from which intervals by the normal distribution cover what they claim; 93 % instead of 95 % at 37."""
SMALL = 30
"""The same for `empirical_likelihood`, which covered in logs of an effective size of 4 too, but not in all worlds."""

Logger = Literal["fixed", "adaptive"]
Rewards = Literal["independent", "dependent"]


class Validity(NamedTuple):
    """The conditions under which an interval is valid.

    Attributes:
        least_size: effective size from which it holds.
        adaptive: holds when the logger learned from the log.
        peeking: holds when the log was looked at before.
        dependence: holds when a round's reward depends on those just before.

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
"""Of each interval, what it stands."""


def caveats(
    interval: str, *, effective_size: float, logger: Logger = "fixed", rewards: Rewards = "independent", num_looks: int = 1
) -> tuple[str, ...]:
    """Says why an interval may cover less than it claims, and what to take instead; empty when it does not.

    Args:
        interval: a name of `VALIDITY`.
        effective_size: of the importance weights, `Diagnostics.effective_size`.
        logger: "adaptive" when the logger learned from the rounds of this log.
        rewards: "dependent" when a round's reward depends on those before it: the hour, a campaign, a user's visits side by side.
        num_looks: times that the log was looked at as it grew, this one included, with a view to stop.

    Raises:
        InvalidValue: an unknown name, or no look.

    Example:
        >>> caveats("delta", effective_size=5000, num_looks=3)
        ('delta holds for one look at the log, and there were 3: use confidence_sequence',)
    """
    one_of("interval", interval, VALIDITY)
    one_of("logger", logger, ("fixed", "adaptive"))
    one_of("rewards", rewards, ("independent", "dependent"))
    if num_looks < 1:
        raise InvalidValue(f"num_looks must be at least 1, this one, got {num_looks}.")
    stands = VALIDITY[interval]
    found = (
        (
            not stands.peeking and num_looks > 1,
            f"{interval} holds for one look at the log, and there were {num_looks}: use confidence_sequence",
        ),
        (
            not stands.adaptive and logger == "adaptive",
            f"{interval} assumes a logging policy that does not learn, and this one learned from the log: use adaptively_weighted or "
            "confidence_sequence",
        ),
        (
            not stands.dependence and rewards == "dependent",
            f"{interval} assumes independent rounds, and their rewards depend on one another: use moving_block or drifting_sequence",
        ),
        (
            not effective_size >= stands.least_size,
            f"effective size is {effective_size:.1f}, below {stands.least_size}, where {interval} covers less than it claims: use "
            f"{'empirical_likelihood' if effective_size >= SMALL else 'clopper_pearson'} or confidence_sequence",
        ),
    )
    return tuple(reason for holds, reason in found if holds)
