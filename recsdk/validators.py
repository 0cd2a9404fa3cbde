"""Validators of a config's fields, for attrs; those of numbers stand in `recsdk.checks`."""

from __future__ import annotations

from typing import Any

from recsdk.checks import Validator, require_number
from recsdk.errors import InvalidValue, one_of


def choice(*allowed: str) -> Validator:
    """Returns a validator for one of some names."""

    def validate(instance: Any, field: Any, value: Any) -> None:
        one_of(f"{type(instance).__name__}.{field.name}", value, allowed)

    return validate


def share(instance: Any, field: Any, value: Any) -> None:
    """Refuses what is not in [0, 1)."""
    name = f"{type(instance).__name__}.{field.name}"
    require_number(name, value, at_least=0)
    if value >= 1:
        raise InvalidValue(f"{name} must be below 1, got {value!r}.")


def _text(wanted: str) -> Validator:
    def validate(instance: Any, field: Any, value: Any) -> None:
        if not isinstance(value, str) or not value:
            raise InvalidValue(f"{type(instance).__name__}.{field.name} must be {wanted}, got {value!r}.")

    return validate


feature_name = _text("the name of a request's feature")
file_name = _text("the name of a file, a str")
