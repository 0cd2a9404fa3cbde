"""How fast recsdk is beside what it is meant to reach, in one table: `python benchmarks/targets.py`, half an hour.

Each line is a ratio to someone who does the same work in the same process, by the functions of the command that it names.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RECSDK_FAST", "1")

import command
import disk
import loop
import loop_contestants
import ope_contestants
import recovery
import replays
import report
import retrieval
import speed
import timing
from rich.progress import Progress

WIDTHS = (100, 64)
QUALITY = command.ROOT / "docs" / "quality.md"


class Row(NamedTuple):
    """A line of the table.

    Attributes:
        work: what is measured, and beside what.
        must: what it must reach.
        measured: a ratio, or a number in the unit; None where the peer is not installed.
        command: that measures it with all that belongs to it.
        unit: of the numbers.
        at_least: whether more is better.
    """

    work: str
    must: float
    measured: float | None
    command: str
    unit: str = "x"
    at_least: bool = False

    @property
    def is_met(self) -> bool:
        """Tells whether it is reached."""
        return self.measured is not None and (self.measured >= self.must if self.at_least else self.measured <= self.must)


def of_loop(quick: bool) -> list[Row]:
    """Requests with their rewards, beside loops by hand."""
    small, large = (500, 1_000) if quick else (1_000, 100_000)
    effort = loop.QUICK if quick else loop.FULL
    names = {"lin-ts": "recsdk lin-ts", "wide-deep": "recsdk wide-deep"}
    found = {}
    for num_items, policies in ((small, ["lin-ts", "wide-deep"]), (large, ["lin-ts"])):
        for row in loop.measure(loop.Case(num_items, 1), policies, effort)["rows"]:
            found[row["contestant"], row["durability"], num_items] = row
    key = (loop.DURABILITIES[0], small)
    floor, by = "of the hand-written loop", "python benchmarks/loop.py --shown 1"
    vw = found.get((loop.VW, *key))
    ratio = vw and vw["p50"] / found[names["lin-ts"], *key]["p50"]
    return [
        Row(f"recommend + reward, lin-ts, {small:,} items, {floor}", 2.0, found[names["lin-ts"], *key]["to_bare"], by),
        Row(f"the same, {large:,} items", 1.3, found[names["lin-ts"], loop.DURABILITIES[0], large]["to_bare"], by),
        Row(f"the same with wide-deep, {small:,} items", 3.0, found[names["wide-deep"], *key]["to_bare"], by),
        Row(f"lin-ts, {small:,} items, times as quick as VW squarecb in such a loop", 15, ratio, by, at_least=True),
    ]


def of_policies(quick: bool) -> list[Row]:
    """Deciding and learning, beside bare LinUCB."""
    names = {"recsdk wide-deep": "wide-deep", "recsdk neural-squarecb": "neural-squarecb"}
    effort = speed.QUICK if quick else speed.FULL
    rows = speed.measure(WIDTHS, effort, Progress(disable=True), names.__contains__).rows
    ratios = {row["contestant"]: row["to_bare"] for row in rows}
    at = f"({WIDTHS[0]}, {WIDTHS[1]})"
    by = f"python benchmarks/speed.py --sizes {WIDTHS[0]}x{WIDTHS[1]}"
    return [Row(f"{short}, decide + learn at {at}, of bare NumPy LinUCB", 4.0, ratios[name], by) for name, short in names.items()]


def of_quality(quick: bool) -> list[Row]:
    """What the page of quality says of the sets that had no say in the policy's constants; to play again takes hours."""
    del quick
    unseen = QUALITY.read_text().partition("<!-- benchmarks:quality-unseen -->")[2].partition("<!-- /benchmarks")[0]
    told = re.search(r"on (\d+) of (\d+) sets", unseen)
    share = 100 * int(told[1]) / int(told[2]) if told else None
    return [
        Row(
            "default policy, sets that had no say in its constants where it is level with or ahead of the best tuned peer",
            80,
            share,
            "python benchmarks/quality.py",
            "%",
            True,
        )
    ]


def of_retrieval(quick: bool) -> list[Row]:
    """The nearest of a catalogue, beside faiss' flat index."""
    rows = []
    for num_items in (1_000, 10_000) if quick else (100_000, 1_000_000):
        everyone, work, by = retrieval.everyone(num_items), f"the 100 nearest of {num_items:,} x 64", "python benchmarks/retrieval.py"
        ratios = {
            name: _ratio({each: everyone[each] for each in (retrieval.OURS, name)}, retrieval.OURS, name, 3 if quick else 20)
            for name in (retrieval.FAISS, retrieval.READ)
            if name in everyone
        }
        rows.append(Row(f"{work}, of faiss Flat", 1.1, ratios.get(retrieval.FAISS), by))
        rows.append(Row(f"{work}, of reading the table once", 1.3, ratios[retrieval.READ], by))
    return rows


def of_recovery(quick: bool) -> list[Row]:
    """Opening a folder without its snapshot, beside the same fold of arrays."""
    num_rewards = 300 if quick else 100_000
    (ratio,) = (row["ratio"] for row in recovery.measure(num_rewards, 2) if row["contestant"] == recovery.OPEN)
    by = f"python benchmarks/recovery.py --rewards {num_rewards} --rounds 2"
    return [Row(f"recovery, {num_rewards:,} rewards of lin-ts with an online scorer, of the bare NumPy fold", 3.0, ratio, by)]


