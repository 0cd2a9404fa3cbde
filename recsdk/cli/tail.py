"""The lines of `recsdk ledger tail`: what came last, and what comes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime
from json import loads
from typing import Any, NamedTuple

from recsdk.ledger import PAGE, DecisionRecord, Ledger, RewardRecord, SignalRecord
from recsdk.live.rewards import CORRECT, NOT_SHOWN, RETRACT, SHOWN

PAUSE = 1.0
"""Seconds between two looks."""
EVERYTHING = 1_000_000_000
"""More records than come between two looks."""
OWN = {SHOWN: "shown", NOT_SHOWN: "not shown", CORRECT: "corrected", RETRACT: "retracted"}
"""What the recommender's own signals are called."""


class Seen(NamedTuple):
    """How many records were there at the last look.

    Attributes:
        decisions: how many; the same for the others.
        signals: in order of arrival.
        rewards: in order of arrival.
    """

    decisions: int = 0
    signals: int = 0
    rewards: int = 0


def lines_after(reading: Ledger, seen: Seen, num: int) -> tuple[list[str], Seen]:
    """Returns a line for each of the last `num` records of each kind that came after `seen`, and what has been seen now."""
    items = {item.slot: loads(item.row)["id"] for item in reading.items()}
    found, counts = [], []
    for records, before in zip((reading.decisions, reading.signals, reading.rewards), seen, strict=True):
        count, last = _last(records(before), num)
        counts.append(before + count)
        found += last
    found.sort(key=lambda record: record.time)
    return [_line(record, items) for record in found], Seen(*counts)


def _last(records: Iterable[Any], num: int) -> tuple[int, list[Any]]:
    count, last = 0, deque[Any](maxlen=num)
    for record in records:
        count += 1
        last.append(record)
    return count, list(last)


def _line(record: DecisionRecord | SignalRecord | RewardRecord, items: dict[int, str]) -> str:
    when = datetime.fromtimestamp(record.time, UTC).isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00")
    if isinstance(record, DecisionRecord):
        slots = record.slots[record.action].tolist()
        chosen = [record.probs[position, action] for position, action in enumerate(record.action)]
        shown = ", ".join(f"{items.get(slot, slot)} (p {p:.3g})" for slot, p in zip(slots, chosen, strict=True))
        return f"{when} decision {record.decision_id}{'' if record.user is None else f' for {record.user}'}: {shown}"
    place = "page" if record.position == PAGE else f"position {record.position}"
    if isinstance(record, SignalRecord):
        told = OWN.get(record.name, record.name) + (f" {record.value:g}" if record.name not in OWN or record.name == CORRECT else "")
        return f"{when} signal   {told} on {place} of {record.decision_id}"
    value = "none" if record.void else f"{record.value:g}"
    corrects = "" if record.replaces is None else f", instead of {record.replaces}"
    return f"{when} reward   {value} on {place} of {record.decision_id}{corrects}"
