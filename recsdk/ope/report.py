"""An evaluation as tables for people."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Group

    from recsdk.ope.evaluation import Evaluation

STYLES = {"trust": "green", "caution": "yellow", "refuse": "bold red"}


def report(evaluation: Evaluation) -> Group:
    """Returns estimates, diagnostics and verdict for `rich.print`."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    level = next(iter(evaluation.estimates.values())).level
    estimates = Table("estimator", title="Reward per round", title_justify="left")
    for column in ("value", "stderr", f"{100 * level:g} % interval"):
        estimates.add_column(column, justify="right")
    for name, found in evaluation.estimates.items():
        estimates.add_row(name, f"{found.value:.6g}", f"{found.stderr:.3g}", f"{found.low:.6g} .. {found.high:.6g}")
    diagnostics = Table("diagnostic", title="Overlap", title_justify="left")
    diagnostics.add_column("", justify="right")
    for name, value in evaluation.diagnostics._asdict().items():
        diagnostics.add_row(name, shown(value))
    sensitivity = Table("clip", "rounds clipped", "ips", title="Sensitivity to the largest weights", title_justify="left")
    for clip, num_clipped, value in evaluation.clipped:
        sensitivity.add_row(f"{clip:.4g}", f"{num_clipped:,}", f"{value:.6g}")
    verdict = Text.assemble("verdict: ", (evaluation.verdict, STYLES[evaluation.verdict]))
    return Group(
        estimates, diagnostics, sensitivity, verdict, *(Text(f"  {reason}") for reason in (*evaluation.reasons, *evaluation.notes))
    )


def shown(value: float) -> str:
    """Returns a diagnostic as text."""
    return "unknown" if math.isnan(value) else f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
