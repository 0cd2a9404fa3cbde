"""What messages say: JSON of a strict schema, whose fields are the arguments of the SDK's calls."""

from __future__ import annotations

import json
import math
from typing import Any, Literal

import msgspec

from recsdk.errors import InvalidRequest
from recsdk.live.deciding import Slate
from recsdk.live.feeding import Call
from recsdk_streams.base import MOST_BYTES, Letter, Message

MOST_TEXT = 65_536
"""So many bytes of a message go into its dead letter, which a broker must take: as JSON that is at most 512 KiB with all else."""

MOST_REASON = 1_000
"""So many characters of the reason go into it."""


class _Base(msgspec.Struct, tag_field="kind", forbid_unknown_fields=True, kw_only=True):
    at: float | None = None


class Decide(_Base, tag="decide"):
    """Asks for a slate, see `Recommender.recommend`."""

    decision_id: str
    request: dict[str, Any]
    size: int = 1
    at_most: bool = False
    candidates: list[str] | None = None
    seen: list[str] = []
    pinned: dict[int, str] | None = None
    promoted: dict[int, list[str]] | None = None
    chosen: list[str] | None = None
    user: str | int | None = None
    deferred: bool = False


class Reward(_Base, tag="reward"):
    """Tells the reward of one shown item or page, see `Recommender.reward`."""

    decision_id: str
    value: float
    item: str | None = None
    position: int | Literal["page"] | None = None
    reward_id: str | None = None


class Rewards(_Base, tag="rewards"):
    """Tells the rewards of a whole slate, see `Recommender.reward_slate`."""

    decision_id: str
    values: dict[str, float]
    others: float = 0.0


class Signal(_Base, tag="signal"):
    """Tells what happened to a shown item, see `Recommender.signal`."""

    name: str
    decision_id: str | None = None
    user: str | int | None = None
    item: str | None = None
    position: int | Literal["page"] | None = None
    value: float = 1.0
    time: float | None = None
    signal_id: str | None = None


class Correct(_Base, tag="correct"):
    """Corrects a signal or a reward, or takes it back, see `Recommender.correct`."""

    event_id: str
    value: float | None


class Shown(_Base, tag="shown"):
    """Tells that a deferred decision was shown, see `Recommender.shown`."""

    decision_id: str


class NotShown(_Base, tag="not_shown"):
    """Tells that a decision was not shown, see `Recommender.not_shown`."""

    decision_id: str


class AddItems(_Base, tag="add_items"):
    """Adds items, see `Recommender.add_items`."""

    rows: list[dict[str, Any]]


class ChangeItems(_Base, tag="change_items"):
    """Gives items other features, see `Recommender.change_items`."""

    rows: list[dict[str, Any]]


class RemoveItems(_Base, tag="remove_items"):
    """Removes items, see `Recommender.remove_items`."""

    ids: list[str]


METHODS: dict[type, str] = {
    Decide: "recommend",
    Reward: "reward",
    Rewards: "reward_slate",
    Signal: "signal",
    Correct: "correct",
    Shown: "shown",
    NotShown: "not_shown",
    AddItems: "add_items",
    ChangeItems: "change_items",
    RemoveItems: "remove_items",
}
_DECODER = msgspec.json.Decoder(Decide | Reward | Rewards | Signal | Correct | Shown | NotShown | AddItems | ChangeItems | RemoveItems)


def call(message: Message, earliest: float, latest: float) -> Call:
    """Returns what a message asks for.

    Args:
        message: of the stream.
        earliest: the time of the message before it: time does not go back.
        latest: what no message's time may exceed.

    Raises:
        InvalidRequest: what is not JSON of the schema, too long, or of a time that cannot be.

    Example:
        >>> call(Message("1", b'{"kind": "shown", "decision_id": "d1"}', time=5.0), earliest=0.0, latest=9.0)
        Call(method='shown', arguments={'decision_id': 'd1'}, time=5.0)
    """
    if len(message.data) > MOST_BYTES:
        raise InvalidRequest(f"A message must have at most {MOST_BYTES} bytes.")
    try:
        found = _DECODER.decode(message.data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"A message must be JSON of a known kind with its fields: {error}") from error
    at = message.time if found.at is None else found.at
    if not -math.inf < at <= latest:
        raise InvalidRequest(f"at must be seconds since the epoch, at most a day after the clock of who reads, got {at!r}.")
    kind = type(found)
    given = {name: getattr(found, name) for name in kind.__struct_fields__ if name != "at"}
    return Call(METHODS[kind], given, max(at, earliest))


def slate(found: Slate, time: float) -> Letter:
    """Returns the message that tells a decision."""
    told = {"kind": "slate", **found._asdict(), "time": time}
    return Letter(found.decision_id, json.dumps(told).encode())


def dead(message: Message, stream: str, reason: str) -> Letter:
    """Returns the message that tells why another one did not count."""
    text = message.data[:MOST_TEXT].decode("utf-8", "backslashreplace")
    is_cut = len(message.data) > MOST_TEXT
    why = reason if len(reason) <= MOST_REASON else f"{reason[:MOST_REASON]} ..."
    told = {"kind": "dead", "stream": stream, "offset": message.offset, "time": message.time, "reason": why, "message": text}
    return Letter(f"{stream}@{message.offset}", json.dumps(told | ({"is_cut": True} if is_cut else {})).encode())
