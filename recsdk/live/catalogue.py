"""The items that can be shown: in and out while serving, and which of them are candidates for a request."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from recsdk.arrays import largest
from recsdk.base import Items, Request, Retriever, Rng
from recsdk.data import column_kind, concatenate_items, items_from_rows, items_from_stored, rows_from_items, take
from recsdk.errors import DuplicateCandidates, EmptyCandidates, InvalidAnswer, InvalidScores, UnknownItem, nearest
from recsdk.ledger import ItemRecord, Ledger
from recsdk.live import intake
from recsdk.live.guard import frozen, frozen_items, only_reading
from recsdk.retrievers.exact import Exact
from recsdk.retrievers.sampled import Sampled

Rule = Callable[[Request, Items], np.ndarray]
"""A business rule: `(request, items) -> bool[N]`, true where an item may be shown.

Example:
    >>> def is_in_stock(request, items):
    ...     return items.features["stock"] > 0
    >>> is_in_stock(Request({}, 0.0), items_from_rows([{"id": "tea", "stock": 3}, {"id": "ice", "stock": 0}])).tolist()
    [True, False]
"""


class Contents(NamedTuple):
    """The arrays of a catalogue; row `slot` of each belongs to the item with that slot.

    Attributes:
        items: N items.
        vectors: f32[N, dim].
        active: bool[N].
        changed: i64[M], slots that are new, or hold another item or vector than before.
    """

    items: Items
    vectors: np.ndarray
    active: np.ndarray
    changed: np.ndarray


class Catalogue:
    """Items by slot: row number `slot` of every array is that item's for good, also after it has been removed.

    Attributes:
        items: all items there ever were.
        vectors: f32[N, dim], their embeddings.
        active: bool[N], whether an item can be shown.
        retriever: finds the candidates of a request.
    """

    def __init__(self, dim: int, retriever: Retriever[Any] | None = None) -> None:
        self.items: Items = items_from_rows([])
        self.vectors = np.zeros((0, dim), np.float32)
        self.active = np.zeros(0, bool)
        self.retriever: Retriever[Any] = retriever or (Exact() if dim else Sampled())
        self._index = self.retriever.build(self.vectors)
        self._slots: dict[str, int] = {}

    def __len__(self) -> int:
        """Returns the number of active items."""
        return int(self.active.sum())

    def __contains__(self, item_id: str) -> bool:
        """Tells whether an item is active."""
        slot = self._slots.get(item_id)
        return slot is not None and bool(self.active[slot])

    def knows(self, item_id: str) -> bool:
        """Tells whether an item is, or ever was, in the catalogue."""
        return item_id in self._slots

    def place(self, items: Items) -> Items:
        """Returns items as they are read back from a ledger, with the slots they are to have: one that was removed gets its old slot.

        Raises:
            DuplicateCandidates: an item that is in the catalogue.
        """
        items = items_from_stored(json.loads(intake.canonical(rows_from_items(items))))
        slots, free = [], len(self.items.ids)
        for item_id in items.ids:
            if item_id in self:
                raise DuplicateCandidates(f"items must not be in the catalogue yet, got {item_id!r}: remove it first to change it.")
            slots.append(self._slots.get(item_id, free))
            free += slots[-1] == free
        return items._replace(slot=np.array(slots, np.int64))

    def joined(self, items: Items, vectors: np.ndarray, active: np.ndarray) -> Contents:
        """Returns what the catalogue holds with items in their slots, in place of what these held; it takes effect with `hold`.

        Args:
            items: N items from `place`, or as recorded.
            vectors: f32[N, dim].
            active: bool[N].

        Raises:
            InvalidRequest: a feature that is of another kind than the catalogue's column of that name.
            DuplicateCandidates: an item twice.
        """
        kept = np.ones(len(self.items.ids), bool)
        kept[items.slot[items.slot < len(kept)]] = False
        joined = concatenate_items(_with_values(take(self.items, kept)), items)
        order = np.argsort(joined.slot, kind="stable")
        return Contents(
            _with_values(take(joined, order)),
            np.concatenate([self.vectors[kept], vectors])[order],
            np.concatenate([self.active[kept], active])[order],
            items.slot,
        )

    def kept(self, ledger: Ledger, items: Items, vectors: np.ndarray, *, active: bool) -> Contents:
        """Writes items to a ledger, and returns what `joined` does."""
        contents = self.joined(items, vectors, np.full(len(items.ids), active))
        for slot, row, vector in zip(items.slot.tolist(), rows_from_items(items), vectors, strict=True):
            ledger.put_item(ItemRecord(slot, intake.canonical(row), vector, active))
        return contents

    def hold(self, contents: Contents) -> None:
        """Takes what `joined` returned."""
        fresh = contents.items.ids[len(self.items.ids) :].tolist()
        self._slots.update(zip(fresh, range(len(self.items.ids), len(contents.items.ids)), strict=True))
        self.items, self.vectors, self.active = frozen_items(contents.items), frozen(contents.vectors), frozen(contents.active)
        if len(contents.changed) < len(self.active):
            self._index = self.retriever.add(self._index, contents.changed, self.vectors)
        else:
            self._index = self.retriever.build(self.vectors)

    def slots(self, ids: Iterable[str]) -> np.ndarray:
        """Returns i64[N], the slots of active items.

        Raises:
            UnknownItem: an item that is not in the catalogue, with the nearest that is.
        """
        named = list(ids)
        slots = np.array([self._slots.get(item_id, -1) for item_id in named], np.int64)
        known = np.append(self.active, False)[slots]  # -1 is the last place
        if not known.all():
            item_id = named[int(known.argmin())]
            active = self.items.ids[self.active].tolist()
            raise UnknownItem(f"No item {item_id!r} is in the catalogue of {len(self)}.{nearest(item_id, active)}")
        return slots

    def chosen(self, ids: Sequence[str]) -> np.ndarray:
        """Returns i64[K], the slots of candidates that the application names, in its order.

        Raises:
            EmptyCandidates, DuplicateCandidates, UnknownItem: none named, one named twice, one not in the catalogue.
        """
        if len(ids) == 0:
            raise EmptyCandidates("candidates must name at least one item, got none.")
        if len(set(ids)) < len(ids):
            twice = next(item_id for item_id in ids if list(ids).count(item_id) > 1)
            raise DuplicateCandidates(f"candidates must name an item once, got {twice!r} twice.")
        return self.slots(ids)

    def found(
        self,
        rng: Rng,
        user: np.ndarray,
        request: Request,
        num_candidates: int,
        num_new: int,
        *,
        seen: Iterable[str] = (),
        rules: Sequence[Rule] = (),
        num_scored: int = 0,
        score: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> np.ndarray:
        """Finds the candidates of a request: those of the retriever, and the newest ones besides.

        Args:
            rng: for retrievers that draw.
            user: f32[dim].
            request: what the rules look at.
            num_candidates: how many at most.
            num_new: how many of these places are for the newest items, so that one without any feedback is not shut out.
            seen: items not to show again; unknown ones are no error, since items go.
            rules: business rules, all of which an item must pass.
            num_scored: where `score` is given, how many items the retriever finds for it, at least `num_candidates`.
            score: `slots i64[M] -> f64[M]`, how promising items are; the most promising of what the retriever found are taken. None takes
                the retriever's first. It is not asked where all can be candidates.

        Returns:
            i64[K], slots, those of the retriever first.

        Raises:
            EmptyCandidates: when no item passes.
            InvalidScores: when a rule does not answer bool[N].
            InvalidAnswer: when the retriever answers other slots than it may.
        """
        allowed = self._allowed(request, seen, rules)
        num_allowed = int(allowed.sum())
        size = num_candidates - num_new if num_allowed > num_candidates else num_allowed
        if score is None or num_allowed <= num_candidates:
            best = self._retrieved(rng, user, allowed, size)
        else:
            drawn = self._retrieved(rng, user, allowed, min(max(num_scored, num_candidates), num_allowed))
            best = drawn[largest(score(drawn), size)]
        allowed[best] = False
        rest = np.flatnonzero(allowed)
        newest = largest(self.items.added[rest], min(num_new, len(rest)))
        return np.concatenate([best, rest[newest]])

    def may_show(self, slots: np.ndarray, request: Request, seen: Iterable[str] = (), rules: Sequence[Rule] = ()) -> np.ndarray:
        """Returns bool[M], which of `slots` i64[M] are active, unseen, and pass all rules.

        Raises:
            InvalidScores: when a rule does not answer bool[N].
        """
        eligible = self._eligible(request, seen, rules)
        return np.asarray(eligible[slots])

    def _retrieved(self, rng: Rng, user: np.ndarray, allowed: np.ndarray, size: int) -> np.ndarray:
        with only_reading(self.retriever):
            answer = self.retriever.search(self._index, rng, user, frozen(allowed), size)
        return _slots(self.retriever, answer, allowed, size)

    def _allowed(self, request: Request, seen: Iterable[str], rules: Sequence[Rule]) -> np.ndarray:
        allowed = self._eligible(request, seen, rules)
        if not allowed.any():
            raise EmptyCandidates(f"No item of the {len(self)} in the catalogue is unseen and allowed by the rules.")
        return allowed

    def _eligible(self, request: Request, seen: Iterable[str], rules: Sequence[Rule]) -> np.ndarray:
        allowed = self.active.copy()
        allowed[[self._slots[item_id] for item_id in seen if item_id in self._slots]] = False
        for rule in rules:
            with only_reading(rule):
                answer = rule(request, self.items)
            allowed &= _passed(rule, answer, len(allowed))
        return allowed


def _slots(retriever: Any, answer: Any, allowed: np.ndarray, size: int) -> np.ndarray:
    wanted = f"{retriever!r} must answer at most {size} different slots of allowed items, i64[<= {size}]"
    slots = np.asarray(answer)
    if slots.ndim != 1 or slots.dtype.kind not in "iu" or len(slots) > size:
        raise InvalidAnswer(f"{wanted}, got {slots.dtype}{list(slots.shape)}.")
    inside = (slots >= 0) & (slots < len(allowed))
    if not inside.all() or not allowed[slots].all() or np.bincount(slots.astype(np.int64), minlength=1).max() > 1:
        raise InvalidAnswer(f"{wanted}, got {slots.tolist()!r:.200}.")
    return slots.astype(np.int64)


def _passed(rule: Rule, answer: Any, num_items: int) -> np.ndarray:
    wanted = f"The rule {rule!r} must answer bool[{num_items}]"
    try:
        passed = np.asarray(answer)
    except ValueError as error:
        raise InvalidScores(f"{wanted}, got {answer!r:.200}.") from error
    if passed.shape != (num_items,) or passed.dtype != np.bool_:
        raise InvalidScores(f"{wanted}, got {passed.dtype}{list(passed.shape)}.")
    return passed


def _with_values(items: Items) -> Items:
    """Returns items as they are read back from a ledger: columns in order of their names, none without a value."""
    return items._replace(features={name: column for name, column in sorted(items.features.items()) if _has_values(column)})


def _has_values(column: np.ndarray) -> bool:
    return not np.isnan(column).all() if column.dtype == np.float64 else column_kind(column) is not None
