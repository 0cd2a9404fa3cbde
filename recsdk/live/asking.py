"""What `recommend` is asked for: its arguments, checked before anything is done."""

from __future__ import annotations

import contextlib
import inspect
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from recsdk.checks import require_integer
from recsdk.errors import InvalidRequest, InvalidValue, RecsdkError, one_of
from recsdk.live import intake
from recsdk.live.guard import Features
from recsdk.live.placing import Placing, checked


class Asked(NamedTuple):
    """What `recommend` was asked for, checked.

    Attributes:
        decision_id: given, or made up.
        is_named: whether it was given.
        fields: the arguments by name.
        features: the request's.
        user: the user's key.
        placing: what the application wants where.
    """

    decision_id: str
    is_named: bool
    fields: dict[str, Any]
    features: Features
    user: str | None
    placing: Placing


def asked(
    request: Mapping[str, Any],
    *,
    size: int = 1,
    at_most: bool = False,
    candidates: Sequence[str] | None = None,
    seen: Iterable[str] = (),
    pinned: Mapping[int, str] | None = None,
    promoted: Mapping[int, Sequence[str]] | None = None,
    chosen: Sequence[str] | None = None,
    user: str | None = None,
    decision_id: str | None = None,
    deferred: bool = False,
) -> Asked:
    """Checks the arguments of `Recommender.recommend`, and raises what it says of them."""
    require_integer("size", size, at_least=1)
    flags: dict[str, object] = {"at_most": at_most, "deferred": deferred}
    for field, given in flags.items():
        if not isinstance(given, bool):
            one_of(field, given, (False, True))
    named, hidden = None if candidates is None else intake.candidates(candidates), sorted(set(intake.ids("seen", seen)))
    if named is not None and hidden:
        raise InvalidValue(f"seen goes with candidates=None only: leave seen items out of candidates, got seen = {hidden}.")
    placing = checked(pinned, promoted, chosen, int(size))
    plain = intake.request(request)
    key = intake.user(user, plain)
    fields: dict[str, Any] = {
        "request": plain,
        "size": int(size),
        "candidates": named,
        "seen": hidden,
        **({"at_most": True} if at_most else {}),
        **({"deferred": True} if deferred else {}),
        **placing.asked(),
    }
    if user is not None:
        fields["user"] = user
    name = secrets.token_hex(16) if decision_id is None else intake.name("decision_id", decision_id)
    return Asked(name, decision_id is not None, fields, Features(plain), key, placing)


ARGUMENTS = frozenset(inspect.signature(asked).parameters)
"""Their names."""


def all_asked(requests: Any) -> list[Asked]:
    """Checks the argument of `Recommender.recommend_many`, and raises what it says of it."""
    if not isinstance(requests, Iterable) or isinstance(requests, str | bytes | Mapping):
        raise InvalidRequest(f"requests must be a list of mappings with the arguments of recommend, got {requests!r:.200}.")
    found = list[Asked]()
    for index, given in enumerate(requests):
        with naming(index):
            if not isinstance(given, Mapping) or "request" not in given or not set(given) <= ARGUMENTS:
                wanted = f"a mapping of the arguments of recommend, 'request' and any of {sorted(ARGUMENTS - {'request'})}"
                raise InvalidRequest(f"it must be {wanted}, got {given!r:.200}.")
            found.append(asked(**given))
    return found


@contextlib.contextmanager
def naming(index: int) -> Iterator[None]:
    """Says which of many requests is refused."""
    try:
        yield
    except RecsdkError as error:
        error.args = (f"requests[{index}]: {error}",)
        raise
