"""How long the whole loop takes, from a request to the learned reward, beside one written by hand: `python benchmarks/loop.py`."""

from __future__ import annotations

import argparse
import collections
import contextlib
import functools
import itertools
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import command
import loop_contestants
import numpy as np
import report
from loop_contestants import K, Server

import recsdk

DURABILITIES = ("process-crash", "power-loss")
NOTHING = "nothing"
BARE, VW = "by hand", "VW squarecb in a loop by hand"
OWN = Path(recsdk.__file__).parent
CACHE = Path(__file__).parent / ".cache"
WARM_UP = 10
INTERVAL = 0.0005
"""Seconds between two looks at what is running."""


class Effort(NamedTuple):
    """How much to measure.

    Attributes:
        rounds: in each of which everyone has a turn.
        turn: requests a turn.
        num_sampled: requests of the table of where the time goes.
    """

    rounds: int
    turn: int
    num_sampled: int


FULL, QUICK = Effort(20, 20, 250), Effort(2, 4, 10)


class Case(NamedTuple):
    """A size of the catalogue and of the slate."""

    num_items: int
    size: int


class Key(NamedTuple):
    """A contestant, and what its log survives."""

    contestant: str
    durability: str


class Times(NamedTuple):
    """Seconds of a request, to decide and to take the reward; and of both the seconds of the processor."""

    decide: float
    reward: float
    processor: float


class Memory:
    """Counts the bytes by which the process grows, as it stays in memory, by who let it grow; nothing where the system does not say."""

    def __init__(self) -> None:
        self.num_bytes: collections.Counter[Key] = collections.Counter()

    @contextlib.contextmanager
    def of(self, key: Key) -> Iterator[None]:
        """Counts what happens meanwhile as a contestant's."""
        before = resident()
        yield
        self.num_bytes[key] += resident() - before


def resident() -> int:
    """Returns the bytes that this process has in memory; 0 where that is not known."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def servers(case: Case, policies: Sequence[str], folder: Path, memory: Memory) -> dict[Key, Server]:
    """Makes everyone who is installed."""
    loop_contestants.make(folder / "made", case.num_items)
    places = (folder / f"{number}" for number in itertools.count())
    made: dict[Key, Callable[[], Server]] = {Key(BARE, NOTHING): lambda: loop_contestants.ByHand(case.num_items, None, None)}
    for durability in DURABILITIES:
        by_hand, own, vw = loop_contestants.ByHand, loop_contestants.Recsdk, loop_contestants.VowpalWabbit
        made[Key(BARE, durability)] = functools.partial(by_hand, case.num_items, next(places), durability)
        for policy in policies:
            made[Key(f"recsdk {policy}", durability)] = functools.partial(own, folder / "made", next(places), policy, durability)
        if report.version("vowpalwabbit"):
            made[Key(VW, durability)] = functools.partial(vw, case.num_items, next(places), durability)
    found = dict[Key, Server]()
    for key, make in made.items():
        with memory.of(key):
            found[key] = make()
    return found


def load(policies: Sequence[str], folder: Path) -> None:
    """Imports what the policies need, so that it is in nobody's memory alone."""
    loop_contestants.make(folder / "small", 2)
    for policy in policies:
        loop_contestants.Recsdk(folder / "small", folder / policy, policy, DURABILITIES[0]).close()


def serve(server: Server, requests: Iterator[dict[str, Any]], num_requests: int, size: int, rng: random.Random) -> list[Times]:
    """Lets one serve some requests, each rewarded at once."""
    taken = []
    for request in itertools.islice(requests, num_requests):
        begun, start = time.process_time(), time.perf_counter()
        shown = server.recommend(request, size)
        middle = time.perf_counter()
        server.reward(shown, float(rng.random() < 0.1))
        taken.append(Times(middle - start, time.perf_counter() - middle, time.process_time() - begun))
    return taken


