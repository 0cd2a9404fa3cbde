"""Parts inside of a scorer, given by name or as configs."""

from __future__ import annotations

from typing import Any

from recsdk import plugins
from recsdk.errors import InvalidValue


def member(kind: str, given: Any) -> Any:
    """Makes a part of a name; a config is one already."""
    return plugins.load(kind, given) if isinstance(given, str) else given


def members(kind: str, given: Any) -> Any:
    """Makes a tuple of parts of names and configs."""
    return tuple(member(kind, each) for each in given) if isinstance(given, (tuple, list)) else given


def check(kind: str, where: str, given: Any) -> None:
    """Refuses what is no part of a kind.

    Raises:
        InvalidValue: what lacks a member of the contract.
    """
    missing = [name for name in plugins.contract(kind) if name not in dir(given)]
    if missing or isinstance(given, type):
        raise InvalidValue(f"{where} must be one of the {kind}, by name or as a config, got {given!r}, which lacks {missing}.")


def encoder(given: Any) -> Any:
    """Converts the field of a config that holds an encoder."""
    return member("encoders", given)


def is_encoder(instance: Any, field: Any, value: Any) -> None:
    """Validates such a field."""
    check("encoders", f"{type(instance).__name__}.{field.name}", value)
