"""The decision in a line of a decision-service log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, NamedTuple

from recsdk.errors import InvalidLog
from recsdk.rounding import given_chances, given_probs

TOLERANCE = 1e-4
"""Of the two places where a line has the choice's probability, which are written in float32 or to six digits."""


class Choice(NamedTuple):
    """One decision of a line.

    Attributes:
        available: indices into the line's candidates.
        action: the chosen one, among them.
        propensity: of the choice, in (0, 1].
        cost: minus the reward.
        slot: features of the slot, or empty.
    """

    available: list[int]
    action: int
    propensity: float
    cost: float
    slot: Mapping[str, Any]


def choices(event: Mapping[str, Any]) -> list[Choice]:
    """Returns the decisions of a line: one, or one for each slot from the first on.

    Raises:
        InvalidLog: naming what is missing, or does not go together.
    """
    if "_label_ca" in event:
        raise InvalidLog("a line must choose among candidates, got '_label_ca', a continuous action.")
    num_candidates = len(objects(event.get("c"), "_multi"))
    if "_outcomes" in event:
        return _slots(event, num_candidates)
    if "_labelIndex" not in event:
        raise InvalidLog(f"a line must have a label, '_labelIndex' or '_outcomes', got {sorted(event)!r:.200}.")
    return [_single(event, num_candidates)]


def objects(node: Any, key: str) -> list[Mapping[str, Any]]:
    """Returns the list of objects under a key.

    Raises:
        InvalidLog: when there is no such list, or nothing in it.
    """
    found = node.get(key) if isinstance(node, Mapping) else None
    if not isinstance(found, list) or not found or not all(isinstance(one, Mapping) for one in found):
        raise InvalidLog(f"{key} must be a list of objects, got {found!r:.80}.")
    return found


def number(node: Mapping[str, Any], key: str, is_good: Callable[[float], bool], wanted: str, default: float | None = None) -> float:
    """Returns the number under a key.

    Raises:
        InvalidLog: when it is missing without a default, not a finite number, or not `is_good`.
    """
    value = node.get(key, default)
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not isfinite(value) or not is_good(value):
        raise InvalidLog(f"{key} must be a finite number{wanted}, got {value!r:.80}.")
    return float(value)


def cost_of(node: Mapping[str, Any]) -> float:
    """Returns a cost, any finite number."""
    return number(node, "_label_cost", lambda _: True, "")


def propensity_of(node: Mapping[str, Any]) -> float:
    """Returns a logged probability, without its rounding error."""
    value = number(node, "_label_probability", lambda value: value > 0, " in (0, 1]")
    return float(given_chances("_label_probability", value, error=InvalidLog).values)


def _single(event: Mapping[str, Any], num_candidates: int) -> Choice:
    places = list(range(num_candidates))
    action, propensity = event["_labelIndex"], propensity_of(event)
    if type(action) is not int or action not in places or event.get("_label_Action", action + 1) != action + 1:
        raise InvalidLog(
            f"_labelIndex must be the index of one of {num_candidates} candidates, and _label_Action one more, "
            f"got {action!r} and {event.get('_label_Action')!r}."
        )
    if "p" in event:
        _check_probs("a", event.get("a"), event["p"], [place + 1 for place in places], action + 1, propensity)
    return Choice(places, action, propensity, cost_of(event), {})


def is_slate(event: Mapping[str, Any]) -> bool:
    """Tells whether a line's candidates belong to slots, which share one cost."""
    return "_outcomes" in event and any("_slot_id" in candidate for candidate in event["c"]["_multi"])


def _slots(event: Mapping[str, Any], num_candidates: int) -> list[Choice]:
    candidates = objects(event["c"], "_multi")
    slots, outcomes = objects(event["c"], "_slots"), objects(event, "_outcomes")
    if len(slots) != len(outcomes):
        raise InvalidLog(f"_outcomes must be one for each of {len(slots)} _slots, got {len(outcomes)}.")
    is_slates = is_slate(event)
    left, found = list(range(num_candidates)), []
    for position, (slot, outcome) in enumerate(zip(slots, outcomes, strict=True)):
        available = [place for place in left if candidates[place].get("_slot_id") == position] if is_slates else _included(slot, left)
        known = list(range(len(available))) if is_slates else available
        shown, probs = (value if isinstance(value := outcome.get(name), list) else [value] for name in ("_a", "_p"))
        if not _all_of(shown, int) or not _all_of(probs, int, float) or not shown or not probs or shown[0] not in known:
            raise InvalidLog(
                f"_a must begin with one of the candidates {known} that are left for slot {position}, and _p too, got {shown!r}."
            )
        propensity = propensity_of({"_label_probability": probs[0]})
        if len(shown) == len(known):
            _check_probs("_a", shown, probs, known, shown[0], propensity)
        action = available[shown[0]] if is_slates else shown[0]
        found.append(Choice(available, action, propensity, cost_of(event if is_slates else outcome), slot))
        left.remove(action)
    return found


def _included(slot: Mapping[str, Any], left: list[int]) -> list[int]:
    included = slot.get("_inc", left)
    if not _all_of(included, int):
        raise InvalidLog(f"_inc must be a list of candidates' indices, got {included!r:.80}.")
    return [place for place in left if place in included]


def _check_probs(name: str, shown: Any, probs: Any, known: list[int], chosen: int, propensity: float) -> None:
    """Refuses a distribution that is not one over the `known` candidates, or is not `propensity` at the `chosen` one."""
    good = _all_of(shown, int) and sorted(shown) == known and _all_of(probs, int, float) and len(probs) == len(known)
    if not good:
        raise InvalidLog(f"{name} and its probabilities must be those of the candidates {known}, got {shown!r} and {probs!r}.")
    given_probs(f"the probabilities of {name}", probs, error=InvalidLog)
    logged = probs[shown.index(chosen)]
    if abs(logged - propensity) > TOLERANCE * propensity:
        raise InvalidLog(f"the probability of candidate {chosen} must be {propensity}, got {logged!r}.")


def _all_of(values: Any, *kinds: type) -> bool:
    return isinstance(values, list) and all(type(value) in kinds for value in values)
