"""From what was measured to tables and pictures, and into the pages that show them.

Results are plain values, as `--json` prints them: `command`, `machine`, `unit`, `ratio`, `notes`, and `rows` with `contestant`, `kind`,
`size` (K, D), the quartiles `low`, `median` and `high`, and `to_bare`.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PACKAGES = ("recsdk", "numpy", "jax", "vowpalwabbit", "mabwiser", "contextualbandits", "obp", "river", "coba")
COLOURS = {"by hand": "#888888", "recsdk": "#3f51b5", "peer": "#e65100"}

Row = Mapping[str, Any]
Results = Mapping[str, Any]


def machine(packages: Sequence[str] = PACKAGES) -> dict[str, Any]:
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
        "versions": {name: version(name) for name in packages},
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def version(name: str) -> str | None:
    """Returns the version of an installed distribution, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def full(results: Results) -> str:
    """Returns a row for each contestant, with the quartiles at each size and the ratio to the bare loop, and the notes."""
    sizes = _sizes(results["rows"])
    titles = [f"{results['unit']}, and {results['ratio']}", *(title for K, D in sizes for title in (f"K = {K}, D = {D}", "ratio"))]
    lines = header(titles)
    for name in _names(results["rows"]):
        cells = [cell for size in sizes for cell in _cells(results["rows"], name, size)]
        lines.append(line([name, *cells]))
    notes = [f"* {note}" for note in results["notes"]]
    return "\n".join([f"`{results['command']}` on {described(results['machine'])}.", "", *lines, *[""] * bool(notes), *notes])


def brief(results: Results, names: Sequence[str]) -> str:
    """Returns the medians of a few contestants, for the README."""
    sizes = _sizes(results["rows"])
    lines = header([results["unit"], *(f"K = {K}, D = {D}" for K, D in sizes)])
    for name in _names(results["rows"]):
        if name in names:
            found = [_found(results["rows"], name, size) for size in sizes]
            lines.append(line([name, *(rounded(row["median"]) if row else "" for row in found)]))
    return "\n".join([*lines, "", f"Medians, by `{results['command']}`; [all contestants](docs/benchmarks.md), and on what machine."])


def draw(results: Results, path: Path) -> None:
    """Writes a picture of the medians, a column for each size."""
    import altair as alt

    values = [{**row, "place": f"K = {row['size'][0]}, D = {row['size'][1]}"} for row in results["rows"]]
    names, places = _names(results["rows"]), list(dict.fromkeys(value["place"] for value in values))
    points = (
        alt.Chart(alt.Data(values=values), width=200, height=alt.Step(15))
        .mark_circle(size=60, opacity=1)
        .encode(
            x=alt.X("median:Q", title=results["unit"], scale=alt.Scale(type="log"), axis=alt.Axis(format="~s", tickCount=5)),
            y=alt.Y("contestant:N", title=None, sort=names, axis=alt.Axis(labelLimit=400, grid=True)),
            color=alt.Color(
                "kind:N", title=None, legend=alt.Legend(orient="top"), scale=alt.Scale(domain=list(COLOURS), range=list(COLOURS.values()))
            ),
            column=alt.Column("place:N", title=None, sort=places),
        )
        .configure(background="white")
    )
    points.save(path)


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


def rounded(number: float) -> str:
    """Returns three digits: 17.6 or 1,230."""
    number = float(f"{number:.3g}")
    return f"{number:,.0f}" if number >= 100 else f"{number:g}"


def described(machine: Mapping[str, Any]) -> str:
    """Says on what machine it was, and with what versions."""
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items() if number)
    where = f"{machine['cpu']}, {machine['cores']} cores at a load of {machine['load']} before it began"
    return f"{where}; Python {machine['python']}, {versions}; {machine['date']}"


def _cells(rows: Sequence[Row], name: str, size: tuple[int, int]) -> tuple[str, str]:
    row = _found(rows, name, size)
    if row is None:
        return "", ""
    low, median, high = (rounded(row[key]) for key in ("low", "median", "high"))
    return f"{median} ({low} to {high})", rounded(row["to_bare"])


def _found(rows: Sequence[Row], name: str, size: tuple[int, int]) -> Row | None:
    return next((row for row in rows if row["contestant"] == name and tuple(row["size"]) == size), None)


def header(titles: Sequence[str], left: int = 1) -> list[str]:
    """Returns the first two lines of a table; the first columns are flush left."""
    return [line(titles), line(["---" if column < left else "--:" for column in range(len(titles))])]


def line(cells: Sequence[Any]) -> str:
    """Returns a line of a table."""
    return f"| {' | '.join(map(str, cells))} |"


def _sizes(rows: Sequence[Row]) -> list[tuple[int, int]]:
    return list(dict.fromkeys(tuple(row["size"]) for row in rows))


def _names(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row["contestant"] for row in rows))
