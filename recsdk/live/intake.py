"""What an application hands to the recommender: parts, requests and names, checked once, here."""

from __future__ import annotations

import json
import types
from collections.abc import Iterable, Mapping, Set
from math import isfinite
from typing import Any

import numpy as np

from recsdk import plugins
from recsdk.data import requests_table
from recsdk.drivers.jitted import Jitted
from recsdk.errors import InvalidRequest, InvalidValue
from recsdk.scorers.function import FunctionScorer

LONGEST_ID = 128


def part(kind: str, given: Any) -> Any:
    """Returns a policy, scorer, encoder or ledger, by name or as a config.

    Raises:
        PluginError, UnknownPlugin: a name that cannot be had.
        InvalidValue: something that is no such part, or that another process could not tell apart from others.
    """
    wanted = f"{kind} must be given by name, as a config or"
    if isinstance(given, type):
        raise InvalidValue(f"{wanted} as an object, got the class {given.__name__}: call it, {given.__name__}().")
    found = plugins.load(kind, given) if isinstance(given, str) else given
    wanted_members = plugins.contract(kind)
    missing = [member for member in wanted_members if not hasattr(found, member)]
    if missing:
        raise InvalidValue(f"{wanted} as an object with {wanted_members}, got {found!r}, which lacks {missing}.")
    if " at 0x" in repr(found):  # the ledger keeps it, to recognise the part when the folder is opened again
        raise InvalidValue(f"{wanted} as an object whose repr is the same in every process, such as an attrs class has, got {found!r}.")
    return found


def policy(given: Any) -> Any:
    """Returns a policy that can run live: itself, or where it runs on JAX alone, compiled.

    Raises:
        MissingExtra: one for JAX, which is not installed.
        InvalidValue: one that runs on neither. Otherwise see `part`.
    """
    found = part("policies", given)
    return found if "numpy" in found.runs_on else Jitted(policy=found)


def scorers(given: Any) -> list[Any]:
    """Returns scorers; a plain function is one too.

    Raises:
        InvalidValue: something else than a sequence of scorers. Otherwise see `part`.
    """
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise InvalidValue(f"scorers must be a sequence of names, configs and functions, got {given!r}.")
    return [FunctionScorer(scorer) if isinstance(scorer, types.FunctionType) else part("scorers", scorer) for scorer in given]


def rules(given: Any) -> tuple[Any, ...]:
    """Returns business rules.

    Raises:
        InvalidValue: something else than a sequence of functions.
    """
    found = tuple(given) if isinstance(given, Iterable) else (None,)
    if not all(callable(rule) for rule in found):
        raise InvalidValue(f"rules must be a sequence of functions (request, items) -> bool[N], got {given!r}.")
    return found


def request(given: Any) -> dict[str, Any]:
    """Returns a request's features as plain values, which are what JSON makes of them.

    Raises:
        InvalidRequest: a feature that is not a str, a finite number, a bool, a list of str or None.
    """
    if not isinstance(given, Mapping):
        raise InvalidRequest(f"request must be a mapping of features by name, got {given!r}.")
    requests_table([given])
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in given.items()}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}


def ids(field: str, given: Any) -> list[str]:
    """Returns item ids; one str is not taken for many of one letter each.

    Raises:
        InvalidRequest: naming the argument.
    """
    if isinstance(given, (str, bytes, Mapping)) or not isinstance(given, Iterable):
        raise InvalidRequest(f"{field} must be a sequence of item ids, got {given!r}.")
    found = list(given)
    for item_id in found:
        if not isinstance(item_id, str):
            raise InvalidRequest(f"{field} must be item ids of type str, got {item_id!r}.")
    return found


def candidates(given: Any) -> list[str]:
    """Returns the item ids to choose from.

    Raises:
        InvalidRequest: a set, since a repeated call could have another order. Otherwise see `ids`.
    """
    if isinstance(given, Set):
        raise InvalidRequest(f"candidates must be in an order that lasts, such as a list has, got the set {given!r}.")
    return ids("candidates", given)


def is_name(value: Any) -> bool:
    """Tells whether a value can name a decision or a reward: a str of 1 to 128 bytes."""
    try:
        return isinstance(value, str) and 0 < len(value.encode()) <= LONGEST_ID
    except UnicodeEncodeError:
        return False


def name(field: str, value: Any) -> str:
    """Returns the name of a decision or a reward.

    Raises:
        InvalidRequest: naming the argument.
    """
    if not is_name(value):
        raise InvalidRequest(f"{field} must be a str of 1 to {LONGEST_ID} bytes in UTF-8, got {value!r:.200}.")
    return str(value)


def seconds(value: Any) -> float:
    """Returns the time that a clock gave.

    Raises:
        InvalidValue: when it is not finite.
    """
    if not isinstance(value, (int, float, np.integer, np.floating)) or isinstance(value, bool) or not isfinite(value):
        raise InvalidValue(f"clock must return finite seconds since the epoch, got {value!r}.")
    return float(value)


def canonical(value: Any) -> str:
    """Writes plain values as JSON that is the same for equal values.

    Raises:
        InvalidRequest: a number that is not finite, or text that UTF-8 cannot hold.
    """
    try:
        text = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)
        text.encode()
    except ValueError as error:
        raise InvalidRequest(f"What is stored must be finite numbers and text that UTF-8 can hold, got {value!r:.200}: {error}.") from error
    return text
