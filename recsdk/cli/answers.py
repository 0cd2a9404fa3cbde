"""How answers to an evaluation are printed: a table with notes, or plain values for JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from recsdk.ope.comparison import Compared, Evaluations
from recsdk.ope.evaluation import Evaluation
from recsdk.ope.options import LOGGER
from recsdk.ope.report import STYLES
from recsdk.ope.terms import Estimate


def as_dict(found: Evaluations) -> dict[str, Any]:
    """Returns all that is said, as plain values."""
    return {
        "interval": found.options.interval_name,
        "against": found.options.against,
        "logged": found.logged._asdict(),
        "targets": [
            {
                "target": name,
                "verdict": each.verdict,
                "reasons": list(each.reasons),
                "notes": list(each.notes),
                "estimates": {estimator: estimate._asdict() for estimator, estimate in each.estimates.items()},
                "differences": {
                    estimator: {**compared.difference._asdict(), "p_value": compared.p_value, "adjusted_p_value": compared.adjusted}
                    for estimator, compared in found.differences[name].items()
                },
                "diagnostics": each.diagnostics._asdict(),
                "clipped": [clipped._asdict() for clipped in each.clipped],
            }
            for name, each in found.targets.items()
        ],
    }


def plain(value: Any) -> Any:
    """Replaces what JSON has no number for by null."""
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def printed(found: Evaluations) -> list[Any]:
    """Returns a table of all targets, narrow enough for 80 columns, and their verdicts with the reasons."""
    against = found.options.against
    table = Table("target", title="Reward per round", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.columns[0].overflow = "fold"
    for column in ("estimator", "value", f"{100 * found.options.level:g} % interval"):
        table.add_column(Text(column), justify="left" if column == "estimator" else "right", overflow="fold")
    table.add_column(Text(f"minus {against}"), justify="right", no_wrap=True, overflow="fold", min_width=23)
    table.add_row(LOGGER, "mean", *_value(found.logged), end_section=True)
    for name, each in found.targets.items():
        for row, cells in enumerate(_rows(each, found.differences[name])):
            table.add_row(Text(name if row == 0 else ""), *cells, end_section=row == max(len(each.estimates) - 1, 0))
    notes = [
        Text.assemble(f"{name}: ", (each.verdict, STYLES[each.verdict]), _size(each), *(f"\n  - {reason}" for reason in each.reasons))
        for name, each in found.targets.items()
    ]
    return [table, *notes]


def _size(found: Evaluation) -> str:
    return f", effective size {found.diagnostics.effective_size:,.0f} of {found.diagnostics.num_rounds:,} rounds"


def _rows(found: Evaluation, differences: Mapping[str, Compared]) -> list[list[str]]:
    if not found.estimates:
        return [["-", "withheld", "", ""]]
    rows = []
    for name, estimate in found.estimates.items():
        compared = differences.get(name)
        less = "" if compared is None else "{:+.2g} ({:+.2g}..{:+.2g})".format(*_middle(compared.difference))
        rows.append([name, *_value(estimate), less])
    return rows


def _value(estimate: Estimate) -> tuple[str, str]:
    return f"{estimate.value:.4g}", f"{estimate.low:.3g}..{estimate.high:.3g}"


def _middle(estimate: Estimate) -> tuple[float, float, float]:
    return estimate.value, estimate.low, estimate.high
