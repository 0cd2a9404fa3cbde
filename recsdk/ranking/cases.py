"""Splits of a log into events to train on and cases to test on, without leakage of what is tested."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from recsdk.base import Events, Items, Table
from recsdk.checks import require_integer, require_number
from recsdk.data import take_events
from recsdk.errors import InvalidLog, InvalidRequest, InvalidValue, nearest


class Ragged(NamedTuple):
    """Q lists of whole numbers, end to end.

    Attributes:
        values: i64[M].
        start: i64[Q + 1]; list q is `values[start[q]:start[q + 1]]`.

    Example:
        >>> import numpy as np
        >>> Ragged(np.array([7, 8, 9]), np.array([0, 1, 3])).start.tolist()
        [0, 1, 3]
    """

    values: np.ndarray
    start: np.ndarray

    @classmethod
    def of(cls, lists: Sequence[np.ndarray] | Sequence[Sequence[int]]) -> Ragged:
        """Returns the lists end to end.

        Args:
            lists: of whole numbers.

        Example:
            >>> Ragged.of([[7], [8, 9]]).start.tolist()
            [0, 1, 3]
        """
        values = np.concatenate([np.zeros(0, np.int64), *lists]).astype(np.int64)
        return cls(values, np.cumsum([0, *map(len, lists)]))


class Cases(NamedTuple):
    """Q tests of a ranking: a user's history, and what the user took next.

    Attributes:
        requests: columns of length Q: those of the event in which the first target was taken, and the list feature of the history. A
            column of the log that was known only after the event, such as a review, leaks the target: leave it out of the log.
        time: f64[Q], seconds since the epoch, of the first target.
        user: i64[Q], the number of the user.
        items: the catalogue, of N items.
        history: places in `items` of what the user took before, oldest first.
        target: places in `items` of what the user took then; each once, at least one per case.

    Example:
        >>> from recsdk.testing import example_log
        >>> cases = leave_one_out(example_log()).test
        >>> cases.requests["history"][0][:2], cases.items.ids[cases.history.values[:2]].tolist()
        (['item-2', 'item-6'], ['item-2', 'item-6'])
    """

    requests: Table
    time: np.ndarray
    user: np.ndarray
    items: Items
    history: Ragged
    target: Ragged


class Split(NamedTuple):
    """A log in three parts.

    Attributes:
        train: the events to train on.
        validation: cases to choose settings by.
        test: cases to report.
        refit: all events that precede the test, those of the validation too: to train on once settings are chosen.
        num_left_out: users who are in no case, since too little is known of them.

    Example:
        >>> from recsdk.testing import example_log
        >>> split = leave_one_out(example_log())
        >>> len(split.train.item), len(split.refit.item), len(split.test.time), split.num_left_out
        (184, 192, 8, 0)
    """

    train: Events
    validation: Cases
    test: Cases
    refit: Events
    num_left_out: int


def leave_one_out(log: Events, *, user: str = "user_id", history: str = "history") -> Split:
    """Tests on each user's last item, validates on the one before, and trains on the rest.

    An item is taken when its reward is above 0. Events of one time keep the order of the log: the later row is the later event. The
    history of a test case includes the validation item. This split looks into the future of other users, so its figures compare
    models and do not predict live results; `split_at_time` does not.

    Args:
        log: the events; rows without a user, or without a reward above 0, are trained on.
        user: the requests' column that says who the user is.
        history: name of the list feature in which the cases' requests carry the ids of the history.

    Returns:
        A case for each user who took at least three items. The events of all other users are trained on.

    Raises:
        InvalidLog: there is no column `user`, or no user took three items.

    Example:
        >>> from recsdk.testing import example_log
        >>> split = leave_one_out(example_log())
        >>> split.test.user.tolist()
        [0, 1, 2, 3, 4, 5, 6, 7]
    """
    taken = taken_by(log, user)
    starts, ends = _firsts_and_lasts(taken)
    long_enough = ends - starts >= 2
    if not long_enough.any():
        raise InvalidLog(f"log must have a user, by {user!r}, with three items that have a reward above 0.")
    starts, ends = starts[long_enough], ends[long_enough]
    tested, held = np.zeros(len(log.item), bool), np.zeros(len(log.item), bool)
    tested[taken.row[ends]] = True
    held[taken.row[ends - 1]] = True
    validation, test = (_cases(log, taken, history, starts, stop, stop + 1) for stop in (ends - 1, ends))
    return Split(take_events(log, ~(held | tested)), validation, test, take_events(log, ~tested), int((~long_enough).sum()))


def split_at_time(log: Events, validation_time: float, test_time: float, *, user: str = "user_id", history: str = "history") -> Split:
    """Trains on what came before one moment, validates on what came up to a second, and tests on what came after.

    An event at exactly a given moment counts as after it. No model sees the future of anybody.

    Args:
        log: the events.
        validation_time: seconds since the epoch; events before it are trained on.
        test_time: seconds since the epoch, later than `validation_time`.
        user: the requests' column that says who the user is.
        history: name of the list feature in which the cases' requests carry the ids of the history.

    Returns:
        A case for each user who took something in a part and something before it; its targets are all that the user took in the
        part. Users who took something after `validation_time` and are in no case are counted in `num_left_out`.

    Raises:
        InvalidValue: a time that is no number, or `test_time` that is not later.
        InvalidLog: there is no column `user`, or a part has no case.

    Example:
        >>> from recsdk.testing import example_log
        >>> log = example_log()
        >>> split = split_at_time(log, log.time[120], log.time[160])
        >>> len(split.train.item), len(split.test.time)
        (120, 6)
    """
    require_number("validation_time", validation_time)
    require_number("test_time", test_time, above=validation_time)
    taken = taken_by(log, user)
    (train, validation), (refit, test) = (
        _held(log, taken, begin, end, user, history) for begin, end in ((validation_time, test_time), (test_time, np.inf))
    )
    later = np.unique(taken.user[log.time[taken.row] >= validation_time])
    left_out = np.setdiff1d(later, np.concatenate([validation.user, test.user]))
    return Split(train, validation, test, refit, len(left_out))


def held_from(log: Events, begin: float, end: float, *, user: str = "user_id", history: str = "history") -> tuple[Events, Cases]:
    """Returns the events before a moment, and cases of what was taken from then on and before another moment.

    Raises:
        InvalidLog: there is no column `user`, or no case.
    """
    return _held(log, taken_by(log, user), begin, end, user, history)


def _held(log: Events, taken: Taken, begin: float, end: float, user: str, history: str) -> tuple[Events, Cases]:
    time = log.time[taken.row]
    before, inside = time < begin, (time >= begin) & (time < end)
    num_users = int(taken.user.max(initial=-1)) + 1
    count = [np.bincount(taken.user[some], minlength=num_users) for some in (before, inside)]
    chosen = np.flatnonzero((count[0] > 0) & (count[1] > 0))
    if not len(chosen):
        until = f" and before {end:.16g}" if end < np.inf else ""
        raise InvalidLog(f"log must have a user, by {user!r}, with an item before {begin:.16g} and one from then on{until}.")
    first = np.searchsorted(taken.user, chosen)
    middle = first + count[0][chosen]
    return take_events(log, log.time < begin), _cases(log, taken, history, first, middle, middle + count[1][chosen])


def split_by_user(
    log: Events, *, validation: float = 0.1, test: float = 0.1, seed: int = 0, user: str = "user_id", history: str = "history"
) -> Split:
    """Holds out whole users: trains on all events of some, and tests on the last item of others, of whom nothing is trained on.

    It tells how a model does for users who came after it was fitted. Users are drawn by their ids, so that a user stays in one part while
    the log grows. An item is taken when its reward is above 0. Events of one time keep the order of the log: the later row is the later
    event.

    Args:
        log: the events; rows without a user are trained on.
        validation: share of the users who validate.
        test: share of the users who test.
        seed: draws other users.
        user: the requests' column that says who the user is.
        history: name of the list feature in which the cases' requests carry the ids of the history.

    Returns:
        A case for each held-out user who took two items; its history is all that the user took before the last one.

    Raises:
        InvalidValue: shares that are not above 0, or leave nobody to train on.
        InvalidLog: there is no column `user`, or a part has no case.

    Example:
        >>> from recsdk.testing import example_log
        >>> split = split_by_user(example_log(), validation=0.3, test=0.3)
        >>> len(split.train.item), split.validation.user.tolist(), split.test.user.tolist()
        (109, [1, 6, 7], [4])
    """
    require_number("validation", validation, above=0, at_most=1)
    require_number("test", test, above=0, at_most=1)
    if validation + test >= 1:
        raise InvalidValue(f"validation + test must be below 1, so that some users are trained on, got {validation} + {test}.")
    require_integer("seed", seed, at_least=0)
    taken = taken_by(log, user)
    column = log.requests[user].tolist()
    draw = {name: drawn(seed, name) for name in dict.fromkeys(column) if name is not None}
    place = np.array([1.0 if name is None else draw[name] for name in column])
    starts, ends = _firsts_and_lasts(taken)
    draws, long_enough = place[taken.row[ends]], ends > starts
    parts, num_left_out = [], 0
    for low, high in ((test, test + validation), (0.0, test)):
        inside = (draws >= low) & (draws < high)
        chosen = inside & long_enough
        if not chosen.any():
            raise InvalidLog(f"log must have a user, by {user!r}, with two items that have a reward above 0 in each part.")
        parts.append(_cases(log, taken, history, starts[chosen], ends[chosen], ends[chosen] + 1))
        num_left_out += int((inside & ~long_enough).sum())
    return Split(take_events(log, place >= test + validation), parts[0], parts[1], take_events(log, place >= test), num_left_out)


def drawn(seed: int, name: object, purpose: str = "") -> float:
    """Returns a number in [0, 1) that is this user's alone; for each purpose another."""
    digest = hashlib.blake2b(f"{seed} {name}".encode(), digest_size=6, person=purpose.encode()).digest()
    return int.from_bytes(digest) / 2**48


