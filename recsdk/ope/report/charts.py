"""The pictures of an evaluation, drawn by altair."""

from __future__ import annotations

import io
from typing import Any

import altair as alt

from recsdk.ope.report.pictures import SUPPORT, Points

WIDTH = 460
LETTERS = 14
GREY, BLUE, ORANGE = "#888", "#1f6fb4", "#e08214"
SHADES = ("#b2182b", "#ef8a62", "#cfd8dc", "#90a4ae")
LONGEST_LABEL = 440


def svg(chart: Any) -> str:
    """Returns a chart as SVG, for a report that loads nothing."""
    buffer = io.StringIO()
    axis = {"gridColor": "#eee", "domainColor": "#bbb", "tickColor": "#bbb", "labelFontSize": LETTERS, "titleFontSize": LETTERS}
    legend = {"labelFontSize": LETTERS, "titleFontSize": LETTERS}  # legible on a phone too, which scales the picture down
    chart.configure_view(stroke=None).configure_axis(**axis).configure_legend(**legend).save(buffer, format="svg")
    return buffer.getvalue()


def forest(points: Points, logged: float) -> Any:
    """Draws values with their intervals, and the logging policy's mean as a line through all of them."""
    base = alt.Chart().encode(
        y=alt.Y("estimator:N", title=None, sort=None),
        color=alt.Color("estimator:N", legend=None, sort=None).scale(scheme="dark2"),
    )
    ruler = base.mark_rule(strokeWidth=3).encode(
        x=alt.X("low:Q", title="reward per round").scale(zero=False).axis(tickCount=5), x2="high:Q"
    )
    dots = base.mark_point(filled=True, size=70, opacity=1).encode(x=alt.X("value:Q").scale(zero=False))
    line = alt.Chart().mark_rule(color="black", strokeDash=[4, 3]).encode(x=alt.datum(logged))
    return _by_target(alt.layer(line, ruler, dots, data=_data(points)).properties(width=WIDTH - 40), points)


def weights(points: Points) -> Any:
    """Draws histograms of the weights on a logarithmic scale, and the share of the total weight in each bin."""
    long = [{**point, "of": of, "share": point[key]} for point in points for of, key in (("rounds", "rounds"), ("all weight", "mass"))]
    bars = (
        alt.Chart()
        .mark_rect(opacity=0.55)
        .encode(
            x=alt.X("low:Q", title="importance weight").scale(type="log", nice=False),
            x2="high:Q",
            y=alt.Y("share:Q", title="share", axis=alt.Axis(format=".0%", tickCount=4)),
            y2=alt.datum(0),
            color=alt.Color("of:N", title="share of", sort=None, legend=alt.Legend(orient="top")).scale(range=[GREY, BLUE]),
        )
        .properties(width=WIDTH, height=110)
    )
    return _by_target(alt.layer(bars, data=_data(long)), points).resolve_scale(y="independent")


def support(points: Points) -> Any:
    """Draws of each target how much it does of what the log took how often."""
    return (
        _chart(points)
        .mark_bar()
        .encode(
            x=alt.X("share:Q", title="share of what the target does", axis=alt.Axis(format=".0%")).scale(domain=[0, 1]),
            y=_target_axis(),
            color=alt.Color("taken:N", title="the log took it", sort=list(SUPPORT), legend=alt.Legend(orient="top", columns=4)).scale(
                domain=list(SUPPORT), range=list(SHADES)
            ),
            order="order:Q",
        )
        .properties(width=WIDTH - 120, height=alt.Step(26))
    )


def propensities(points: Points) -> Any:
    """Draws the mean weight of always taking an item, by how often the log took it."""
    base = _chart(points).encode(x=alt.X("taken:Q", title="rounds that took the item").scale(type="log", nice=False, padding=12))
    colour = alt.condition("abs(datum.z) > 4.5", alt.value(SHADES[0]), alt.value(BLUE))
    dots = base.mark_point(filled=True, size=35, opacity=0.9).encode(y=alt.Y("mean:Q", title="mean weight").scale(zero=False), color=colour)
    one = _chart([{"one": 1.0}]).mark_rule(color="black", strokeDash=[4, 3]).encode(y="one:Q")
    return (dots + one).properties(width=WIDTH, height=240)


def over_time(points: Points, logged: float) -> Any:
    """Draws values as the log grew, each on a scale of its own, in bands that hold at every look; what is early and wide is cut off."""
    base = alt.Chart().encode(x=alt.X("rounds:Q", title="rounds so far"))
    title = "reward per round"
    band = base.mark_area(opacity=0.25, color=BLUE).encode(y=alt.Y("low:Q", title=title).scale(zero=False), y2="high:Q")
    line = base.mark_line(color=BLUE).encode(y=alt.Y("value:Q", title=title).scale(zero=False))
    mean = alt.Chart().mark_rule(color="black", strokeDash=[4, 3]).encode(y=alt.datum(logged))
    layers = (band, line, mean) if "low" in points[0] else (line, mean)
    within = [_within(each, logged) for each in _grouped(points).values()]
    chart = alt.layer(*layers, data=_data([point for each in within for point in each])).properties(width=WIDTH, height=150)
    return _by_target(chart, points).resolve_scale(y="independent")


def _within(points: Points, logged: float) -> Points:
    """Leaves a gap where a value is beyond all that the second half of the log has, and cuts bands off there."""
    keys = [key for key in ("value", "low", "high") if key in points[0]]
    ends = [point[key] for point in points if 2 * point["rounds"] >= points[-1]["rounds"] for key in keys] + [logged]
    least, most = min(ends), max(ends)
    shown = []
    for point in points:
        changes: dict[str, float | None] = {} if least <= point["value"] <= most else {"value": None}
        if "low" in point:
            is_seen = point["low"] <= most and point["high"] >= least
            changes |= {"low": max(point["low"], least), "high": min(point["high"], most)} if is_seen else {"low": None, "high": None}
        shown.append({**point, **changes})
    return shown


def _grouped(points: Points) -> dict[str, Points]:
    groups: dict[str, Points] = {}
    for point in points:
        groups.setdefault(point["target"], []).append(point)
    return groups


def sensitivity(points: Points) -> Any:
    """Draws IPS by the largest weight that is left."""
    return (
        _chart(points)
        .mark_line(point=alt.OverlayMarkDef(size=60), strokeWidth=1.5)
        .encode(
            x=alt.X("clip:Q", title="largest weight that is left").scale(type="log", nice=False, padding=12),
            y=alt.Y("value:Q", title="IPS"),
            color=alt.Color("target:N", title=None, sort=None, legend=alt.Legend(orient="top", labelLimit=LONGEST_LABEL, columns=1)).scale(
                scheme="dark2"
            ),
        )
        .properties(width=WIDTH, height=220)
    )


def _chart(points: Points) -> Any:
    return alt.Chart(_data(points))


def _data(points: Points) -> Any:
    return alt.Data(values=points)  # type: ignore[no-untyped-call]


def _target_axis() -> Any:
    return alt.Y("target:N", title=None, sort=None, axis=alt.Axis(labelLimit=LONGEST_LABEL // 2))


def _by_target(layers: Any, points: Points) -> Any:
    header = alt.Header(labelOrient="top", labelAnchor="start", labelLimit=LONGEST_LABEL, labelFontWeight="bold", labelFontSize=LETTERS)
    return layers.facet(row=alt.Row("target:N", title=None, sort=list(_grouped(points)), header=header), spacing=12)
