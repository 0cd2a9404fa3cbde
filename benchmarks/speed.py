"""How fast recsdk decides, learns and replays, beside a loop written by hand and Vowpal Wabbit: `python benchmarks/speed.py`."""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

# NumPy reads this when it is imported. Its arrays are small here: a second thread makes every contestant slower, and none comparable.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import contestants
import replays
import report
import timing
from rich.console import Console
from rich.progress import Progress

ROOT = Path(__file__).resolve().parent.parent
PAGES = ((ROOT / "docs" / "benchmarks.md", "speed", report.full), (ROOT / "README.md", "live", report.brief))


class Effort(NamedTuple):
    """How long to measure.

    Attributes:
        rounds: in each of which everyone has a turn on live events.
        turn_seconds: how long such a turn is about to take.
        replays: how often everyone walks the log, beside the first time.
        log_rounds: length of the log, but for `log_bytes`.
        log_bytes: size of the log that is not exceeded.
    """

    rounds: int
    turn_seconds: float
    replays: int
    log_rounds: int
    log_bytes: int


FULL = Effort(rounds=31, turn_seconds=0.02, replays=11, log_rounds=20_000, log_bytes=150 * 2**20)
QUICK = Effort(rounds=5, turn_seconds=0.005, replays=3, log_rounds=500, log_bytes=30 * 2**20)


def measure_live(size: tuple[int, int], effort: Effort, progress: Progress) -> Iterator[dict[str, Any]]:
    """Yields a row for each contestant on live events."""
    everyone, events = contestants.contestants(size[1]), contestants.stream(*size)
    counts = {name: _turn(contestant, events, effort.turn_seconds) for name, contestant in everyone.items()}
    runs = {name: functools.partial(contestant.play, list(itertools.islice(events, counts[name]))) for name, contestant in everyone.items()}
    task = progress.add_task(f"live, K={size[0]}, D={size[1]}", total=effort.rounds)
    seconds = timing.interleave(runs, effort.rounds, lambda: progress.advance(task))
    each = {name: [value * 1e6 / counts[name] for value in values] for name, values in seconds.items()}
    for name, values in each.items():
        yield {
            "size": size,
            "contestant": name,
            "microseconds": timing.quartiles(values)._asdict(),
            "to_bare": timing.ratio(values, each[contestants.BARE]),
            "to_vw": timing.ratio(values, each[contestants.VW]) if contestants.VW in each else None,
            "events": counts[name] * effort.rounds,
        }


def _turn(contestant: contestants.Contestant, events: Iterator[contestants.Event], seconds: float) -> int:
    """Warms a contestant up, and returns how many events it gets through in a turn."""
    contestant.play(itertools.islice(events, 3))
    start = time.perf_counter()
    contestant.play(itertools.islice(events, 5))
    return max(1, round(seconds / (time.perf_counter() - start) * 5))


def measure_replay(size: tuple[int, int], effort: Effort, progress: Progress) -> Iterator[dict[str, Any]]:
    """Yields a row for each contestant on a log."""
    num_rounds = max(1, min(effort.log_rounds, effort.log_bytes // (8 * size[0] * size[1])))
    log = replays.uniform_log(num_rounds, *size)
    task = progress.add_task(f"replay, K={size[0]}, D={size[1]}", total=1 + effort.replays)
    with tempfile.TemporaryDirectory() as folder:
        runs = replays.replays(log, Path(folder))
        first = timing.interleave(runs, 1, lambda: progress.advance(task))
        seconds = timing.interleave(runs, effort.replays, lambda: progress.advance(task))
    for name, values in seconds.items():
        compiled = name.endswith(", jax")
        policy = name.removeprefix("recsdk ").removesuffix(", jax")
        yield {
            "size": size,
            "contestant": name,
            "events_per_second": timing.quartiles([num_rounds / value for value in values])._asdict(),
            "to_bare": 1 / timing.ratio(values, seconds[contestants.BARE]),
            "compile_seconds": first[name][0] - timing.quartiles(values).median if compiled else None,
            "difference": replays.difference(log, policy) if compiled else None,
            "events": num_rounds * len(values),
        }


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes, and rough")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/benchmarks.md and README.md")
    parser.add_argument("--sizes", default="10x16,100x64,1000x64", help="candidates x features, as in %(default)s")
    chosen = parser.parse_args(arguments)
    sizes = [_size(text) for text in chosen.sizes.split(",")]
    effort = QUICK if chosen.quick else FULL
    results: dict[str, Any] = {"command": _command(chosen), "machine": report.machine()}
    with Progress(console=Console(stderr=True)) as progress:
        results["live"] = [row for size in sizes for row in measure_live(size, effort, progress)]
        results["replay"] = [row for size in sizes for row in measure_replay(size, effort, progress)]
    print(json.dumps(results, indent=1) if chosen.json else report.full(results))
    return _write(results) if chosen.write else 0


def _size(text: str) -> tuple[int, int]:
    num_candidates, dim = map(int, text.split("x"))
    return num_candidates, dim


def _command(chosen: argparse.Namespace) -> str:
    options = ["--quick"] * chosen.quick + [f"--sizes {chosen.sizes}"] * (chosen.sizes != "10x16,100x64,1000x64")
    return " ".join(["python benchmarks/speed.py", *options])


def _write(results: dict[str, Any]) -> int:
    missing = 0
    for page, region, text in PAGES:
        try:
            report.write(page, region, text(results))
        except LookupError as error:
            missing = 1
            print(error, file=sys.stderr)
    return missing


if __name__ == "__main__":
    sys.exit(main())
