"""What to train on when a model goes on with a new log, so that it does not forget the old one."""

from __future__ import annotations

from typing import Any

import numpy as np

from recsdk.base import Events
from recsdk.checks import require_integer, require_number
from recsdk.columns import join
from recsdk.errors import InvalidLog, nearest
from recsdk.ranking.cases import drawn


def rehearse(old: Events, new: Events, *, share: float = 0.2, seed: int = 0, user: str = "user_id") -> Events:
    """Adds to a new log a share of the old one: whole users, so that sequences stay whole.

    A model that goes on with a new log alone, by `fit(new, state=old_state)`, may forget what the old log taught. Fit it to what this
    returns instead. Of a user who is in the new log, all old events are added, so that their history goes on. Of the others, a share is
    drawn by their ids: another `seed` draws others. The draw is not that of `split_by_user`: who was trained on may be rehearsed.

    Args:
        old: the log that the model was fitted to.
        new: later events; its catalogue has all items that were taken, old ones too.
        share: of the old users who are not in the new log.
        seed: of the draw.
        user: the requests' column that says who the user is; events without a user are not rehearsed.

    Returns:
        The events of both, sorted by time, with the catalogue of `new`.

    Raises:
        InvalidLog: a log with events and without the column, or an item that the catalogue of `new` lacks.
        InvalidRequest: a column that holds one kind of value in `old` and another in `new`.
        InvalidValue: a share that is not in [0, 1].

    References:
        Robins, Catastrophic Forgetting, Rehearsal and Pseudorehearsal, Connection Science 1995.

    Example:
        >>> from recsdk.data import events_from_rows, items_from_rows
        >>> items = items_from_rows([{"id": "tea"}, {"id": "pot"}])
        >>> old = events_from_rows(items, [{"user_id": user, "item": "tea", "time": 0.0} for user in ("ann", "bob", "eve")])
        >>> new = events_from_rows(items, [{"user_id": "ann", "item": "pot", "time": 9.0}])
        >>> rehearse(old, new, share=0.5).requests["user_id"].tolist()
        ['ann', 'eve', 'ann']
    """
    require_number("share", share, at_least=0, at_most=1)
    require_integer("seed", seed, at_least=0)
    names, there = _users("old", old, user), set(_users("new", new, user))
    known = {name for name in names if name is not None and name == name}  # a missing number is NaN, which differs from itself
    chosen = {name for name in known if name in there or drawn(seed, name, "rehearse") < share}
    rows = np.flatnonzero([name in chosen for name in names])
    place = {name: number for number, name in enumerate(new.items.ids.tolist())}
    ids = old.items.ids[old.item[rows]].tolist()
    lacking = next((name for name in ids if name not in place), None)
    if lacking is not None:
        raise InvalidLog(f"new.items must have every item of the old events, lacks {lacking!r}.{nearest(lacking, place)}")
    time = np.concatenate([old.time[rows], new.time])
    order = time.argsort(kind="stable")
    requests = {}
    for name in dict.fromkeys([*new.requests, *old.requests]):
        before = old.requests.get(name)
        columns = [None if before is None else before[rows], new.requests.get(name)]
        requests[name] = join(name, columns, [len(rows), len(new.item)])[order]
    item = np.concatenate([np.array([place[name] for name in ids], np.int64), new.item])
    return Events(requests, new.items, item[order], np.concatenate([old.reward[rows], new.reward])[order], time[order])


def _users(what: str, log: Events, user: str) -> list[Any]:
    if user not in log.requests and len(log.item):
        raise InvalidLog(f"{what}.requests must have a column {user!r} that says who the user is.{nearest(user, log.requests)}")
    return log.requests[user].tolist() if user in log.requests else []
