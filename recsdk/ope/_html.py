"""An evaluation as two small tables for a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from recsdk.ope.report import shown

if TYPE_CHECKING:
    from recsdk.ope.evaluation import Evaluation


def html(evaluation: Evaluation) -> str:
    """Returns estimates, verdict and diagnostics as HTML without a style of its own."""
    rows = [
        (name, f"{found.value:.6g}", f"{found.stderr:.3g}", f"{found.low:.6g} .. {found.high:.6g}", f"{100 * found.level:g} %")
        for name, found in evaluation.estimates.items()
    ]
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in (*evaluation.reasons, *evaluation.notes))
    return (
        _table(("estimator", "value", "stderr", "interval", "level"), rows)
        + f"<p>verdict: <b>{evaluation.verdict}</b></p>"
        + (f"<ul>{reasons}</ul>" if reasons else "")
        + _table(("diagnostic", ""), [(name, shown(value)) for name, value in evaluation.diagnostics._asdict().items()])
    )


def _table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
