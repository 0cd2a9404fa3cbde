"""How fast recsdk decides and learns live, beside a loop written by hand and its peers: `python benchmarks/speed.py`."""

from __future__ import annotations

import functools
import itertools
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

# NumPy reads this when it is imported. Its arrays are small here: a second thread makes every contestant slower, and none comparable.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import command
import contestants
import peers
import report
import timing
from contestants import Contestant, Event
from rich.console import Console
from rich.progress import Progress

SHORT = (contestants.BARE, "recsdk lin-ucb", "recsdk lin-ts with floor", "recsdk wide-deep", contestants.VW)
PAGES = (command.Page(command.DOCS, "live", report.full), command.Page(command.README, "live", lambda found: report.brief(found, SHORT)))
ARMS = (
    "(x, K arms): takes one vector of D numbers and K arms with weights of their own, where the others take D numbers for each candidate."
)


class Effort(NamedTuple):
    """How long to measure.

    Attributes:
        rounds: in each of which everyone has a turn.
        turn_seconds: how long such a turn is about to take.
        patience: seconds; who takes longer for one event is left out.
    """

    rounds: int
    turn_seconds: float
    patience: float


FULL = Effort(rounds=31, turn_seconds=0.02, patience=1.0)
QUICK = Effort(rounds=5, turn_seconds=0.005, patience=0.2)


class Measured(NamedTuple):
    """What was found at one size: rows of the table, and notes below it."""

    rows: list[dict[str, Any]]
    notes: list[str]


def measure(size: tuple[int, int], effort: Effort, progress: Progress, keeps: Callable[[str], bool]) -> Measured:
    """Gives everyone its turns who bears a name to be kept, and bare NumPy."""
    everyone, events, notes = contestants.entries(size), contestants.stream(*size), list[str]()
    everyone = {name: entry for name, entry in everyone.items() if keeps(name) or name == contestants.BARE}
    runs, counts = {}, {}
    for name, entry in everyone.items():
        contestant = entry.make()
        seconds = _seconds(contestant, events)
        if seconds > effort.patience:
            notes.append(f"{name} takes {seconds:.1g} s for an event at K = {size[0]}, D = {size[1]}, and is left out there.")
            continue
        counts[name] = max(1, round(effort.turn_seconds / seconds))
        runs[name] = functools.partial(contestant.play, list(itertools.islice(events, counts[name])))
    task = progress.add_task(f"live, K = {size[0]}, D = {size[1]}", total=effort.rounds)
    taken = timing.interleave(runs, effort.rounds, lambda: progress.advance(task))
    each = {name: [value * 1e6 / counts[name] for value in values] for name, values in taken.items()}
    rows = [
        {"contestant": name, "kind": everyone[name].kind, "size": size}
        | timing.quartiles(values)._asdict()
        | {"to_bare": timing.ratio(values, each[contestants.BARE]), "events": counts[name] * effort.rounds}
        for name, values in each.items()
    ]
    return Measured(rows, notes)


def _seconds(contestant: Contestant, events: Iterator[Event]) -> float:
    """Warms a contestant up, and returns how long it takes for an event."""
    for num_events in (1, 1, 5):  # the first may compile
        start = time.perf_counter()
        contestant.play(itertools.islice(events, num_events))
        seconds = (time.perf_counter() - start) / num_events
    return seconds


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    options = command.parse("speed.py", __doc__, arguments)
    machine = report.machine()
    with Progress(console=Console(stderr=True)) as progress:
        found = [measure(size, QUICK if options.quick else FULL, progress, options.keeps) for size in options.sizes]
    results = {
        "command": options.name,
        "machine": machine,
        "unit": "µs to decide and learn",
        "ratio": "times as long as bare NumPy",
        "notes": [
            ARMS,
            *command.missing(library.distribution for library in peers.LIBRARIES.values()),
            *(note for one in found for note in one.notes),
        ],
        "rows": [row for one in found for row in one.rows],
    }
    return command.show(options, results, PAGES, "benchmarks-live.svg")


if __name__ == "__main__":
    sys.exit(main())
