"""What has served in a folder, and since when: each change is noted in the ledger together with the change itself."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from recsdk.ledger import Ledger
from recsdk.live.identity import identity, told

PUBLISHED = "published"
"""Where the ledger keeps the list."""


class Published(NamedTuple):
    """A change of what serves.

    Attributes:
        reason: "opened" with other parts, "swapped", "promoted", "ramped" or "rolled back".
        model: version of the encoder and the scorers together: a digest of their settings and of what they were fitted to.
        policy: what decides from then on.
        time: seconds since the epoch.

    Example:
        >>> import recsdk
        >>> with recsdk.Recommender.open("deli", items=[{"id": "ham"}], policy="lin-ucb") as deli:
        ...     [change.reason for change in deli.published]
        ['opened']
    """

    reason: str
    model: str
    policy: str
    time: float


def read(ledger: Ledger) -> list[Published]:
    """Returns all changes, oldest first."""
    return [Published(*fields) for fields in json.loads(ledger.get(PUBLISHED) or "[]")]


def add(ledger: Ledger, reason: str, model: str, policy: Any, time: float) -> Published:
    """Notes a change."""
    change = Published(reason, model, told(identity(policy)), time)
    ledger.put(PUBLISHED, json.dumps([*read(ledger), change]).encode())
    return change


def opened(ledger: Ledger, model: str, policy: Any, time: float) -> None:
    """Notes an opening with other parts than those that served before."""
    before = read(ledger)
    if not before or before[-1][1:3] != (model, told(identity(policy))):
        add(ledger, "opened", model, policy, time)
