"""The rewards of an item, with exponential decay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import attrs
import numpy as np

from recsdk.base import Array, Events, Items, Request
from recsdk.checks import number
from recsdk.scorers._slots import at, grown

RESCALE_AFTER = 64.0
"""Half-lives after which the reference time moves on, long before 2**1024, where float64 ends."""


class Earned(NamedTuple):
    """Decayed sums of rewards.

    Attributes:
        sums: f64[capacity], sum of reward * 2^((time - reference) / half_life) of each slot.
        total: f64[], sum of |sums|.
        num_slots: i64[], slots that are in use, those of the log's catalogue or with a reward.
        reference: f64[], seconds since the epoch.
    """

    sums: np.ndarray
    total: np.ndarray
    num_slots: np.ndarray
    reference: np.ndarray


@attrs.frozen(kw_only=True)
class Popularity:
    """Scores an item by its exponentially decayed sum of rewards, relative to the average item's.

    The column is log(1 + sum / average sum) / log(1 + number of items): 0 for an item without reward, 1 where one item of many has
    earned everything. It is relative, so it keeps its meaning when traffic grows; time decays all items alike, so it cancels. A sum
    below 0 scores as its opposite, negated. The sum is not divided by how often the item was shown: rates are the policy's work.

    Attributes:
        half_life: seconds after which a reward counts half.

    Example:
        >>> from recsdk.data import events_from_rows, items_from_rows
        >>> items = items_from_rows([{"id": "a"}, {"id": "b"}])
        >>> state = Popularity().fit(events_from_rows(items, [{"item": "a", "time": 0.0}]))
        >>> Popularity().score(state, Request({}, 0.0), items)[:, 0].tolist()
        [1.0, 0.0]
    """

    columns: ClassVar[tuple[str, ...]] = ("popularity",)

    half_life: float = attrs.field(default=7 * 86400.0, validator=number(above=0))

    def init(self) -> Earned:
        """Returns the sums before any reward: no item has earned anything."""
        return Earned(np.zeros(0), np.array(0.0), np.array(0), np.array(0.0))

    def fit(self, log: Events) -> Earned:
        """See `recsdk.base.Scorer`."""
        num_slots = int(log.items.slot.max(initial=-1)) + 1
        reference = log.time[-1] if len(log.time) else 0.0
        weight = np.exp2((log.time - reference) / self.half_life)
        sums = np.bincount(log.items.slot[log.item], weight * log.reward, minlength=num_slots).astype(np.float64)
        return Earned(sums, np.asarray(np.abs(sums).sum()), np.array(num_slots), np.array(reference, np.float64))

    def score(self, state: Earned, request: Request, candidates: Items) -> Array:
        """Returns f32[K, 1] in [-1, 1]."""
        del request
        if not state.total:
            return np.zeros((len(candidates.slot), 1), np.float32)
        relative = at(state.sums, candidates.slot) / state.total * state.num_slots
        levels = np.log1p(np.abs(relative)) / np.log1p(state.num_slots)
        return np.copysign(levels, relative).astype(np.float32)[:, None]

    def update(self, state: Earned, request: Request, item: Items, reward: float) -> Earned:
        """See `recsdk.base.Online`: adds the reward of one item, dated by the request; O(items)."""
        return self.fold(state, [request], item.slot.tolist(), [reward])

    def fold(self, state: Earned, requests: Sequence[Request], slots: Sequence[int], rewards: Sequence[float]) -> Earned:
        """See `recsdk.base.FoldsOnline`."""
        sums, reference, longest = state.sums, float(state.reference), RESCALE_AFTER * self.half_life
        for (_, time), slot, reward in zip(requests, slots, rewards, strict=True):
            sums = grown(sums, slot + 1)
            if time - reference > longest:
                sums *= 2.0 ** ((reference - time) / self.half_life)
                reference = time
            elif reference - time > longest:
                reference = time  # a clock was wrong then: if its time stayed the reference, no reward would count again
            sums[slot] += reward * 2.0 ** ((time - reference) / self.half_life)
        # The total is summed anew: kept by differences it would drift, and divides.
        total = np.asarray(np.add.reduce(np.abs(sums)))  # as `sum` does, which takes twice as long to call
        return Earned(sums, total, np.array(max((int(state.num_slots), *(slot + 1 for slot in slots)))), np.array(reference, np.float64))
