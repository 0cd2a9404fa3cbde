"""`recsdk plugins`: what is installed."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from operator import itemgetter
from typing import Any

from rich.table import Table
from rich.text import Text

from recsdk.cli.output import JsonFlag, notes, print_json, results
from recsdk.plugins import Listing, listing


def plugins(*, json: JsonFlag = False) -> None:
    """List the installed policies, scorers, encoders, retrievers, ledgers and commands, without importing any.

    Args:
        json: Print the results as JSON.
    """
    found = listing()
    rows = _rows(found)
    if json:
        print_json({"plugins": rows, "unreadable": list(found.unreadable)})
    else:
        results().print(_table(rows))
        if any(row["clash"] for row in rows):
            notes().print("Where two distributions give one name, ask for distribution:name.", style="yellow")
    for line in found.unreadable:
        notes().print(Text(line, style="yellow"), soft_wrap=True)


def _rows(found: Listing) -> list[dict[str, Any]]:
    givers = Counter((plugin.kind, plugin.name) for plugin in found.plugins)
    return [{**plugin._asdict(), "clash": givers[plugin.kind, plugin.name] > 1} for plugin in found.plugins]


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("name", "value", "distribution"):
        table.add_column(column, overflow="fold")
    for kind, members in groupby(rows, key=itemgetter("kind")):
        table.add_row(Text(kind, style="bold"))
        for row in members:
            name = Text(f"{row['name']} (clash)", style="red") if row["clash"] else Text(row["name"])
            table.add_row(name, Text(row["value"]), Text(f"{row['distribution']} {row['version']}"))
    return table
