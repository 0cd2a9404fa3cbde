"""How fast off-policy evaluation is, beside obp and what one writes by hand: `python benchmarks/speed_ope.py`."""

from __future__ import annotations

import argparse
import functools
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

# As in speed.py; recsdk has threads of its own, one for each block of rows.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("RECSDK_FAST", "1")  # as in any process that evaluates more than one log; Numba is loaded anyway

import command
import ope_contestants
import peers
import report
import timing
from ope_contestants import BARE, Size
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

DOCS = command.ROOT / "docs" / "verification.md"
VERSIONS = ("recsdk", "numpy", "obp", "numba", "scikit-learn")
NUM_DRAWS = 100


class Effort(NamedTuple):
    """How much to measure.

    Attributes:
        sizes: of the logs.
        rounds: in each of which everyone estimates once.
        rounds_of_draws: the same, with bootstraps.
        num_streamed: rows of the long log.
    """

    sizes: tuple[Size, ...]
    rounds: int
    rounds_of_draws: int
    num_streamed: int


FULL = Effort((Size(10_000, 80, 3), Size(1_000_000, 10, 1)), 7, 3, 10_000_000)
QUICK = Effort((Size(1000, 80, 3), Size(20_000, 10, 1)), 3, 2, 200_000)


def measure(size: Size, effort: Effort, progress: Progress) -> list[dict[str, Any]]:
    """Lets everyone estimate, point and with bootstraps."""
    log, everyone, rows = ope_contestants.draw(size), ope_contestants.everyone(), []
    for num_draws, rounds in ((0, effort.rounds), (NUM_DRAWS, effort.rounds_of_draws)):
        runs = {name: functools.partial(estimate, log, num_draws) for name, estimate in everyone.items()}
        task = progress.add_task(f"{size}, {num_draws} bootstraps", total=rounds + 1)
        values = {name: run() for name, run in runs.items()}  # also lets numba compile
        progress.advance(task)
        taken = timing.interleave(runs, rounds, functools.partial(progress.advance, task))
        for name, seconds in taken.items():
            apart = max(abs(ours / theirs - 1) for ours, theirs in zip(values[name], values[BARE], strict=True))
            row = {"contestant": name, "size": str(size), "num_draws": num_draws, **timing.quartiles(seconds)._asdict()}
            rows.append(row | {"to_bare": timing.ratio(seconds, taken[BARE]), "apart": apart})
    return rows


def streamed(num_rounds: int) -> dict[str, Any]:
    """Evaluates a long log in a process of its own, whose memory is nobody else's."""
    command_line = [sys.executable, str(Path(__file__).resolve()), "--stream", str(num_rounds)]
    found: dict[str, Any] = json.loads(subprocess.run(command_line, capture_output=True, text=True, check=True).stdout)  # noqa: S603
    return found


def table(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Returns titles, and a line for each contestant."""
    places = list(dict.fromkeys((row["size"], row["num_draws"]) for row in rows))
    titles = ["seconds for IPS, SNIPS and DR", *(f"{size}, {f'{number} bootstraps' if number else 'point'}" for size, number in places)]
    cells = {(row["contestant"], row["size"], row["num_draws"]): _cell(row) for row in rows}
    names = dict.fromkeys(row["contestant"] for row in rows)
    return titles, [[name, *(cells[name, size, number] for size, number in places)] for name in names]


def notes(results: report.Results) -> list[str]:
    """Says what the table does not."""
    long, apart = results["stream"], max(row["apart"] for row in results["rows"])
    streamed = (
        f"Streaming {long['num_rounds']:,} rows of 10 actions, in chunks of {min(ope_contestants.CHUNK, long['num_rounds']):,}, with IPS, "
        f"SNIPS and DR, diagnostics and verdict: {long['seconds']:.2f} s, and {long['peak_bytes'] / 1e6:.0f} MB at most, of which "
        f"{long['bytes_before'] / 1e6:.0f} MB were Python, its modules and one chunk."
    )
    agreed = (
        f"All agree on all values within {apart:.0e}, relative. In brackets the quartiles, then how many times as long as NumPy by hand."
    )
    bootstraps = "recsdk's bootstraps are studentised, for which sums of squares are drawn too; all others take percentiles of means."
    return [streamed, agreed, bootstraps, *results["missing"]]


def markdown(results: report.Results) -> str:
    """Returns the table and the notes for the docs."""
    titles, rows = table(results["rows"])
    lines = [*report.header(titles), *map(report.line, rows), "", *(f"* {note}" for note in notes(results))]
    return "\n".join([f"`{results['command']}` on {report.described(results['machine'])}.", "", *lines])


def show(results: report.Results, console: Console) -> None:
    """Prints them."""
    titles, rows = table(results["rows"])
    shown = Table(*titles)
    for row in rows:
        shown.add_row(*row)
    console.print(shown)
    for note in notes(results):
        console.print(f"* {note}", highlight=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    chosen = _parser().parse_args(arguments)
    if chosen.stream:
        print(json.dumps(ope_contestants.stream(chosen.stream)))
        return 0
    effort, machine = QUICK if chosen.quick else FULL, report.machine(VERSIONS)
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task(f"streaming {effort.num_streamed:,} rows", total=1)
        stream = streamed(effort.num_streamed)
        progress.advance(task)
        rows = [row for size in effort.sizes for row in measure(size, effort, progress)]
    name = " ".join(["python benchmarks/speed_ope.py", *["--quick"] * chosen.quick])
    results = {"command": name, "machine": machine, "missing": missing(), "stream": stream, "rows": rows}
    if chosen.json:
        print(json.dumps(results, indent=1))
    else:
        show(results, Console(width=None if sys.stdout.isatty() else 160))
    if chosen.write:
        report.write(DOCS, "speed-ope", markdown(results))
    return 0


def missing() -> list[str]:
    """Returns a note about each contestant that is left out."""
    absent = {"obp": ope_contestants.missing_for_obp(), "The numba loop": [] if report.version("numba") else ["numba"]}
    return [f"{name} is left out, since not installed: {', '.join(what)}; for it `{peers.HOW}`." for name, what in absent.items() if what]


def _cell(row: Mapping[str, Any]) -> str:
    low, median, high = (report.rounded(row[key]) for key in ("low", "median", "high"))
    return f"{median} ({low} to {high}), {report.rounded(row['to_bare'])}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes: short logs")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--write", action="store_true", help="put the table into docs/verification.md")
    parser.add_argument("--stream", type=int, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
