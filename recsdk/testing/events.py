"""A log in an application's terms, for scorers and encoders to learn from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from recsdk.base import Events, Items, Request
from recsdk.columns import features_at
from recsdk.data import concatenate_items, events_from_rows, items_from_rows, take, take_events

DAY = 86400.0
MOST_TAKEN = 8
"""Length of a history."""


def example_log(num_events: int = 200, num_items: int = 12, num_users: int = 8) -> Events:
    """Makes a small log of users who take items, for the laws of scorers and encoders.

    Features are numbers, text and lists, some of them missing; `history` lists what the user has taken before, oldest first. A user takes
    one item in four, with a reward of 1, else 0.

    Args:
        num_events: T.
        num_items: N.
        num_users: number of different users.

    Returns:
        The events, one a minute, with the items' catalogue.

    Example:
        >>> from recsdk import testing
        >>> log = testing.example_log(num_events=3)
        >>> log.reward.tolist(), sorted(log.requests)
        ([0.0, 0.0, 0.0], ['age', 'device', 'history', 'likes', 'user_id'])
    """
    rng = np.random.default_rng(0)
    tags = ["new", "red", "wool", "sale"]
    items = [
        {"id": f"item-{i}", "added": i * DAY, "price": 1.5 * i if i % 5 else None, "brand": f"brand-{i % 3}", "tags": tags[: i % 4]}
        for i in range(num_items)
    ]
    rows: list[dict[str, Any]] = []
    taken: dict[int, list[str]] = {user: [] for user in range(num_users)}
    for number in range(num_events):
        user, item = int(rng.integers(num_users)), int(rng.integers(num_items))
        device = "phone" if user % 2 else "desktop"
        features = {"user_id": f"user-{user}", "device": device, "age": 20.0 + user if user % 3 else None, "likes": tags[: user % 3]}
        features |= {"history": taken[user][-MOST_TAKEN:]}
        reward = float(item % 4 == user % 4)
        rows.append({"item": f"item-{item}", "time": num_items * DAY + 60.0 * number, "reward": reward, **features})
        taken[user] += [f"item-{item}"] * int(reward)
    return events_from_rows(items_from_rows(items), rows)


def empty(log: Events) -> Events:
    """Returns a log without events, of the same catalogue and features."""
    return take_events(log, slice(0))


def request(log: Events, row: int) -> Request:
    """Returns the request of one event, with missing features left out, as an application sends it."""
    return Request(features_at(log.requests, row), float(log.time[row]))


def unseen_request(log: Events) -> Request:
    """Returns a request like the log's first, but with text that the log does not have."""
    features = {name: "never seen" if isinstance(value, str) else value for name, value in request(log, 0).features.items()}
    return Request(features, float(log.time[-1]) + DAY)


def with_unseen_item(log: Events) -> Items:
    """Returns the log's catalogue and one item more, which it has nothing about."""
    new = take(log.items, slice(1))
    unseen = Items(np.array(["never seen"], object), new.features, np.array([log.items.slot.max() + 1]), log.time[-1:] + DAY)
    return concatenate_items(log.items, unseen)


def parts(items: Items) -> Iterator[np.ndarray]:
    """Yields index arrays: one candidate, three in the wrong order, all reversed."""
    yield np.array([0])
    yield np.arange(min(3, len(items.ids)))[::-1]
    yield np.arange(len(items.ids))[::-1]


def read_only(record: Any) -> Any:
    """Returns a copy of a record of tables whose arrays cannot be written to."""
    if isinstance(record, np.ndarray):
        copy = record.copy()
        copy.setflags(write=False)
        return copy
    if isinstance(record, dict):
        return {key: read_only(value) for key, value in record.items()}
    if isinstance(record, tuple) and hasattr(record, "_fields"):
        return type(record)(*map(read_only, record))
    return record
