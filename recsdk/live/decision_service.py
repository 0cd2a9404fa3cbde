"""A ledger as a decision-service log, from which Vowpal Wabbit learns, with recsdk's records beside what it reads.

A line is a decision: its rewards, propensities and features where `read_ledger` has them, and, under `_recsdk`, its record. All other
records stand on lines that begin with `[checkpoint]`, which Vowpal Wabbit passes over. The last line has the hash of all others.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recsdk.errors import InvalidLog, InvalidValue
from recsdk.ledger import DecisionRecord, Ledger
from recsdk.live.log import Judging, judged_positions, placing, require_all_features, rewards_at, warn_of_open
from recsdk.live.marks import left, unfit
from recsdk.live.marks import read as marks_of
from recsdk.live.records import SCHEMA, Row, lines, opened, parsed, sync, whole
from recsdk.live.records import record as record_of
from recsdk.live.rewards import is_deferred, said_shown

MARK = "[checkpoint] "
OWN = "_recsdk"
FOREIGN = (
    " A decision-service log of another program has no catalogue, no settings and not all propensities, so no folder can be made of it:"
    " `recsdk evaluate` and `recsdk_vw.read_dsjson` read it as it is."
)


class _View(NamedTuple):
    """What Vowpal Wabbit is to learn from a ledger.

    Attributes:
        fit: of each decision that says what is good, the positions that were drawn and have a reward.
        rewards: by decision and position.
        has_slots: whether any decision has several positions.
        default: the reward of a position without one.
        shown: by decision, whether it was shown, where that was said.
        placed: puts a decision's features into the folder's present columns.
    """

    fit: dict[str, list[int]]
    rewards: dict[tuple[str, int], float]
    has_slots: bool
    default: float | None
    shown: dict[str, bool]
    placed: Callable[[DecisionRecord], DecisionRecord]


def write(path: Path, stored: Ledger, rows: Iterable[Row], judging: Judging) -> Counter[str]:
    """Writes a ledger's records, and returns how much can be learned from the file, and what is left out."""
    warn_of_open(stored, judging)
    view, ids, counts, hashed = _view(stored, judging), dict[int, str](), Counter[str](), hashlib.sha256()
    with opened(path) as file:

        def put(line: str) -> None:
            hashed.update(line.encode())
            file.write(line + "\n")

        put(MARK + json.dumps({"recsdk_ledger": SCHEMA}))
        num = 0
        for row in rows:
            event = None
            if row["kind"] == "item":
                ids[row["slot"]] = json.loads(row["row"])["id"]
            elif row["kind"] == "decision":
                event = _event(view, record_of(row), ids, counts)
            put(MARK + json.dumps(row, allow_nan=False) if event is None else json.dumps(event | {OWN: row}, allow_nan=False))
            num += 1
        file.write(MARK + json.dumps({"end": num, "sha256": hashed.hexdigest()}) + "\n")
    sync(path)
    return +counts


def read(path: Path) -> Iterator[Row]:
    """Yields the records that `write` wrote; what Vowpal Wabbit reads is of no account, but may not have been changed either.

    Raises:
        InvalidLog: a file that is cut, was changed, or is of another program.
    """
    return whole(path, _own(path), hint=FOREIGN)


def _own(path: Path) -> Iterator[Row]:
    hashed = hashlib.sha256()
    for number, text in lines(path):
        line = text.rstrip("\r\n")
        row = parsed(path, number, line.removeprefix(MARK))
        if "end" in row and row.get("sha256") != hashed.hexdigest():
            raise InvalidLog(f"{path} was changed after it was exported: its lines do not have the hash that the last one says.")
        hashed.update(line.encode())
        yield row if line.startswith(MARK) else row.get(OWN, {})


def _view(stored: Ledger, judging: Judging) -> _View:
    has_slots, rewards = any(len(record.action) > 1 for record in stored.decisions()), rewards_at(stored, None)
    fit = {record.decision_id: positions for record, positions in judged_positions(stored, judging, rewards)}
    return _View(fit, rewards, has_slots, judging.default_reward, said_shown(stored.signals()), placing(stored))


