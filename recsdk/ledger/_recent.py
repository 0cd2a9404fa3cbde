"""What a connection need not ask its database for, since it has just written it or read it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from recsdk.ledger import DecisionRecord, ItemRecord, RewardRecord, records
from recsdk.ledger import _rows as rows
from recsdk.ledger._rows import Row
from recsdk.ledger._schema import ITEM

ROOM = 8_000_000
"""Bytes of the decisions that are kept, about."""
NUM_READ = 10_000
"""Decisions that were read of which is kept how many items were before them; and slots of which the items are kept."""
LONG = (2, 5, 7, 9)
"""Where the values of a decision have its payload, slots, probabilities and features."""
BESIDE = 400
"""Bytes that a decision takes beside those, about; all share the text of their parts."""


class _Written:
    """A decision as it was written, and the rewards that it has got since."""

    def __init__(self, number: int, values: Row) -> None:
        self.number = number
        self.values = values
        self.rewards: list[RewardRecord] = []
        self.num_bytes = BESIDE + sum(len(values[place]) for place in LONG)


class Recent:
    """The last decisions that a connection has written, with their rewards, and the items that were looked up.

    A decision comes back as it would be read: from the bytes that were written. `forget` is due whenever the database may be another one
    than what was written: after an error, and when records are emptied.
    """

    def __init__(self) -> None:
        self._written: dict[str, _Written] = {}
        self._num_bytes = 0
        self._num_items: dict[str, int] = {}
        self._versions: dict[int, list[tuple[int, ItemRecord]]] = {}

    def forget(self) -> None:
        """Lets go of everything."""
        self._written.clear()
        self._num_items.clear()
        self._versions.clear()
        self._num_bytes = 0

    def add(self, number: int, values: Row, num_items: int) -> None:
        """Keeps a decision of a number that was written as these values, after so many versions of items."""
        kept = self._written[values[0]] = _Written(number, values)
        self._num_bytes += kept.num_bytes
        self.note(values[0], num_items)
        while self._num_bytes > ROOM:
            self._num_bytes -= self._written.pop(next(iter(self._written))).num_bytes

    def number(self, decision_id: str) -> int | None:
        """Returns the number of a decision, if it is kept."""
        kept = self._written.get(decision_id)
        return None if kept is None else kept.number

    def decision(self, decision_id: str) -> DecisionRecord | None:
        """Returns a decision, if it is kept."""
        kept = self._written.get(decision_id)
        return None if kept is None else records.decision(kept.values)

    def reward(self, record: RewardRecord) -> None:
        """Keeps a reward that was written, if its decision is kept."""
        kept = self._written.get(record.decision_id)
        if kept is not None:
            kept.rewards.append(record)

    def rewards(self, decision_id: str) -> list[RewardRecord] | None:
        """Returns all rewards of a decision, if it is kept."""
        kept = self._written.get(decision_id)
        return None if kept is None else list(kept.rewards)

    def note(self, decision_id: str, num_items: int) -> None:
        """Keeps how many versions of items were before a decision."""
        self.note_all([decision_id], [num_items])

    def note_all(self, decision_ids: Sequence[str], num_items: Sequence[int]) -> None:
        """Keeps how many versions of items were before each of some decisions."""
        if len(self._num_items) >= NUM_READ:
            self._num_items.clear()
        self._num_items.update(zip(decision_ids, num_items, strict=True))

    def put_item(self, slot: int) -> None:
        """Lets go of the items of a slot, which gets another one."""
        self._versions.pop(slot, None)

    def shown(self, decision_id: str, slot: int) -> ItemRecord | None:
        """Returns the item of a slot as it was when a decision was made, if that is kept."""
        last, versions = self._num_items.get(decision_id, 0), self._versions.get(slot, ())
        for number, item in versions:
            if number <= last:
                return item
        return None

    def looked_up(self, db: sqlite3.Connection, decision_id: str, slot: int) -> ItemRecord | None:
        """Reads what `shown` returns; None where there was none."""
        row = db.execute("SELECT num_items FROM decisions WHERE id = ?", (decision_id,)).fetchone()
        if row is None:
            return None
        self.note(decision_id, row[0])
        if len(self._versions) >= NUM_READ:
            self._versions.clear()
        query = f"SELECT i.number, {ITEM} FROM items i WHERE i.slot = ? ORDER BY i.number DESC"  # noqa: S608 -- constants
        self._versions[slot] = [(number, rows.item(tuple(item))) for number, *item in db.execute(query, (slot,))]
        return self.shown(decision_id, slot)
