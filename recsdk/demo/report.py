"""What the demo found: tables for the terminal, and one HTML page that needs nothing else."""

from __future__ import annotations

import html
import importlib.util
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recsdk.errors import MissingExtra

if TYPE_CHECKING:
    from rich.table import Table

ESTIMATORS = ("ips", "snips", "dr")
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .75rem; text-align: right; border-bottom: 1px solid #ddd } th:first-child, td:first-child { text-align: left }
svg { max-width: 100%; height: auto } .note { color: #555 }
"""


def require_plots() -> None:
    """Refuses to start work whose plots could not be drawn.

    Raises:
        MissingExtra: naming what to install.
    """
    missing = [name for name in ("jax", "flax", "optax", "altair", "vl_convert") if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtra(f"recsdk demo needs {', '.join(missing)}: pip install 'recsdk[deep,report]'.")


Rows = tuple[str, list[str], list[list[str]]]


def rows(summary: dict[str, Any]) -> list[Rows]:
    """Returns the demo's tables: title, column names, cells."""
    loop = [[row["policy"], f"{row['reward']:.4f}", _interval(row)] for row in summary["loop"]]
    recovery = [[name.replace("_", " "), str(value)] for name, value in summary["recovery"].items()]
    evaluation = [
        [row["policy"], f"{row['truth']:.4f}", *_answers(row), f"{row['effective_size']:,.0f}", row["verdict"]]
        for row in summary["evaluation"]
    ]
    real = summary["open_bandit"]
    open_bandit = [
        ["random, as logged", f"{real['logging_policy']['reward']:.5f}", _interval(real["logging_policy"], 5)],
        *([f"Bernoulli-TS by {name}", f"{real[name]['value']:.5f}", _interval(real[name], 5)] for name in ESTIMATORS),
        ["Bernoulli-TS, its own log", f"{real['on_policy']['reward']:.5f}", _interval(real["on_policy"], 5)],
    ]
    return [
        (f"Reward per visit over {summary['visits']:,} visits, and its 95 % interval", ["policy", "reward", "interval"], loop),
        ("Killed half-way (SIGKILL) and opened again", ["", "value"], recovery),
        (
            "What others would have earned at the top of the page, from the loop's own log",
            ["policy", "truth", *ESTIMATORS, "effective size", "verdict"],
            evaluation,
        ),
        (
            f"Open Bandit: clicks per view, {real['rounds']:,} real views of a random policy; verdict: {real['verdict']}",
            ["", "value", "interval"],
            open_bandit,
        ),
    ]


def tables(summary: dict[str, Any]) -> list[Table]:
    """Returns the tables for `rich.print`."""
    from rich.table import Table

    made = []
    for title, columns, cells in rows(summary):
        table = Table(title=title, title_justify="left")
        for index, column in enumerate(columns):
            table.add_column(column, justify="left" if index == 0 else "right")
        for row in cells:
            table.add_row(*row)
        made.append(table)
    return made


def write_report(out: Path, summary: dict[str, Any]) -> None:
    """Writes `report.html`: plots as SVG, every plot with its table and a sentence on how to read it."""
    loop, recovery, evaluation, open_bandit = (_table(part) for part in rows(summary))
    real = summary["open_bandit"]
    body = f"""
<h1>recsdk demo</h1>
<p>A simulated shop with known truth; {summary["visits"]:,} visits, three items shown in each. Run time {summary["seconds"]} s.</p>
<h2>Learning</h2>{_svg(_learning(summary))}
<p class="note">Mean reward per visit over the last tenth of the visits. At half-time the season turns: what sold before no longer sells.
The learner was killed there too, and recovered.</p>{loop}
<h2>Recovery</h2>{recovery}
<p class="note">The state after recovery is compared, to the last bit, with one folded from the first reward on.</p>
<h2>What would other policies have earned?</h2>{_svg(_forest(evaluation_points(summary)))}
<p class="note">Bars are 95 % intervals estimated from the learner's own log; the black tick is the truth, which only the simulation knows.
A trustworthy bar covers its tick about 19 times in 20. What the log cannot answer for is refused, and its value withheld.</p>{evaluation}
<h2>Open Bandit, a real log</h2>{_svg(_forest(open_bandit_points(summary)))}
<p class="note">From {real["clicks"]} clicks of a random policy: what would Bernoulli Thompson sampling have earned? The black tick is
what its own log shows. So few clicks leave wide bars. Data: Open Bandit Dataset, ZOZO, Inc., CC BY 4.0 (Saito et al., arXiv 2008.07146).
</p>{open_bandit}
"""
    out.mkdir(parents=True, exist_ok=True)
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>recsdk demo</title><style>{STYLE}</style><body>{body}</body></html>'
    )
    (out / "report.html").write_text(page, encoding="utf-8")


