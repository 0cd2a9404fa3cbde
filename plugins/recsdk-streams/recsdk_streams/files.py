"""Streams in plain files, a message a line: for tests, for what another program appends to, and for people without a broker."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from recsdk_streams.base import MOST_BYTES, Letter, Message, StreamError, StreamGap, checked_offset

POLL = 0.02
"""Seconds between looks at a file that has nothing new."""


class FileSource:
    """Reads the lines of a file as they are appended; the end of a line is its offset, in bytes.

    A file does not say when a line came: messages take the time at which they are read, unless they have a field "at".

    Args:
        path: of the file, which need not be there yet.

    Example:
        >>> FileSource("nobody-wrote.jsonl").read(None, limit=10, wait=0.0)
        []
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self.name = f"file:{self._path.resolve().as_posix()}"

    def read(self, after: str | None, limit: int, wait: float) -> list[Message]:
        """See `Source`."""
        place, deadline = max(checked_offset(after, self.name), 0), time.monotonic() + wait
        while True:
            found = self._lines(place, limit)
            if found or time.monotonic() >= deadline:
                return found
            time.sleep(min(POLL, max(deadline - time.monotonic(), 0.0)))

    def _lines(self, place: int, limit: int) -> list[Message]:
        found = list[Message]()
        try:
            with self._path.open("rb") as file:
                self._seek(file, place)
                while len(found) < limit and (line := _line(file)) is not None:
                    found.append(Message(str(file.tell()), line, time.time()))
        except FileNotFoundError:
            if place:
                raise StreamGap(f"{self.name} was read up to byte {place}, and is not there any more.") from None
        except OSError as error:
            if isinstance(error, StreamError):
                raise
            raise StreamError(f"{self.name} could not be read: {error}") from error
        return found

    def _seek(self, file: BinaryIO, place: int) -> None:
        if place:
            file.seek(place - 1)
            if file.read(1) != b"\n":  # also where it is shorter
                raise StreamGap(f"{self.name} was read up to byte {place}, where no line ends any more: it is another file.")

    def close(self) -> None:
        """See `Source`."""


def _line(file: BinaryIO) -> bytes | None:
    """Returns the next line that is whole, of one that is too long its beginning; None where there is none."""
    begin = part = file.readline(MOST_BYTES + 2)
    while part and not part.endswith(b"\n"):
        part = file.readline(MOST_BYTES)
    return begin.removesuffix(b"\n") if part else None


class FileSink:
    """Appends lines to a file, and waits for the disk. What a kill left of half a line is taken away first: it is sent again.

    Args:
        path: of the file, which is made.

    Example:
        >>> sink = FileSink("dead.jsonl")
        >>> sink.send([Letter("file:visits.jsonl@17", b'{"reason": "..."}')])
        >>> sink.close()
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)

    def send(self, letters: Sequence[Letter]) -> None:
        """See `Sink`."""
        try:
            with self._path.open("ab+") as file:
                file.truncate(_end_of_lines(file))
                file.write(b"".join(letter.data + b"\n" for letter in letters))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StreamError(f"{self._path} could not be written: {error}") from error

    def close(self) -> None:
        """See `Sink`."""


def _end_of_lines(file: BinaryIO) -> int:
    """Returns where the last whole line ends."""
    end = file.seek(0, os.SEEK_END)
    while end:
        begin = max(0, end - 65_536)
        file.seek(begin)
        found = file.read(end - begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        end = begin
    return 0
