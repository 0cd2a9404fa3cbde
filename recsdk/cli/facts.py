"""What a ledger holds, as facts by name, and the table that shows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from json import loads
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from recsdk.cli.tail import OWN
from recsdk.errors import UnknownDecision
from recsdk.ledger import Ledger
from recsdk.live import histories
from recsdk.live.base import horizon
from recsdk.live.identity import told
from recsdk.live.marks import read as marks_of
from recsdk.live.rewards import standing_values


def facts_of(reading: Ledger) -> dict[str, Any]:
    """Returns how much a ledger holds, and of when."""
    standing = standing_values(reading.rewards())
    values = np.array(list(standing.values()))
    rewarded = {decision_id for decision_id, _ in standing}
    times, users, num_rewarded, shown, num_again = [], set(), 0, 0, 0
    for decision in reading.decisions():
        num_again += marks_of(decision).repeats is not None
        times.append(decision.time)
        users.add(decision.user)
        num_rewarded += decision.decision_id in rewarded
        shown += len(decision.action)
    items = [item.active for item in reading.items()]
    return {
        "items": sum(items),
        "removed_items": len(items) - sum(items),
        "decisions": len(times) - num_again,
        "served_again": num_again,
        "dropped": horizon(reading).num_decisions,
        "first_decision": min(times, default=None),
        "last_decision": max(times, default=None),
        "items_shown": shown,
        "users": len(users - {None}),
        "rewards": len(values),
        "mean_reward": float(values.mean()) if len(values) else None,
        "rewarded_decisions": num_rewarded,
    }


def statistics(reading: Ledger) -> dict[str, Any]:
    """Returns sums over the decisions; nothing of them is held in memory but a number each."""
    candidates, shown, chosen, times, num_again = [], [], [], [], 0
    for decision in reading.decisions():
        if marks_of(decision).repeats is not None:
            num_again += 1
            continue
        times.append(decision.time)
        candidates.append(len(decision.slots))
        shown.append(len(decision.action))
        chosen += decision.probs[np.arange(len(decision.action)), decision.action].tolist()
    values = list(standing_values(reading.rewards()).values())
    names = Counter(signal.name for signal in reading.signals())
    hours = (max(times) - min(times)) / 3600 if times else 0.0
    return {
        "decisions": len(times),
        "served_again": num_again,
        "decisions_per_hour": len(times) / hours if hours else None,
        "candidates": _spread(candidates),
        "items_shown": _spread(shown),
        "propensity": _spread(chosen),
        "share_with_propensity_1": float(np.mean(np.array(chosen) == 1)) if chosen else None,
        "rewards": len(values),
        "reward": _spread(values),
        "signals": {name: number for name, number in names.items() if name not in OWN},
        "also_told": {OWN[name]: number for name, number in names.items() if name in OWN},
    }


def _spread(values: Sequence[float]) -> dict[str, float] | None:
    """Returns the least, the median, the mean and the largest."""
    if not values:
        return None
    return {"min": min(values), "median": float(np.median(values)), "mean": float(np.mean(values)), "max": max(values)}


def told_of(reading: Ledger, decision_id: str) -> dict[str, Any]:
    """Returns all that is known of a decision.

    Raises:
        UnknownDecision: it is not in the ledger.
    """
    decision = reading.decision(decision_id)
    if decision is None:
        raise UnknownDecision(f"No decision {decision_id!r:.200} is in the ledger.")
    rows = {item.slot: loads(item.row)["id"] for item in reading.items()}
    slots = decision.slots[decision.action].tolist()
    chosen = decision.probs[np.arange(len(slots)), decision.action].tolist()
    return {
        "decision": decision.decision_id,
        "time": decision.time,
        "user": decision.user,
        "request": histories.features(loads(decision.payload)),
        "candidates": len(decision.slots),
        "shown": [{"item": rows.get(slot, f"slot {slot}"), "propensity": p} for slot, p in zip(slots, chosen, strict=True)],
        "learned_before": decision.num_learned,
        "policy": told(loads(decision.parts)["policy"]),
        "marks": None if decision.marks is None else loads(decision.marks),
        "signals": [signal._asdict() for signal in reading.signals_of(decision.decision_id)],
        "rewards": [reward._asdict() for reward in reading.rewards_of(decision.decision_id)],
    }


def facts_table(facts: dict[str, Any], title: str) -> Table:
    """Returns a table with a row for each fact."""
    table = Table("what", "how much", title=title, title_justify="left")
    table.columns[1].justify = "right" if title == "Ledger" else "left"
    for name, value in facts.items():
        table.add_row(name.replace("_", " "), Text(_cell(name, value)))
    return table


def _cell(name: str, value: Any) -> str:
    if value is None or value in ([], {}):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and name in ("first_decision", "last_decision", "last_reward", "time"):
        return datetime.fromtimestamp(value, UTC).isoformat(sep=" ", timespec="seconds")
    if isinstance(value, list):
        return "\n".join(_cell("", each) for each in value)
    if isinstance(value, dict):
        return ", ".join(f"{key.replace('_', ' ')} {_cell(key, each)}" for key, each in value.items())
    if isinstance(value, str):
        return value
    return f"{value:.4g}" if isinstance(value, float) and abs(value) < 1000 else f"{value:,.0f}"