class Taken(NamedTuple):
    """Rows of a log in which someone took something, sorted by user; each user's in the order of the log."""

    row: np.ndarray
    user: np.ndarray


def taken_by(log: Events, user: str) -> Taken:
    """Returns what each user took: the rows with a reward above 0 and a user.

    Raises:
        InvalidLog: there is no column `user`.
        InvalidRequest: users that are no str.
    """
    if user not in log.requests:
        raise InvalidLog(f"log.requests must have a column {user!r} that says who the user is.{nearest(user, log.requests)}")
    column = log.requests[user]
    if column.dtype != object:
        raise InvalidRequest(f"{user!r} says who the user is and must be a str, got {column[:1].tolist()}.")
    number: dict[str, int] = {}
    users = np.fromiter((-1 if name is None else number.setdefault(name, len(number)) for name in column), np.int64, len(column))
    row = np.flatnonzero((log.reward > 0) & (users >= 0))
    row = row[np.argsort(users[row], kind="stable")]
    return Taken(row, users[row])


def _firsts_and_lasts(taken: Taken) -> tuple[np.ndarray, np.ndarray]:
    """Returns the places of each user's first and last row."""
    last = np.flatnonzero(np.diff(taken.user, append=-1))
    return np.concatenate([[0], last[:-1] + 1]).astype(np.int64), last


def _cases(log: Events, taken: Taken, history: str, first: np.ndarray, middle: np.ndarray, last: np.ndarray) -> Cases:
    """Makes cases of users whose history is `first` to `middle` of `taken`, and whose targets are `middle` to `last`."""
    item = log.item[taken.row]
    past = Ragged.of([item[start:stop] for start, stop in zip(first, middle, strict=True)])
    target = Ragged.of([np.array(list(dict.fromkeys(item[start:stop].tolist()))) for start, stop in zip(middle, last, strict=True)])
    rows = taken.row[middle]
    requests = {name: column[rows] for name, column in log.requests.items()}
    names = log.items.ids[past.values].tolist()
    lists = [names[start:stop] for start, stop in zip(past.start[:-1], past.start[1:], strict=True)]
    requests[history] = np.fromiter(lists, object, len(lists))
    return Cases(requests, log.time[rows], taken.user[middle], log.items, past, target)
