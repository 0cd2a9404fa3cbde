"""The laws of sources and sinks, to be run by whoever writes an adapter.

@pytest.mark.parametrize("check", SOURCE_CHECKS, ids=lambda check: check.__name__)
def test_conforms(check):
    check(MyBench())
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from typing import Protocol

from recsdk_streams.base import Letter, Message, Sink, Source, StreamGap

CONTENTS = [b"first", b"\xff\x00 not text", "\N{GRINNING FACE}".encode(), b"first", b'{"a": 1}', b"x" * 200_000, b" "]


PATIENCE = 20.0
"""Seconds in which messages that were put must be read."""


class Bench(Protocol):
    """A new, empty stream to try an adapter on.

    Example:
        >>> from pathlib import Path
        >>> class Files:
        ...     def put(self, contents):
        ...         with Path("kit.jsonl").open("ab") as file:
        ...             file.write(b"".join(content + bytes([10]) for content in contents))
        ...     def source(self):
        ...         return FileSource("kit.jsonl")
        ...     def sink(self):
        ...         return FileSink("kit.jsonl")
        ...     def cut(self):
        ...         Path("kit.jsonl").write_bytes(b"")
        >>> from recsdk_streams import FileSink, FileSource
        >>> check_order(Files())
    """

    def put(self, contents: Sequence[bytes]) -> None:
        """Writes messages to the stream with the client of its broker."""

    def source(self) -> Source:
        """Opens the stream to read it; each call is a reader of its own."""

    def sink(self) -> Sink:
        """Opens the same stream to write to it."""

    def cut(self) -> None:
        """Removes the messages that are there, as retention does; the stream stays, or another one takes its name."""


def check_order(bench: Bench) -> None:
    """All messages are read, each once, in their order and to the byte; each has an offset of its own, and a time of now."""
    began = time.time()
    bench.put(CONTENTS)
    found = _all(bench)
    assert [message.data for message in found] == CONTENTS, f"order: must be read as they were put, got {_brief(found)}"
    offsets = [message.offset for message in found]
    assert len(set(offsets)) == len(offsets), f"order: each message must have an offset of its own, got {offsets}"
    assert all(isinstance(offset, str) and offset for offset in offsets), f"order: offsets must be texts, got {offsets}"
    times = [message.time for message in found]
    assert all(math.isfinite(moment) and abs(moment - began) < 60 for moment in times), f"order: times must be of now, {began}, got {times}"


def check_again(bench: Bench) -> None:
    """From any offset on the same messages are read, as often as one likes, also by another reader."""
    bench.put(CONTENTS)
    found = _all(bench)
    for place in range(len(found)):
        with closing(bench.source()) as source:
            for _ in range(2):
                rest = _read(source, found[place].offset, len(found) - place - 1)
                wanted = [message[:2] for message in found[place + 1 :]]
                assert [message[:2] for message in rest] == wanted, (
                    f"again: after {found[place].offset} must come the rest, got {_brief(rest)}"
                )


def check_limit(bench: Bench) -> None:
    """No more is read than the limit, and reading goes on after it."""
    bench.put(CONTENTS)
    with closing(bench.source()) as source:
        found, after = list[Message](), None
        while len(found) < len(CONTENTS):
            more = source.read(after, 2, 5.0)
            assert 1 <= len(more) <= 2, f"limit: 1 or 2 messages must be read, got {len(more)}"
            found, after = [*found, *more], more[-1].offset
        assert [message.data for message in found] == CONTENTS, f"limit: must be read as they were put, got {_brief(found)}"


def check_waiting(bench: Bench) -> None:
    """Where there is nothing to read it waits, not for longer than it may; what comes meanwhile is read at once."""
    bench.put(CONTENTS[:1])
    with closing(bench.source()) as source:
        (first,) = _read(source, None, 1)
        for wait in (0.0, 0.3):
            began = time.monotonic()
            none = source.read(first.offset, 10, wait)
            took = time.monotonic() - began
            assert none == [], f"waiting: there is nothing to read, got {_brief(none)}"
            assert wait * 0.9 <= took < wait + 5, f"waiting: it may wait for {wait} s, and took {took}"
        putting = threading.Timer(0.2, bench.put, [CONTENTS[1:2]])
        putting.start()
        began = time.monotonic()
        found = source.read(first.offset, 10, 20.0)
        putting.join()
        assert [message.data for message in found] == CONTENTS[1:2], f"waiting: what comes must be read, got {_brief(found)}"
        assert time.monotonic() - began < 10, "waiting: it must be read when it comes, and not when the time is over"


def check_empty(bench: Bench) -> None:
    """A stream that nobody has written to reads as nothing."""
    with closing(bench.source()) as source:
        assert source.read(None, 10, 0.1) == [], "empty: there is nothing to read"
        bench.put(CONTENTS[:2])
        found = _read(source, None, 2)
        assert [message.data for message in found] == CONTENTS[:2], f"empty: what comes must be read, got {_brief(found)}"


def check_gap(bench: Bench) -> None:
    """Once messages are gone that come after an offset, reading from there is refused."""
    bench.put(CONTENTS)
    with closing(bench.source()) as source:
        found = _read(source, None, len(CONTENTS))
    bench.cut()
    bench.put(CONTENTS[:3])
    for place in (0, len(found) // 2):
        with closing(bench.source()) as source:
            try:
                more = source.read(found[place].offset, 10, 5.0)
            except StreamGap:
                continue
            raise AssertionError(f"gap: what came after {found[place].offset} is gone, got {_brief(more)}")


def check_names(bench: Bench) -> None:
    """A stream has one name, whoever reads it; sources and sinks may be closed twice."""
    one, two, sink = bench.source(), bench.source(), bench.sink()
    assert isinstance(one.name, str), f"names: it must be a text, got {one.name!r}"
    assert one.name, "names: it must not be empty"
    assert one.name == two.name, f"names: it must be the same, got {one.name!r} and {two.name!r}"
    for end in (one, two, sink):
        end.close()
        end.close()


def check_sink(bench: Bench) -> None:
    """What is sent can be read when `send` returns, in its order; nothing may be sent, too."""
    letters = [Letter(f"key {number}", content) for number, content in enumerate(CONTENTS)]
    with closing(bench.sink()) as sink:
        sink.send(letters[:3])
        sink.send([])
        sink.send(letters[3:])
        found = _all(bench)
    assert [message.data for message in found] == CONTENTS, f"sink: must be read as they were sent, got {_brief(found)}"


SOURCE_CHECKS: tuple[Callable[[Bench], None], ...] = (
    check_order,
    check_again,
    check_limit,
    check_waiting,
    check_empty,
    check_gap,
    check_names,
    check_sink,
)
"""All of them."""


def _all(bench: Bench) -> list[Message]:
    with closing(bench.source()) as source:
        return _read(source, None, len(CONTENTS))


def _read(source: Source, after: str | None, num: int) -> list[Message]:
    """Reads until there are so many messages, and what is there beyond them."""
    found, deadline = list[Message](), time.monotonic() + PATIENCE
    while len(found) < num and time.monotonic() < deadline:
        found += source.read(found[-1].offset if found else after, 100, 1.0)
    return [*found, *source.read(found[-1].offset if found else after, 100, 0.0)]


def _brief(found: Iterable[Message]) -> list[tuple[str, bytes]]:
    return [(message.offset, message.data[:20]) for message in found]
