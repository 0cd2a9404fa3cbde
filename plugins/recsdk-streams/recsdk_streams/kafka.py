"""Topics of Kafka: one partition is one stream, and one folder's."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, TIMESTAMP_NOT_AVAILABLE, Consumer, KafkaError, KafkaException, Producer, TopicPartition

from recsdk_streams.base import Letter, Message, StreamError, StreamGap, checked_offset

PATIENCE = 10.0
"""Seconds in which the brokers must answer."""
DELIVERY = 1.0
"""Seconds in which what is there must come; so long is waited for messages of a transaction that was not committed."""

ANY = -1
"""The partition that librdkafka takes for one by the key."""


class KafkaSource:
    """Reads a partition of a topic from any offset on, without the broker's offsets: the folder keeps the place.

    Messages that the brokers hold back for over a second read as none, since those of an open transaction cannot be told from late ones:
    who reads to the end must then read again.

    A topic that was deleted and made again under its name cannot be told from the one before, once it has as many messages.

    Args:
        topic: its name.
        partition: which of its partitions.
        settings: of librdkafka: "bootstrap.servers" and what else it needs.

    Example:
        >>> source = KafkaSource("visits", 0, {"bootstrap.servers": "localhost:9092", "log_level": 0})
        >>> source.name
        'kafka:visits/0'
        >>> source.close()
    """

    def __init__(self, topic: str, partition: int, settings: Mapping[str, Any]) -> None:
        self.name = f"kafka:{topic}/{partition}"
        ours = {"group.id": "recsdk", "enable.auto.commit": False, "auto.offset.reset": "error", "fetch.wait.max.ms": 100}
        with _told(self.name):
            self._consumer = Consumer({**ours, **settings})
        self._place = (topic, partition)
        self._last: int | None = None  # what the consumer has given

    def read(self, after: str | None, limit: int, wait: float) -> list[Message]:
        """See `Source`."""
        place = checked_offset(after, self.name)
        with _told(self.name):
            is_new, self._last = place != self._last, None  # until all is well
            if is_new:
                has_more = self._has_more(place)  # before anything is fetched, for which the broker would let the answer wait
                self._consumer.assign([TopicPartition(*self._place, place + 1 if place >= 0 else OFFSET_BEGINNING)])
                found = self._polled(limit, DELIVERY if has_more else wait)
            else:
                found = self._polled(limit, wait)
                if not found and wait < DELIVERY and self._has_more(place):
                    found = self._polled(limit, DELIVERY)
        self._last = int(found[-1].offset()) if found else place
        return [Message(str(one.offset()), one.value() or b"", _time(one)) for one in found]

    def _has_more(self, place: int) -> bool:
        low, high = self._consumer.get_watermark_offsets(TopicPartition(*self._place), timeout=PATIENCE)
        if place >= 0 and not low <= place + 1 <= high:
            raise StreamGap(f"{self.name} was read up to {place}, and has messages {low} to {high - 1}: what came next is gone.")
        return bool(max(place + 1, low) < high)

    def _polled(self, limit: int, wait: float) -> list[Any]:
        first = self._consumer.poll(wait)
        found = [] if first is None else [first, *(self._consumer.consume(limit - 1, 0.0) if limit > 1 else ())]
        for one in found:
            if one.error() is not None:
                raise KafkaException(one.error())
        return found

    def close(self) -> None:
        """See `Source`."""
        self._consumer.close()


class KafkaSink:
    """Produces to a topic, idempotently; all in-sync replicas have the messages when `send` returns.

    Args:
        topic: its name.
        settings: of librdkafka: "bootstrap.servers" and what else it needs.
        partition: where all go; None for one by the hash of the key.

    Example:
        >>> sink = KafkaSink("slates", {"bootstrap.servers": "localhost:9092", "log_level": 0})
        >>> sink.send([])
        >>> sink.close()
    """

    def __init__(self, topic: str, settings: Mapping[str, Any], partition: int | None = None) -> None:
        self._topic = topic
        self._partition = ANY if partition is None else partition
        with _told(f"kafka:{topic}"):
            self._producer = Producer({"enable.idempotence": True, "delivery.timeout.ms": int(3000 * PATIENCE), "linger.ms": 1, **settings})
        self._errors: list[KafkaError] = []

    def send(self, letters: Sequence[Letter]) -> None:
        """See `Sink`."""
        self._errors.clear()
        with _told(f"kafka:{self._topic}"):
            for letter in letters:
                self._produce(letter)
            if self._producer.flush(4 * PATIENCE):
                raise StreamError(f"kafka:{self._topic} has not taken all that was sent.")
            for error in self._errors:
                raise KafkaException(error)

    def _produce(self, letter: Letter) -> None:
        while True:
            try:
                self._producer.produce(self._topic, letter.data, letter.key, self._partition, on_delivery=self._delivered)
                return
            except BufferError:  # the queue is full
                self._producer.poll(0.1)

    def _delivered(self, error: KafkaError | None, message: Any) -> None:
        del message
        if error is not None:
            self._errors.append(error)

    def close(self) -> None:
        """See `Sink`."""
        self._producer.flush(PATIENCE)


def _time(message: Any) -> float:
    kind, milliseconds = message.timestamp()
    return time.time() if kind == TIMESTAMP_NOT_AVAILABLE else milliseconds / 1000


@contextlib.contextmanager
def _told(stream: str) -> Iterator[None]:
    try:
        yield
    except KafkaException as error:
        found = error.args[0]
        if isinstance(found, KafkaError) and found.code() == KafkaError._AUTO_OFFSET_RESET:
            raise StreamGap(f"{stream} lacks what came after the place where it was read last: {found.str()}") from error
        raise StreamError(f"{stream} could not be used: {found}") from error
    except (RuntimeError, ValueError) as error:
        raise StreamError(f"{stream} could not be used: {error}") from error
