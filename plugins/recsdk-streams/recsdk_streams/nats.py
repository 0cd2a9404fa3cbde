"""Streams of NATS JetStream: a stream's sequence numbers are its offsets."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Iterator, Sequence
from hashlib import blake2b
from typing import Any, TypeVar

import nats
from nats.errors import Error, TimeoutError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from recsdk_streams.base import Letter, Message, StreamError, StreamGap, checked_offset

R = TypeVar("R")
PATIENCE = 5.0
"""Seconds in which the server must answer."""
CHUNK = 100
"""Messages that are sent before the server must have taken them."""
IDLE = 300.0
"""Seconds after which the server forgets a reader; the next read makes another one."""
DELIVERY = 2.0
"""Seconds in which what is there must come; so long is waited for messages that were deleted one by one."""


class NatsSource:
    """Reads a JetStream stream from any sequence number on, without a durable consumer: the folder keeps the place.

    Args:
        stream: its name.
        servers: addresses, such as "nats://localhost:4222".
        options: of `nats.connect`, such as `user_credentials` or `tls`.

    Raises:
        StreamError: there is no server.

    Example:
        >>> from contextlib import closing
        >>> from recsdk_streams.local import LocalServer, missing
        >>> if not missing("nats"):
        ...     with LocalServer("nats") as server, closing(NatsSource("visits", server.url)) as source:
        ...         assert source.name == "nats:visits"
    """

    def __init__(self, stream: str, servers: str | Sequence[str], **options: Any) -> None:
        self.name = f"nats:{stream}"
        self._stream = stream
        self._connection = _Connection(self.name, servers, options)
        self._reader: Any = None
        self._last = -1  # what the reader has given
        self._count = 0

    def read(self, after: str | None, limit: int, wait: float) -> list[Message]:
        """See `Source`."""
        return self._connection.do(self._read(max(checked_offset(after, self.name), 0), limit, wait), wait)

    async def _read(self, after: int, limit: int, wait: float) -> list[Message]:
        info = await self._connection.js.stream_info(self._stream)
        first, last = info.state.first_seq, info.state.last_seq
        if after and (first > after + 1 or last < after):
            raise StreamGap(f"{self.name} was read up to {after}, and has messages {first} to {last}: what came next is gone.")
        num = min(limit, last - after) if last > after else 1
        if last <= after and wait <= 0:
            return []
        if self._reader is None or after != self._last:
            await self._leave()
            config = ConsumerConfig(
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=after + 1,
                ack_policy=AckPolicy.NONE,
                inactive_threshold=IDLE,
                mem_storage=True,
            )
            self._reader = await self._connection.js.pull_subscribe(">", stream=self._stream, config=config)
            self._last, self._count = after, 0
        try:
            found = await self._fetched(num, wait, is_there=last > after)
        except BaseException:
            await self._leave()
            raise
        for message in found[:limit]:
            place = message.metadata.sequence
            if place.consumer != self._count + 1:  # one was lost on the way: the next read asks for it again
                await self._leave()
                return await self._read(after, limit, wait)
            self._last, self._count = place.stream, place.consumer
        if len(found) > limit:  # left over from a read that was given up
            await self._leave()
        return [Message(str(one.metadata.sequence.stream), one.data, one.metadata.timestamp.timestamp()) for one in found[:limit]]

    async def _fetched(self, num: int, wait: float, *, is_there: bool) -> list[Any]:
        """Returns what comes; nothing only where the server says that nothing is there, since messages were deleted one by one."""
        for patience in (DELIVERY, PATIENCE) if is_there else (wait,):
            with contextlib.suppress(TimeoutError):
                return list(await self._reader.fetch(num, timeout=patience))
            if not is_there:
                return []
            told = await self._reader.consumer_info()
            if told.num_pending == 0 and (told.delivered is None or told.delivered.consumer_seq == self._count):
                return []
        raise StreamError(f"{self.name} has messages after {self._last} that did not come in {DELIVERY + PATIENCE:g} seconds.")

    async def _leave(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            with contextlib.suppress(Error):
                await reader.unsubscribe()

    def close(self) -> None:
        """See `Source`."""
        self._connection.close()


class NatsSink:
    """Publishes to a subject of a JetStream stream, which has taken the messages when `send` returns.

    Each has a hash of its key and its data as `Nats-Msg-Id`, so that the stream drops what is sent again within its duplicate window.

    Args:
        subject: which some stream must hold.
        servers: addresses, such as "nats://localhost:4222".
        options: of `nats.connect`.

    Raises:
        StreamError: there is no server.

    Example:
        >>> from contextlib import closing
        >>> from recsdk_streams.local import LocalServer, missing
        >>> if not missing("nats"):
        ...     with LocalServer("nats") as server, closing(NatsSink("slates", server.url)) as sink:
        ...         sink.send([])
    """

    def __init__(self, subject: str, servers: str | Sequence[str], **options: Any) -> None:
        self._subject = subject
        self._connection = _Connection(f"nats:{subject}", servers, options)

    def send(self, letters: Sequence[Letter]) -> None:
        """See `Sink`."""
        self._connection.do(self._send(letters), PATIENCE * (1 + len(letters) // CHUNK))

    async def _send(self, letters: Sequence[Letter]) -> None:
        publish = self._connection.js.publish_async
        for start in range(0, len(letters), CHUNK):
            taken = list[asyncio.Future[Any]]()
            for letter in letters[start : start + CHUNK]:
                name = _name(self._subject, letter)
                taken.append(await publish(self._subject, letter.data, wait_stall=PATIENCE, headers={"Nats-Msg-Id": name}))
            await asyncio.wait_for(asyncio.gather(*taken), PATIENCE)

    def close(self) -> None:
        """See `Sink`."""
        self._connection.close()


def _name(subject: str, letter: Letter) -> str:
    """Returns the same for what is sent again, and another for whatever else; a header takes no line breaks, nor much text."""
    whole = blake2b(digest_size=16)
    for part in (subject.encode(), letter.key.encode("utf-8", "surrogatepass"), letter.data):
        whole.update(len(part).to_bytes(8, "little") + part)
    return whole.hexdigest()


class _Connection:
    """A connection in a thread of its own, which answers the server while nobody reads."""

    def __init__(self, stream: str, servers: str | Sequence[str], options: dict[str, Any]) -> None:
        self._stream = stream
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="recsdk-nats", daemon=True)
        self._thread.start()
        settings = {"connect_timeout": PATIENCE, "allow_reconnect": True, "error_cb": _quiet, **options}
        try:
            connecting = nats.connect(servers if isinstance(servers, str) else list(servers), **settings)
            self._client = self.do(asyncio.wait_for(connecting, PATIENCE), PATIENCE)
        except BaseException:
            self._end()
            raise
        self.js = self._client.jetstream(timeout=PATIENCE)

    def do(self, work: Coroutine[Any, Any, R], wait: float) -> R:
        with self._told():
            if self._loop.is_closed():
                work.close()
                raise StreamError(f"{self._stream} is closed.")
            return asyncio.run_coroutine_threadsafe(work, self._loop).result(wait + 6 * PATIENCE)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except StreamError:
            raise
        except NotFoundError as error:
            raise StreamError(f"{self._stream} is not there: {error}") from error
        except (Error, OSError) as error:
            raise StreamError(f"{self._stream} could not be used: {type(error).__name__}: {error}") from error

    def close(self) -> None:
        if not self._loop.is_closed():
            with contextlib.suppress(StreamError):
                self.do(self._client.close(), PATIENCE)
            self._end()

    def _end(self) -> None:
        asyncio.run_coroutine_threadsafe(_cancelled(), self._loop).result(PATIENCE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _quiet(error: Exception) -> None:
    """Says nothing: what fails is raised where it is waited for."""
    del error


async def _cancelled() -> None:
    """Ends what the client has left behind."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
