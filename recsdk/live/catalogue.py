"""The items that can be shown: in and out while serving, and which of them are candidates for a request."""

from __future__ import annotations

import contextlib
import functools
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from recsdk.arrays import largest
from recsdk.base import Items, Request, Retriever, Rng
from recsdk.data import concatenate_items, items_from_rows, items_from_stored, rows_from_items, take
from recsdk.errors import DuplicateCandidates, EmptyCandidates, InvalidAnswer, InvalidScores
from recsdk.ledger import ItemRecord, Ledger
from recsdk.live import intake
from recsdk.live.faults import STRICT, Asking
from recsdk.live.guard import frozen, only_reading
from recsdk.live.identity import identity
from recsdk.live.marks import RETRIEVER
from recsdk.live.shelf import Shelf, Table, with_values
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


_count = np.count_nonzero  # of booleans in a fifth of the time that `all` takes


class Change(NamedTuple):
    """What a catalogue is to hold in some slots, in order of these.

    Attributes:
        items: M items.
        vectors: f32[M, dim].
        active: bool[M].
        table: all rows, with these in place of those that were in their slots, but without new slots.
    """

    items: Items
    vectors: np.ndarray
    active: np.ndarray
    table: Table


class Moved(Exception):
    """Signals that the catalogue has changed since a shelf was taken from it, so that its index is not to be searched any more."""


