"""`recsdk demo`: the whole loop on a simulated shop."""

from __future__ import annotations

from pathlib import Path

from recsdk.cli.output import JsonFlag, print_json, results


def demo(*, out: Path = Path("demo-report"), quick: bool = False, json: JsonFlag = False) -> None:
    """Simulate a shop, learn from its visitors, and write a report.

    Args:
        out: Folder for the report; created when missing.
        quick: Take fewer visitors, to see it work.
        json: Print the results as JSON.
    """
    from recsdk.demo import run
    from recsdk.demo.report import tables

    summary = run(out, quick=quick)
    if json:
        print_json(summary)
    else:
        results().print(*tables(summary), f"Report: {summary['report']} ({summary['seconds']} s)", sep="\n")