def of_replay(quick: bool) -> list[Row]:
    """Walking a log, beside a loop by hand that Numba compiles."""
    names, ratio = ("numba loop, LinUCB", "recsdk replay of lin-ucb, numba"), None
    with tempfile.TemporaryDirectory() as folder:
        everyone = replays.entries(replays.uniform_log(2_000 if quick else 100_000, 10, 16), Path(folder))
        if all(name in everyone for name in names):
            ratio = _ratio({name: everyone[name].run for name in names}, *names, 3 if quick else 7)
    by = "python benchmarks/throughput.py --sizes 10x16"
    return [Row("replay of lin-ucb (10, 16), times as fast as the plain numba loop", 0.8, ratio, by, at_least=True)]


def of_evaluation(quick: bool) -> list[Row]:
    """Evaluating a log, beside NumPy by hand."""
    size = ope_contestants.Size(20_000 if quick else 1_000_000, 10, 1)
    log, rows = ope_contestants.draw(size), []
    for num_draws, must, told in ((0, 0.8, "point with all diagnostics"), (100, 0.03, "100 bootstraps")):
        runs = {
            "ours": lambda num_draws=num_draws: ope_contestants.evaluated(log, num_draws),
            "by hand": lambda num_draws=num_draws: ope_contestants.by_hand(log, num_draws),
        }
        ratio = _ratio(runs, "ours", "by hand", 3 if num_draws else 7)
        rows.append(Row(f"evaluation {size}, {told}, of NumPy by hand", must, ratio, "python benchmarks/speed_ope.py"))
    return rows


def of_disk(quick: bool) -> list[Row]:
    """What a decision takes."""
    num_decisions = 50 if quick else 1_000
    with tempfile.TemporaryDirectory() as folder:
        found = disk.measure(Path(folder) / "shop", "lin-ts", 100, 5, num_decisions=num_decisions, num_trained=num_decisions // 3)
    return [Row("a decision on the disk, K = 100, five shown", 1_600, found.num_bytes, "python benchmarks/disk.py", "bytes")]


def of_additions(quick: bool) -> list[Row]:
    """Adding an item to a catalogue."""
    num_items, taken = 1_000 if quick else 50_000, []
    with tempfile.TemporaryDirectory() as folder:
        loop_contestants.make(Path(folder) / "shop", num_items)
        with loop_contestants.open_shop(Path(folder) / "shop", policy="lin-ts") as shop:
            for number in range(num_items, num_items + 21):
                new = [{"id": str(number), "price": 0.5, "age": 0.5, "added": time.time()}]
                start = time.perf_counter()
                shop.add_items(new)
                taken.append(1e3 * (time.perf_counter() - start))
    by = "python benchmarks/targets.py --only additions"
    return [Row(f"`add_items` of 1 into {num_items:,}", 1.0, statistics.median(taken), by, "ms")]


PARTS: dict[str, Callable[[bool], list[Row]]] = {
    "loop": of_loop,
    "policies": of_policies,
    "quality": of_quality,
    "retrieval": of_retrieval,
    "recovery": of_recovery,
    "replay": of_replay,
    "evaluation": of_evaluation,
    "disk": of_disk,
    "additions": of_additions,
}


def _ratio(runs: dict[str, Callable[[], object]], ours: str, theirs: str, rounds: int) -> float:
    """Returns how many times as long one takes as another, after a first time that may compile."""
    timing.interleave(runs, 1, lambda: None)
    seconds = timing.interleave(runs, rounds, lambda: None)
    return timing.ratio(seconds[ours], seconds[theirs])


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a minute or two: small catalogues and logs, and rough")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    parser.add_argument("--only", default=list(PARTS), type=lambda text: text.split(","), help=f"of {', '.join(PARTS)}")
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.only) - set(PARTS):
        parser.error(f"--only must be of {', '.join(PARTS)}, got {', '.join(sorted(unknown))}")
    if chosen.write and (chosen.quick or chosen.only != list(PARTS)):
        parser.error("--write puts the whole table into docs/benchmarks.md: it must be without --quick and --only")
    machine = report.machine(("recsdk", "numpy", "numba", "vowpalwabbit", "faiss-cpu"))
    rows = []
    for name in chosen.only:
        print(f"{name} ...", file=sys.stderr, flush=True)
        rows += PARTS[name](chosen.quick)
    told = " ".join(["python benchmarks/targets.py", *["--quick"] * chosen.quick])
    text = "\n".join([f"`{told}` on {report.described(machine)}.", "", *table(rows)])
    print(
        json.dumps({"machine": machine, "rows": [{**row._asdict(), "met": row.is_met} for row in rows]}, indent=1) if chosen.json else text
    )
    if chosen.write:
        report.write(command.DOCS, "targets", text)
    return 0


def table(rows: Sequence[Row]) -> list[str]:
    """Returns the lines of the table."""
    lines = report.header(["work", "must", "measured", "met", "by"], left=1)
    for row in rows:
        must = f"{'≥' if row.at_least else '≤'} {row.must:,g} {row.unit}"
        measured = "not installed" if row.measured is None else f"{report.rounded(row.measured)} {row.unit}"
        lines.append(report.line([row.work, must, measured, "yes" if row.is_met else "no", f"`{row.command}`"]))
    return lines


if __name__ == "__main__":
    sys.exit(main())
