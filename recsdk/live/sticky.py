"""Slates that are served again: the same user sees for a time what was drawn once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from recsdk.ledger import DecisionRecord, Ledger
from recsdk.live import marks
from recsdk.live.marks import Marks
from recsdk.live.rewards import was_shown
from recsdk.live.traffic import is_draw

PLACE = ("size", "at_most", "candidates", "pinned", "promoted", "deferred")
"""The arguments that tell one place of an application from another; what differs otherwise is the same place at another time."""


def standing(ledger: Ledger, user: str, asked: Mapping[str, Any], since: float) -> DecisionRecord | None:
    """Returns the last slate that was drawn for a user and shown at a place after `since`."""
    for record in ledger.decisions_of(user):
        if record.time <= since:
            return None
        before = json.loads(record.payload)
        if all(before.get(name) == asked.get(name) for name in PLACE):
            drawn = marks.origin(ledger, record)
            if is_draw(marks.read(drawn)) and was_shown(drawn, ledger.signals_of(drawn.decision_id)):
                return drawn if drawn.time > since else None
    return None


def again(drawn: DecisionRecord, decision_id: str, time: float, payload: str, num_learned: int) -> DecisionRecord:
    """Returns the record of a slate that is served again: nothing is drawn, so each item has the probability 1."""
    size = len(drawn.action)
    keeps_all = len(drawn.features) == len(drawn.slots)
    return drawn._replace(
        decision_id=decision_id,
        time=time,
        payload=payload,
        num_learned=num_learned,
        slots=drawn.slots[drawn.action],
        action=np.arange(size, dtype=np.int32),
        probs=np.eye(size),
        features=drawn.features[drawn.action] if keeps_all else drawn.features,
        marks=Marks(repeats=drawn.decision_id).dumps(),
    )
