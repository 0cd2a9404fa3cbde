"""The contract of streams: a `Source` gives messages in an order that lasts, a `Sink` takes them.

`recsdk_streams.testing` holds an adapter to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from recsdk.errors import InvalidValue, RecsdkError

MOST_BYTES = 1 << 20
"""A longer message is not read: it goes to the dead letters."""


class StreamError(RecsdkError, OSError):
    """A stream that cannot be read or written now: its broker is away, or refuses.

    Example:
        >>> from recsdk_streams import FileSource
        >>> try:
        ...     FileSource(".").read(None, limit=1, wait=0.0)
        ... except StreamError as error:
        ...     print("could not be read" in str(error))
        True
    """


class StreamGap(StreamError):
    """A stream that lacks messages after the place where it was read last: it was cut too early, or it is another one of that name.

    Example:
        >>> from recsdk_streams import FileSource
        >>> try:
        ...     FileSource("nobody-wrote.jsonl").read("17", limit=1, wait=0.0)
        ... except StreamGap as error:
        ...     print("is not there any more" in str(error))
        True
    """


class Message(NamedTuple):
    """One message of a stream.

    Attributes:
        offset: its place in the stream, in the words of the adapter; what comes after it is read by it.
        data: its content.
        time: seconds since the epoch at which it came into the stream; the same whenever it is read.

    Example:
        >>> Message("17", b'{"kind": "shown", "decision_id": "d1"}', time=1_700_000_000.0).offset
        '17'
    """

    offset: str
    data: bytes
    time: float


class Letter(NamedTuple):
    """A message to be sent.

    Attributes:
        key: the same when it is sent again: a decision's id, or the place of a message that is dead.
        data: its content.

    Example:
        >>> Letter("d1", b'{"kind": "slate", "decision_id": "d1"}').key
        'd1'
    """

    key: str
    data: bytes


class Source(Protocol):
    r"""A stream that is read, from any place on and as often as one likes: who reads keeps the place.

    Example:
        >>> from pathlib import Path
        >>> from recsdk_streams import FileSource
        >>> _ = Path("visits.jsonl").write_bytes(b"first\nsecond\n")
        >>> source = FileSource("visits.jsonl")
        >>> first, second = source.read(None, limit=10, wait=0.0)
        >>> [message.data for message in source.read(first.offset, limit=10, wait=0.0)]
        [b'second']
    """

    @property
    def name(self) -> str:
        """The stream, by which a folder keeps the place; no host and no password."""

    def read(self, after: str | None, limit: int, wait: float) -> list[Message]:
        """Returns the messages that come after an offset, in their order: at least one where there is one.

        Args:
            after: an offset; None for the first message.
            limit: how many at most.
            wait: seconds for which it waits for the first of them; then there is none.

        Raises:
            StreamGap: messages after `after` are gone.
            StreamError: the stream cannot be read.
        """

    def close(self) -> None:
        """Ends the connection. Closing twice is no error."""


class Sink(Protocol):
    r"""A stream that is written to.

    Example:
        >>> from pathlib import Path
        >>> from recsdk_streams import FileSink, Letter
        >>> FileSink("slates.jsonl").send([Letter("d1", b'{"decision_id": "d1"}')])
        >>> Path("slates.jsonl").read_text()
        '{"decision_id": "d1"}\n'
    """

    def send(self, letters: Sequence[Letter]) -> None:
        """Sends messages, in their order; the stream has all of them when this returns.

        Raises:
            StreamError: it may have some of them, and all are to be sent again.
        """

    def close(self) -> None:
        """Ends the connection. Closing twice is no error."""


def checked_offset(after: str | None, stream: str) -> int:
    """Returns an offset that is a number; -1 for None.

    Raises:
        InvalidValue: an offset of another adapter.
    """
    if after is None:
        return -1
    if not after.isascii() or not after.isdigit():
        raise InvalidValue(f"after must be an offset of {stream}, a whole number as text, got {after!r}.")
    return int(after)
