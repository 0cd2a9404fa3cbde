"""The floats of a config, taken out and put back: what lets one compiled program serve many settings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs


def values(config: Any) -> tuple[float, ...]:
    """Returns the numbers in the float fields of a config and of the configs within it, in order."""
    return tuple(float(value) for _, value in _walk("", config))


def named(config: Any) -> dict[str, Any]:
    """Returns every plain hyper-parameter by name; `policy.alpha` is the `alpha` of the config in the field `policy`."""
    return dict(_plain("", config))


def replaced(config: Any, numbers: Sequence[Any]) -> Any:
    """Returns a copy of a config with other floats, which may be tracers: its validators, which need numbers, do not run."""
    return _rebuild(config, iter(numbers))


def _branches(name: str, config: Any) -> Iterator[tuple[str, Any, bool]]:
    """Yields name, value, and whether it is a float, of what a config or a tuple holds."""
    if isinstance(config, tuple):
        for index, value in enumerate(config):
            yield f"{name}[{index}]", value, isinstance(value, float)
    elif _is_plain(config):
        for field in attrs.fields(type(config)):
            value = getattr(config, field.name)
            whole = isinstance(value, int) and not isinstance(value, bool) and field.type in (float, "float")
            yield f"{name}.{field.name}".lstrip("."), value, isinstance(value, float) or whole


def _is_plain(config: Any) -> bool:
    """Tells whether a config is its fields and nothing else: one that derives more from them cannot have them replaced."""
    return attrs.has(type(config)) and all(field.init for field in attrs.fields(type(config)))


def _walk(name: str, config: Any) -> Iterator[tuple[str, Any]]:
    for path, value, is_float in _branches(name, config):
        if is_float:
            yield path, value
        else:
            yield from _walk(path, value)


def _plain(name: str, config: Any) -> Iterator[tuple[str, Any]]:
    for path, value, _ in _branches(name, config):
        below = list(_plain(path, value))
        if below:
            yield from below
        elif value is None or isinstance(value, (bool, int, float, str)):
            yield path, value


def _rebuild(config: Any, numbers: Iterator[Any]) -> Any:
    parts = [next(numbers) if is_float else _rebuild(value, numbers) for _, value, is_float in _branches("", config)]
    if isinstance(config, tuple):
        return type(config)(*parts) if hasattr(config, "_fields") else tuple(parts)
    if not _is_plain(config):
        return config
    copy = object.__new__(type(config))
    for field, value in zip(attrs.fields(type(config)), parts, strict=True):
        object.__setattr__(copy, field.name, value)
    return copy
