"""Validators of a config's fields, for attrs; those of numbers stand in `recsdk.checks`."""

from __future__ import annotations

from typing import Any

from recsdk.checks import Validator
from recsdk.errors import InvalidValue, one_of


def choice(*allowed: str) -> Validator:
    """Returns a validator for one of some names."""

    def validate(instance: Any, field: Any, value: Any) -> None:
        one_of(f"{type(instance).__name__}.{field.name}", value, allowed)

    return validate


def _text(wanted: str) -> Validator:
    def validate(instance: Any, field: Any, value: Any) -> None:
        if not isinstance(value, str) or not value:
            raise InvalidValue(f"{type(instance).__name__}.{field.name} must be {wanted}, got {value!r}.")

    return validate


def as_tuple(given: Any) -> Any:
    """Returns a list as a tuple, for a converter; anything else as it is, for `some_texts` to refuse."""
    return tuple(given) if isinstance(given, list) else given


def some_texts(instance: Any, field: Any, value: Any) -> None:
    """Refuses what is no tuple of at least one text, such as one text alone."""
    if not isinstance(value, tuple) or not value or not all(isinstance(text, str) for text in value):
        raise InvalidValue(f"{type(instance).__name__}.{field.name} must be a tuple of texts, such as ('price',), got {value!r}.")


some_text = _text("a text that is not empty")
feature_name = _text("the name of a request's feature")
file_name = _text("the name of a file, a str")