class Catalogue:
    """Items by slot: row number `slot` of every array is that item's for good, also after it has been removed.

    Many threads may read it; one at a time changes it.

    Attributes:
        shelf: what it holds now.
        retriever: finds the candidates of a request.
        given: the one that the application gave, or None.
    """

    def __init__(self, dim: int, retriever: Retriever[Any] | None = None) -> None:
        self.given = retriever
        self.retriever: Retriever[Any] = retriever or (Exact() if dim else Sampled())
        self._table = Table(items_from_rows([]), np.zeros((0, dim), np.float32))
        self._slots: dict[str, int] = {}
        items, vectors, order = self._table.rows
        self.shelf = Shelf(items, vectors, np.zeros(0, bool), self._slots, order, self.retriever.build(vectors))
        self._searching = _Searching()
        self._index_failed = False  # then it is built anew with the next change: a late search may still go on in it

    @property
    def items(self) -> Items:
        """All items there ever were."""
        return self.shelf.items

    @property
    def vectors(self) -> np.ndarray:
        """Their embeddings, f32[N, dim]."""
        return self.shelf.vectors

    @property
    def active(self) -> np.ndarray:
        """Whether they can be shown, bool[N]."""
        return self.shelf.active

    def __len__(self) -> int:
        """Returns the number of active items."""
        return self.shelf.num_active

    def __contains__(self, item_id: str) -> bool:
        """Tells whether an item is active."""
        shelf = self.shelf
        slot = shelf.slot(item_id)
        return slot >= 0 and bool(shelf.active[slot])

    def described(self) -> dict[str, Any]:
        """Returns the retriever as a decision records it, in plain JSON; the record's number of item records says what it had to search."""
        told = identity(self.retriever)
        return {"name": told["name"] or told["class"], "settings": told["settings"]}

    def knows(self, item_id: str) -> bool:
        """Tells whether an item is, or ever was, in the catalogue."""
        return self.shelf.slot(item_id) >= 0

    def place(self, items: Items) -> Items:
        """Returns items as they are read back from a ledger, with the slots they are to have: one that was removed gets its old slot.

        Raises:
            DuplicateCandidates: an item that is in the catalogue.
        """
        items = items_from_stored(json.loads(intake.canonical(rows_from_items(items))))
        slots, free = [], len(self.items.ids)
        for item_id in items.ids:
            if item_id in self:
                raise DuplicateCandidates(f"items must not be in the catalogue yet, got {item_id!r}: change_items changes it.")
            known = self.shelf.slot(item_id)
            slots.append(known if known >= 0 else free)
            free += known < 0
        return items._replace(slot=np.array(slots, np.int64))

    def changed(self, items: Items) -> Items:
        """Returns items as they are read back from a ledger, with the slots of those of these ids, which they are to replace.

        Raises:
            UnknownItem, DuplicateCandidates: an item that is not in the catalogue, or twice.
        """
        items = items_from_stored(json.loads(intake.canonical(rows_from_items(items))))
        return items._replace(slot=self.slots(items.ids.tolist()))

    def joined(self, items: Items, vectors: np.ndarray, active: np.ndarray) -> Change:
        """Returns a change by which the catalogue holds items in their slots, in place of what these held; it takes effect with `hold`.

        In O(M) where no slot gets another item, feature or vector than it had.

        Args:
            items: M items from `place`, or as recorded.
            vectors: f32[M, dim].
            active: bool[M].

        Raises:
            InvalidRequest: a feature that is of another kind than the catalogue's column of that name.
            DuplicateCandidates: an item twice.
        """
        items = concatenate_items(items)  # looks for the same id twice
        order = np.argsort(items.slot, kind="stable")
        items, vectors, active = take(items, order), vectors[order], active[order]
        known = items.slot < len(self.items.ids)
        table = self._table.replaced(take(items, known), vectors[known])
        table.check(take(items, ~known))
        return Change(items, vectors, active, table)

    def kept(self, ledger: Ledger, items: Items, vectors: np.ndarray, *, active: bool) -> Change:
        """Writes items to a ledger, and returns what `joined` does."""
        change = self.joined(items, vectors, np.full(len(items.ids), active))
        for slot, row, vector in zip(items.slot.tolist(), rows_from_items(items), vectors, strict=True):
            ledger.put_item(ItemRecord(slot, intake.canonical(row), vector, active))
        return change

    def hold(self, change: Change) -> None:
        """Takes what `joined` returned."""
        before, (given, given_vectors, given_active, table) = self.shelf, change
        size = len(before.active)
        fresh = given.slot >= size
        items, vectors, order = table.behind(with_values(take(given, fresh)), given_vectors[fresh])
        active = np.concatenate([before.active, given_active[fresh]])
        active[given.slot] = given_active
        with self._searching.stopped():
            if len(given.slot) < len(active) and not self._index_failed:
                index = self.retriever.add(before.index, given.slot, vectors)
            else:
                index = self.retriever.build(vectors)
            self._index_failed = False
            self._table = table
            self._slots.update(zip(given.ids[fresh].tolist(), range(size, len(active)), strict=True))
            self.shelf = Shelf(items, vectors, frozen(active), self._slots, order, index)

    def slots(self, ids: Iterable[str]) -> np.ndarray:
        """Returns `Shelf.named` of what it holds now."""
        return self.shelf.named(ids)

    def chosen(self, ids: Sequence[str], shelf: Shelf | None = None) -> np.ndarray:
        """Returns i64[K], the slots of candidates that the application names, in its order.

        Args:
            ids: of items.
            shelf: where they are; None for what the catalogue holds now.

        Raises:
            EmptyCandidates, DuplicateCandidates, UnknownItem: none named, one named twice, one not in the catalogue.
        """
        if len(ids) == 0:
            raise EmptyCandidates("candidates must name at least one item, got none.")
        if len(set(ids)) < len(ids):
            twice = next(item_id for item_id in ids if list(ids).count(item_id) > 1)
            raise DuplicateCandidates(f"candidates must name each item once, got {twice!r} twice.")
        return (shelf or self.shelf).named(ids)

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
        shelf: Shelf | None = None,
        spare: Callable[[], Rng] | None = None,
        asking: Asking = STRICT,
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
            shelf: where to look; None for what the catalogue holds now.
            spare: makes what draws the candidates where the retriever fails; a late one may still use `rng`.
            asking: asks the retriever.

        Returns:
            i64[K], slots, those of the retriever first.

        Raises:
            EmptyCandidates: when no item passes.
            InvalidScores: when a rule does not answer bool[N].
            InvalidAnswer: when the retriever answers other slots than it may.
            Moved: when the catalogue does not hold `shelf` any more.
        """
        shelf = shelf or self.shelf
        allowed = self._eligible(shelf, request, seen, rules)
        num_allowed = int(np.count_nonzero(allowed))
        if not num_allowed:
            raise EmptyCandidates(f"No item of the {shelf.num_active} in the catalogue is unseen and allowed by the rules.")
        size = num_candidates - num_new if num_allowed > num_candidates else num_allowed
        retrieved = functools.partial(self._retrieved, shelf, rng, user, allowed, spare=spare or (lambda: rng), asking=asking)
        if score is None or num_allowed <= num_candidates:
            best = retrieved(size)
        else:
            drawn = retrieved(min(max(num_scored, num_candidates), num_allowed))
            best = drawn[largest(score(drawn), size)]
        if not num_new:
            return best
        allowed = allowed.copy()  # a late search may still read the other
        allowed[best] = False
        return np.concatenate([best, shelf.newest(allowed, num_new)])

    def may_show(
        self, slots: np.ndarray, request: Request, seen: Iterable[str] = (), rules: Sequence[Rule] = (), shelf: Shelf | None = None
    ) -> np.ndarray:
        """Returns bool[M], which of `slots` i64[M] are active, unseen, and pass all rules.

        Raises:
            InvalidScores: when a rule does not answer bool[N].
        """
        eligible = self._eligible(shelf or self.shelf, request, seen, rules)
        return np.asarray(eligible[slots])

    def _retrieved(
        self, shelf: Shelf, rng: Rng, user: np.ndarray, allowed: np.ndarray, size: int, *, spare: Callable[[], Rng], asking: Asking
    ) -> np.ndarray:
        retriever = self.retriever

        def found() -> np.ndarray:
            answer = retriever.search(shelf.index, rng, user, frozen(allowed), size)
            return _slots(retriever, answer, allowed, size)

        def drawn() -> np.ndarray:
            self._index_failed = True
            slots = np.flatnonzero(allowed)
            return slots[np.argsort(spare().random(len(slots)), kind="stable")[:size]]

        with self._searching:
            if shelf is not self.shelf:
                raise Moved
            return asking(RETRIEVER, retriever, found, drawn)

    def _eligible(self, shelf: Shelf, request: Request, seen: Iterable[str], rules: Sequence[Rule]) -> np.ndarray:
        allowed = shelf.active.copy()
        if seen:
            allowed[[slot for slot in map(shelf.slot, seen) if slot >= 0]] = False
        for rule in rules:
            with only_reading(rule):
                answer = rule(request, shelf.items)
            allowed &= _passed(rule, answer, len(allowed))
        return allowed


class _Searching:
    """Lets searches of an index go on side by side, but not while it is changed: that may happen in place."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._num_searches = 0
        self._is_stopped = False

    def __enter__(self) -> None:
        """Begins a search."""
        with self._changed:
            if self._is_stopped:
                self._changed.wait_for(lambda: not self._is_stopped)
            self._num_searches += 1

    def __exit__(self, *_: object) -> None:
        """Ends a search."""
        with self._changed:
            self._num_searches -= 1
            if self._is_stopped:
                self._changed.notify_all()

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        with self._changed:
            self._is_stopped = True  # so that those who come later wait, and those who search come to an end
            try:
                self._changed.wait_for(lambda: not self._num_searches)
                yield
            finally:
                self._is_stopped = False
                self._changed.notify_all()


def _slots(retriever: Any, answer: Any, allowed: np.ndarray, size: int) -> np.ndarray:
    def refused(got: str) -> InvalidAnswer:
        return InvalidAnswer(f"{retriever!r} must answer at most {size} different slots of allowed items, i64[<= {size}], got {got}.")

    slots = np.asarray(answer)
    if slots.dtype == np.int64 and slots.ndim == 1 and 0 < len(slots) <= size:
        ordered = np.sort(slots)
        is_inside = ordered[0] >= 0 and ordered[-1] < len(allowed)
        if is_inside and _count(ordered[1:] > ordered[:-1]) == len(slots) - 1 and _count(allowed[slots]) == len(slots):
            return slots.copy()
    if slots.ndim != 1 or slots.dtype.kind not in "iu" or len(slots) > size:
        raise refused(f"{slots.dtype}{list(slots.shape)}")
    inside = (slots >= 0) & (slots < len(allowed))
    if not inside.all() or not allowed[slots].all() or len(set(slots.tolist())) < len(slots):
        raise refused(f"{slots.tolist()!r:.200}")
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
