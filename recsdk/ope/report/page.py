"""Evaluations of several targets as a report, one file that needs nothing else: pictures, each with its table and how to read it."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

from recsdk.errors import MissingExtra, install
from recsdk.ope.comparison import Evaluations
from recsdk.ope.options import LOGGER
from recsdk.ope.report import pictures, shown, table

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 54rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
h1 { margin-bottom: 0 } h2 { margin-top: 2.5rem } svg { max-width: 100%; height: auto; display: block }
table { border-collapse: collapse; margin: .75rem 0; font-size: .9rem; font-variant-numeric: tabular-nums }
th, td { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid #ddd } th { vertical-align: bottom }
th:first-child, td:first-child { text-align: left } .scroll { overflow-x: auto } .note { color: #555; max-width: 46rem }
.trust { color: #1a7f37 } .caution { color: #9a6700 } .refuse { color: #b2182b } summary { cursor: pointer; color: #1f6fb4 }
@media print { details > * { display: block } }
"""


class Section(NamedTuple):
    """A picture with its table.

    Attributes:
        title: what it shows.
        note: how to read it.
        chart: the picture, or None where there is nothing to show.
        columns: of the table.
        rows: of the table, its cells.
    """

    title: str
    note: str
    chart: Any
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


def require_charts() -> None:
    """Refuses to start if the pictures cannot be drawn.

    Raises:
        MissingExtra: naming what to install.
    """
    missing = [name for name in ("altair", "vl_convert") if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtra(f"The report of an evaluation needs {', '.join(missing)}: {install('report')}.")


def page(found: Evaluations, *, title: str = "Evaluation") -> str:
    """Returns the report as HTML. What is withheld has no value in it: neither in a picture nor in a table.

    Args:
        found: the evaluations.
        title: of the report.

    Raises:
        MissingExtra: when altair or vl-convert is not installed.
        InvalidReward: a reward outside the range that was declared.
    """
    require_charts()
    from recsdk.ope.report.charts import svg

    num_rounds = len(next(iter(found.rounds.values())).action)
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p class=note>What would have been earned per round, estimated from {num_rounds:,} logged rounds.</p>",
        _verdicts(found),
    ]
    for section in sections(found):
        picture = "" if section.chart is None else svg(section.chart)
        shown_rows = table(section.columns, section.rows) if section.rows else ""
        details = f"<details><summary>Table</summary><div class=scroll>{shown_rows}</div></details>" if shown_rows else ""
        parts.append(f"<h2>{escape(section.title)}</h2>{picture}<p class=note>{escape(section.note)}</p>{details}")
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def sections(found: Evaluations) -> list[Section]:
    """Returns the pictures with their tables."""
    return [_values(found), _weights(found), _support(found), _propensities(found), _over_time(found), _sensitivity(found)]


def _values(found: Evaluations) -> Section:
    from recsdk.ope.report import charts

    points, level = pictures.values(found), f"{100 * found.options.level:g} %"
    against = found.options.against
    note = (
        f"A dot is the estimate, its bar the {level} interval ({found.options.interval_name.replace('_', ' ')}), the dashed line the mean "
        "reward of the policy that wrote the log. Estimates on one log move together, so judge a difference by its own interval in "
        "the table: it is paired, holds for all targets at once, and supposes independent rounds, a logger that did not learn from them, "
        f"and one look. {_withheld(found)}"
    )
    columns = ("target", "estimator", "value", f"{level} interval", f"minus {against}", "interval of the difference")
    rows = [(LOGGER, "mean", _number(found.logged.value), _between(found.logged.low, found.logged.high), "", "")]
    for point in points:
        less = point.get("less_value")
        cells = ("", "") if less is None else (f"{less:+.3g}", _between(point["less_low"], point["less_high"]))
        rows.append((point["target"], point["estimator"], _number(point["value"]), _between(point["low"], point["high"]), *cells))
    return Section("Values", note, charts.forest(points, found.logged.value) if points else None, columns, rows)


def _withheld(found: Evaluations) -> str:
    names = [name for name, each in found.targets.items() if not each.estimates]
    return f"Withheld, since the log cannot answer: {', '.join(names)}." if names else ""


def _weights(found: Evaluations) -> Section:
    from recsdk.ope.report import charts

    points = pictures.weights(found.rounds)
    note = (
        "How much likelier the target makes what was logged, on a logarithmic scale; rounds of weight 0 are left out. Where the share of "
        "all weight stands far to the right of the share of rounds, few rounds decide."
    )
    rows = [(point["target"], _between(point["low"], point["high"]), f"{point['rounds']:.2%}", f"{point['mass']:.2%}") for point in points]
    chart = charts.weights(points) if points else None
    return Section("Weights", note, chart, ("target", "importance weight", "share of rounds", "share of all weight"), rows)


