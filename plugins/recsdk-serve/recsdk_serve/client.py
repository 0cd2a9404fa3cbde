"""Clients of the service, for programs in Python: one that waits, and one for asyncio."""

from __future__ import annotations

import asyncio
import time
import types
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import httpx2
import msgspec

from recsdk import LocalRecommender
from recsdk.errors import InvalidValue
from recsdk.live.local import Answer, LocalDecision, Sent
from recsdk_serve import messages as m
from recsdk_serve.calling import Ask, Following, Got, Retry, ServiceError, Steps, retry_after
from recsdk_serve.calls import Calls, Fallback, Served

R = TypeVar("R")
DECISIONS, SLATES = "/v1/events/decisions", "/v1/events/slates"
JSON = {"content-type": "application/json"}
QUIET = 45.0
"""Seconds without a byte after which a stream is lost: the service sends a comment every 15."""
UNSENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


class Event(NamedTuple):
    """Something that a stream told.

    Attributes:
        kind: "decided", "rewarded", "slate", "problem", or "dropped" where some are missing.
        data: of it, by name.
        event_id: after which the stream goes on; "" for none.

    Example:
        >>> Event("dropped", {"num": 3}, "").data["num"]
        3
    """

    kind: str
    data: dict[str, Any]
    event_id: str


