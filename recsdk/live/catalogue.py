"""The items that can be shown: in and out while serving, and which of them are candidates for a request."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from recsdk.base import Items, Request
from recsdk.data import column_kind, concatenate_items, items_from_rows, take
from recsdk.errors import DuplicateCandidates, EmptyCandidates, InvalidScores, UnknownItem, nearest
from recsdk.live.guard import frozen, frozen_items, only_reading

Rule = Callable[[Request, Items], np.ndarray]
"""A business rule: `(request, items) -> bool[N]`, true where an item may be shown."""


class Contents(NamedTuple):
    """The arrays of a catalogue; row `slot` of each belongs to the item with that slot.

    Attributes:
        items: N items.
        vectors: f32[N, dim].
        active: bool[N].
    """

    items: Items
    vectors: np.ndarray
    active: np.ndarray


class Catalogue:
    """Items by slot: row number `slot` of every array is that item's for good, also after it has been removed.

    Attributes:
        items: all items there ever were.
        vectors: f32[N, dim], their embeddings.
        active: bool[N], whether an item can be shown.
    """

    def __init__(self, dim: int) -> None:
        self.items: Items = items_from_rows([])
        self.vectors = np.zeros((0, dim), np.float32)
        self.active = np.zeros(0, bool)
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
        """Returns items with the slots they are to have; one that was removed before gets its old slot.

        Raises:
            DuplicateCandidates: an item that is in the catalogue.
        """
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
        )

    def hold(self, contents: Contents) -> None:
        """Takes what `joined` returned."""
        fresh = contents.items.ids[len(self.items.ids) :].tolist()
        self._slots.update(zip(fresh, range(len(self.items.ids), len(contents.items.ids)), strict=True))
        self.items, self.vectors, self.active = frozen_items(contents.items), frozen(contents.vectors), frozen(contents.active)

    def slots(self, ids: Iterable[str]) -> np.ndarray:
        """Returns i64[N], the slots of active items.

        Raises:
            UnknownItem: an item that is not in the catalogue, with the nearest that is.
        """
        slots = []
        for item_id in ids:
            if item_id not in self:
                active = self.items.ids[self.active].tolist()
                raise UnknownItem(f"No item {item_id!r} is in the catalogue of {len(self)}.{nearest(item_id, active)}")
            slots.append(self._slots[item_id])
        return np.array(slots, np.int64)

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

    def top(
        self, user: np.ndarray, request: Request, num_candidates: int, num_new: int, *, seen: Iterable[str] = (), rules: Sequence[Rule] = ()
    ) -> np.ndarray:
        """Finds the candidates of a request: the items nearest to the user, and the newest ones besides.

        Exact: every active item is scored by its inner product with the user.

        Args:
            user: f32[dim].
            request: what the rules look at.
            num_candidates: how many at most.
            num_new: how many of these places are for the newest items, so that one without any feedback is not shut out.
            seen: items not to show again; unknown ones are no error, since items go.
            rules: business rules, all of which an item must pass.

        Returns:
            i64[K], slots, best first.

        Raises:
            EmptyCandidates: when no item passes.
            InvalidScores: when a rule does not answer bool[N].
        """
        slots = self._allowed(request, seen, rules)
        return self._candidates(slots, self.vectors[slots] @ user, num_candidates, num_new)

    def sample(
        self,
        rng: np.random.Generator,
        request: Request,
        num_candidates: int,
        num_new: int,
        *,
        seen: Iterable[str] = (),
        rules: Sequence[Rule] = (),
        num_scored: int = 0,
        score: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> np.ndarray:
        """Finds the candidates of a request where no encoder says which items are near to the user.

        Args:
            rng: draws the order of items whose scores are equal, so that every item gets its chance.
            request: what the rules look at.
            num_candidates: how many at most.
            num_new: how many of these places are for the newest items.
            seen: items not to show again.
            rules: business rules.
            num_scored: how many items are scored at most; of more, so many are drawn.
            score: `slots i64[M] -> f64[M]`, how promising items are; None for a random choice. It is not asked where all can be candidates.

        Returns:
            i64[K], slots.

        Raises:
            EmptyCandidates, InvalidScores: as `top`.
        """
        slots = self._allowed(request, seen, rules)
        order = rng.random(len(slots))
        if score is None or len(slots) <= num_candidates:
            return self._candidates(slots, order, num_candidates, num_new)
        drawn = slots[_largest(order, min(num_scored, len(slots)))]
        best = drawn[_largest(score(drawn), num_candidates - num_new)]
        rest = np.setdiff1d(slots, best)
        return np.concatenate([best, rest[_largest(self.items.added[rest], num_new)]])

    def _allowed(self, request: Request, seen: Iterable[str], rules: Sequence[Rule]) -> np.ndarray:
        allowed = self.active.copy()
        allowed[[self._slots[item_id] for item_id in seen if item_id in self._slots]] = False
        for rule in rules:
            with only_reading(rule):
                answer = rule(request, self.items)
            allowed &= _passed(rule, answer, len(allowed))
        slots = np.flatnonzero(allowed)
        if len(slots) == 0:
            raise EmptyCandidates(f"No item of the {len(self)} in the catalogue is unseen and allowed by the rules.")
        return slots

    def _candidates(self, slots: np.ndarray, scores: np.ndarray, num_candidates: int, num_new: int) -> np.ndarray:
        best = _largest(scores, num_candidates - num_new if len(slots) > num_candidates else len(slots))
        rest = np.delete(slots, best)
        newest = _largest(self.items.added[rest], min(num_new, len(rest)))
        return np.concatenate([slots[best], rest[newest]])


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


def _largest(values: np.ndarray, count: int) -> np.ndarray:
    """Returns i64[count], where the largest values are, largest first; of equal ones the earlier first. Sorts no more than these."""
    places = np.arange(len(values))[:count]
    if 0 < count < len(values):
        least = np.partition(values, len(values) - count)[len(values) - count]
        above = np.flatnonzero(values > least)
        places = np.concatenate([above, np.flatnonzero(values == least)[: count - len(above)]])
    largest: np.ndarray = places[np.lexsort((places, -values[places]))]
    return largest