def measure(case: Case, policies: Sequence[str], effort: Effort) -> dict[str, list[dict[str, Any]]]:
    """Lets everyone serve, turn by turn, and returns the rows of both tables."""
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        load(policies, Path(folder) / "loaded")
        memory = Memory()
        everyone = servers(case, policies, Path(folder), memory)
        turns: dict[Key, list[list[Times]]] = {key: [] for key in everyone}
        visits = {key: (loop_contestants.requests(7), random.Random(8)) for key in everyone}
        order = list(everyone)
        for number in range(effort.rounds + 1):
            for key in order:
                requests, rng = visits[key]
                with memory.of(key):
                    taken = serve(everyone[key], requests, effort.turn if number else WARM_UP, case.size, rng)
                turns[key].extend([taken] if number else [])
            order.append(order.pop(0))
        parts = [
            {"contestant": key.contestant, "durability": key.durability, **case._asdict(), **part}
            for key, server in everyone.items()
            if _is_sampled(key)
            for part in _parts(functools.partial(serve, server, visits[key][0], effort.num_sampled, case.size, visits[key][1]))
        ]
        num_requests = WARM_UP + effort.rounds * effort.turn
        for server in everyone.values():
            server.close()
        room = {
            key: (loop_contestants.num_bytes(server.folder) - server.num_bytes) / (num_requests + effort.num_sampled * _is_sampled(key))
            for key, server in everyone.items()
            if server.folder is not None
        }
    rows = [_row(key, case, turns, room.get(key)) | {"memory": memory.num_bytes[key]} for key in everyone]
    return {"rows": rows, "parts": parts}


def _is_sampled(key: Key) -> bool:
    """Tells whether the second table has a line for it."""
    return key.durability == DURABILITIES[0]


def _row(key: Key, case: Case, turns: Mapping[Key, Sequence[Sequence[Times]]], room: float | None) -> dict[str, Any]:
    events = [times for turn in turns[key] for times in turn]
    totals = [1e6 * _whole(times) for times in events]
    bare = turns[Key(BARE, key.durability)]
    return {
        "contestant": key.contestant,
        "durability": key.durability,
        **case._asdict(),
        "p50": statistics.median(totals),
        "p99": float(np.quantile(totals, 0.99)),
        "decide": 1e6 * statistics.median(times.decide for times in events),
        "reward": 1e6 * statistics.median(times.reward for times in events),
        "num_bytes": room,
        "to_bare": _ratio(turns[key], bare, _undisturbed),
        "cpu_to_bare": _ratio(turns[key], bare, lambda turn: sum(times.processor for times in turn)),
    }


def _whole(times: Times) -> float:
    return times.decide + times.reward


def _undisturbed(turn: Sequence[Times]) -> float:
    """Returns the seconds within which a quarter of the requests were done: a busy machine interrupts half of the longer ones."""
    return statistics.quantiles(map(_whole, turn), n=4)[0]


def _ratio(these: Sequence[Sequence[Times]], those: Sequence[Sequence[Times]], seconds: Callable[[Sequence[Times]], float]) -> float:
    return statistics.median(seconds(this) / seconds(that) for this, that in zip(these, those, strict=True))


def _parts(work: Callable[[], list[Times]]) -> list[dict[str, Any]]:
    """Looks again and again at what is running: in which module of recsdk, or which function of a loop by hand."""
    seen: collections.Counter[str] = collections.Counter()

    def look(number: int, frame: Any) -> None:
        del number
        while frame is not None and (place := _place(frame.f_code)) is None:
            frame = frame.f_back
        if frame is not None:
            seen[place or ""] += 1
        signal.setitimer(signal.ITIMER_REAL, INTERVAL)  # once each time, so that a slow look is not looked at

    before = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, INTERVAL)
    try:
        taken = work()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    mean, total = 1e6 * statistics.fmean(map(_whole, taken)), seen.total()
    return [{"part": part, "share": count / total, "us": mean * count / total} for part, count in seen.most_common()]


@functools.cache
def _place(code: Any) -> str | None:
    path = Path(code.co_filename)
    if path.is_relative_to(OWN):
        return path.relative_to(OWN).with_suffix("").as_posix()
    return str(code.co_name) if path.name == "loop_contestants.py" else None


