"""How fast recsdk walks a log with one policy or with sixteen, beside its peers and plain loops: `python benchmarks/throughput.py`."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

# As in speed.py; JAX has threads of its own.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import command
import replays
import report
import timing
from contestants import BARE
from rich.console import Console
from rich.progress import Progress

LIMIT_AND_PEER = ("numba", "vowpalwabbit")
SHORT = (BARE, "VW squarecb, its driver on its cache", "recsdk replay of lin-ucb, numba", "recsdk sweep of 16 lin-ucb, alpha and ridge")
PAGES = (
    command.Page(command.DOCS, "throughput", report.full),
    command.Page(command.README, "throughput", lambda found: report.brief(found, SHORT)),
)


class Effort(NamedTuple):
    """How long to measure.

    Attributes:
        walks: how often everyone walks the log, beside the first time.
        num_rounds: length of the log, but for `num_bytes`.
        num_bytes: size of the log that is not exceeded.
    """

    walks: int
    num_rounds: int
    num_bytes: int


FULL = Effort(walks=7, num_rounds=100_000, num_bytes=150 * 2**20)
QUICK = Effort(walks=3, num_rounds=2000, num_bytes=30 * 2**20)


class Measured(NamedTuple):
    """What was found at one size.

    Attributes:
        rows: of the table.
        disagreement: how far the engines are apart.
    """

    rows: list[dict[str, Any]]
    disagreement: float


def measure(size: tuple[int, int], effort: Effort, progress: Progress, keeps: Callable[[str], bool]) -> Measured:
    """Lets everyone walk the log who bears a name to be kept, and bare NumPy."""
    num_rounds = max(1, min(effort.num_rounds, effort.num_bytes // (8 * size[0] * size[1])))
    log = replays.uniform_log(num_rounds, *size)
    task = progress.add_task(f"log of {num_rounds}, K = {size[0]}, D = {size[1]}", total=1 + effort.walks)
    with tempfile.TemporaryDirectory() as folder:
        everyone = {name: entry for name, entry in replays.entries(log, Path(folder)).items() if keeps(name) or name == BARE}
        runs = {name: entry.run for name, entry in everyone.items()}
        first = timing.interleave(runs, 1, lambda: progress.advance(task))
        seconds = timing.interleave(runs, effort.walks, lambda: progress.advance(task))
    rows = []
    for name, entry in everyone.items():
        num_events = num_rounds * entry.num_settings
        speeds = [num_events / value for value in seconds[name]]
        compiling = first[name][0] - timing.quartiles(seconds[name]).median if entry.compiles else None
        row = {"contestant": name, "kind": entry.kind, "size": size, **timing.quartiles(speeds)._asdict()}
        to_bare = timing.ratio(speeds, [num_rounds / value for value in seconds[BARE]])
        rows.append(row | {"to_bare": to_bare, "num_settings": entry.num_settings, "num_rounds": num_rounds, "compile_seconds": compiling})
    return Measured(rows, max(replays.disagreements(log, keeps), default=0.0))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    options = command.parse("throughput.py", __doc__, arguments)
    machine = report.machine(("recsdk", "numpy", "jax", *LIMIT_AND_PEER))
    with Progress(console=Console(stderr=True)) as progress:
        found = [measure(size, QUICK if options.quick else FULL, progress, options.keeps) for size in options.sizes]
    rows, disagreement = [row for one in found for row in one.rows], max(one.disagreement for one in found)
    results = {
        "command": options.name,
        "machine": machine,
        "unit": "events per second",
        "ratio": "times as fast as bare NumPy",
        "notes": [_lengths(rows), *_compiling(rows), *_agreement(disagreement), *command.missing(LIMIT_AND_PEER)],
        "rows": rows,
        "disagreement": disagreement,
    }
    return command.show(options, results, PAGES, "benchmarks-throughput.svg")


def _lengths(rows: Sequence[report.Row]) -> str:
    lengths = ", ".join(dict.fromkeys(f"{row['num_rounds']:,} at K = {row['size'][0]}, D = {row['size'][1]}" for row in rows))
    return f"Length of the log: {lengths}. An event that is walked with sixteen settings counts sixteen times."


def _compiling(rows: Sequence[report.Row]) -> list[str]:
    seconds = [row["compile_seconds"] for row in rows if row["compile_seconds"] is not None and row["kind"] == "recsdk"]
    return [f"The first walk takes {min(seconds):.1f} to {max(seconds):.1f} s longer where JAX compiles it."] if seconds else []


def _agreement(disagreement: float) -> list[str]:
    if len(replays.ENGINES) == 1:
        return []
    return [f"The engines' last states differ by at most {disagreement:.0e}, relative to the largest number of an array."]


if __name__ == "__main__":
    sys.exit(main())
