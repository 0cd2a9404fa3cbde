"""What an application wants at the positions of a slate: pinned and promoted items, or a choice of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from recsdk.errors import InvalidRequest
from recsdk.live import intake
from recsdk.live.drawing import Places


class Placing(NamedTuple):
    """What is wanted, by the ids of items.

    Attributes:
        pinned: the item to show at a position.
        promoted: the items that a position is to be drawn from.
        chosen: the slate that the application has chosen itself; empty for none.
    """

    pinned: tuple[tuple[int, str], ...] = ()
    promoted: tuple[tuple[int, tuple[str, ...]], ...] = ()
    chosen: tuple[str, ...] = ()

    @property
    def required(self) -> list[str]:
        """The items that must be among the candidates, whatever the rules say."""
        return [*self.chosen, *(item_id for _, item_id in self.pinned)]

    @property
    def welcome(self) -> list[str]:
        """The items that are among the candidates where the rules let them."""
        return list(dict.fromkeys(item_id for _, ids in self.promoted for item_id in ids))

    def asked(self) -> dict[str, Any]:
        """Returns what is wanted in plain JSON, by name; nothing for nothing."""
        return {} if self is ANY else {name: _plain(value) for name, value in self._asdict().items() if value}

    def places(self, slots: np.ndarray, find: Callable[[Sequence[str]], np.ndarray]) -> Places:
        """Returns what is wanted as indices of the candidates in `slots`; `find` gives the slots of items.

        Promoted items that are no candidates are left out.
        """
        index = {slot: place for place, slot in enumerate(slots.tolist())}
        pinned = {position: index[find([item_id])[0]] for position, item_id in self.pinned}
        promoted = {position: [index[slot] for slot in find(ids).tolist() if slot in index] for position, ids in self.promoted}
        return Places(pinned, {position: found for position, found in promoted.items() if found})


ANY = Placing()
"""Nothing wanted: every position is drawn from all."""


def checked(pinned: Any, promoted: Any, chosen: Any, size: int) -> Placing:
    """Returns the arguments of `Recommender.recommend` as a record.

    Raises:
        InvalidRequest: a position out of the slate, or wanted twice; an item pinned twice; a choice of another length.
    """
    if pinned is None and promoted is None and chosen is None:
        return ANY
    fixed = {position: _item("pinned", position, given) for position, given in _by_position("pinned", pinned, size).items()}
    drawn = {position: intake.candidates(given) for position, given in _by_position("promoted", promoted, size).items()}
    if len(set(fixed.values())) < len(fixed):
        raise InvalidRequest(f"pinned must give each item one position, got {fixed}.")
    for position, ids in drawn.items():
        if position in fixed or not ids:
            raise InvalidRequest(f"promoted must have at least one item for each position, none of them pinned, got {position}: {ids}.")
    if chosen is None:
        return Placing(tuple(sorted(fixed.items())), tuple((position, tuple(ids)) for position, ids in sorted(drawn.items())))
    if fixed or drawn:
        raise InvalidRequest("chosen is the whole slate: leave pinned and promoted out.")
    taken = intake.candidates(chosen)
    if len(taken) != size or len(set(taken)) < size:
        raise InvalidRequest(f"chosen must be size = {size} different item ids, from the top, got {taken}.")
    return Placing(chosen=tuple(taken))


def _by_position(name: str, given: Any, size: int) -> dict[int, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise InvalidRequest(f"{name} must be a mapping by position, such as {{0: ...}} for the top, got {given!r}.")
    for position in given:
        if not isinstance(position, int) or isinstance(position, bool) or not 0 <= position < size:
            raise InvalidRequest(f"{name} must have positions from 0 to {size - 1}, the last of the slate, got {position!r}.")
    return dict(given)


def _item(name: str, position: int, given: Any) -> str:
    if not isinstance(given, str):
        raise InvalidRequest(f"{name}[{position}] must be an item id of type str, got {given!r}.")
    return given


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, tuple) else value