class Client:
    """A client of the service, which threads may share. For asyncio there is `AsyncClient`, with the same methods.

    Each call takes the message that the service takes, and returns the one that it gives. What is refused raises the error that
    `Recommender` would raise, by the same class, or `ServiceError`. Where no answer comes, the call is repeated with the same ids, so that
    it counts once, and at last raises `Unanswered`.

    Args:
        address: of the service, such as "https://shop.example".
        key: of the client, where the service asks for one.
        retry: how long calls are repeated.
        fallback: what `decide` shows when the service is away: item ids, of which the first are shown that are asked for and not seen; or a
            function of the `Decide` that returns ids, or a `Served` of its own. None lets the error pass.
        sticky: seconds within which a user who had a slate of the service is shown that one again when the service is away, before there is
            a fallback. Rewards go to the decision that drew it. 0 for never.
        transport: of httpx2, in place of the network.

    Example:
        >>> from recsdk_serve import Decide
        >>> client = Client("http://localhost:1", retry=Retry(within=0), fallback=["tea", "coffee"])
        >>> client.decide(Decide(user="ann", seen=["tea"])).ids
        ('coffee',)
        >>> client.close()
    """

    def __init__(
        self,
        address: str,
        *,
        key: str | None = None,
        retry: Retry | None = None,
        fallback: Fallback = None,
        sticky: float = 0.0,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        self._calls = Calls(retry or Retry(), fallback, sticky)
        self._http = httpx2.Client(base_url=_checked(address), headers=_headers(key), transport=transport)

    def decide(self, asked: m.Decide) -> Served:
        """Chooses what to show; a request without a `decision_id` gets one."""
        return self._done(self._calls.decide(asked))

    def decide_batch(self, asked: Sequence[m.Decide]) -> list[m.Slate]:
        """Chooses for many requests, all or none."""
        return self._done(self._calls.decide_batch(asked))

    def reward(self, asked: m.Reward) -> bool:
        """Gives a reward; tells whether it is new, which one that is repeated for want of an answer need not be."""
        return self._done(self._calls.reward(asked))

    def reward_batch(self, asked: Sequence[m.Reward]) -> list[m.Result]:
        """Gives many rewards, each taken or refused by itself."""
        return self._done(self._calls.reward_batch(asked))

    def signal(self, asked: m.Signal) -> str:
        """Tells what happened to a shown item; one for a `user` gets a `signal_id` where it has none. Returns the receipt."""
        return self._done(self._calls.signal(asked))

    def correct(self, asked: m.Correct) -> str:
        """Corrects a signal or a reward; returns the receipt."""
        return self._done(self._calls.receipt("correct", asked))

    def shown(self, asked: m.Shown) -> str:
        """Tells whether a decision was shown; returns the receipt."""
        return self._done(self._calls.receipt("shown", asked))

    def add_items(self, rows: Iterable[Mapping[str, Any]]) -> int:
        """Adds items; returns how many there are."""
        return self._done(self._calls.items("add_items", rows))

    def change_items(self, rows: Iterable[Mapping[str, Any]]) -> int:
        """Changes items; returns how many there are."""
        return self._done(self._calls.items("change_items", rows))

    def remove_items(self, ids: Iterable[str]) -> int:
        """Removes items; returns how many there are."""
        return self._done(self._calls.remove_items(ids))

    def forget(self, user: str) -> dict[str, Any]:
        """Forgets a user; returns the report."""
        return self._done(self._calls.forget(user))

    def models(self) -> m.Models:
        """Returns what serves, and what has served."""
        return self._done(self._calls.models("models", m.Nothing()))

    def publish(self, scorers: Sequence[str]) -> m.Models:
        """Lets other scorers serve."""
        return self._done(self._calls.models("publish", m.Publish(scorers=list(scorers))))

    def roll_back(self) -> m.Models:
        """Goes back to what served before."""
        return self._done(self._calls.models("roll_back", m.Nothing()))

    def status(self) -> m.Status:
        """Returns how the recommender does."""
        return self._done(self._calls.status())

    def export(self, *, keep: int = 4) -> bytes:
        """Returns what decides now, for `LocalRecommender.load`; the service keeps so many of the newest. See `Recommender.export`."""
        return self._done(self._calls.export(keep))

    def take(self, decisions: Sequence[LocalDecision]) -> list[Answer]:
        """Gives decisions that were made by an export; for each, whether it is new, or the error by which it is refused."""
        return self._done(self._calls.take(decisions))

    def send(self, local: LocalRecommender) -> Sent:
        """Sends what was decided and rewarded by an export, and waits; what is interrupted can be sent again, and counts once."""
        return self._done(self._calls.send(local))

    def ready(self) -> bool:
        """Tells whether the service takes requests; False where it does not answer. Asked once."""
        return self._send(_ready(self._calls)).status == 200

    def decisions(self, last: str = "") -> Iterator[Event]:
        """Yields decisions and rewards as they happen, after the event of the id `last`; through interruptions no longer than `retry`."""
        return self._follow(DECISIONS, {}, last)

    def slates(self, user: str, *, size: int = 1) -> Iterator[Event]:
        """Yields slates for a user, one at once and a fresh one for new evidence; each counts once it is said to be `shown`."""
        return self._follow(SLATES, {"user": user, "size": str(size)})

    def close(self) -> None:
        """Closes its connections."""
        self._http.close()

    def __enter__(self) -> Client:
        """Returns itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: types.TracebackType | None) -> None:
        """Closes it."""
        self.close()

    def _done(self, steps: Steps[R]) -> R:
        try:
            step = next(steps)
            while True:
                if isinstance(step, Ask):
                    step = steps.send(self._send(step))
                else:
                    time.sleep(step)
                    step = next(steps)
        except StopIteration as end:
            found: R = end.value
            return found
        finally:
            steps.close()  # where it was interrupted

    def _send(self, ask: Ask) -> Got:
        try:
            return _got(self._http.request(ask.method, ask.path, content=ask.content, headers=JSON, timeout=ask.timeout))
        except httpx2.HTTPError as error:
            return _lost(error)

    def _follow(self, path: str, params: Mapping[str, str], last: str = "") -> Iterator[Event]:
        following = Following(self._calls.retry, last)
        while True:
            try:
                with self._http.stream("GET", path, params=params, headers=following.headers, timeout=QUIET) as response:
                    if _is_stream(response):
                        following.begun()
                        for told in httpx2.EventSource(response):
                            event = _event(told)
                            following.taken(event.event_id)
                            yield event
                    else:
                        response.read()
                    got = _ended(response)
            except httpx2.HTTPError as error:
                got = _lost(error)
            time.sleep(following.wait(got))


class AsyncClient:
    """Is `Client` for asyncio: each method that is not a stream is to be awaited.

    Args:
        address: as for `Client`, and the others too.
        key: of the client.
        retry: how long calls are repeated.
        fallback: what is shown when the service is away.
        sticky: seconds.
        transport: of httpx2.

    Example:
        >>> from recsdk_serve import Decide
        >>> async def shown():
        ...     async with AsyncClient("http://localhost:1", retry=Retry(within=0), fallback=["tea"]) as client:
        ...         return await client.decide(Decide())
        >>> asyncio.run(shown()).source
        'fallback'
    """

    def __init__(
        self,
        address: str,
        *,
        key: str | None = None,
        retry: Retry | None = None,
        fallback: Fallback = None,
        sticky: float = 0.0,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._calls = Calls(retry or Retry(), fallback, sticky)
        self._http = httpx2.AsyncClient(base_url=_checked(address), headers=_headers(key), transport=transport)

    async def decide(self, asked: m.Decide) -> Served:
        """Is `Client.decide`."""
        return await self._done(self._calls.decide(asked))

    async def decide_batch(self, asked: Sequence[m.Decide]) -> list[m.Slate]:
        """Is `Client.decide_batch`."""
        return await self._done(self._calls.decide_batch(asked))

    async def reward(self, asked: m.Reward) -> bool:
        """Is `Client.reward`."""
        return await self._done(self._calls.reward(asked))

    async def reward_batch(self, asked: Sequence[m.Reward]) -> list[m.Result]:
        """Is `Client.reward_batch`."""
        return await self._done(self._calls.reward_batch(asked))

    async def signal(self, asked: m.Signal) -> str:
        """Is `Client.signal`."""
        return await self._done(self._calls.signal(asked))

    async def correct(self, asked: m.Correct) -> str:
        """Is `Client.correct`."""
        return await self._done(self._calls.receipt("correct", asked))

    async def shown(self, asked: m.Shown) -> str:
        """Is `Client.shown`."""
        return await self._done(self._calls.receipt("shown", asked))

    async def add_items(self, rows: Iterable[Mapping[str, Any]]) -> int:
        """Is `Client.add_items`."""
        return await self._done(self._calls.items("add_items", rows))

    async def change_items(self, rows: Iterable[Mapping[str, Any]]) -> int:
        """Is `Client.change_items`."""
        return await self._done(self._calls.items("change_items", rows))

    async def remove_items(self, ids: Iterable[str]) -> int:
        """Is `Client.remove_items`."""
        return await self._done(self._calls.remove_items(ids))

    async def forget(self, user: str) -> dict[str, Any]:
        """Is `Client.forget`."""
        return await self._done(self._calls.forget(user))

    async def models(self) -> m.Models:
        """Is `Client.models`."""
        return await self._done(self._calls.models("models", m.Nothing()))

    async def publish(self, scorers: Sequence[str]) -> m.Models:
        """Is `Client.publish`."""
        return await self._done(self._calls.models("publish", m.Publish(scorers=list(scorers))))

    async def roll_back(self) -> m.Models:
        """Is `Client.roll_back`."""
        return await self._done(self._calls.models("roll_back", m.Nothing()))

    async def status(self) -> m.Status:
        """Is `Client.status`."""
        return await self._done(self._calls.status())

    async def export(self, *, keep: int = 4) -> bytes:
        """Is `Client.export`."""
        return await self._done(self._calls.export(keep))

    async def take(self, decisions: Sequence[LocalDecision]) -> list[Answer]:
        """Is `Client.take`."""
        return await self._done(self._calls.take(decisions))

    async def send(self, local: LocalRecommender) -> Sent:
        """Is `Client.send`."""
        return await self._done(self._calls.send(local))

    async def ready(self) -> bool:
        """Is `Client.ready`."""
        return (await self._send(_ready(self._calls))).status == 200

    def decisions(self, last: str = "") -> AsyncIterator[Event]:
        """Is `Client.decisions`."""
        return self._follow(DECISIONS, {}, last)

    def slates(self, user: str, *, size: int = 1) -> AsyncIterator[Event]:
        """Is `Client.slates`."""
        return self._follow(SLATES, {"user": user, "size": str(size)})

    async def close(self) -> None:
        """Closes its connections."""
        await self._http.aclose()

    async def __aenter__(self) -> AsyncClient:
        """Returns itself."""
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: types.TracebackType | None) -> None:
        """Closes it."""
        await self.close()

    async def _done(self, steps: Steps[R]) -> R:
        try:
            step = next(steps)
            while True:
                if isinstance(step, Ask):
                    step = steps.send(await self._send(step))
                else:
                    await asyncio.sleep(step)
                    step = next(steps)
        except StopIteration as end:
            found: R = end.value
            return found
        finally:
            steps.close()  # where it was interrupted

    async def _send(self, ask: Ask) -> Got:
        try:
            return _got(await self._http.request(ask.method, ask.path, content=ask.content, headers=JSON, timeout=ask.timeout))
        except httpx2.HTTPError as error:
            return _lost(error)

    async def _follow(self, path: str, params: Mapping[str, str], last: str = "") -> AsyncIterator[Event]:
        following = Following(self._calls.retry, last)
        while True:
            try:
                async with self._http.stream("GET", path, params=params, headers=following.headers, timeout=QUIET) as response:
                    if _is_stream(response):
                        following.begun()
                        async for told in httpx2.EventSource(response):
                            event = _event(told)
                            following.taken(event.event_id)
                            yield event
                    else:
                        await response.aread()
                    got = _ended(response)
            except httpx2.HTTPError as error:
                got = _lost(error)
            await asyncio.sleep(following.wait(got))


def _checked(address: str) -> str:
    if not address.startswith(("http://", "https://")):
        raise InvalidValue(f"address must begin with http:// or https://, got {address!r}.")
    return address


def _headers(key: str | None) -> dict[str, str]:
    return {} if key is None else {"authorization": f"Bearer {key}"}


def _ready(calls: Calls) -> Ask:
    return Ask("GET", "/v2/health/ready", None, calls.retry.timeout)


def _got(response: httpx2.Response) -> Got:
    return Got(response.status_code, response.content, retry_after(response.headers.get("retry-after")))


def _ended(response: httpx2.Response) -> Got:
    """Returns what came of a stream, which is to go on where it was none that was refused."""
    return Got(0, b"the stream has ended") if _is_stream(response) else _got(response)


def _lost(error: httpx2.HTTPError) -> Got:
    return Got(0, f"{type(error).__name__}: {error}".encode(), may_be_done=not isinstance(error, UNSENT))


def _event(told: httpx2.ServerSentEvent) -> Event:
    """Returns an event.

    Raises:
        ServiceError: its data is no object in JSON.
    """
    try:
        return Event(told.event, msgspec.json.decode(told.data, type=dict[str, Any]), told.id)
    except (msgspec.MsgspecError, ValueError) as error:
        raise ServiceError(f"The stream has sent what is no event: {told.data[:200]!r}: {error}.", status=200) from error


def _is_stream(response: httpx2.Response) -> bool:
    return bool(response.status_code == 200) and response.headers.get("content-type", "").partition(";")[0].strip() == "text/event-stream"
