"""From the identities of parts, which a folder keeps, back to the parts: what the installed plugins and recsdk itself can make."""

from __future__ import annotations

import bisect
import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import attrs

from recsdk import plugins
from recsdk.base import Encoder, Policy, Scorer
from recsdk.errors import LedgerMismatch, RecsdkError
from recsdk.ledger import DecisionRecord, Ledger
from recsdk.live import made
from recsdk.live.identity import differences, told
from recsdk.live.made import Made
from recsdk.live.trials import GIVEN


class TrialParts(NamedTuple):
    """The policies of a trial, as `Recommender.open` takes them.

    Attributes:
        policy: given as `policy`.
        challengers: by name.
    """

    policy: Policy[Any]
    challengers: dict[str, Policy[Any]]


def built(stored: Any) -> Any:
    """Builds the part that an identity describes. Only installed plugins and recsdk's own classes are imported, whatever is stored.

    Raises:
        LedgerMismatch: a part that is no plugin, such as a function of the application; or one that cannot be made as it was.

    Example:
        >>> from recsdk.live.identity import identity
        >>> from recsdk.scorers.recency import Recency
        >>> built(identity(Recency(half_life=60.0)))
        Recency(half_life=60.0)
    """
    try:
        part = _factory(stored)(**{name: _value(value) for name, value in stored["settings"].items()})
        changes = differences(stored, part)
    except (RecsdkError, TypeError, ValueError, KeyError) as error:
        raise LedgerMismatch(f"{told(stored)} cannot be made from its name and settings, so give the part itself: {error}") from error
    if changes:
        raise LedgerMismatch(f"{told(stored)} cannot be made again as it was: {'; '.join(changes)}. Give the part itself.")
    return part


def known_of(ledger: Ledger, scorers: Sequence[Scorer[Any]] = ()) -> Made:
    """Returns what a folder says of its models, given the scorers that are known.

    Raises:
        LedgerMismatch: a folder that nobody has opened yet.
    """
    known = made.read(ledger, scorers)
    if known is None:
        raise LedgerMismatch("The folder must have been opened by a recommender once, which says of what it is made.")
    return known


def scorers_of(known: Made) -> list[Scorer[Any]]:
    """Builds the present scorers, in their order."""
    return [built(known.scorers[number].part) for number in known.present]


def encoder_of(known: Made) -> Encoder[Any] | None:
    """Builds the encoder; None where there is none."""
    return None if known.vectors == "none" else built(known.encoder)


def latest(ledger: Ledger, num: int) -> list[DecisionRecord]:
    """Returns the last `num` decisions, or all there are. How many, it finds by halving: to read a long log takes a while."""
    most = 1
    while _has_more(ledger, most):
        most *= 2
    found = bisect.bisect_left(range(most), True, key=lambda number: not _has_more(ledger, number))
    return list(ledger.decisions(max(found - num, 0)))


def _has_more(ledger: Ledger, number: int) -> bool:
    return next(iter(ledger.decisions(number)), None) is not None


def policy_of(ledger: Ledger) -> Policy[Any]:
    """Builds the policy of a folder: that of its snapshot or, before the first one, that of its last decision.

    Raises:
        LedgerMismatch: neither is there.
    """
    header = json.loads(ledger.get("snapshot/header") or "{}")
    last = None if header else next(iter(latest(ledger, 1)), None)
    if not header and last is None:
        raise LedgerMismatch("The folder must have a snapshot or a decision, to say which policy learned: give policy=.")
    policy: Policy[Any] = built((header if last is None else json.loads(last.parts))["policy"])
    return policy


def trial_of(roles: Mapping[str, Any], champion: Policy[Any], given: Mapping[str, Policy[Any]] = MappingProxyType({})) -> TrialParts:
    """Builds the policies of a folder's trial, but for those that are there.

    Args:
        roles: that the folder keeps.
        champion: the policy that decides.
        given: others, by name.
    """
    names = [name for name in roles["policies"] if name != roles["champion"]]
    policies = {name: given.get(name) or built(roles["policies"][name]["part"]) for name in names} | {roles["champion"]: champion}
    return TrialParts(policies.pop(GIVEN), policies)


def _factory(stored: Any) -> Callable[..., Any]:
    if isinstance(stored, str):
        raise LedgerMismatch("an older recsdk has written no more than its text; open the folder once.")
    plugin = _plugin(stored, plugins.known().plugins)
    if plugin is None:
        module, _, name = stored["class"].partition(":")
        own = getattr(importlib.import_module(module), name, None) if module.startswith("recsdk.") else None
        if isinstance(own, type) and attrs.has(own):
            return own
        plugin = _plugin(stored, plugins.listing().plugins)
    if plugin is None:
        raise LedgerMismatch("it is no installed plugin.")
    return plugins.resolve(plugin)


def _plugin(stored: Any, found: Sequence[plugins.Plugin]) -> plugins.Plugin | None:
    where, name = stored["class"], stored["name"]
    return next((one for one in found if one.value == where or (name is not None and one.name == name and one.kind != "ledgers")), None)


def _value(value: Any) -> Any:
    if isinstance(value, dict) and "class" in value and "settings" in value:
        return built(value)
    return tuple(map(_value, value)) if isinstance(value, list) else value
