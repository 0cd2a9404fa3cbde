"""The demo's results: tables for the terminal, and one HTML page that needs nothing else."""

from __future__ import annotations

import html
import importlib.util
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recsdk.demo.live import NUM_CANDIDATES
from recsdk.demo.world import CLICK, EXAMINED
from recsdk.errors import MissingExtra, install

if TYPE_CHECKING:
    from rich.table import Table

ESTIMATORS = ("ips", "snips", "dr")
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums }
caption { text-align: left; font-weight: 600; padding: .25rem .5rem; min-width: 20rem }
th, td { padding: .25rem .5rem; text-align: right; vertical-align: top; border-bottom: 1px solid #ddd; white-space: pre-line }
th:first-child, td:first-child { text-align: left }
svg { max-width: 100%; height: auto } .note { color: #555 } .wide { overflow-x: auto }
@media (max-width: 34rem) { table { font-size: 12px } th, td { padding: .2rem .25rem } }
"""


def require_plots() -> None:
    """Refuses to start where the plots could not be drawn.

    Raises:
        MissingExtra: naming what to install.
    """
    missing = [name for name in ("jax", "flax", "optax", "altair", "vl_convert") if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtra(f"recsdk demo needs {', '.join(missing)}: {install('deep,report')}.")


Rows = tuple[str, list[str], list[list[str]]]


def rows(summary: dict[str, Any]) -> list[Rows]:
    """Returns the demo's tables: title, column names, cells."""
    learner = summary["loop"][0]
    loop = [[row["policy"], f"{row['reward']:.4f}", _interval(row)] for row in summary["loop"]]
    recovery = [[name.replace("_", " "), str(value)] for name, value in summary["recovery"].items()]
    evaluation = [["the learner, as logged", f"{learner['reward']:.3f}", *[""] * len(ESTIMATORS), ""]]
    evaluation += [[row["policy"], f"{row['truth']:.3f}", *_answers(row), row["verdict"]] for row in summary["evaluation"]]
    real = summary["open_bandit"]
    open_bandit = [
        ["random, as logged", f"{real['logging_policy']['reward']:.5f}", _interval(real["logging_policy"], 5)],
        *([f"Bernoulli-TS by {name}", f"{real[name]['value']:.5f}", _interval(real[name], 5)] for name in ESTIMATORS),
        ["Bernoulli-TS, its own log", f"{real['on_policy']['reward']:.5f}", _interval(real["on_policy"], 5)],
    ]
    return [
        (f"Reward at the top of the page, mean of {summary['visits']:,} visits", ["policy", "reward", "95 % interval"], loop),
        ("Killed half-way (SIGKILL) and opened again", ["", "value"], recovery),
        (
            "Reward at the top of the page if another policy had chosen there in the same visits, estimated from the learner's log",
            ["policy", "truth", *ESTIMATORS, "verdict"],
            evaluation,
        ),
        (
            f"Open Bandit: clicks per view, {real['rounds']:,} real views of a random policy; verdict: {real['verdict']}",
            ["", "value", "interval"],
            open_bandit,
        ),
    ]


def reasons(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """Returns what each verdict is about, and its reasons."""
    judged = [*summary["evaluation"], {"policy": "Open Bandit", **summary["open_bandit"]}]
    return [(row["policy"], f"{row['verdict']}: {'; '.join(row['reasons'])}.") for row in judged if row["reasons"]]


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
    verdicts = Table(title="Reasons of the verdicts", title_justify="left", show_header=False)
    for judged in reasons(summary):
        verdicts.add_row(*judged)
    return [*made, verdicts]


def write_report(out: Path, summary: dict[str, Any]) -> None:
    """Writes `report.html`: plots as SVG, every plot with its table and a sentence on how to read it."""
    loop, recovery, evaluation, open_bandit = (_table(part) for part in rows(summary))
    real, learner = summary["open_bandit"], summary["loop"][0]
    ours, theirs = (learner["reward"], "the learner, as logged"), (real["logging_policy"]["reward"], "random, as logged")
    body = f"""
<h1>recsdk demo</h1>
<p>A simulated shop whose truth is known: {summary["visits"]:,} visits, {len(EXAMINED)} items shown in each. A click is worth {CLICK},
a purchase 1. Every figure of the shop is the reward of the item at the top of the page. Run time: {summary["seconds"]} s.</p>
<h2>Learning</h2>{_svg(_learning(summary))}
<p class="note">Mean reward of the last {_window(summary)} visits, with its 95 % band. At the dashed line the season turns: the categories
that sold before are no longer in demand, and others are. There the learner's process was also killed (SIGKILL) and recovered.</p>{loop}
<h2>Recovery</h2>{recovery}
<p class="note">The recovered state is equal, bit for bit, to the state computed again from the first reward in the ledger.</p>
<h2>What would other policies have earned?</h2>{_svg(_forest(evaluation_points(summary), *ours))}
<p class="note">What would the visitors of these visits have been worth if another policy had chosen the item at the top, among the same
{NUM_CANDIDATES} candidates that the encoder found for each of them? Dots and bars are estimates and their 95 % normal intervals, from the
learner's log alone. The black tick is the true answer to this question, which only the simulation knows; the dashed line is what the
learner itself earned. A policy that learns, as epsilon-greedy and lin-ucb do, learns here from the learner's log, visit by visit. If it
served the shop by itself, it would learn from its own choices instead and earn something else. "Uniform" and "most popular" in the first
table choose among all items, so they earn less than "uniform over the candidates" and "most popular candidate".</p>
<p class="note">With the verdict "caution" the bars may be too short, above all those of IPS: a few visits with large weights decide, and
most logs have too few of them. In ten runs with --quick, the bar of IPS held the truth in 28 of 37 cases with this verdict, that of SNIPS
in 33, that of DR in 33. With "refuse" the log cannot answer, and there is no bar.</p>{evaluation}{_reasons(summary["evaluation"])}
<h2>Open Bandit, a real log</h2>{_svg(_forest(open_bandit_points(summary), *theirs))}
<p class="note">Clicks per view that Bernoulli Thompson sampling would have had, estimated from the {real["clicks"]} clicks of a random
policy. The black tick is the click rate in its own log. With so few clicks the bars are wide. Data: Open Bandit Dataset, ZOZO, Inc.,
CC BY 4.0 (Saito et al., arXiv 2008.07146).</p>{open_bandit}{_reasons([{"policy": "Open Bandit", **real}])}
"""
    out.mkdir(parents=True, exist_ok=True)
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>recsdk demo</title><style>{STYLE}</style><body>{body}</body></html>"
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


def _window(summary: dict[str, Any]) -> int:
    return max(int(summary["visits"]) // 15, 2)


def _learning(summary: dict[str, Any]) -> Any:
    import altair as alt

    window, points = _window(summary), []
    for name, rewards in summary["rewards"].items():
        sums, squares = (np.cumsum([0.0, *np.power(rewards, power)]) for power in (1, 2))
        means = (sums[window:] - sums[:-window]) / window
        variance = np.maximum((squares[window:] - squares[:-window]) / window - means**2, 0.0)
        band = 1.96 * np.sqrt(variance / window)
        points += [
            {"policy": name, "visit": window + at, "reward": means[at], "low": means[at] - band[at], "high": means[at] + band[at]}
            for at in range(0, len(means), max(len(means) // 150, 1))
        ]
    turn = [{"visit": summary["turn"], "label": "season turns; killed and recovered", "top": 1.05 * max(point["high"] for point in points)}]
    x, colour = alt.X("visit:Q"), alt.Color("policy:N", title=None).scale(scheme="dark2").legend(orient="bottom", symbolOpacity=1)
    bands = _chart(points).mark_area(opacity=0.2).encode(x=x, y=alt.Y("low:Q", title="reward at the top"), y2="high:Q", color=colour)
    lines = _chart(points).mark_line().encode(x=x, y="reward:Q", color=colour)
    rule = _chart(turn).mark_rule(strokeDash=[6, 4]).encode(x="visit:Q")
    label = _chart(turn).mark_text(fontSize=14, align="left", dx=6).encode(x="visit:Q", y="top:Q", text="label:N")
    return _legible((bands + lines + rule + label).properties(width=500, height=280))


def _forest(points: list[dict[str, Any]], logged: float, logger: str) -> Any:
    import altair as alt

    title = f"reward (dashed: {logger})"
    base = _chart([{**point, "logged": logged} for point in points]).encode(y=alt.Y("estimator:N", title=None, sort=list(ESTIMATORS)))
    colour = alt.Color("estimator:N", legend=None)
    bars = base.mark_rule(strokeWidth=3).encode(x=alt.X("low:Q", title=title).axis(tickCount=5), x2="high:Q", color=colour)
    values = base.mark_point(filled=True, size=60).encode(x="value:Q", color=colour)
    truth = base.mark_tick(color="black", thickness=2, size=18).encode(x="truth:Q")
    line = base.mark_rule(strokeDash=[4, 4], color="#777").encode(x="logged:Q", y=alt.value(0), y2=alt.value(66))
    layers = (line + bars + values + truth).properties(width=420, height=66)
    header = alt.Header(labelOrient="top", labelAnchor="start", labelFontSize=14, labelPadding=2)
    order = list(dict.fromkeys(point["policy"] for point in points))  # as in the table; without it Altair sorts by name
    return _legible(layers.facet(row=alt.Row("policy:N", title=None, header=header, sort=order), spacing=12))


def _legible(chart: Any) -> Any:
    """Sets letters so large that they can still be read when a phone scales the picture down."""
    return chart.configure_axis(labelFontSize=14, titleFontSize=14).configure_legend(labelFontSize=14, labelLimit=300)


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
    body = "".join("<tr>" + "".join(f"<td>{_cell(cell)}</td>" for cell in row) + "</tr>" for row in cells)
    return f'<div class="wide"><table><caption>{html.escape(title)}</caption><tr>{head}</tr>{body}</table></div>'


def _cell(cell: str) -> str:
    return html.escape(cell).replace(" to ", "\u00a0to ")  # on a phone an interval takes two lines at most


def _reasons(judged: list[dict[str, Any]]) -> str:
    entries = [
        f"<li><b>{html.escape(row['policy'])}</b>, {row['verdict']}: {html.escape('; '.join(row['reasons']))}.</li>"
        for row in judged
        if row["reasons"]
    ]
    return f'<p class="note">Why the verdict is not "trust":</p><ul class="note">{"".join(entries)}</ul>' if entries else ""


def _interval(row: dict[str, Any], digits: int = 4) -> str:
    return f"{row['low']:.{digits}f} to {row['high']:.{digits}f}"


def _answers(row: dict[str, Any]) -> list[str]:
    return ["withheld"] * len(ESTIMATORS) if row["verdict"] == "refuse" else [_estimate(row[name]) for name in ESTIMATORS]


def _estimate(found: dict[str, Any]) -> str:
    return f"{found['value']:.3f}\n{found['low']:.3f} to {found['high']:.3f}"
