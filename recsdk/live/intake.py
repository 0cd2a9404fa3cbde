"""Checks of what an application gives to the recommender: parts, items, history, requests, rewards and names."""

from __future__ import annotations

import json
import types
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any, Literal

import attrs
import numpy as np

from recsdk import plugins, times
from recsdk.base import Events, Items
from recsdk.checks import check_reward, is_number, require_integer, require_number
from recsdk.columns import check_features
from recsdk.data import events_from_rows, items_from_rows, take_events, warn_of_skipped
from recsdk.drivers.jitted import Jitted
from recsdk.errors import InvalidLog, InvalidRequest, InvalidReward, InvalidValue, TooManyCandidates, UnknownItem, nearest, one_of, quoted
from recsdk.ledger import PAGE
from recsdk.live.identity import identity
from recsdk.rows import plain_rows
from recsdk.scorers.function import FunctionScorer

PLAIN = (str, float, int, bool, type(None))
LONGEST_ID = 128
MOST_CANDIDATES = 10_000
_encode = json.JSONEncoder(sort_keys=True, ensure_ascii=False, allow_nan=False).encode  # `json.dumps` makes one at each call
LARGEST_REWARD = 1e15
"""Sums of squares of larger rewards would overflow in float32, and a policy would not recover."""


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
    if kind != "ledgers":
        identity(found)  # refuses a part that could not be recognised when the folder is opened again
    return found


def policy(given: Any) -> Any:
    """Returns a policy that can run live: itself, or where it runs on JAX alone, compiled.

    Raises:
        MissingExtra: one for JAX, which is not installed.
        InvalidValue: one that runs on neither. Otherwise see `part`.
    """
    found = part("policies", given)
    return found if "numpy" in found.runs_on else Jitted(policy=found)


def challengers(trials: Any) -> list[Any]:
    """Returns the policies of trials, which can run live; none without trials.

    Raises:
        InvalidValue: what is no `recsdk.Trials`. Otherwise see `policy`.
    """
    if trials is None:
        return []
    if not attrs.has(type(trials)) or not hasattr(trials, "challengers"):
        raise InvalidValue(f"trials must be a recsdk.Trials, got {trials!r}.")
    return [policy(found) for _, found in trials.challengers]


def scorers(given: Any) -> list[Any]:
    """Returns scorers; a plain function is one too.

    Raises:
        InvalidValue: something else than a sequence of scorers. Otherwise see `part`.
    """
    if isinstance(given, str) or not _iterates(given):
        raise InvalidValue(f"scorers must be a sequence of names, configs and functions, got {given!r}.")
    return [FunctionScorer(scorer) if isinstance(scorer, types.FunctionType) else part("scorers", scorer) for scorer in given]


def rules(given: Any) -> tuple[Any, ...]:
    """Returns business rules.

    Raises:
        InvalidValue: something else than a sequence of functions.
    """
    found = tuple(given) if _iterates(given) else (None,)
    if not all(callable(rule) for rule in found):
        raise InvalidValue(f"rules must be a sequence of functions (request, items) -> bool[N], got {given!r}.")
    return found


def retriever(given: Any, dim: int) -> Any:
    """Returns a retriever that can do with vectors of width `dim`.

    Raises:
        InvalidValue: one that needs vectors where there is no encoder. Otherwise see `part`.
    """
    found = part("retrievers", given)
    if found.uses_vectors and not dim:
        raise InvalidValue(f"retriever must do without vectors where there is no encoder, got {found!r}: give an encoder, or 'sampled'.")
    return found


def observer(given: Any) -> Any:
    """Returns an observer, or None.

    Raises:
        InvalidValue: what cannot be called.
    """
    if given is not None and not callable(given):
        raise InvalidValue(f"observer must be a function of one record, such as recsdk.live.observe.LogObserver(), got {given!r}.")
    return given


def clock(given: Any) -> Callable[[], float]:
    """Returns a clock.

    Raises:
        InvalidValue: what cannot be called.
    """
    if not callable(given):
        raise InvalidValue(f"clock must be a function that returns seconds since the epoch, got {given!r}.")
    found: Callable[[], float] = given
    return found


def items(given: Any, now: float) -> Items:
    """Returns a catalogue; items without a time of entry enter now.

    Raises:
        InvalidRequest: what is neither `Items` nor rows of items, or a time in the future. Otherwise see `items_from_rows`.
    """
    if not isinstance(given, Items):
        return items_from_rows(plain_rows("items", given), time=now, now=now)
    times.seconds("added", given.added, now=now, error=InvalidRequest)
    return given


def events(catalogue: Items, given: Any, now: float, unknown_items: Literal["refuse", "skip"]) -> Events:
    """Returns what happened to the items of a catalogue before the loop.

    Raises:
        InvalidLog: what is neither `Events` nor rows of events, or a time in the future. Otherwise see `events_from_rows`.
    """
    one_of("unknown_items", unknown_items, ("refuse", "skip"))
    if not isinstance(given, Events):
        return events_from_rows(catalogue, plain_rows("history", given, error=InvalidLog), now=now, unknown_items=unknown_items)
    times.seconds("time", given.time, now=now, error=InvalidLog)
    place = {item_id: index for index, item_id in enumerate(catalogue.ids.tolist())}
    index = np.array([place.get(item_id, -1) for item_id in given.items.ids.tolist()], np.int64)[given.item]
    known = index >= 0
    if not known.all() and unknown_items == "refuse":
        name = given.items.ids[given.item[~known][0]]
        raise UnknownItem(f"history must be about items of the catalogue, got {name!r}.{nearest(name, place)}")
    warn_of_skipped(index, given.items.ids[given.item].tolist())
    return take_events(given._replace(items=catalogue, item=index), known)


