"""Feeds a recommender from a stream: each message counts once, and each slate is sent at least once."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from recsdk import Receipt, Recommender, times
from recsdk.checks import require_integer
from recsdk.errors import InvalidRequest, RecsdkError
from recsdk.live.deciding import Slate
from recsdk.live.feeding import LAST, Call, Fed
from recsdk_streams import messages
from recsdk_streams.base import Letter, Message, Sink, Source

LOGGER = logging.getLogger("recsdk")

TRIES = 5
"""After so many deaths of the process at a block, its messages are taken one by one; after so many at one, that is dead."""

NOTHING_CHANGED = {Receipt.UNKNOWN: "no decision fits it", Receipt.EXPIRED: "its decision was dropped by its age"}


class Consumed(NamedTuple):
    """The messages that were consumed.

    Attributes:
        num_messages: that were read.
        num_slates: that were sent; a decision that is asked for again is sent again.
        num_taken: of the other messages, those that count; also those that came late, or wait for their decision.
        num_duplicates: those that had been told before.
        num_dead: those that went to the dead letters.

    Example:
        >>> Consumed(num_messages=10, num_slates=4, num_taken=5, num_dead=1).num_duplicates
        0
    """

    num_messages: int = 0
    num_slates: int = 0
    num_taken: int = 0
    num_duplicates: int = 0
    num_dead: int = 0


class _Place(msgspec.Struct, omit_defaults=True):
    """How far a stream was read: the last offset, the latest time; how often what comes next was tried, and how many are taken alone."""

    offset: str | None = None
    time: float = 0.0
    tries: int = 0
    alone: int = 0


class _Outbox(msgspec.Struct):
    slates: list[Letter] = []
    dead: list[Letter] = []


class Consumer:
    r"""Reads a stream in blocks, and feeds each to a recommender in one transaction, with the place up to which the stream was read.

    Killed anywhere, it goes on at that place: what was read counts exactly once. The slates and dead letters of a block are sent once it
    is durable, and again by the next consumer where nobody knows whether they were.

    Time is the stream's. The recommender takes for now what a message's time is, so a stream that is read late, or again, gives the same
    state as one that was read at once. Nothing else should tell the recommender of events meanwhile.

    Args:
        shop: what learns; it stays open.
        source: the stream.
        sink: takes the slates.
        dead: takes the messages that cannot count, with the reason.
        block: how many messages are fed at once, at most.

    Raises:
        StreamError: what the consumer before has not sent cannot be sent.

    Example:
        >>> from pathlib import Path
        >>> import recsdk
        >>> from recsdk_streams import FileSink, FileSource
        >>> _ = Path("in.jsonl").write_text('{"kind": "decide", "decision_id": "d1", "request": {}, "at": 1700000000}\n')
        >>> with recsdk.Recommender.open("shop", items=[{"id": "tea"}]) as shop:
        ...     consumer = Consumer(shop, FileSource("in.jsonl"), FileSink("out.jsonl"), FileSink("dead.jsonl"))
        ...     consumer.step(wait=0.0), consumer.step(wait=0.0), consumer.consumed.num_slates
        (1, 0, 1)
    """

    def __init__(self, shop: Recommender, source: Source, sink: Sink, dead: Sink, *, block: int = 500) -> None:
        require_integer("block", block, at_least=1)
        self.consumed = Consumed()
        self._shop = shop
        self._source = source
        self._sink = sink
        self._dead = dead
        self._block = block
        self._ahead: list[Message] = []
        self._is_proven = False
        self._tried: _Place | None = None
        self._is_known = False
        self._recall()
        self._send()

    def step(self, *, wait: float = 1.0) -> int:
        """Reads a block and feeds it; returns how many messages it had.

        Args:
            wait: seconds for which it waits for a message.

        Raises:
            StreamError: the stream cannot be read or written. What was fed is not fed again.
            Exception: whatever else fails is no message's fault, such as a full disk or a policy that answers wrongly: nothing of the
                block counts, and the next step reads it again.
        """
        if not self._is_known:
            self._recall()
        self._send()
        if not self._ahead:
            self._ahead = self._source.read(self._place.offset, self._block, wait)
        if not self._ahead:
            return 0
        try:
            if not self._is_proven:
                self._note_try()
            self._is_proven = False
            block = self._next()
            self._feed(block)
        except BaseException:  # the ledger knows whether the block counts
            self._is_known = False
            self._take_back()
            raise
        self._ahead, self._is_proven = self._ahead[len(block) :], True
        self._send()
        return len(block)

    def finish(self) -> None:
        """Sends what is left, and empties the outbox in the ledger; call it when no more steps are to come."""
        if not self._is_known:
            self._recall()
        self._send()
        if self._has_outbox:
            self._note(self._place)

    def _recall(self) -> None:
        """Takes up what the ledger has: the place, and what may not have been sent."""
        fed = self._shop.fed(self._source.name)
        self._place = _Place() if fed is None else msgspec.json.decode(fed.position, type=_Place)
        self._unsent = None if fed is None or not fed.outbox else msgspec.msgpack.decode(fed.outbox, type=_Outbox)
        self._has_outbox = self._unsent is not None
        self._ahead, self._is_proven, self._tried, self._is_known = [], False, None, True

    def _next(self) -> list[tuple[Message, Call | RecsdkError]]:
        """Returns the messages of the next block, each with what it asks for, or why it cannot."""
        found, earliest, latest = list[tuple[Message, Call | RecsdkError]](), self._place.time, time.time() + times.DAY
        for message in self._ahead[: 1 if self._place.alone else None]:
            try:
                if self._place.tries > TRIES:
                    raise InvalidRequest(f"This message was fed alone {TRIES} times, and each time the process died.")
                call = messages.call(message, earliest, latest)
            except InvalidRequest as error:
                found.append((message, error))
            else:
                found.append((message, call))
                earliest = call.time
                if call.method in LAST:
                    break
        return found

    def _feed(self, block: Sequence[tuple[Message, Call | RecsdkError]]) -> None:
        calls = [asked for _, asked in block if isinstance(asked, Call)]
        place = _Place(block[-1][0].offset, max([self._place.time, *(call.time for call in calls)]), alone=max(self._place.alone - 1, 0))
        counts, outbox = Counter[str](), _Outbox()

        def placed(answers: list[Any]) -> Fed:
            nonlocal counts, outbox
            counts, outbox = _sorted(block, answers, self._source.name)
            has_letters = outbox.slates or outbox.dead
            return Fed(msgspec.json.encode(place), msgspec.msgpack.encode(outbox) if has_letters else b"")

        self._shop.feed(self._source.name, calls, placed)
        self._place, self._unsent, self._has_outbox = place, outbox, bool(outbox.slates or outbox.dead)
        self._tried = None
        counts["num_messages"] = len(block)
        self.consumed = Consumed(*(getattr(self.consumed, name) + counts[name] for name in Consumed._fields))

    def _note_try(self) -> None:
        """Notes that what comes next is tried, until it has been fed or has failed without the process' death."""
        before = self._place
        offset, time, tries, alone = msgspec.structs.astuple(before)
        self._note(_Place(offset, time, 1, self._block) if tries == TRIES and not alone else _Place(offset, time, tries + 1, alone))
        self._tried = before

    def _take_back(self) -> None:
        """Takes back that a block was tried which has failed: the process lives, so it did not die of a message."""
        try:
            fed, before = self._shop.fed(self._source.name), self._tried
            if before is not None and fed is not None and msgspec.json.decode(fed.position, type=_Place) == self._place:
                self._note(before)
        except Exception:
            LOGGER.exception("That the last block of %s was tried cannot be taken back; it counts as one try.", self._source.name)

    def _note(self, place: _Place) -> None:
        """Writes a place, and an empty outbox: all is sent."""
        self._shop.feed(self._source.name, [], lambda _: Fed(msgspec.json.encode(place)))
        self._place, self._has_outbox = place, False

    def _send(self) -> None:
        if self._unsent is None:
            return
        for sink, letters in ((self._sink, self._unsent.slates), (self._dead, self._unsent.dead)):
            if letters:
                sink.send(letters)
        self._unsent = None


