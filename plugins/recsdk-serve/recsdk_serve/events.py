"""Streams of events: what is decided, for dashboards; and fresh slates for users who wait for them."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from typing import NamedTuple

import msgspec

from recsdk.live.observe import Corrected, Decided, Notice, Rewarded
from recsdk_serve.guard import Limits, Refused, refusal
from recsdk_serve.messages import Slate

LOGGER = logging.getLogger("recsdk_serve")
KEPT = 4_096
"""Events that a dashboard can be given again after it was away."""
BEHIND = 1_024
"""Events that may wait for a dashboard that is slow; then the oldest are dropped."""
AT_ONCE = 64
"""Slates for streams that may wait for their decisions: a change of items asks for one for each stream, and others come in between."""
USERS = 65_536
"""Decisions of which it is remembered whose they are, for signals."""
QUIET = 15.0
"""Seconds after which a comment is sent, so that proxies keep the connection."""
PATIENCE = 2 * QUIET
"""Seconds within which a client must take an event: one that does not read is sent away."""


class Form(NamedTuple):
    """How a stream is written.

    Attributes:
        event: returns an event of a kind, with data as JSON, and its id where it has one.
        quiet: what is written where nothing happens for a while.
    """

    event: Callable[[str, str, str | None], str]
    quiet: str


def _lines(kind: str, data: str, name: str | None) -> str:
    return f"{f'id: {name}{chr(10)}' if name else ''}event: {kind}\ndata: {data}\n\n"


def _object(kind: str, data: str, name: str | None) -> str:
    return f'{{"event":"{kind}","id":{msgspec.json.encode(name).decode()},"data":{data}}}'


SERVER_SENT, MESSAGES = Form(_lines, ":\n\n"), Form(_object, "")
"""Server-Sent Events; and messages of a WebSocket, which has pings of its own."""


class Event(NamedTuple):
    """Something that has happened, to a user where it is known whose it is."""

    number: int
    kind: str
    data: str
    user: str | None


class Unread(Exception):
    """A client does not read what it is sent."""


async def taken(sending: Awaitable[None]) -> None:
    """Waits until a client has taken what it is sent.

    Raises:
        Unread: it takes too long.
    """
    try:
        async with asyncio.timeout(PATIENCE):
            await sending
    except TimeoutError as error:
        raise Unread from error


class Hub:
    """Tells those who have subscribed. All but `notice` is called in the event loop."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._epoch, self._number = secrets.token_hex(4), 0
        self._kept: collections.deque[Event] = collections.deque(maxlen=KEPT)
        self._dashboards: dict[asyncio.Event, collections.deque[Event]] = {}
        self._users: dict[str, list[asyncio.Event]] = {}
        self._whose: dict[str, str] = {}
        self._deciding = asyncio.Semaphore(AT_ONCE)
        self._ended, self._num_open = False, 0

    def notice(self, notice: Notice) -> None:
        """Takes what the recommender tells, in any thread."""
        if isinstance(notice, Decided | Rewarded | Corrected):
            self._loop.call_soon_threadsafe(self._tell, notice)

    def _tell(self, notice: Decided | Rewarded | Corrected) -> None:
        match notice:
            case Rewarded(num_new=num) | Corrected(num_rewards=num) if num and notice.user is not None:
                self.evidence(user=notice.user)
        if isinstance(notice, Corrected):
            return
        if isinstance(notice, Decided) and notice.user is not None:
            self._whose[notice.decision_id] = notice.user
            if len(self._whose) > USERS:
                del self._whose[next(iter(self._whose))]
        self._number += 1
        event = Event(self._number, type(notice).__name__.lower(), msgspec.json.encode(notice._asdict()).decode(), notice.user)
        self._kept.append(event)
        for there, waiting in self._dashboards.items():
            waiting.append(event)
            there.set()

    def evidence(self, decision_id: str | None = None, user: str | None = None) -> None:
        """Says that there is new evidence about the user of a decision, or about a user; without either, about all."""
        name = user if decision_id is None else self._whose.get(decision_id)
        everyone = decision_id is None and user is None
        for there in [each for found in self._users.values() for each in found] if everyone else self._users.get(name or "", ()):
            there.set()

    def forget(self, user: str) -> None:
        """Keeps nothing of a user, and ends the user's streams."""
        self._whose = {decision_id: name for decision_id, name in self._whose.items() if name != user}
        for events in (self._kept, *self._dashboards.values()):
            others = [event for event in events if event.user != user]
            events.clear()
            events.extend(others)
        for there in self._users.pop(user, ()):
            there.set()

    @property
    def has_ended(self) -> bool:
        """Whether all streams have ended for good."""
        return self._ended

    def end(self) -> None:
        """Ends all streams."""
        self._ended = True
        for there in [*self._dashboards, *(each for found in self._users.values() for each in found)]:
            there.set()

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """Keeps a place for a stream.

        Raises:
            Refused: 429, for a stream too many.
        """
        if self._num_open >= self._limits.subscribers or self._ended:
            raise Refused(429, "Busy", f"{self._num_open} streams are open: try again later.", headers={"retry-after": "10"})
        self._num_open += 1
        try:
            yield
        finally:
            self._num_open -= 1

    async def decisions(self, last: str, form: Form = SERVER_SENT) -> AsyncGenerator[str, None]:
        """Yields decisions and rewards as they happen, after those that came since the event `last`, as far as they are kept.

        Where some are missing, since they are not kept any more or the subscriber was slow, an event "dropped" says how many; -1 where
        nobody knows, after a new start of the service.
        """
        epoch, _, number = last.partition("-")
        seen = int(number) if epoch == self._epoch and number.isdecimal() and len(number) < 20 else self._number
        missed = [event for event in self._kept if event.number > seen]
        there, waiting = asyncio.Event(), collections.deque(missed, maxlen=BEHIND + len(missed))
        self._dashboards[there] = waiting
        try:
            if last and epoch != self._epoch:
                yield form.event("dropped", '{"num":-1}', None)
            yield form.quiet
            while not self._ended:
                while waiting:
                    event = waiting.popleft()
                    if event.number > seen + 1:
                        yield form.event("dropped", f'{{"num":{event.number - seen - 1}}}', None)
                    seen = event.number
                    yield form.event(event.kind, event.data, f"{self._epoch}-{seen}")
                if not await _within(there):
                    yield form.quiet
        finally:
            del self._dashboards[there]

    async def slates(self, user: str, decide: Callable[[], Awaitable[Slate]], form: Form = SERVER_SENT) -> AsyncGenerator[str, None]:
        """Yields a slate for a user, and a fresh one when there is new evidence.

        Where evidence comes quicker than slates are read, one slate answers all of it. Each is deferred: it counts once it is said to be
        shown. A stream begins with a fresh slate, so one that goes on misses nothing. Where none can be decided, an event "problem" says
        why.
        """
        there = asyncio.Event()
        self._users.setdefault(user, []).append(there)
        try:
            there.set()
            while not self._ended:
                is_there = await _within(there)
                if there not in self._users.get(user, ()):
                    return  # the user was forgotten
                if not is_there:
                    yield form.quiet
                    continue
                try:
                    async with self._deciding:
                        slate = await decide()
                except Refused:  # too many wait: it is asked for again
                    there.set()
                    await asyncio.sleep(0.1)
                    continue
                except Exception as error:
                    LOGGER.warning("A stream gets no slate.", exc_info=True)
                    yield form.event("problem", msgspec.json.encode(refusal(error).problem).decode(), None)
                    continue
                yield form.event("slate", msgspec.json.encode(slate).decode(), slate.decision_id)
        finally:
            found = self._users.get(user, [])
            if there in found:
                found.remove(there)
                if not found:
                    del self._users[user]


async def _within(there: asyncio.Event) -> bool:
    """Waits for an event, and takes it; tells whether it came before it was quiet for too long."""
    try:
        await asyncio.wait_for(there.wait(), QUIET)
    except TimeoutError:
        return False
    there.clear()
    return True