def reward_range(given: Any) -> tuple[float, float] | None:
    """Returns the least and the largest reward.

    Raises:
        InvalidValue: what is no pair of finite numbers in rising order.
    """
    if given is None:
        return None
    if not isinstance(given, Sequence) or isinstance(given, str) or len(given) != 2:
        raise InvalidValue(f"reward_range must be the least and the largest reward, such as (0, 1), got {given!r}.")
    for bound in given:
        require_number("reward_range", bound, at_least=-LARGEST_REWARD, at_most=LARGEST_REWARD)
    if not given[0] < given[1]:
        raise InvalidValue(f"reward_range must be the least and the largest reward, such as (0, 1), got {given!r}.")
    return float(given[0]), float(given[1])


def reward(value: Any, allowed: tuple[float, float] | None) -> None:
    """Refuses a reward that is not a finite number, or outside of the declared range.

    Raises:
        InvalidReward: with the range.
    """
    check_reward(value)
    low, high = allowed or (-LARGEST_REWARD, LARGEST_REWARD)
    if not low <= value <= high:
        what = "reward_range of this folder" if allowed else "largest range: declare reward_range"
        raise InvalidReward(f"reward must lie in [{low:g}, {high:g}], the {what}, got {value!r}.")


def request(given: Any) -> dict[str, Any]:
    """Returns a request's features as plain values, which are what JSON makes of them.

    Raises:
        InvalidRequest: a feature that is not a str, a finite number, a bool, a list of str or None.
    """
    if not isinstance(given, Mapping):
        raise InvalidRequest(f"request must be a mapping of features by name, got {given!r}.")
    check_features(given)
    return {name: value if type(value) in PLAIN else _plain(value) for name, value in given.items()}


def _plain(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return list(value) if isinstance(value, tuple) else value


def user(given: Any, request: Mapping[str, Any]) -> str | None:
    """Returns the user's key as text: the one given, or the request's "user_id", or None.

    Raises:
        InvalidRequest: what is neither a str that is not empty nor a whole number.
    """
    field, value = ("user", given) if given is not None else ("user_id", request.get("user_id"))
    if value is None:
        return None
    if not isinstance(value, (str, int)) or isinstance(value, bool) or value == "":
        raise InvalidRequest(f"{field} must be the user's key, a str that is not empty or a whole number, got {quoted(value)}.")
    try:
        str(value).encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest(f"{field} must be text that UTF-8 can hold, got {value!r}.") from error
    return str(value)


def ids(field: str, given: Any) -> list[str]:
    """Returns item ids; one str is not taken for many of one letter each.

    Raises:
        InvalidRequest: naming the argument.
    """
    if isinstance(given, (str, bytes, Mapping)) or not _iterates(given):
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
        TooManyCandidates: more than `MOST_CANDIDATES`.
    """
    if isinstance(given, Set):
        raise InvalidRequest(f"candidates must be in an order that lasts, such as a list has, got the set {given!r}.")
    found = ids("candidates", given)
    if len(found) > MOST_CANDIDATES:
        remedy = "Leave candidates out, and the catalogue finds num_candidates items in all of it"
        raise TooManyCandidates(f"candidates must name at most {MOST_CANDIDATES} items, got {len(found)}. {remedy}.")
    return found


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


def position(value: Any) -> int | None:
    """Returns a position in a slate, `PAGE` for "page", or None.

    Raises:
        InvalidValue: what is none of these.
    """
    if value is None or value == "page":
        return PAGE if value else None
    require_integer("position", value, at_least=0)
    return int(value)


def happened(value: Any, now: float) -> float | None:
    """Returns when something happened, by the application's clock: at the latest now.

    Raises:
        InvalidValue: a time in another unit than seconds, or more than a day after the recommender's clock.
    """
    if value is None:
        return None
    require_number("time", value)
    if value > now + times.DAY:
        unit = "in milliseconds or a finer unit" if value > times.LAST else "more than a day after the recommender's clock"
        raise InvalidValue(f"time must be seconds since the epoch, got {value!r}, which is {unit}; that clock says {now}.")
    return min(float(value), now) + 0.0


def seconds(value: Any) -> float:
    """Returns the time that a clock gave.

    Raises:
        InvalidValue: what is not finite, or too large for seconds.
    """
    if not is_number(value):
        raise InvalidValue(f"clock must return finite seconds since the epoch, got {value!r}.")
    if value > times.LAST:
        raise InvalidValue(f"clock must return seconds since the epoch, got {value!r}, as of milliseconds or a finer unit.")
    return float(value)


def _iterates(given: Any) -> bool:
    try:
        iter(given)
    except TypeError:  # also of an array without an axis
        return False
    return True


def canonical(value: Any) -> str:
    """Writes plain values as JSON that is the same for equal values.

    Raises:
        InvalidRequest: a number that is not finite, or text that UTF-8 cannot hold.
    """
    try:
        text = _encode(value)
        if not text.isascii():
            text.encode()
    except ValueError as error:
        raise InvalidRequest(f"What is stored must be finite numbers and text that UTF-8 can hold, got {value!r:.200}: {error}.") from error
    return text