def _support(found: Evaluations) -> Section:
    from recsdk.ope.report import charts

    points = pictures.support(found.rounds)
    unknown = [name for name, rounds in found.rounds.items() if rounds.probs is None]
    note = (
        "How often the log took the items that the target takes. The log says nothing about items that it never took (dark red): if the "
        "target takes them in more than a tenth of the rounds, the evaluation is refused. "
        + (f"Unknown where only chances of logged actions are given: {', '.join(unknown)}." if unknown else "")
    )
    rows = [
        (name, *(f"{point['share']:.2%}" for point in points if point["target"] == name))
        for name in dict.fromkeys(point["target"] for point in points)
    ]
    return Section("Support", note, charts.support(points) if points else None, ("target", *pictures.SUPPORT), rows)


def _propensities(found: Evaluations) -> Section:
    from recsdk.ope.report import charts

    points = pictures.propensities(next(iter(found.rounds.values())))
    note = (
        "For each item that was taken at least 30 times, the mean importance weight of always taking it. 1 is expected where propensities "
        "are true, but an item that is rarely taken may be far off by chance. z takes this into account, and that the logging policy may "
        "learn. Red is beyond 4.5: refused when too high."
    )
    rows = [(f"item {point['item']}", f"{point['taken']:,.0f}", _number(point["mean"]), f"{point['z']:+.2f}") for point in points]
    chart = charts.propensities(points) if points else None
    return Section("Propensities", note, chart, ("item", "rounds that took it", "mean weight", "z"), rows)


def _over_time(found: Evaluations) -> Section:
    from recsdk.ope.report import charts

    points, level = pictures.over_time(found), f"{100 * found.options.level:g} %"
    if pictures.has_sequence(found):
        band = f"The band is a {level} confidence sequence: it holds at every look at once, however rewards drift."
    elif found.options.reward_range is None:
        band = "Declare the range of rewards (--reward-range) for a confidence sequence, a band that holds at every look."
    else:
        band = "No confidence sequence is known for rounds that stand for different numbers of rounds."
    note = (
        "IPS over the first so many rounds, on a scale of each target's own that leaves out what is early and wide; the dashed line is the "
        f"mean reward of the whole log. {band}"
    )
    rows = [
        (
            point["target"],
            f"{point['rounds']:,}",
            _number(point["value"]),
            *([_between(point["low"], point["high"])] if "low" in point else []),
        )
        for point in points
    ]
    columns = ("target", "rounds", "value", *(["confidence sequence"] if points and "low" in points[0] else []))
    return Section("Value over time", note, charts.over_time(points, found.logged.value) if points else None, columns, rows)


def _sensitivity(found: Evaluations) -> Section:
    from recsdk.ope.report import charts

    points = pictures.sensitivity(found.targets)
    note = (
        "IPS when weights above the clip are cut down to it: from right to left none, then the largest 1, 10, 100 and 1,000. A line that "
        "is level says that no few rounds decide; one that falls, that the answer hangs on them."
    )
    rows = [(point["target"], _number(point["clip"]), f"{point['num_clipped']:,}", _number(point["value"])) for point in points]
    chart = charts.sensitivity(points) if points else None
    return Section("Sensitivity to the largest weights", note, chart, ("target", "clip", "rounds clipped", "IPS"), rows)


def _verdicts(found: Evaluations) -> str:
    parts = []
    for name, each in found.targets.items():
        reasons = "".join(f"<li>{escape(reason)}</li>" for reason in (*each.reasons, *each.notes))
        diagnostics = table(("diagnostic", ""), [(key, shown(value)) for key, value in each.diagnostics._asdict().items()])
        size = f"effective size {each.diagnostics.effective_size:,.0f} of {each.diagnostics.num_rounds:,} rounds"
        parts.append(
            f"<p><b>{escape(name)}</b>: <b class={each.verdict}>{each.verdict}</b>, {size}</p>{f'<ul>{reasons}</ul>' if reasons else ''}"
            f"<details><summary>Diagnostics</summary>{diagnostics}</details>"
        )
    return "".join(parts)


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"


def _between(low: float | None, high: float | None) -> str:
    return "unknown" if low is None or high is None else f"{low:.3g} .. {high:.3g}"
