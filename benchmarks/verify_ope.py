"""Whether off-policy evaluation tells the truth, level by level, from exact answers to a live loop: `python benchmarks/verify_ope.py`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

# As in speed.py.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import command
import ope_checks
import report
from ope_checks import FULL, QUICK, Effort, Found
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

DOCS = command.ROOT / "docs" / "verification.md"
LEVELS = {
    "L0": "Six rows, exact fractions",
    "L1": "Every log of a small world",
    "L2": "Open Bandit samples against obp 0.5.7",
    "L3": "Published outputs",
    "L4": "A world of known value, 5 contexts, 8 actions, weights up to 61",
    "L5": "The real loop's own log against the simulator's truth",
}
SIMULATED = ("L4", "L5")
EXACT_COLUMNS = ("expected", "found", "apart")
SIMULATED_COLUMNS = ("covers", "below", "above", "width", "bias", "rmse", "flagged", "logs")
SHARES = ("covers", "below", "above", "flagged")
MARKS = {True: "yes", False: "NO", None: ""}


def run(levels: Sequence[str], effort: Effort, progress: Progress) -> Iterator[Found]:
    """Runs levels, in their order."""
    for level in levels:
        task = progress.add_task(f"{level} {LEVELS[level]}", total=steps(level, effort))

        def tick(number: int, task: Any = task) -> None:
            progress.advance(task, number)

        checks = getattr(ope_checks, f"level_{level[1]}")(*((effort, tick) if level in SIMULATED else ()))
        yield from ope_checks.skipping(level, checks)
        progress.update(task, completed=steps(level, effort))


def steps(level: str, effort: Effort) -> int:
    """Returns how many logs a level simulates, in whole parts."""
    if level == "L5":
        return effort.num_runs + max(effort.num_runs // 8, 10)
    return 6 * -(-effort.num_logs // 50) * 50 + 3 * effort.num_watched + 2 * effort.num_control if level == "L4" else 1


def cells(found: Found, columns: Sequence[str]) -> list[str]:
    """Returns a row of a table."""
    return [found.level, found.check, *(_cell(name, found.numbers) for name in columns), found.wanted, MARKS[found.passed]]


def parts(rows: Sequence[Found]) -> Iterator[tuple[Sequence[str], list[list[str]]]]:
    """Yields titles and rows of the tables: what is exact, and what is simulated."""
    for names, is_simulated in ((EXACT_COLUMNS, False), (SIMULATED_COLUMNS, True)):
        wanted = [found for found in rows if (found.level in SIMULATED) == is_simulated]
        columns = [name for name in names if any(name in found.numbers for found in wanted)]
        if wanted:
            yield ["level", "check", *columns, "wanted", "holds"], [cells(found, columns) for found in wanted]


def markdown(results: report.Results) -> str:
    """Returns the tables for the docs."""
    lines = [f"`{results['command']}` on {report.described(results['machine'])}, in {results['seconds']:.0f} s: {summary(results)}."]
    for titles, rows in parts([Found(**row) for row in results["rows"]]):
        lines += ["", *report.header(titles, left=2), *map(report.line, rows)]
    return "\n".join(lines)


def summary(results: report.Results) -> str:
    """Says in words how many checks hold."""
    outcomes = [row["passed"] for row in results["rows"]]
    skipped = [row["level"] for row in results["rows"] if row["check"] == "skipped"]
    failed = f", {outcomes.count(False)} fail" if False in outcomes else ""
    absent = f", without those of {', '.join(skipped)} whose reference data is absent" if skipped else ""
    return f"{outcomes.count(True)} of {len(outcomes) - outcomes.count(None)} checks hold{failed}{absent}"


def show(results: report.Results, console: Console) -> None:
    """Prints the tables."""
    for titles, rows in parts([Found(**row) for row in results["rows"]]):
        table = Table(*titles)
        for column in table.columns[2:-2]:
            column.justify, column.no_wrap = "right", True
        for row in rows:
            table.add_row(*row, style="bold red" if row[-1] == MARKS[False] else None)
        console.print(table)
    console.print(f"{summary(results)}, in {results['seconds']:.0f} s.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code: 1 where a check fails."""
    chosen = _parser().parse_args(arguments)
    levels = chosen.levels.split(",")
    if unknown := [level for level in levels if level not in LEVELS]:
        _parser().error(f"--levels must be of {', '.join(LEVELS)}, separated by commas, got {', '.join(unknown)}")
    machine, start = report.machine(("recsdk", "numpy")), time.perf_counter()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        rows = [found._asdict() for found in run(levels, QUICK if chosen.quick else FULL, progress)]
    options = ["--quick"] * chosen.quick + [f"--levels {chosen.levels}"] * (levels != list(LEVELS))
    name = " ".join(["python benchmarks/verify_ope.py", *options])
    results = {"command": name, "machine": machine, "seconds": time.perf_counter() - start, "rows": rows}
    if chosen.json:
        print(json.dumps(results, indent=1))
    else:
        show(results, Console(width=None if sys.stdout.isatty() else 160))
    if chosen.write:
        report.write(DOCS, "verification", markdown(results))
    return int(any(row["passed"] is False for row in rows))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a minute instead of several: fewer logs, three standard errors of slack")
    parser.add_argument("--levels", default=",".join(LEVELS), help="of %(default)s")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/verification.md")
    return parser


def _cell(name: str, numbers: dict[str, float]) -> str:
    if name not in numbers:
        return ""
    number = numbers[name]
    if name in SHARES:
        return f"{number:.1%}"
    if name == "logs":
        return f"{number:,.0f}"
    if name == "apart":
        return f"{number:.0e}" if number else "0"
    return f"{number:+.4f}" if name == "bias" else f"{number:.4f}" if name in ("rmse", "width") else f"{number:.9g}"


if __name__ == "__main__":
    sys.exit(main())
