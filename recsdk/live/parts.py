"""From the identity of a part, which a folder keeps, back to the part: what the installed plugins and recsdk itself can make."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import attrs

from recsdk import plugins
from recsdk.errors import LedgerMismatch, RecsdkError
from recsdk.live.identity import differences, told


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


def _factory(stored: Any) -> Callable[..., Any]:
    if isinstance(stored, str):
        raise LedgerMismatch("an older recsdk has written no more than its text; open the folder once.")
    where = stored["class"]
    for plugin in plugins.listing().plugins:
        if plugin.value == where or (stored["name"] is not None and plugin.name == stored["name"] and plugin.kind != "ledgers"):
            return plugins.resolve(plugin)
    module, _, name = where.partition(":")
    found = getattr(importlib.import_module(module), name, None) if module.startswith("recsdk.") else None
    if not (isinstance(found, type) and attrs.has(found)):
        raise LedgerMismatch("it is no installed plugin.")
    return found


def _value(value: Any) -> Any:
    if isinstance(value, dict) and "class" in value and "settings" in value:
        return built(value)
    return tuple(map(_value, value)) if isinstance(value, list) else value
