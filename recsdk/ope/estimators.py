"""Estimators by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from recsdk.errors import InvalidValue, one_of
from recsdk.ope.checked import Rounds
from recsdk.ope.model_based import dm, dr, sndr
from recsdk.ope.terms import Terms
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
    """Returns the estimators that are asked for, by name, in their order.

    Raises:
        InvalidValue: none, a name that is not known, or what is no function.

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
