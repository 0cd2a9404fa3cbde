"""A ledger as the Open Bandit Dataset has its logs: `log.csv`, a row for each decision, beside `item_context.csv`."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from recsdk.datasets.open_bandit import COLUMNS, ITEM_COLUMNS, NUM_ITEM_CATEGORIES, NUM_USER_FEATURES
from recsdk.errors import EmptyLog, InvalidLog, InvalidValue
from recsdk.ledger import DecisionRecord, Ledger
from recsdk.live.log import Judging, judged, warn_of_open
from recsdk.live.marks import left
from recsdk.live.records import Row, sync

LOG, ITEMS = "log.csv", "item_context.csv"


def write(path: Path, stored: Ledger, rows: Iterable[Row], judging: Judging) -> Counter[str]:
    """Writes the decisions at the top of each slate, and returns how many those are, and what is left out.

    Raises:
        InvalidValue: a reward other than 0 and 1.
        InvalidLog: a decision among some of the items only, which a row cannot say.
        EmptyLog: no decision to write.
    """
    warn_of_open(stored, judging)
    left_out = Counter[str]()
    found = list(judged(stored, 0, judging, left_out))
    if not found:
        raise EmptyLog("The ledger has no rewarded decision that was drawn, so there is nothing to write.")
    slots = sorted(found[0][0].slots.tolist())
    path.mkdir()
    _table(path / LOG, [_row(record, reward, slots) for record, reward in found])
    items = {item.slot: json.loads(item.row) for item in stored.items()}
    _table(path / ITEMS, [_item(slot, items[slot]) for slot in slots])
    return Counter({"decisions to learn from": len(found)}) + _lacking(rows, len(found), left_out)


def read(path: Path) -> NoReturn:
    """Refuses, since no folder can be made of such a log."""
    raise InvalidLog(
        f"{path} cannot become a folder: a log of Open Bandit has the probability of the item that was shown, and a ledger those of all "
        "candidates, and it has no users, ids and settings. `recsdk.datasets.read_open_bandit` reads it; to move a folder, export it as "
        "jsonl, parquet or dsjson."
    )


def _lacking(rows: Iterable[Row], num: int, left_out: Counter[str]) -> Counter[str]:
    """Counts what is in the ledger and in no row."""
    positions = decisions = signals = 0
    features = set[str]()
    for row in rows:
        if row["kind"] == "decision":
            decisions += 1
            positions += max(len(row["action"]) - 1, 0)
            features |= {name.split("=")[0] for name in _features(row["payload"])[NUM_USER_FEATURES:]}
        signals += row["kind"] == "signal"
    lacking = {f"decisions left out: {reason}": number for reason, number in left_out.items()}
    lacking["decisions left out: not shown or not rewarded"] = decisions - num - left_out.total()
    lacking |= {"positions left out: below the top": positions, "signals left out": signals, "features of requests left out": len(features)}
    return Counter(lacking)


def _row(record: DecisionRecord, reward: float, slots: list[int]) -> dict[str, Any]:
    if sorted(record.slots.tolist()) != slots or not left(record, 0).all():
        raise InvalidLog(
            f"Decision {record.decision_id!r} is not among the same {len(slots)} items as the first: in Open Bandit each row is a choice "
            "among all items. Export as dsjson, which has the candidates of each decision."
        )
    if reward not in (0.0, 1.0):
        raise InvalidValue(f"reward must be 0 or 1 to be a click of Open Bandit, got {reward} of decision {record.decision_id!r}.")
    user = _features(record.payload)[:NUM_USER_FEATURES]
    place = int(record.action[0])
    cells = (int(record.slots[place]), 1, int(reward), float(record.probs[0, place]), *user, *[""] * (NUM_USER_FEATURES - len(user)))
    return {
        "timestamp": datetime.fromtimestamp(record.time, UTC).isoformat(sep=" "),
        **dict(zip(COLUMNS, cells, strict=True)),
        **{f"user-item_affinity_{slot}": 0 for slot in slots},
        "decision_id": record.decision_id,
    }


def _features(payload: str) -> list[str]:
    """Returns the features of a request, without the user's key, by name."""
    request = json.loads(payload)["request"]
    return [f"{name}={request[name]}" for name in sorted(request) if name != "user_id"]


def _item(slot: int, row: dict[str, Any]) -> dict[str, Any]:
    """Returns an item with its first number and its first texts, by name."""
    features = {name: row[name] for name in sorted(row) if name not in ("id", "added")}
    numbers = [value for value in features.values() if isinstance(value, (int, float)) and not isinstance(value, bool)]
    texts = [f"{name}={value}" for name, value in features.items() if not isinstance(value, (int, float)) or isinstance(value, bool)]
    texts = (texts + [""] * NUM_ITEM_CATEGORIES)[:NUM_ITEM_CATEGORIES]
    return {**dict(zip(ITEM_COLUMNS, (slot, (numbers or [0])[0], *texts), strict=True)), "id": row["id"]}


def _table(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, ("", *rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows({"": number, **row} for number, row in enumerate(rows))
    sync(path)