def evaluation_points(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns a point per policy and estimator that the log can answer for."""
    answered = [row for row in summary["evaluation"] if row["verdict"] != "refuse"]
    return [{"policy": row["policy"], "estimator": name, "truth": row["truth"], **row[name]} for row in answered for name in ESTIMATORS]


def open_bandit_points(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns a point per estimator."""
    real = summary["open_bandit"]
    return [{"policy": "Bernoulli-TS", "estimator": name, "truth": real["on_policy"]["reward"], **real[name]} for name in ESTIMATORS]


def _learning(summary: dict[str, Any]) -> Any:
    import altair as alt

    points = []
    for name, rewards in summary["rewards"].items():
        window = max(len(rewards) // 10, 1)
        sums = np.cumsum([0.0, *rewards])
        means = (sums[window:] - sums[:-window]) / window
        points += [
            {"policy": name, "visit": window + index, "reward": float(means[index])}
            for index in range(0, len(means), max(len(means) // 150, 1))
        ]
    return (
        _chart(points)
        .mark_line()
        .encode(
            x=alt.X("visit:Q"),
            y=alt.Y("reward:Q", title="reward per visit").scale(zero=True),
            color=alt.Color("policy:N").scale(scheme="dark2"),
        )
        .properties(width=620, height=280)
    )


def _forest(points: list[dict[str, Any]]) -> Any:
    import altair as alt

    base = _chart(points).encode(y=alt.Y("estimator:N", title=None, sort=list(ESTIMATORS)))
    bars = base.mark_rule(strokeWidth=3).encode(x=alt.X("low:Q", title="reward"), x2="high:Q", color=alt.Color("estimator:N", legend=None))
    values = base.mark_point(filled=True, size=60).encode(x="value:Q", color=alt.Color("estimator:N", legend=None))
    truth = base.mark_tick(color="black", thickness=2, size=18).encode(x="truth:Q")
    layers = (bars + values + truth).properties(width=520, height=60)
    return layers.facet(row=alt.Row("policy:N", title=None, header=alt.Header(labelAngle=0, labelAlign="left")))


def _chart(points: list[dict[str, Any]]) -> Any:
    import altair as alt

    return alt.Chart(alt.Data(values=points))  # type: ignore[no-untyped-call]


def _svg(chart: Any) -> str:
    buffer = io.StringIO()
    chart.save(buffer, format="svg")
    return buffer.getvalue()


def _table(part: Rows) -> str:
    title, columns, cells = part
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in cells)
    return f"<table><caption>{html.escape(title)}</caption><tr>{head}</tr>{body}</table>"


def _interval(row: dict[str, Any], digits: int = 4) -> str:
    return f"{row['low']:.{digits}f} to {row['high']:.{digits}f}"


def _answers(row: dict[str, Any]) -> list[str]:
    return ["withheld"] * len(ESTIMATORS) if row["verdict"] == "refuse" else [_estimate(row[name]) for name in ESTIMATORS]


def _estimate(found: dict[str, Any]) -> str:
    return f"{found['value']:.4f} [{found['low']:.4f}, {found['high']:.4f}]"
