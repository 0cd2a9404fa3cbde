"""An evaluation as tables, in a terminal or a notebook, and as a report of pictures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Protocol

from recsdk.ope.diagnostics import Clipped, Diagnostics
from recsdk.ope.terms import Estimate

if TYPE_CHECKING:
    from rich.console import Group


STYLES = {"trust": "green", "caution": "yellow", "refuse": "bold red"}


class Reported(Protocol):
    """The fields of an `Evaluation` that a report shows."""

    @property
    def estimates(self) -> dict[str, Estimate]: ...  # noqa: D102  (they are documented there)
    @property
    def diagnostics(self) -> Diagnostics: ...  # noqa: D102
    @property
    def verdict(self) -> str: ...  # noqa: D102
    @property
    def reasons(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def clipped(self) -> tuple[Clipped, ...]: ...  # noqa: D102
    @property
    def notes(self) -> tuple[str, ...]: ...  # noqa: D102


def report(evaluation: Reported) -> Group:
    """Returns estimates, diagnostics and verdict for `rich.print`.

    Example:
        >>> import numpy as np
        >>> from recsdk.datasets import log_from_frame
        >>> log = log_from_frame({"action": [0, 1] * 50, "reward": [0.0, 1.0] * 50, "propensity": [0.5] * 100})
        >>> import rich
        >>> from recsdk.ope import evaluate
        >>> found = evaluate(log, np.full((100, 2), 0.5))
        >>> rich.get_console().measure(report(found)).maximum > 20
        True
    """
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


def html(evaluation: Reported) -> str:
    """Returns estimates, verdict and diagnostics as HTML without a style of its own."""
    rows = [
        (name, f"{found.value:.6g}", f"{found.stderr:.3g}", f"{found.low:.6g} .. {found.high:.6g}", f"{100 * found.level:g} %")
        for name, found in evaluation.estimates.items()
    ]
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in (*evaluation.reasons, *evaluation.notes))
    return (
        table(("estimator", "value", "stderr", "interval", "level"), rows)
        + f"<p>verdict: <b>{evaluation.verdict}</b></p>"
        + (f"<ul>{reasons}</ul>" if reasons else "")
        + table(("diagnostic", ""), [(name, shown(value)) for name, value in evaluation.diagnostics._asdict().items()])
    )


def table(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Returns a table of escaped cells as HTML."""
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = "".join(f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
