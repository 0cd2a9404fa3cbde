"""What a fold learns from: outcomes in blocks, with the features of a block in one array, and items as they were shown, each read once."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from recsdk.base import Context, Interaction, Items, Policy, learn
from recsdk.data import items_from_stored
from recsdk.errors import InvalidAnswer
from recsdk.ledger import DecisionRecord, Ledger, RewardRecord
from recsdk.live.catalogue import Catalogue
from recsdk.live.guard import frozen_items
from recsdk.live.interactions import after
from recsdk.live.marks import read

BLOCK = 200
"""Outcomes that are read and prepared together."""
ALIGNED = 8
"""Numbers that a row takes a multiple of: each lies in memory as an array of its own may, not at an odd number of them from one."""
NUM_KEPT = 10_000
"""Items that are kept as they were shown."""


class Lesson(NamedTuple):
    """An outcome to be learned.

    Attributes:
        record: its decision, with phi in the present columns.
        reward: what came of it.
        earlier: the reward that this one takes back first; None for none.
        counts: whether it is learned; not so what was corrected later, where the state cannot forget it.
    """

    record: DecisionRecord
    reward: RewardRecord
    earlier: RewardRecord | None = None
    counts: bool = True


def states_after(policy: Policy[Any], state: Any, lessons: Sequence[Lesson]) -> Iterator[Any]:
    """Yields the state after each lesson: to the last bit what `interactions.after` returns, one by one."""
    plain = [place for place, lesson in enumerate(lessons) if _is_plain(lesson)] if policy.learns_from == "chosen" else []
    interactions, is_good = _interactions([lessons[place] for place in plain])
    rounds, is_checked = dict(zip(plain, interactions, strict=True)), is_good and "numpy" in policy.runs_on
    for place, (record, reward, earlier, counts) in enumerate(lessons):
        if place not in rounds:
            state = after(policy, state, record, reward, earlier) if counts else state
        elif is_checked:
            state = _given(policy, state, policy.update(state, rounds[place]))
        else:
            state = learn(policy, state, rounds[place])
        yield state


def _given(policy: Policy[Any], before: Any, state: Any) -> Any:
    if state is None and before is not None:
        raise InvalidAnswer(f"update of {policy!r} must return the state after the interaction, got None.")
    return state


def _is_plain(lesson: Lesson) -> bool:
    record, reward, earlier, counts = lesson
    return counts and earlier is None and not reward.void and (record.marks is None or read(record).has_all_evidence)


def _interactions(lessons: Sequence[Lesson]) -> tuple[list[Interaction], bool]:
    """Returns what `interactions.interaction` does of each, for a policy that learns from the chosen candidate.

    And whether `base.learn` would refuse none of them; where it is told no, that finds the one.
    """
    rows, slots, values, propensities = list[np.ndarray](), list[int](), list[float](), list[float]()
    for record, reward, _, _ in lessons:
        position = max(reward.position, 0)
        action = record.action[position]
        rows.append(record.features[action if len(record.features) == len(record.slots) else position])
        slots.append(record.slots[action])
        values.append(reward.value)
        propensities.append(float(record.probs[position, action]))
    if not rows:
        return [], True
    width = len(rows[0])
    features = np.empty((len(rows), math.ceil(width / ALIGNED) * ALIGNED))[:, :width]
    features[:] = np.concatenate(rows).reshape(len(rows), width)
    is_good = all(map(math.isfinite, values)) and all(0 < propensity <= 1 for propensity in propensities) and np.isfinite(features).all()
    masks, items = np.ones((len(rows), 1), bool), np.array(slots, np.int64)[:, None]
    contexts = map(Context, features[:, None], masks, items)
    numbers = zip(contexts, values, propensities, strict=True)
    return [Interaction(context, 0, value, propensity, 1.0) for context, value, propensity in numbers], bool(is_good)


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
