"""Streams by address, as the command line has them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from urllib.parse import parse_qsl, urlsplit

from recsdk.errors import InvalidValue, MissingExtra
from recsdk_streams.base import Sink, Source
from recsdk_streams.files import FileSink, FileSource

KNOWN = "PATH, nats://HOST:PORT/STREAM, redis://HOST:PORT/DATABASE?stream=KEY or kafka://HOST:PORT/TOPIC/PARTITION"
NATS, REDIS, KAFKA = ("nats", "tls"), ("redis", "rediss"), ("kafka",)


def source(address: str) -> Source:
    """Opens the stream of an address, to be read.

    Args:
        address: the path of a file; `nats://host:4222/STREAM`, with TLS `tls://`; `redis://host:6379/0?stream=KEY`, with TLS `rediss://`;
            `kafka://host:9092/TOPIC/PARTITION`, with settings of librdkafka as its query. A name of an environment variable after a "$" is
            replaced by it, so that no password need stand in a command.

    Raises:
        InvalidValue: what is no such address.
        MissingExtra: the client of the broker is not installed.
        StreamError: it cannot be opened.

    Example:
        >>> source("visits.jsonl").read(None, limit=1, wait=0.0)
        []
    """
    kind, server, place, query = _parts(address)
    with _extra(kind):
        if kind in NATS:
            from recsdk_streams.nats import NatsSource

            return NatsSource(place, server)
        if kind in REDIS:
            from recsdk_streams.redis import RedisSource, connected

            return RedisSource(connected(f"{server}/{place}"), query["stream"])
        if kind in KAFKA:
            from recsdk_streams.kafka import KafkaSource

            return KafkaSource(*_partition(place), query)
    return FileSource(place)


def sink(address: str) -> Sink:
    """Opens the stream of an address, to be written to; of NATS it is a subject, `nats://host:4222/SUBJECT`, of Kafka a topic.

    Args:
        address: as for `source`.

    Raises:
        InvalidValue, MissingExtra, StreamError: as `source`.

    Example:
        >>> sink("slates.jsonl").send([])
    """
    kind, server, place, query = _parts(address)
    with _extra(kind):
        if kind in NATS:
            from recsdk_streams.nats import NatsSink

            return NatsSink(place, server)
        if kind in REDIS:
            from recsdk_streams.redis import RedisSink, connected

            return RedisSink(connected(f"{server}/{place}"), query["stream"])
        if kind in KAFKA:
            from recsdk_streams.kafka import KafkaSink

            return KafkaSink(place, query)
    return FileSink(place)


def _parts(address: str) -> tuple[str, str, str, dict[str, str]]:
    """Returns the kind of stream of an address, its server, its place there, and more that the address says."""
    address = os.path.expandvars(address)
    kind, is_url, _ = address.partition("://")
    if not is_url:
        return "", "", address, {}
    found = urlsplit(address)
    query, place = dict(parse_qsl(found.query)), found.path.strip("/")
    if kind in KAFKA and place:
        return kind, found.netloc, place, {"bootstrap.servers": found.netloc, **query}
    if (kind in NATS and place and not query) or (kind in REDIS and set(query) == {"stream"}):
        return kind, f"{kind}://{found.netloc}", place, query
    told = f"{kind}://{found.hostname or ''}{found.path}" + ("?" + "&".join(query) if query else "")  # without passwords
    raise InvalidValue(f"A stream must be given as {KNOWN}, got {told}.")


def _partition(place: str) -> tuple[str, int]:
    topic, _, number = place.partition("/")
    if not number.isdecimal():
        raise InvalidValue(
            f"A stream of Kafka must be one partition, kafka://HOST:PORT/TOPIC/PARTITION, got {place!r}: each has its own folder."
        )
    return topic, int(number)


@contextlib.contextmanager
def _extra(kind: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        name = "kafka" if kind in KAFKA else "nats" if kind in NATS else "redis"
        raise MissingExtra(f"{kind}:// needs a client: pip install 'recsdk-streams[{name}]' ({error}).") from error
