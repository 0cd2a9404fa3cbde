"""From the rewards of each contestant on each set to ranks, tests, tables and a picture."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import report
from scipy.stats import rankdata, t, ttest_1samp

LEVEL = 0.05
"""Of the paired t-tests over orders, two-sided and each by itself: a correction for their number would only call more of them ties."""
METHOD = f"""Everybody plays the same orders of a set, once through; cells show the mean reward of an event and its standard error over the
orders. A library plays %s; recsdk plays its default on all. Ranks,
and what is best, go by the mean difference from the default in the orders that were played. Wins, ties and losses are by a two-sided paired
t-test over these at {LEVEL}, not corrected for their number."""

Row = Mapping[str, Any]
Results = Mapping[str, Any]


def compare(rows: Sequence[Row], default: str, own: Sequence[str]) -> dict[str, Any]:
    """Compares the default with each peer.

    Args:
        rows: `contestant`, `set`, `rewards`: one for each order, everyone's in the same.
        default: name of the contestant that is compared.
        own: names of all contestants that are not peers.

    Returns:
        `ranks`: mean rank over the sets of each contestant, among the default and the peers; of another policy of ours, in the default's
        place. `versus`: for each peer, on how many sets the default wins, ties and loses. `level`: on how many sets it does not lose to the
        peer that earns most there. `sets`: how many.
    """
    gaps = _gaps(rows, default)
    names, sets = _names(rows, "contestant"), _names(rows, "set")
    rivals = [name for name in names if name not in own]
    ranks = {}
    for name in names:
        field = [name if name in own else default, *rivals]
        table = np.array([[gaps[each, place].mean() for each in field] for place in sets])
        ranks[name] = float(rankdata(-table, axis=1)[:, field.index(name)].mean())
    verdicts = {name: [_verdict(-gaps[name, place]) for place in sets] for name in rivals}
    best = [max(rivals, key=lambda name, place=place: gaps[name, place].mean()) for place in sets] if rivals else []
    return {
        "ranks": ranks,
        "versus": {name: [each.count(verdict) for verdict in (1, 0, -1)] for name, each in verdicts.items()},
        "level": sum(verdicts[name][number] >= 0 for number, name in enumerate(best)),
        "sets": len(sets),
    }


def _gaps(rows: Sequence[Row], default: str) -> dict[tuple[str, str], np.ndarray]:
    """Returns by how much each contestant earned more than the default on each set, in the orders that it played."""
    ours = {row["set"]: row["rewards"] for row in rows if row["contestant"] == default}
    return {(row["contestant"], row["set"]): np.array(row["rewards"]) - ours[row["set"]][: len(row["rewards"])] for row in rows}


def _verdict(gaps: np.ndarray) -> int:
    """Returns 1 where gaps are significantly above 0, -1 where below, else 0."""
    if len(gaps) < 2:
        return 0
    steady = np.ptp(gaps) == 0
    return int(np.sign(gaps.mean())) if steady or ttest_1samp(gaps, 0).pvalue < LEVEL else 0


def full(results: Results) -> str:
    """Returns the tables, and on what they were measured."""
    compared, default = results["compared"], results["default"]
    machine = results["machine"]
    where = f"{machine['cpu']}, Python {machine['python']}, recsdk {machine['versions']['recsdk']}; {machine['date']}"
    choice = (
        "the setting that had been best on the sets outside KEEL's"
        if results["settled"]
        else "on each set the setting that had the best mean rank on all other sets"
    )
    lines = [f"`{results['command']}` on {where}.", "", METHOD % choice, ""]
    lines += ["| | mean rank | mean reward | won by recsdk, tied, lost | µs per event |", "| --- | --: | --: | --: | --: |"]
    for name in sorted(compared["ranks"], key=compared["ranks"].__getitem__):
        rows = [row for row in results["rows"] if row["contestant"] == name]
        reward = statistics.fmean(statistics.fmean(row["rewards"]) for row in rows)
        verdicts = " / ".join(map(str, compared["versus"][name])) if name in compared["versus"] else ""
        time = report.rounded(statistics.median(row["microseconds"] for row in rows))
        title = f"**recsdk {name}**" if name == default else f"recsdk {name}" if name in results["own"] else name
        lines.append(f"| {title} | {compared['ranks'][name]:.2f} | {reward:.3f} | {verdicts} | {time} |")
    lines += ["", _level(results), "", *_sets_table(results), "", *_settings(results)]
    lines += [f"Not compared: {text}." for text in results["missing"].values()]
    return "\n".join(lines)


def _level(results: Results) -> str:
    level, sets = results["compared"]["level"], results["compared"]["sets"]
    share = f"{level} of {sets} sets ({level / sets:.0%})"
    return f"recsdk {results['default']} is at least level with the best peer, which differs from set to set, on {share}."


def _sets_table(results: Results) -> list[str]:
    """Returns a row for each set: the default and the peers."""
    found = {(row["contestant"], row["set"]): row["rewards"] for row in results["rows"]}
    gaps = _gaps(results["rows"], results["default"])
    names = [results["default"], *results["compared"]["versus"]]
    lines = [f"| set | events | {' | '.join(names)} |", f"| --- | --: |{' --: |' * len(names)}"]
    for place in _names(results["rows"], "set"):
        most = max(gaps[name, place].mean() for name in names)
        cells = []
        for name in names:
            rewards = found[name, place]
            error = f" ± {statistics.stdev(rewards) / len(rewards) ** 0.5:.3f}" if len(rewards) > 1 else ""
            cell = f"{statistics.fmean(rewards):.3f}{error}"
            cells.append(f"**{cell}**" if gaps[name, place].mean() == most else cell)
        lines.append(f"| {place} | {results['lengths'][place]:,} | {' | '.join(cells)} |")
    return lines


def _settings(results: Results) -> list[str]:
    """Returns what each library played, and on how many sets."""
    lines = ["What each library played, and on how many sets:", ""]
    for name in results["compared"]["versus"]:
        played = [row["setting"] for row in results["rows"] if row["contestant"] == name]
        counts = {setting: played.count(setting) for setting in sorted(set(played), key=lambda each: -played.count(each))}
        orders = min(len(row["rewards"]) for row in results["rows"] if row["contestant"] == name)
        told = "; ".join(f"{setting} ({count})" for setting, count in counts.items())
        lines.append(f"* {name} {results['versions'][name]}, {orders} orders: {told}")
    return [*lines, ""]


def draw(results: Results, path: Path) -> None:
    """Draws what each peer earns more or less than the default, by set, with 95 % intervals of the paired difference."""
    import altair as alt

    dots = []
    for (name, place), gaps in _gaps(results["rows"], results["default"]).items():
        if name not in results["own"]:
            half = t.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1) / len(gaps) ** 0.5 if len(gaps) > 1 else 0.0
            dots.append({"set": place, "peer": name, "gap": gaps.mean(), "low": gaps.mean() - half, "high": gaps.mean() + half})
    order = sorted({dot["set"] for dot in dots}, key=lambda place: -max(dot["gap"] for dot in dots if dot["set"] == place))
    base = alt.Chart(alt.Data(values=dots)).encode(
        y=alt.Y("set:N", sort=order, title=None, axis=alt.Axis(grid=True)), yOffset="peer:N", color=alt.Color("peer:N", title=None)
    )
    gap = alt.X("gap:Q", title=f"reward per event, less that of recsdk {results['default']}: right of 0 the peer earns more")
    points = base.mark_point(filled=True, size=45, opacity=1).encode(x=gap, shape=alt.Shape("peer:N", legend=None))
    spans = base.mark_rule(opacity=1).encode(x="low:Q", x2="high:Q")
    zero = alt.Chart(alt.Data(values=[{"gap": 0}])).mark_rule(color="black").encode(x=gap)
    chart = alt.layer(zero, spans, points).properties(width=620, height=30 * len(order)).configure(background="white")
    chart.configure_legend(orient="top", labelFontSize=12).configure_axis(labelFontSize=12, titleFontSize=12, gridOpacity=0.4).save(path)


def _names(rows: Sequence[Row], field: str) -> list[str]:
    return list(dict.fromkeys(row[field] for row in rows))
