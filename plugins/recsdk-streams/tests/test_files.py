"""Streams in files conform, and so does the kit: each adapter that errs is found out."""

import pytest
from recsdk_streams import FileSink, FileSource, Letter, StreamError, StreamGap
from recsdk_streams.base import MOST_BYTES
from recsdk_streams.testing import CONTENTS, SOURCE_CHECKS


class FileBench:
    def __init__(self, folder, source=FileSource, sink=FileSink):
        self.path = folder / "stream.jsonl"
        self.kinds = source, sink

    def put(self, contents):
        with self.path.open("ab") as file:
            file.write(b"".join(content + b"\n" for content in contents))

    def source(self):
        return self.kinds[0](self.path)

    def sink(self):
        return self.kinds[1](self.path)

    def cut(self):
        self.path.write_bytes(b"x" * 3)


@pytest.mark.parametrize("check", SOURCE_CHECKS, ids=lambda check: check.__name__)
def test_files_conform(tmp_path, check):
    check(FileBench(tmp_path))


class Repeats(FileSource):
    def read(self, after, limit, wait):
        found = super().read(after, limit, wait)
        return [*found[:1], *found][:limit]


class Backwards(FileSource):
    def read(self, after, limit, wait):
        return super().read(after, limit, wait)[::-1]


class Forgets(FileSource):
    """Goes on after what it has read itself, whatever place is asked for."""

    last = None

    def read(self, after, limit, wait):
        found = super().read(self.last or after, limit, wait)
        self.last = found[-1].offset if found else self.last
        return found


class TakesAll(FileSource):
    def read(self, after, limit, wait):
        return super().read(after, 100, wait)


class NeverWaits(FileSource):
    def read(self, after, limit, wait):
        return super().read(after, limit, 0.0)


class Overlooks(FileSource):
    def _seek(self, file, place):
        file.seek(place)


class Strips(FileSource):
    def read(self, after, limit, wait):
        return [message._replace(data=message.data.strip()) for message in super().read(after, limit, wait)]


class OfLongAgo(FileSource):
    def read(self, after, limit, wait):
        return [message._replace(time=0.0) for message in super().read(after, limit, wait)]


class NamesItselfAnew(FileSource):
    def __init__(self, path):
        super().__init__(path)
        self.name = f"{self.name} {id(self)}"


class Holds(FileSink):
    def __init__(self, path):
        super().__init__(path)
        self.held = []

    def send(self, letters):
        self.held += letters

    def close(self):
        super().send(self.held)


MUTANTS = [Repeats, Backwards, Forgets, TakesAll, NeverWaits, Overlooks, Strips, OfLongAgo, NamesItselfAnew, Holds]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_the_kit_finds_out_who_errs(tmp_path, mutant, monkeypatch):
    monkeypatch.setattr("recsdk_streams.testing.PATIENCE", 0.5)
    kinds = {"sink": mutant} if issubclass(mutant, FileSink) else {"source": mutant}
    found = []
    for number, check in enumerate(SOURCE_CHECKS):
        folder = tmp_path / str(number)
        folder.mkdir()
        try:
            check(FileBench(folder, **kinds))
        except (AssertionError, ValueError) as error:
            found.append(str(error))
            break
    assert found


def test_half_a_line_is_waited_for(tmp_path):
    bench = FileBench(tmp_path)
    bench.path.write_bytes(b"one\ntw")
    source = bench.source()
    (one,) = source.read(None, 10, 0.0)
    assert source.read(one.offset, 10, 0.0) == []
    with bench.path.open("ab") as file:
        file.write(b"o\n")
    assert [message.data for message in source.read(one.offset, 10, 0.0)] == [b"two"]


def test_of_a_line_that_is_too_long_the_beginning_is_read_and_then_the_next_line(tmp_path):
    bench = FileBench(tmp_path)
    for length in (MOST_BYTES, MOST_BYTES + 1, MOST_BYTES + 2, 3 * MOST_BYTES):
        bench.path.write_bytes(b"x" * length + b"\nnext\n")
        long, following = bench.source().read(None, 10, 0.0)
        assert len(long.data) == min(length, MOST_BYTES + 2)
        assert following.data == b"next"
        assert [message.data for message in bench.source().read(long.offset, 10, 0.0)] == [b"next"]


def test_a_file_that_is_gone_is_a_gap(tmp_path):
    bench = FileBench(tmp_path)
    bench.put(CONTENTS)
    last = bench.source().read(None, 100, 0.0)[-1]
    bench.path.unlink()
    with pytest.raises(StreamGap, match="not there any more"):
        bench.source().read(last.offset, 10, 0.0)


def test_half_a_line_that_a_kill_has_left_is_taken_away(tmp_path):
    bench = FileBench(tmp_path)
    bench.path.write_bytes(b"one\n" + b"t" * 100_000)
    bench.sink().send([Letter("two", b"two")])
    assert bench.path.read_bytes() == b"one\ntwo\n"


def test_what_cannot_be_read_or_written_is_told(tmp_path):
    with pytest.raises(StreamError, match="could not be read"):
        FileSource(tmp_path).read(None, 1, 0.0)
    with pytest.raises(StreamError, match="could not be written"):
        FileSink(tmp_path / "no" / "folder").send([Letter("a", b"a")])
