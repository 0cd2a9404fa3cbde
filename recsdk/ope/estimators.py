"""Estimators by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from recsdk.errors import InvalidValue, one_of
from recsdk.ope._importance import ips, snips
from recsdk.ope._rounds import Rounds
from recsdk.ope.matched import matched_mean
from recsdk.ope.model_based import dm, dr, sndr
from recsdk.ope.terms import Terms

Estimator = Callable[[Rounds], Terms]

ESTIMATORS: Mapping[str, Estimator] = MappingProxyType(
    {"ips": ips, "snips": snips, "dm": dm, "dr": dr, "sndr": sndr, "matched": matched_mean}
)
"""Estimators by name; each takes `Rounds` and gives `Terms`, row by row: the terms of a block of a log are those of its rows."""

WITH_MODEL = ("dm", "dr", "sndr")


def named(estimators: Sequence[str] | Mapping[str, Estimator]) -> dict[str, Estimator]:
    """Returns the estimators that are asked for, by name, in their order.

    Raises:
        InvalidValue: none, or a name that is not known.
    """
    if not estimators or isinstance(estimators, str):
        raise InvalidValue(f"estimators must be names among {tuple(ESTIMATORS)}, or functions by name, got {estimators!r}.")
    if isinstance(estimators, Mapping):
        return dict(estimators)
    for name in estimators:
        one_of("estimators", name, ESTIMATORS)
    return {name: ESTIMATORS[name] for name in estimators}
