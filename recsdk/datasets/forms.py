"""Forms of files that hold rows. Each is read line by line, and a line that cannot be read is given as its error, not raised."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import attrs

from recsdk.columns import BAG, CATEGORY, NUMBER
from recsdk.datasets.files import byte_lines, json_object
from recsdk.errors import InvalidLog, InvalidValue
from recsdk.validators import as_tuple, some_text, some_texts


class Parsed(NamedTuple):
    """Rows of a file.

    Attributes:
        rows: each with its line: its cells, or where there are no `names` a mapping; or why it is none.
        names: of the cells' columns.
        kinds: of the columns of which the file itself tells.
        is_text: whether values are cells of text, of no kind yet.
        missing: cells that stand for no value.
        list_separator: between the texts of a list in one cell; None for any white space.
    """

    rows: Iterable[tuple[int, Any]]
    names: tuple[str, ...] | None = None
    kinds: Mapping[str, str] = {}
    is_text: bool = True
    missing: tuple[str, ...] = ("",)
    list_separator: str | None = None


@runtime_checkable
class Form(Protocol):
    """How a file holds rows."""

    def parse(self, path: Path) -> Parsed:
        """Opens the file."""
        ...


@attrs.frozen(kw_only=True)
class Delimited:
    r"""A table of text: CSV and its kin, plain or gzipped.

    Quotes are read where the delimiter is one character other than a space or a tab.

    Attributes:
        delimiter: between cells; " " stands for any white space.
        names: of the columns, where the first line is a row already; None where the first line names them.
        list_separator: between the texts of a list in one cell, such as "|" in "Drama|War"; None for any white space.
        missing: cells that stand for no value.
        encoding: of the text.

    Example:
        >>> from recsdk.datasets import read_rows
        >>> _ = Path("movies.dat").write_text("1::Heat (1995)::Crime|Drama\n")
        >>> form = Delimited(delimiter="::", names=("id", "title", "genres"), list_separator="|", encoding="latin-1")
        >>> read_rows("movies.dat", form=form, kinds={"genres": "list of str"}).columns["genres"].tolist()
        [['Crime', 'Drama']]
    """

    delimiter: str = attrs.field(default=",", validator=some_text)
    names: tuple[str, ...] | None = attrs.field(default=None, converter=as_tuple, validator=attrs.validators.optional(some_texts))
    list_separator: str | None = attrs.field(default=None, validator=attrs.validators.optional(some_text))
    missing: tuple[str, ...] = attrs.field(default=("",), converter=as_tuple, validator=some_texts)
    encoding: str = attrs.field(default="utf-8", validator=some_text)

    def parse(self, path: Path) -> Parsed:
        """Opens the file."""
        rows = _table(path, self)
        names = self.names if self.names is not None else _header(path, rows)
        return Parsed(rows, names, missing=self.missing, list_separator=self.list_separator)


@attrs.frozen(kw_only=True)
class Atomic:
    r"""An atomic file of RecBole, such as `.inter`, `.item` or `.user`: tab-separated, its header has each column's name and type.

    A `token` is a text, a `token_seq` a list of texts, a `float` a number; a `float_seq` is no feature.

    Example:
        >>> from recsdk.datasets import read_rows
        >>> _ = Path("shop.inter").write_text("user_id:token\titem_id:token\ttimestamp:float\n7\t8\t100\n")
        >>> rows = read_rows("shop.inter", columns={"item_id": "item", "timestamp": "time"})
        >>> rows.columns["user_id"].tolist(), rows.columns["time"].tolist()
        (['7'], [100.0])

    References:
        Zhao et al., RecBole: Towards a Unified, Comprehensive and Efficient Framework for Recommendation Algorithms, CIKM 2021.
    """

    def parse(self, path: Path) -> Parsed:
        """Opens the file."""
        rows = _table(path, Delimited(delimiter="\t"))
        kinds = {}
        for cell in _header(path, rows):
            name, _, of = cell.rpartition(":")
            if of not in ATOMIC or not name:
                raise InvalidLog(f"{path}, line 1: a column must be named as name:type, with a type of {list(ATOMIC)}, got {cell!r}.")
            kinds[name] = ATOMIC[of]
        return Parsed(rows, tuple(kinds), kinds=kinds)


ATOMIC = {"token": CATEGORY, "token_seq": BAG, "float": NUMBER, "float_seq": "list of number"}


@attrs.frozen(kw_only=True)
class Sequences:
    r"""One line for each user or session: the items in the order in which they were taken, with white space between.

    Each item becomes a row with "user_id", "item" and "time", the item's place in its line from 0 on: the order in a line is known, the
    time is not, so nothing is known of which of two lines came first.

    Attributes:
        has_user: a line begins with the user; otherwise a line is a session of its own, and its user is the line's number.

    Example:
        >>> from recsdk.datasets import read_rows
        >>> _ = Path("Beauty.txt").write_text("ann tea milk\nbob tea\n")
        >>> rows = read_rows("Beauty.txt", form=Sequences())
        >>> rows.columns["user_id"].tolist(), rows.columns["item"].tolist(), rows.columns["time"].tolist()
        (['ann', 'ann', 'bob'], ['tea', 'milk', 'tea'], [0.0, 1.0, 0.0])
    """

    has_user: bool = True

    def parse(self, path: Path) -> Parsed:
        """Opens the file."""
        return Parsed(_sequences(path, self.has_user), ("user_id", "item", "time"))


@attrs.frozen
class JsonLines:
    """One JSON object a line."""

    def parse(self, path: Path) -> Parsed:
        """Opens the file."""
        return Parsed(_objects(path), is_text=False)


SUFFIXES: dict[str, Form] = {
    ".csv": Delimited(),
    ".tsv": Delimited(delimiter="\t"),
    ".inter": Atomic(),
    ".item": Atomic(),
    ".user": Atomic(),
    ".jsonl": JsonLines(),
    ".ndjson": JsonLines(),
}


def form_of(path: Path) -> Form:
    """Returns the form of a file by the end of its name.

    Raises:
        InvalidValue: a name that tells no form.
    """
    suffix = Path(path.name.removesuffix(".gz")).suffix
    if suffix not in SUFFIXES:
        known = ", ".join([*SUFFIXES, ".parquet"])
        raise InvalidValue(f"form must be given where a file's name ends in none of {known}, got {str(path)!r}: form=Delimited(...), say.")
    return SUFFIXES[suffix]


def _header(path: Path, rows: Iterator[tuple[int, list[str] | InvalidLog]]) -> tuple[str, ...]:
    _, names = next(rows, (1, []))
    if isinstance(names, InvalidLog):
        raise names
    if len(set(names)) < len(names):
        raise InvalidLog(f"{path} must name each column once, got {next(name for name in names if names.count(name) > 1)!r} twice.")
    return tuple(names)


def _table(path: Path, form: Delimited) -> Iterator[tuple[int, list[str] | InvalidLog]]:
    bad: dict[int, InvalidLog] = {}
    lines = _decoded(path, form.encoding, bad)
    if len(form.delimiter) > 1 or form.delimiter in " \t":
        separator = None if form.delimiter == " " else form.delimiter
        for line, text in enumerate(lines, start=1):
            yield line, (bad[line] if line in bad else text.rstrip("\r\n").split(separator))
        return
    reader, last, is_done = csv.reader(lines, delimiter=form.delimiter), 0, False
    while not is_done:
        try:
            for cells in reader:
                damaged = [bad[line] for line in range(last + 1, reader.line_num + 1) if line in bad] if bad else None
                last = reader.line_num
                yield last, (damaged[0] if damaged else cells)
            is_done = True
        except csv.Error as error:
            last = reader.line_num
            yield last, InvalidLog(f"{path}, line {last}: must be a row of cells: {error}.")


def _decoded(path: Path, encoding: str, bad: dict[int, InvalidLog]) -> Iterator[str]:
    """Yields lines of text, and notes those that are not of the encoding."""
    number, lines = 0, byte_lines(path)
    while True:
        try:
            for line in lines:
                number += 1
                yield line.decode(encoding)
            return
        except UnicodeDecodeError as error:
            got = line[max(error.start - 20, 0) : error.end]
            bad[number] = InvalidLog(f"{path}, line {number}: must be {encoding.upper()}, got {got!r}.")
            yield line.decode(encoding, errors="replace")
        except LookupError as error:
            raise InvalidValue(f"encoding must be one that Python knows, got {encoding!r}.") from error


def _sequences(path: Path, has_user: bool) -> Iterator[tuple[int, list[str] | InvalidLog]]:
    bad: dict[int, InvalidLog] = {}
    for line, text in enumerate(_decoded(path, "utf-8", bad), start=1):
        user, *items = (text.split() or [""]) if has_user else [str(line), *text.split()]
        if line in bad or not items:
            yield line, bad.get(line) or InvalidLog(f"{path}, line {line}: must have at least one item, got {text.strip()!r}.")
        else:
            yield from ((line, [user, item, str(place)]) for place, item in enumerate(items))


def _objects(path: Path) -> Iterator[tuple[int, dict[str, Any] | InvalidLog]]:
    bad: dict[int, InvalidLog] = {}
    for line, text in enumerate(_decoded(path, "utf-8", bad), start=1):
        try:
            yield line, bad[line] if line in bad else json_object(text)
        except InvalidLog as error:
            yield line, InvalidLog(f"{path}, line {line}: {error}")
