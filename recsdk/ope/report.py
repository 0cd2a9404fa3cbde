"""An evaluation as tables for people."""

from __future__ import annotations

import math

from rich.console import Group
from rich.table import Table
from rich.text import Text

from recsdk.ope.evaluation import Evaluation

STYLES = {"trust": "green", "caution": "yellow", "refuse": "bold red"}


def report(evaluation: Evaluation) -> Group:
    """Returns estimates, diagnostics and verdict for `rich.print`."""
    level = next(iter(evaluation.estimates.values())).level
    estimates = Table("estimator", title="Reward per round", title_justify="left")
    for column in ("value", "stderr", f"{100 * level:g} % interval"):
        estimates.add_column(column, justify="right")
    for name, found in evaluation.estimates.items():
        estimates.add_row(name, f"{found.value:.6g}", f"{found.stderr:.3g}", f"{found.low:.6g} .. {found.high:.6g}")
    diagnostics = Table("diagnostic", title="Overlap", title_justify="left")
    diagnostics.add_column("", justify="right")
    for name, value in evaluation.diagnostics._asdict().items():
        diagnostics.add_row(name, "unknown" if math.isnan(value) else f"{value:,}" if isinstance(value, int) else f"{value:.4g}")
    verdict = Text.assemble("verdict: ", (evaluation.verdict, STYLES[evaluation.verdict]))
    return Group(estimates, diagnostics, verdict, *(Text(f"  {reason}") for reason in evaluation.reasons))