def markdown(results: Mapping[str, Any]) -> str:
    """Returns the tables and the notes."""
    titles = ["items", "shown", "survives", "", "µs", "99 of 100 within", "to decide", "to reward", "bytes", "MB", "ratio", "CPU"]
    lines = report.header(titles, left=4)
    for row in results["rows"]:
        numbers = (report.rounded(row[name]) for name in ("p50", "p99", "decide", "reward"))
        room = report.rounded(row["num_bytes"]) if row["num_bytes"] else ""
        cells = (f"{row['num_items']:,}", row["size"], row["durability"], row["contestant"], *numbers, room)
        memory = report.rounded(row["memory"] / 1e6) if row["memory"] > 0 else ""
        lines.append(report.line([*cells, memory, *(report.rounded(row[name]) for name in ("to_bare", "cpu_to_bare"))]))
    parts = report.header(["items", "shown", "", "where the time goes, µs a request with its reward"], left=4)
    for (num_items, size, name), found in itertools.groupby(
        results["parts"], lambda part: (part["num_items"], part["size"], part["contestant"])
    ):
        told = ", ".join(f"{part['part']} {report.rounded(part['us'])}" for part in found if part["share"] >= 0.02)
        parts.append(report.line([f"{num_items:,}", size, name, told]))
    notes = [f"* {note}" for note in results["notes"]]
    return "\n".join(
        [f"`{results['command']}` on {report.described(results['machine'])}.", "", *lines, "", *parts, *[""] * bool(notes), *notes]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    chosen = _parser().parse_args(arguments)
    effort = QUICK if chosen.quick else FULL._replace(rounds=chosen.rounds)
    machine = report.machine(("recsdk", "numpy", "vowpalwabbit"))
    results: dict[str, Any] = {"command": _command(chosen), "machine": machine, "rows": [], "parts": []}
    results["notes"] = [
        f"K = {K}, D = {loop_contestants.DIM + 5}. Medians over {effort.rounds * effort.turn} requests, each rewarded at once. The "
        "ratio is the median, over turns, of how many times as long as by hand with the same durability, both by the quarter of the "
        "requests that took least, which a busy machine has not interrupted; CPU is that of all of the processor's time. Bytes are those "
        "of the folder, a decision with its reward. MB is the growth of the process while one was opened and served. Parts below 2 % are "
        "left out.",
        *command.missing(["vowpalwabbit"]),
    ]
    for num_items in chosen.items:
        for size in chosen.shown:
            found = measure(Case(num_items, size), chosen.policies, effort)
            results = {**results, **{name: results[name] + found[name] for name in found}}
    print(json.dumps(results, indent=1) if chosen.json else markdown(results))
    if chosen.write:
        report.write(command.DOCS, "loop", markdown(results))
    return 0


def _command(chosen: argparse.Namespace) -> str:
    parser = _parser()
    changed = [name for name in ("items", "shown", "policies", "rounds") if getattr(chosen, name) != parser.get_default(name)]
    words = ["python benchmarks/loop.py", *(f"--{name} {_written(getattr(chosen, name))}" for name in changed)]
    return " ".join([*words, *["--quick"] * chosen.quick])


def _written(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _parser() -> argparse.ArgumentParser:
    def numbers(text: str) -> list[int]:
        return [int(word) for word in text.split(",")]

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes, and rough")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/benchmarks.md")
    parser.add_argument("--items", type=numbers, default=[1_000, 20_000, 100_000], help="sizes of the catalogue, such as 1000,1000000")
    parser.add_argument("--shown", type=numbers, default=[1, 10], help="sizes of the slate")
    parser.add_argument("--policies", type=lambda text: text.split(","), default=["lin-ts", "wide-deep"], help="names of policies")
    parser.add_argument("--rounds", type=int, default=FULL.rounds, help=f"in each of which everyone serves {FULL.turn} requests")
    return parser


if __name__ == "__main__":
    sys.exit(main())
