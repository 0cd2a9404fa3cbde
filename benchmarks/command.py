"""What the commands share: their options, who is missing, and where their results go."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import peers
import report

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
DOCS = ROOT / "docs" / "benchmarks.md"
SIZES = "10x16,100x64,1000x64"


class Page(NamedTuple):
    """Where a table goes."""

    path: Path
    region: str
    text: Callable[[report.Results], str]


class Options(NamedTuple):
    """What was asked for.

    Attributes:
        name: the command, as one types it.
        sizes: K and D, each.
        quick: whether rough is good enough.
        as_json: whether to print every number, instead of tables.
        write: whether to put tables and pictures into the pages.
        only: parts of the names of those who are measured; none for everyone.
    """

    name: str
    sizes: list[tuple[int, int]]
    quick: bool
    as_json: bool
    write: bool
    only: tuple[str, ...]

    def keeps(self, name: str) -> bool:
        """Tells whether a contestant is measured."""
        return not self.only or any(part in name for part in self.only)


def parse(script: str, about: str | None, arguments: Sequence[str] | None) -> Options:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes, and rough")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--write", action="store_true", help="put tables and pictures into docs/ and README.md")
    parser.add_argument("--sizes", default=SIZES, help="candidates x features, as in %(default)s")
    parser.add_argument("--only", default="", help="parts of the names of those to be measured, such as lin-ucb,numba")
    chosen = parser.parse_args(arguments)
    if chosen.write and chosen.only:
        parser.error("--write must be without --only: it would put a part of the table over the whole")
    options = (
        ["--quick"] * chosen.quick + [f"--sizes {chosen.sizes}"] * (chosen.sizes != SIZES) + [f"--only {chosen.only}"] * bool(chosen.only)
    )
    name = " ".join([f"python benchmarks/{script}", *options])
    sizes, only = [_size(text) for text in chosen.sizes.split(",")], tuple(filter(None, chosen.only.split(",")))
    return Options(name, sizes, chosen.quick, chosen.json, chosen.write, only)


def missing(packages: Iterable[str]) -> list[str]:
    """Returns a note about those packages that are not installed, if there are any."""
    absent = [name for name in packages if report.version(name) is None]
    return [f"Left out, since not installed: {', '.join(absent)}; for them `{peers.HOW}`."] if absent else []


def show(options: Options, results: report.Results, pages: Iterable[Page], picture: str) -> int:
    """Prints the results, puts them into the pages where that was asked for, and returns the exit code."""
    print(json.dumps(results, indent=1) if options.as_json else report.full(results))
    if not options.write:
        return 0
    failed = 0
    for page in pages:
        try:
            report.write(page.path, page.region, page.text(results))
        except LookupError as error:
            failed = 1
            print(error, file=sys.stderr)
    report.draw(results, DOCS.parent / picture)
    return failed


def _size(text: str) -> tuple[int, int]:
    num_candidates, dim = map(int, text.split("x"))
    return num_candidates, dim
