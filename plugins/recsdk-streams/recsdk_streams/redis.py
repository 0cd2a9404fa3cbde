"""Redis streams: a stream's name is its key, a message the field "data" of an entry."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import redis
from redis.exceptions import RedisError

from recsdk.errors import InvalidValue
from recsdk_streams.base import Letter, Message, StreamError, StreamGap

DATA, KEY = b"data", b"key"


class RedisSource:
    """Reads a Redis stream from any entry on, without a consumer group: the folder keeps the place.

    The entry that was read last must still be there, since a stream does not tell what was cut off behind it: trim by MINID and the offset
    that the folder keeps, which leaves that entry.

    Args:
        client: of the server, such as `redis.Redis.from_url("redis://localhost", socket_timeout=None)`. A time-out must exceed a second.
        key: of the stream.

    Example:
        >>> source = RedisSource(redis.Redis(), "visits")
        >>> source.name
        'redis:visits'
        >>> source.close()
    """

    def __init__(self, client: redis.Redis, key: str) -> None:
        self._client = client
        self._key = key
        self.name = f"redis:{key}"

    def read(self, after: str | None, limit: int, wait: float) -> list[Message]:
        """See `Source`."""
        found = self._entries(after, limit)
        if not found and wait > 0:
            with _told(self.name):
                self._client.xread({self._key: after or "0-0"}, count=1, block=max(1, round(wait * 1000)))
            found = self._entries(after, limit)
        return found

    def _entries(self, after: str | None, limit: int) -> list[Message]:
        if after is None:
            return [_message(*entry) for entry in self._range("-", limit)]
        entries = self._range(after, limit + 1)
        if not entries or entries[0][0].decode() != after:
            raise StreamGap(
                f"{self.name} was read up to {after}, which is not there any more, nor perhaps what came after it: "
                "trim a stream no further than to the entry that was read last."
            )
        return [_message(*entry) for entry in entries[1:]]

    def _range(self, first: str, limit: int) -> list[Any]:
        with _told(self.name):
            try:
                return list(self._client.xrange(self._key, min=first, count=limit))  # type: ignore[arg-type]  # a client that does not wait
            except redis.ResponseError as error:
                if "Invalid stream ID" in str(error):
                    raise InvalidValue(f"after must be the id of an entry of {self.name}, got {first!r}.") from error
                raise

    def close(self) -> None:
        """See `Source`."""
        self._client.close()


class RedisSink:
    """Adds entries to a Redis stream, with the fields "key" and "data". How durable they are is the server's setting.

    Args:
        client: of the server.
        key: of the stream, which is made.

    Example:
        >>> sink = RedisSink(redis.Redis(), "slates")
        >>> sink.send([])
        >>> sink.close()
    """

    def __init__(self, client: redis.Redis, key: str) -> None:
        self._client = client
        self._key = key

    def send(self, letters: Sequence[Letter]) -> None:
        """See `Sink`."""
        if not letters:
            return
        with _told(f"redis:{self._key}"), self._client.pipeline(transaction=True) as pipeline:
            for letter in letters:
                pipeline.xadd(self._key, {KEY: letter.key.encode(), DATA: letter.data})
            pipeline.execute()

    def close(self) -> None:
        """See `Sink`."""
        self._client.close()


def connected(url: str) -> redis.Redis:
    """Returns a client that waits as long as a read says."""
    return redis.Redis.from_url(url, socket_timeout=None)


def _message(entry_id: bytes, fields: dict[bytes, bytes] | None) -> Message:
    return Message(entry_id.decode(), (fields or {}).get(DATA, b""), int(entry_id.partition(b"-")[0]) / 1000)


@contextlib.contextmanager
def _told(stream: str) -> Iterator[None]:
    try:
        yield
    except RedisError as error:
        raise StreamError(f"{stream} could not be used: {error}") from error
