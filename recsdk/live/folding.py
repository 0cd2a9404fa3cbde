"""What a fold learns from: outcomes in blocks, with the features of a block in one array, and items as they were shown, each read once."""

from __future__ import annotations

import itertools
import json
import math
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from recsdk.base import Context, Interaction, Items, Policy, fold, learn, rounds
from recsdk.data import items_from_stored
from recsdk.ledger import Ledger, RewardRecord, YieldsFields
from recsdk.ledger.records import FLOAT32, decision, fields_of
from recsdk.live import histories
from recsdk.live.catalogue import Catalogue
from recsdk.live.guard import everything, frozen_items, only_reading
from recsdk.live.interactions import after
from recsdk.live.marks import loads

INT, DOUBLE = struct.Struct("<i"), struct.Struct("<d")
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

    @property
    def slot(self) -> int:
        """Slot of the rewarded item; for a page of the one at the top."""
        *_, slots, action, _, _, _, _, _ = self.fields
        (place,) = INT.unpack_from(action, INT.size * max(self.reward.position, 0))
        return int(INT.unpack_from(slots, INT.size * place)[0])


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


def outcome_fields(ledger: Ledger, start: int) -> Iterator[tuple[RewardRecord, Sequence[Any]]]:
    """Yields the outcomes of any ledger, each with the fields of its decision."""
    if isinstance(ledger, YieldsFields):
        return ledger.outcome_fields(start)
    return ((reward, fields_of(record)) for reward, record in ledger.outcomes(start))


def states_after(policy: Policy[Any], state: Any, lessons: Iterable[Lesson]) -> Iterator[tuple[Any, int]]:
    """Yields states, and how many more lessons each has learned: to the last bit as `interactions.after` learns them, one by one."""
    is_of_chosen = policy.learns_from == "chosen"
    for is_plain, run in itertools.groupby(lessons, lambda lesson: is_of_chosen and _is_plain(lesson)):
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
    rows, slot, value, propensity = list[bytes](), list[int](), list[float](), list[float]()
    for (_, _, _, _, _, slots, action, probs, dim, features, _, _), reward, _, _ in lessons:
        position = max(reward.position, 0)
        (place,) = INT.unpack_from(action, INT.size * position)
        start = FLOAT32.itemsize * dim * (place if len(features) == dim * len(slots) else position)  # of all candidates, or of the shown
        rows.append(features[start : start + FLOAT32.itemsize * dim])
        slot += INT.unpack_from(slots, INT.size * place)
        propensity += DOUBLE.unpack_from(probs, DOUBLE.size * (position * (len(slots) // INT.size) + place))
        value.append(reward.value)
    num, width = len(rows), lessons[0].fields[8]
    features = np.empty((num, math.ceil(width / ALIGNED) * ALIGNED))[:, :width]
    features[:] = np.frombuffer(b"".join(rows), FLOAT32).reshape(num, width)
    numbers = np.array([value, propensity])
    is_good = np.isfinite(numbers).all() and (numbers[1] > 0).all() and (numbers[1] <= 1).all() and np.isfinite(features).all()
    context = Context(features[:, None], everything(num)[:, None], np.array(slot, np.int64)[:, None])
    return Interaction(context, np.zeros(num, np.int64), numbers[0], numbers[1], np.ones(num)), bool(is_good)


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
