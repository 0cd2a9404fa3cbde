"""From what was measured to tables, and into the pages that show them."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PACKAGES = ("recsdk", "numpy", "jax", "vowpalwabbit")

Row = Mapping[str, Any]
Results = Mapping[str, Any]


def machine() -> dict[str, Any]:
    """Returns what the numbers depend on."""
    info = Path("/proc/cpuinfo")
    models = (
        [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    )
    return {
        "cpu": models[0] if models else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def full(results: Results) -> str:
    """Returns both tables, and on what they were measured."""
    live = ["Decide and learn, one event at a time", "", *live_table(results)]
    walked = ["Replay of a log, events per second once compiled", "", *replay_table(results)]
    return "\n".join([f"`{results['command']}` on {_described(results['machine'])}.", "", *live, "", *walked])


def brief(results: Results) -> str:
    """Returns the few lines for the README."""
    wanted = {"NumPy, bare LinUCB", "recsdk lin-ucb", "recsdk lin-ts with floor", "VW squarecb, bare loop"}
    sizes = _sizes(results["live"])
    lines = _header(["microseconds to decide and learn", *(f"K = {size[0]}, D = {size[1]}" for size in sizes)], text=0)
    for name in _names(results["live"]):
        if name in wanted:
            cells = _by_size(results["live"], name, sizes)
            lines.append(_line([name, *(_rounded(row["microseconds"]["median"]) if row else "" for row in cells)]))
    walked = [
        f"* {name}: {' / '.join(_rounded(row['events_per_second']['median']) for row in _by_size(results['replay'], name, sizes) if row)}"
        for name in _names(results["replay"])
        if name.startswith(("NumPy", "VW", "recsdk lin-ucb"))
    ]
    what = "K candidates with D features each, one event at a time from Python. A log is walked at these sizes, in events per second:"
    return "\n".join([*lines, "", what, "", *walked, "", f"Medians, by `{results['command']}` on {_described(results['machine'])}."])


def live_table(results: Results) -> list[str]:
    """Returns a row for each contestant and size, with ratios to the bare loop and to Vowpal Wabbit."""
    lines = _header(["K", "D", "", "µs per event", "quartiles", "time / bare NumPy", "VW's time / this"], text=2)
    for row in results["live"]:
        low, median, high = (_rounded(row["microseconds"][key]) for key in ("low", "median", "high"))
        times = _rounded(1 / row["to_vw"]) if row["to_vw"] else ""
        lines.append(_line([*row["size"], row["contestant"], median, f"{low} to {high}", _rounded(row["to_bare"]), times]))
    return lines


def replay_table(results: Results) -> list[str]:
    """Returns a row for each policy, engine and size."""
    lines = _header(["K", "D", "", "events/s", "quartiles", "speed / bare NumPy", "compiling, s", "engines differ by"], text=2)
    for row in results["replay"]:
        low, median, high = (_rounded(row["events_per_second"][key]) for key in ("low", "median", "high"))
        compiling = f"{row['compile_seconds']:.1f}" if row["compile_seconds"] is not None else ""
        differ = f"{row['difference']:.0e}" if row["difference"] is not None else ""
        cells = [*row["size"], row["contestant"], median, f"{low} to {high}", _rounded(row["to_bare"]), compiling, differ]
        lines.append(_line(cells))
    return lines


def write(path: Path, region: str, text: str) -> None:
    """Replaces what stands between the page's markers of a region.

    Raises:
        LookupError: when the page has no such markers.
    """
    start, end = f"<!-- benchmarks:{region} -->", f"<!-- /benchmarks:{region} -->"
    page = path.read_text() if path.exists() else ""
    before, found, rest = page.partition(start)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise LookupError(f"{path} must have the lines {start} and {end} for the table to go between them, and has not.")
    path.write_text(f"{before}{start}\n{text}\n{end}{after}")


def _described(machine: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    where = f"{machine['cpu']}, {machine['cores']} cores at a load of {machine['load']} before it began"
    return f"{where}; Python {machine['python']}, {versions}; {machine['date']}"


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _header(titles: Sequence[str], *, text: int) -> list[str]:
    return [_line(titles), _line(["---" if column == text else "--:" for column in range(len(titles))])]


def _line(cells: Sequence[Any]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _rounded(number: float) -> str:
    """Returns three digits: 17.6 or 1,230."""
    number = float(f"{number:.3g}")
    return f"{number:,.0f}" if number >= 100 else f"{number:g}"


def _sizes(rows: Sequence[Row]) -> list[tuple[int, int]]:
    return list(dict.fromkeys(tuple(row["size"]) for row in rows))


def _names(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row["contestant"] for row in rows))


def _by_size(rows: Sequence[Row], name: str, sizes: Sequence[tuple[int, int]]) -> list[Row | None]:
    found = {tuple(row["size"]): row for row in rows if row["contestant"] == name}
    return [found.get(size) for size in sizes]
