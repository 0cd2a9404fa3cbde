"""The events of a decision-service log: which lines hold one, and what a name stands for that is there several times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from recsdk.datasets.files import json_object
from recsdk.errors import InvalidLog
from recsdk_vw.encoding import Several

MAX_DIGITS = 300
"""Of a whole number, so that it is a float."""
CHECKPOINT = b"[checkpoint]"
"""Begins the lines that a joiner writes between events."""


def parsed(line: bytes) -> dict[str, Any]:
    """Returns a line's event.

    Raises:
        InvalidLog: what is not one JSON object, or names something twice with other values.
    """
    event = json_object(line, twice=_several, integer=_integer)
    for name, value in event.items():
        if isinstance(value, Several):
            event[name] = _agreed(name, value.values)
    return event


def reason_to_skip(event: Mapping[str, Any]) -> str:
    """Returns why an event is no decision that was shown, or "".

    Raises:
        InvalidLog: a mark that is not true or false.
    """
    for name in ("_skipLearn", "_deferred"):
        value = event.get(name, False)
        if not isinstance(value, bool):
            raise InvalidLog(f"{name} must be true or false, got {value!r:.80}.")
        if value:
            return name
    is_reward = "c" not in event and not any(name.startswith(("_label", "_outcomes")) for name in event)
    return "reward alone" if is_reward and {"RewardValue", "Observations"} & set(event) else ""


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"{digits:.20}... is too long a number")
    return int(digits)


def _several(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Returns an object in which a feature may be there several times; what begins with `_` may not, unless the values agree."""
    found: dict[str, list[Any]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return {name: _one(name, values) for name, values in found.items()}


def _one(name: str, values: list[Any]) -> Any:
    if len(values) == 1:
        return values[0]
    if name.startswith("_") and name != "_text":
        return _agreed(name, values)
    return Several(tuple(values))


def _agreed(name: str, values: Sequence[Any]) -> Any:
    if any(value != values[0] for value in values):
        raise InvalidLog(f"a name is there twice: {name!r}, with other values.")
    return values[0]


def text_of(field: str, value: Any) -> str:
    """Returns an identifier as text, "" where it is missing.

    Raises:
        InvalidLog: what is neither text nor a number.
    """
    if value is None or isinstance(value, str):
        return value or ""
    if type(value) not in (int, float):
        raise InvalidLog(f"{field} must be text or a number, got {value!r:.80}.")
    return str(value)