def _sorted(block: Sequence[tuple[Message, Call | RecsdkError]], answers: Sequence[Any], stream: str) -> tuple[Counter[str], _Outbox]:
    """Returns what became of the messages of a block: counts of them, and what is to be sent."""
    counts, outbox, answered = Counter[str](), _Outbox([], []), iter(answers)
    for message, asked in block:
        answer = next(answered) if isinstance(asked, Call) else asked
        reason = _reason(answer)
        if reason is not None:
            counts["num_dead"] += 1
            outbox.dead.append(messages.dead(message, stream, reason))
        elif isinstance(answer, Slate):
            assert isinstance(asked, Call)  # noqa: S101 -- an answer is one's
            counts["num_slates"] += 1
            outbox.slates.append(messages.slate(answer, asked.time))
        else:
            counts["num_duplicates" if answer is False or answer is Receipt.DUPLICATE else "num_taken"] += 1
    return counts, outbox


def _reason(answer: Any) -> str | None:
    """Returns why a message did not count; None where it did."""
    if isinstance(answer, RecsdkError):
        return f"{type(answer).__name__}: {answer}"
    return f"{answer}: {NOTHING_CHANGED[answer]}." if isinstance(answer, Receipt) and answer in NOTHING_CHANGED else None


def consume(
    shop: Recommender,
    source: Source,
    sink: Sink,
    dead: Sink,
    *,
    block: int = 500,
    stop: Callable[[], bool] = lambda: False,
    to_end: bool = False,
) -> Consumed:
    """Feeds a recommender from a stream until it is told to stop; see `Consumer`.

    Args:
        shop: what learns; it stays open.
        source: the stream.
        sink: takes the slates.
        dead: takes the messages that cannot count, with the reason.
        block: how many messages are fed at once, at most.
        stop: is asked between blocks, and once a second, whether to stop.
        to_end: stops where the stream has nothing more.

    Raises:
        StreamError, Exception: as `Consumer.step`.

    Example:
        >>> import recsdk
        >>> from recsdk_streams import FileSink, FileSource
        >>> with recsdk.Recommender.open("shop", items=[{"id": "tea"}]) as shop:
        ...     consume(shop, FileSource("in.jsonl"), FileSink("out.jsonl"), FileSink("dead.jsonl"), to_end=True).num_messages
        0
    """
    consumer = Consumer(shop, source, sink, dead, block=block)
    while not stop():
        if not consumer.step(wait=0.0 if to_end else 1.0) and to_end:
            break
    consumer.finish()
    return consumer.consumed
