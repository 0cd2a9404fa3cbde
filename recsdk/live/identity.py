"""The identity of a part: its plugin, schema version and settings, by which a folder recognises it.

A part is the same part as long as its plugin's name, its `schema_version` and its settings are the same. Settings are the fields of its
attrs class that are compared and shown; a field that an older version did not have counts as its default. Where the class stands, how it
prints, and fields with `eq=False` or `repr=False` are no part of it. A function is known by its name. A policy that a folder knows inside
`Jitted` is the same one on NumPy.
"""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Collection
from typing import Any

import attrs
import numpy as np

from recsdk import plugins
from recsdk.errors import InvalidValue

MAIN = "__main__"
JITTED = "Jitted"
"""The class around a policy that once ran on JAX alone: the same policy on NumPy has the same state, up to rounding."""


def identity(part: Any) -> dict[str, Any]:
    """Describes a part in plain JSON: the plugin's name or None, the class, the schema version, and the settings.

    Raises:
        InvalidValue: a setting that another process could not tell apart from others.

    Example:
        >>> from recsdk.scorers.recency import Recency
        >>> identity(Recency(half_life=60.0))
        {'name': 'recency', 'class': 'recsdk.scorers.recency:Recency', 'version': 1, 'settings': {'half_life': 60.0}}
    """
    kind = type(part)
    where = f"{kind.__module__}:{kind.__qualname__}"
    settings = {field.name: _plain(getattr(part, field.name)) for field in _fields(part)} if attrs.has(kind) else {"repr": _repr(part)}
    return {"name": plugins.names().get(where), "class": where, "version": getattr(kind, "schema_version", 1), "settings": settings}


def differences(stored: Any, part: Any, *, besides: Collection[str] = ()) -> list[str]:
    """Tells in what a part differs from a stored identity; nothing when it is the same.

    Args:
        stored: from `identity`, by way of JSON; or the `repr` of a part, which folders once kept; or None.
        part: the part as given now.
        besides: settings that are not compared, in the part and in those that it is made of.

    Example:
        >>> from recsdk.scorers.recency import Recency
        >>> stored = identity(Recency(half_life=60.0))
        >>> differences(stored, Recency(half_life=60.0)), differences(stored, Recency(half_life=90.0))
        ([], ['half_life was 60.0, is 90.0'])
    """
    if stored is None or part is None:
        return [] if stored is part else [f"was {told(stored)}, is {told(None if part is None else identity(part))}"]
    if isinstance(stored, str):
        if stored == repr(part):
            return []
        stored = _from_repr(stored)
    present = identity(part)
    if stored["class"].rpartition(":")[2] == JITTED != present["class"].rpartition(":")[2]:
        return differences(stored["settings"].get("policy"), part, besides=besides)
    if not _is_same_kind(stored, present):
        return [f"was {told(stored)}, is {told(present)}"]
    found = []
    if stored.get("version", 1) != present["version"]:
        found.append(f"its schema_version was {stored.get('version', 1)}, is {present['version']}")
    if not attrs.has(type(part)):
        return found + ([] if stored["settings"] == present["settings"] else [f"was {told(stored)}, is {told(present)}"])
    fields = {field.name: field for field in _fields(part) if field.name not in besides}
    for name, field in fields.items():
        old = stored["settings"][name] if name in stored["settings"] else _plain(_default(part, field))
        found += _changes(name, old, getattr(part, name), besides)
    known = {field.name for field in attrs.fields(type(part))}.union(besides)
    return found + [f"{name} was {value!r}, is no setting now" for name, value in stored["settings"].items() if name not in known]


def told(stored: Any) -> str:
    """Names a stored identity in a message."""
    if stored is None or isinstance(stored, str):
        return str(stored)
    settings = ", ".join(f"{name}={told(value) if _is_identity(value) else repr(value)}" for name, value in stored["settings"].items())
    return f"{stored.get('name') or stored['class'].rpartition(':')[2]}({settings})"


def _changes(name: str, old: Any, value: Any, besides: Collection[str]) -> list[str]:
    if attrs.has(type(value)) and _is_identity(old):
        return [f"{name}: {change}" for change in differences(old, value, besides=besides)]
    if isinstance(value, (tuple, list)) and isinstance(old, list) and len(old) == len(value):
        return [
            change for index, pair in enumerate(zip(old, value, strict=True)) for change in _changes(f"{name}[{index}]", *pair, besides)
        ]
    new = json.loads(json.dumps(_plain(value)))
    return [] if old == new else [f"{name} was {old!r}, is {new!r}"]


def _is_same_kind(stored: dict[str, Any], present: dict[str, Any]) -> bool:
    if stored.get("name") is not None and stored["name"] == present["name"]:
        return True
    (module, _, name), (other, _, other_name) = stored["class"].rpartition(":"), present["class"].rpartition(":")
    if module in ("", MAIN) or other == MAIN:
        return bool(name == other_name.rpartition(">.")[2])
    return bool(stored["class"] == present["class"])


def _is_identity(value: Any) -> bool:
    return isinstance(value, dict) and "class" in value and "settings" in value


def _fields(part: Any) -> list[attrs.Attribute]:
    return [field for field in attrs.fields(type(part)) if field.eq and field.repr]


def _default(part: Any, field: attrs.Attribute) -> Any:
    default: Any = field.default
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]  # a class, whatever its stub says
        return default.factory(part) if default.takes_self else default.factory()
    return "nothing" if default is attrs.NOTHING else default


def _plain(value: Any) -> Any:
    """Returns a setting as plain JSON."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, (tuple, list)):
        return [_plain(element) for element in value]
    if isinstance(value, (set, frozenset)):
        return sorted(map(_repr, value))
    if isinstance(value, dict):
        return {str(key): _plain(element) for key, element in value.items()}
    if attrs.has(type(value)):
        return identity(value)
    if callable(value) and isinstance(getattr(value, "__name__", None), str):
        return value.__name__
    return _repr(value)


def _repr(value: Any) -> str:
    text = repr(value)
    if " at 0x" in text:  # the ledger keeps it, to recognise the part when the folder is opened again
        raise InvalidValue(f"A part must be an object whose repr is the same in every process, such as an attrs class has, got {text}.")
    return text


def _from_repr(text: str) -> dict[str, Any]:
    """Reads an identity from the `repr` of an attrs class; nothing is evaluated."""
    try:
        read = _read(ast.parse(text, mode="eval").body)
    except SyntaxError:
        read = text
    return read if _is_identity(read) else {"class": text, "settings": {}}


def _read(node: ast.expr) -> Any:
    if isinstance(node, ast.Call):
        return {"class": ast.unparse(node.func), "settings": {keyword.arg: _read(keyword.value) for keyword in node.keywords}}
    if isinstance(node, (ast.Tuple, ast.List)):
        return [_read(element) for element in node.elts]
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node).rpartition(".")[2]  # a function, by its name
