"""What a catalogue holds at one moment, and the arrays behind it, which grow at their end."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from recsdk.base import Items
from recsdk.columns import NUMBER, column_kind
from recsdk.errors import InvalidRequest, UnknownItem, nearest
from recsdk.live.guard import frozen


class Shelf(NamedTuple):
    """A catalogue at one moment: it never changes, so that threads may read it while another one is made.

    Attributes:
        items: N items.
        vectors: f32[N, dim].
        active: bool[N].
        slots: of every item that there ever was, by its id; it may name items of later shelves, with slots from N on.
        order: i64[N], the slots from the oldest to the newest; of equally old ones the last slot first.
        index: the retriever's; it may be changed in place once another shelf is there.
    """

    items: Items
    vectors: np.ndarray
    active: np.ndarray
    slots: Mapping[str, int]
    order: np.ndarray
    index: Any

    def slot(self, item_id: str) -> int:
        """Returns the slot of an item that is, or was, there; -1 for another."""
        slot = self.slots.get(item_id, -1)
        return slot if slot < len(self.active) else -1

    def named(self, ids: Iterable[str]) -> np.ndarray:
        """Returns i64[N], the slots of active items.

        Raises:
            UnknownItem: an item that is not in the catalogue, with the nearest that is.
        """
        named = list(ids)
        slots = np.array([self.slot(item_id) for item_id in named], np.int64)
        known = (slots >= 0) & self.active[slots] if len(self.active) else slots >= 0
        if not known.all():
            item_id = named[int(known.argmin())]
            active = self.items.ids[self.active].tolist()
            raise UnknownItem(f"No item {item_id!r} is in the catalogue of {self.num_active}.{nearest(item_id, active)}")
        return slots

    def newest(self, allowed: np.ndarray, count: int) -> np.ndarray:
        """Returns i64[<= count], the newest slots where `allowed` bool[N] holds; of equally new ones the earlier."""
        found, end, size = list[np.ndarray](), len(self.order), 4 * count
        while count and end:
            latest = self.order[max(0, end - size) : end][::-1]
            found.append(latest[allowed[latest]][:count])
            count -= len(found[-1])
            end, size = max(0, end - size), 2 * size
        return np.concatenate(found) if found else np.zeros(0, np.int64)

    @property
    def num_active(self) -> int:
        """The number of items that can be shown."""
        return int(np.count_nonzero(self.active))


class Rows(NamedTuple):
    """Views of the arrays of a `Table`; row `slot` of each belongs to the item with that slot."""

    items: Items
    vectors: np.ndarray
    order: np.ndarray


class Table:
    """The items that a catalogue has ever held, and their vectors. What it returns never changes: rows are only put behind the last."""

    def __init__(self, items: Items, vectors: np.ndarray) -> None:
        """Copies columns, all of which have values, in order of their slots."""
        self._ids, self._slot, self._added, self._vectors = map(_Growing, (items.ids, items.slot, items.added, vectors))
        features = {name: _Column(column_kind(column), _Growing(column)) for name, column in items.features.items()}
        order = len(items.ids) - 1 - np.argsort(items.added[::-1], kind="stable")
        self._state = _State(len(items.ids), features, _Growing(order))

    def check(self, items: Items) -> None:
        """Refuses a column that holds one kind of value here and another there.

        Raises:
            InvalidRequest: such a column.
        """
        for name, column in items.features.items():
            if name in self._state.features:
                _refuse_two_kinds(name, {column_kind(column), self._state.features[name].kind})

    def behind(self, items: Items, vectors: np.ndarray) -> Rows:
        """Puts new rows behind the last, in O(M), and returns all.

        Args:
            items: M items from `check`, in order of their slots, which follow the last one. All columns have values.
            vectors: f32[M, dim].
        """
        start, features, _ = self._state
        for column, values in ((self._ids, items.ids), (self._slot, items.slot), (self._added, items.added), (self._vectors, vectors)):
            column.put(start, values)
        new = {name: column for name, column in items.features.items() if name not in features}
        fresh = {name: _Column(column_kind(column), _Growing(_missing(column, start))) for name, column in new.items()}
        features = {**features, **fresh}
        for name, (_, rows) in features.items():
            rows.put(start, items.features[name] if name in items.features else _missing(rows.first(0), len(items.ids)))
        self._state = _State(start + len(items.ids), features, self._ordered(items))
        return self.rows

    def replaced(self, items: Items, vectors: np.ndarray) -> Table:
        """Returns a table with other rows in some slots, with copies of the arrays that differ there. The one or the other is used on.

        Args:
            items: M items in slots that are theirs for good.
            vectors: f32[M, dim].

        Raises:
            InvalidRequest: a column that would hold two kinds of values.
        """
        (size, features, order), slots = self._state, items.slot
        columns = {
            name: _rewritten(name, features.get(name), size, slots, items.features.get(name)) for name in {**features, **items.features}
        }
        found = copy.copy(self)
        found._vectors = self._vectors.changed(size, slots, vectors)
        found._added = self._added.changed(size, slots, items.added)
        if found._added is not self._added:
            order = _Growing(size - 1 - np.argsort(found._added.first(size)[::-1], kind="stable"))
        found._state = _State(size, {name: column for name, column in columns.items() if column is not None}, order)
        return found

    @property
    def rows(self) -> Rows:
        """All rows."""
        size, columns, order = self._state
        features = {name: columns[name].rows.first(size) for name in sorted(columns)}
        items = Items(self._ids.first(size), features, self._slot.first(size), self._added.first(size))
        return Rows(items, self._vectors.first(size), order.first(size))

    def _ordered(self, items: Items) -> _Growing:
        """Returns the order with new slots in it. Those that are newer than all others come last, without a copy of these."""
        start, _, order = self._state
        fresh = items.slot[::-1][np.argsort(items.added[::-1], kind="stable")]
        before, added = order.first(start), self._added.first(start + len(fresh))
        if start and len(fresh) and items.added.min() <= added[before[-1]]:
            return _Growing(np.insert(before, np.searchsorted(added[before], added[fresh]), fresh))
        order.put(start, fresh)
        return order


class _Column(NamedTuple):
    kind: str | None
    rows: _Growing


class _State(NamedTuple):
    size: int
    features: Mapping[str, _Column]
    order: _Growing


class _Growing:
    """An array with room behind its rows."""

    def __init__(self, rows: np.ndarray) -> None:
        self._room = np.empty((len(rows) + len(rows) // 4 + 16, *rows.shape[1:]), rows.dtype)
        self._room[: len(rows)] = rows

    def put(self, start: int, rows: np.ndarray) -> None:
        """Writes rows from `start` on; what was returned of the rows before stays as it is."""
        if start + len(rows) > len(self._room):
            self._room = _Growing(np.concatenate([self._room[:start], rows]))._room
        self._room[start : start + len(rows)] = rows

    def changed(self, size: int, places: np.ndarray, rows: np.ndarray) -> _Growing:
        """Returns itself where the rows at these places are the same, else a copy of the first rows, with others in these places."""
        if np.array_equal(self._room[places], rows):
            return self
        found = _Growing(self._room[:size])
        found._room[places] = rows
        return found

    def first(self, size: int) -> np.ndarray:
        """Returns a view of the first rows that cannot be written to."""
        return frozen(self._room[:size])


def _rewritten(name: str, column: _Column | None, size: int, slots: np.ndarray, values: np.ndarray | None) -> _Column | None:
    """Returns a column with other values in some slots; None where no value is left in it."""
    kind = None if values is None else column_kind(values)
    if column is not None and kind not in (None, column.kind):
        _refuse_two_kinds(name, {kind, column.kind if has_values(np.delete(column.rows.first(size), slots)) else None})
        column = None
    if column is None:
        column = None if values is None or kind is None else _Column(kind, _Growing(_missing(values, size)))
    if column is None:
        return None
    if values is None or kind is None:
        values = _missing(column.rows.first(size), len(slots))
    rows = column.rows.changed(size, slots, values)
    return column._replace(rows=rows) if rows is column.rows or has_values(rows.first(size)) else None


def _refuse_two_kinds(name: str, kinds: set[str | None]) -> None:
    if len(kinds - {None}) > 1:
        raise InvalidRequest(f"{name!r} must hold one kind of value, got {' and '.join(sorted(map(str, kinds - {None})))}.")


def with_values(items: Items) -> Items:
    """Returns items as they are read back from a ledger: columns in order of their names, none without a value."""
    return items._replace(features={name: column for name, column in sorted(items.features.items()) if has_values(column)})


def has_values(column: np.ndarray) -> bool:
    """Tells whether a column has any value that is not missing."""
    return not np.isnan(column).all() if column.dtype == np.float64 else column_kind(column) is not None


def _missing(like: np.ndarray, size: int) -> np.ndarray:
    return np.full(size, np.nan, np.float64) if column_kind(like) == NUMBER else np.full(size, None, object)