def _event(view: _View, record: DecisionRecord, ids: dict[int, str], counts: Counter[str]) -> dict[str, Any] | None:
    """Returns what Vowpal Wabbit is to read of a decision; None of one that was emptied."""
    if not len(record.slots):
        counts["decisions left out: forgotten or dropped"] += 1
        return None
    tags = [ids[slot] for slot in record.slots.tolist()]
    about = {"EventId": record.decision_id, "Timestamp": datetime.fromtimestamp(record.time, UTC).isoformat().replace("+00:00", "Z")}
    fit = view.fit.get(record.decision_id)
    if fit is None:
        not_shown = not view.shown.get(record.decision_id, not is_deferred(record))
        reason = "not shown" if not_shown else unfit(record, 0) or "not rewarded"
        counts[f"decisions left out: {reason}"] += 1
        marks = {"_skipLearn": True} | ({"_deferred": True} if not_shown else {})
        return marks | about | {"c": {"_multi": [{"_tag": tag} for tag in tags]}}
    require_all_features(record)
    counts["decisions to learn from"] += 1
    counts["positions to learn from"] += len(fit)
    counts["positions left out: pinned"] += sum(position not in fit for position in range(fit[-1]))
    counts["positions left out: no reward of their own"] += len(record.action) - fit[-1] - 1
    features = view.placed(record).features.astype(np.float64).tolist()
    multi = [{"_tag": tag, "f": row} for tag, row in zip(tags, features, strict=True)]
    if not view.has_slots:
        return _single(view, record, multi, about)
    slots = [_slot(record, position) for position in range(fit[-1] + 1)]
    outcomes = [_outcome(view, record, position) for position in range(len(slots))]
    return about | {"c": {"_multi": multi, "_slots": slots}, "_outcomes": outcomes}  # in this order, or Vowpal Wabbit reads nothing


def _single(view: _View, record: DecisionRecord, multi: list[Any], about: dict[str, Any]) -> dict[str, Any]:
    """Returns a line of one decision over the candidates that could have been drawn."""
    drawn = np.flatnonzero(left(record, 0)).tolist()
    outcome, places = _outcome(view, record, 0), {place: index for index, place in enumerate(drawn)}
    chosen = places[outcome["_a"][0]]
    label = {"_label_cost": outcome["_label_cost"], "_label_probability": outcome["_p"][0], "_label_Action": chosen + 1}
    shown = {"_labelIndex": chosen, "a": [places[place] + 1 for place in outcome["_a"]], "p": outcome["_p"]}
    return label | shown | about | {"c": {"_multi": [multi[place] for place in drawn]}}


def _slot(record: DecisionRecord, position: int) -> dict[str, Any]:
    """Returns a slot; with `_inc`, its candidates, where they are not all that the slots above have left."""
    free, unseen = left(record, position), np.ones(len(record.slots), bool)
    unseen[record.action[:position]] = False
    slot: dict[str, Any] = {} if (free == unseen).all() else {"_inc": np.flatnonzero(free).tolist()}
    return slot | ({"_pinned": True} if position in marks_of(record).pinned else {})


def _outcome(view: _View, record: DecisionRecord, position: int) -> dict[str, Any]:
    reward = view.rewards.get((record.decision_id, position), view.default)
    if reward is None:
        raise InvalidValue(
            f"default_reward must say what a shown item without a reward is worth: decision {record.decision_id!r} has a reward below "
            f"position {position}, and none there."
        )
    chosen, probs = int(record.action[position]), record.probs[position]
    others = [place for place in np.flatnonzero(left(record, position)).tolist() if place != chosen]
    shown = [chosen, *sorted(others, key=lambda place: -probs[place])]
    return {"_label_cost": 0.0 - reward, "_a": shown, "_p": probs[shown].tolist()}
