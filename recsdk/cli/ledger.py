"""`recsdk ledger`: look into a recommender's folder, back it up, restore a backup."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from cyclopts import App
from rich.table import Table
from rich.text import Text

from recsdk.cli import COMMANDS
from recsdk.cli.output import JsonFlag, print_json, results
from recsdk.errors import LedgerError
from recsdk.ledger import Copies, Ledger
from recsdk.ledger.stores import store

ledger = App(name="ledger", help=COMMANDS["ledger"], help_format="plaintext")


@ledger.command
def show(folder: Path, /, *, json: JsonFlag = False) -> None:
    """Print what a recommender's folder holds. The recommender may be open.

    Args:
        folder: The recommender's folder.
        json: Print the results as JSON.
    """
    reading = store(folder).read(folder)
    try:
        facts = _facts(reading)
    finally:
        reading.close()
    facts["bytes"] = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    if json:
        print_json(facts)
    else:
        results().print(_table(facts))


@ledger.command
def backup(folder: Path, destination: Path, /) -> None:
    """Copy a recommender's folder as it is at this moment. The recommender may be open.

    Args:
        folder: The recommender's folder.
        destination: An empty folder, or one that is made.
    """
    _copy(folder, destination)
    results().print(Text(f"{folder} is backed up to {destination}."))


@ledger.command
def restore(backup: Path, folder: Path, /) -> None:
    """Make a recommender's folder from a backup.

    Args:
        backup: A folder that `recsdk ledger backup` made.
        folder: An empty folder, or one that is made.
    """
    _copy(backup, folder)
    results().print(Text(f"{folder} is restored from {backup}."))


def _copy(folder: Path, destination: Path) -> None:
    found = store(folder)
    if not isinstance(found, Copies):
        raise LedgerError(f"The ledger in {str(folder)!r} is kept by {found!r}, which cannot copy: use its own tools.")
    found.copy(folder, destination)


def _facts(reading: Ledger) -> dict[str, Any]:
    standing = {(reward.decision_id, reward.position): reward for reward in reading.rewards()}  # as they were corrected last
    values = np.array([reward.value for reward in standing.values() if not reward.void])
    rewarded = {reward.decision_id for reward in standing.values() if not reward.void}
    times, users, num_rewarded, shown = [], set(), 0, 0
    for decision in reading.decisions():
        times.append(decision.time)
        users.add(decision.user)
        num_rewarded += decision.decision_id in rewarded
        shown += len(decision.action)
    items = [item.active for item in reading.items()]
    return {
        "items": sum(items),
        "removed_items": len(items) - sum(items),
        "decisions": len(times),
        "first_decision": min(times, default=None),
        "last_decision": max(times, default=None),
        "items_shown": shown,
        "users": len(users - {None}),
        "rewards": len(values),
        "mean_reward": float(values.mean()) if len(values) else None,
        "rewarded_decisions": num_rewarded,
    }


def _table(facts: dict[str, Any]) -> Table:
    table = Table("what", "how much", title="Ledger", title_justify="left")
    table.columns[1].justify = "right"
    for name, value in facts.items():
        table.add_row(name.replace("_", " "), Text(_cell(name, value)))
    return table


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if name.endswith("_decision"):
        return datetime.fromtimestamp(value, UTC).isoformat(sep=" ", timespec="seconds")
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}"
