"""What a fold learns from: outcomes in blocks, with the features of a block in one array, and items as they were shown, each read once."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from recsdk.base import Context, Interaction, Items, Policy, Request, fold, learn, rounds
from recsdk.data import items_from_stored
from recsdk.ledger import Ledger, RewardRecord, YieldsFields
from recsdk.ledger.records import FLOAT32, FLOAT64, INT32, decision, fields_of
from recsdk.live import histories
from recsdk.live.catalogue import Catalogue
from recsdk.live.guard import everything, frozen_items, only_reading
from recsdk.live.interactions import after
from recsdk.live.marks import loads

INT = INT32.itemsize
TIME, PAYLOAD, PARTS, SLOTS, ACTION, DIM = 1, 2, 3, 5, 6, 8
"""Places of some fields of a decision."""
BLOCK = 200
"""Outcomes that are read and prepared together."""
ALIGNED = 8
"""Numbers that a row takes a multiple of: each lies in memory as an array of its own may, not at an odd number of them from one."""
NUM_KEPT = 10_000
"""Items that are kept as they were shown."""

_decode = json.JSONDecoder().raw_decode  # what a ledger has was written without spaces around it


class Lesson(NamedTuple):
    """An outcome to be learned.

    Attributes:
        fields: of its decision, see `recsdk.ledger.records.fields_of`, with phi in the present columns.
        reward: what came of it.
        earlier: the reward that this one takes back first; None for none.
        counts: whether it is learned; not so what was corrected later, where the state cannot forget it.
    """

    fields: Sequence[Any]
    reward: RewardRecord
    earlier: RewardRecord | None = None
    counts: bool = True


class Logged(Mapping[str, Any]):
    """The features of a logged request, read when they are first looked at."""

    __slots__ = ("_payload", "_told")

    def __init__(self, payload: str) -> None:
        self._payload = payload
        self._told: dict[str, Any] | None = None

    def told(self) -> dict[str, Any]:
        """Returns all of them."""
        if self._told is None:
            self._told = requested(self._payload)
        return self._told

    def __getitem__(self, name: str) -> Any:
        return self.told()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.told())

    def __len__(self) -> int:
        return len(self.told())


def requested(payload: str) -> dict[str, Any]:
    """Returns the features of the request in the payload of a decision."""
    return histories.features(_decode(payload)[0])


def asked(lessons: Sequence[Lesson]) -> list[Request]:
    """Returns the requests, whose features are read when they are first looked at."""
    return [Request(Logged(lesson.fields[PAYLOAD]), lesson.fields[TIME]) for lesson in lessons]


def outcome_fields(ledger: Ledger, start: int) -> Iterator[tuple[RewardRecord, Sequence[Any]]]:
    """Yields the outcomes of any ledger, each with the fields of its decision."""
    if isinstance(ledger, YieldsFields):
        return ledger.outcome_fields(start)
    return ((reward, fields_of(record)) for reward, record in ledger.outcomes(start))


def shown_slots(lessons: Sequence[Lesson]) -> np.ndarray:
    """Returns i32[T], the slots of the rewarded items; for pages of those at the top."""
    slots, action = ([lesson.fields[place] for lesson in lessons] for place in (SLOTS, ACTION))
    return _at(slots, _at(action, _positions(lessons), INT32).tolist(), INT32)


def _positions(lessons: Sequence[Lesson]) -> list[int]:
    return [max(reward.position, 0) for _, reward, _, _ in lessons]


def _at(arrays: Sequence[bytes], places: Sequence[int], dtype: np.dtype[Any], width: int = 1) -> np.ndarray:
    """Returns of each array so many numbers from `width` times its place on, behind each other."""
    size = width * dtype.itemsize
    return np.frombuffer(b"".join([data[size * place : size * (place + 1)] for data, place in zip(arrays, places, strict=True)]), dtype)


def states_after(policy: Policy[Any], state: Any, lessons: Iterable[Lesson]) -> Iterator[tuple[Any, int]]:
    """Yields states, and how many more lessons each has learned: to the last bit as `interactions.after` learns them, one by one."""
    for is_plain, run in itertools.groupby(lessons, _is_plain if policy.learns_from == "chosen" else lambda _: False):
        if is_plain:
            log, is_good = _log(list(run))
            if is_good and "numpy" in policy.runs_on:
                with only_reading(policy):
                    state = fold(policy, state, log)
                yield state, len(log.action)
                continue
            for interaction in rounds(log):
                with only_reading(policy):
                    state = learn(policy, state, interaction)  # which refuses the bad one
                yield state, 1
            continue
        for fields, reward, earlier, counts in run:
            state = after(policy, state, decision(fields), reward, earlier) if counts else state
            yield state, 1


def _is_plain(lesson: Lesson) -> bool:
    fields, reward, earlier, counts = lesson
    return counts and earlier is None and not reward.void and (fields[-1] is None or loads(fields[-1]).has_all_evidence)


def _log(lessons: Sequence[Lesson]) -> tuple[Interaction, bool]:
    """Returns what `interactions.interaction` does of each, for a policy that learns from the chosen candidate.

    And whether `base.learn` would refuse none of them.
    """
    *_, slots, action, probs, (width, *_), features, _, _ = zip(*[lesson.fields for lesson in lessons], strict=True)
    positions, num = _positions(lessons), len(lessons)
    places: list[int] = _at(action, positions, INT32).tolist()
    drawn = [position * (len(each) // INT) + place for each, position, place in zip(slots, positions, places, strict=True)]
    keeps_all = [len(x) == width * len(each) for x, each in zip(features, slots, strict=True)]
    rows = [place if all_ else position for all_, place, position in zip(keeps_all, places, positions, strict=True)]
    x = np.empty((num, math.ceil(width / ALIGNED) * ALIGNED))[:, :width]
    x[:] = _at(features, rows, FLOAT32, width).reshape(num, width)
    reward, propensity = np.array([lesson.reward.value for lesson in lessons]), _at(probs, drawn, FLOAT64)
    is_good = np.isfinite(reward).all() and (propensity > 0).all() and (propensity <= 1).all() and np.isfinite(x).all()
    context = Context(x[:, None], everything(num)[:, None], _at(slots, places, INT32).astype(np.int64)[:, None])
    return Interaction(context, np.zeros(num, np.int64), reward, propensity, np.ones(num)), bool(is_good)


class AsShown:
    """Items as they were when decisions were made: by now a catalogue may hold them with other features.

    Those that were shown alone are kept, as long as the catalogue is the same.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._present: Items | None = None
        self._kept: dict[tuple[int, str], Items] = {}

    def one(self, ledger: Ledger, decision_id: str, slot: int) -> Items:
        """Returns one item, which cannot be written to."""
        row = ledger.shown(decision_id, slot).row
        if self._present is not self._catalogue.items or len(self._kept) >= NUM_KEPT:
            self._kept.clear()
            self._present = self._catalogue.items
        found = self._kept.get((slot, row))
        if found is None:
            found = self._kept[slot, row] = frozen_items(self._made([row], [slot]))
        return found

    def all(self, ledger: Ledger, decision_id: str, slots: Sequence[int]) -> Items:
        """Returns some items."""
        return self._made([ledger.shown(decision_id, slot).row for slot in slots], slots)

    def _made(self, rows: Sequence[str], slots: Sequence[int]) -> Items:
        items = items_from_stored(map(json.loads, rows))
        missing = {
            name: np.full(len(slots), np.nan if column.dtype == np.float64 else None, column.dtype)
            for name, column in self._catalogue.items.features.items()
        }
        return items._replace(slot=np.array(slots, np.int64), features={**missing, **items.features})
