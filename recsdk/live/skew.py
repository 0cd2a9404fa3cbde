"""Train/serve skew: some decisions are made again from the folder alone, and must come out as they were."""

from __future__ import annotations

import collections
import contextlib
import functools
import hashlib
import heapq
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recsdk.base import Context, Encoder, Policy, Scorer
from recsdk.checks import require_number
from recsdk.ledger import DecisionRecord, ItemRecord, Ledger, RewardRecord, Whole
from recsdk.ledger.stores import store
from recsdk.live import base, marks
from recsdk.live.deciding import DRAW_SCHEME, Choice, Decider
from recsdk.live.drawing import Arm, Places, draw
from recsdk.live.guard import frozen
from recsdk.live.identity import differences
from recsdk.live.learner import Learner
from recsdk.live.marks import POLICY
from recsdk.live.parts import policy_of
from recsdk.live.reproduce import recovered
from recsdk.live.traffic import Arms

MOST = 1_000
"""So many decisions are made again at most."""
TOLERANCE = 1e-4
"""Of features, which models compute in float32; probabilities are computed in float64."""


class Skew(NamedTuple):
    """What came of the decisions that were made again.

    Attributes:
        num_same: decisions that came out as they were.
        different: ids of the others, each with what differs: "features", "probabilities" or "items".
        num_left_out: decisions that cannot be made again: of other parts than the present ones, of a holdout, a ramp or the application;
            those after a user who had rewards was forgotten, or after a correction that the state cannot forget; those from before the
            last reward that was dropped; and those of another process, see `recsdk.LocalRecommender`, whose items have been changed.

    Example:
        >>> Skew(num_same=52, different={"d17": "features"}, num_left_out=3).num_same
        52
    """

    num_same: int
    different: dict[str, str]
    num_left_out: int


def recompute(
    folder: str | Path,
    *,
    share: float = 0.01,
    policy: Policy[Any] | None = None,
    scorers: Sequence[Scorer[Any]] | None = None,
    encoder: Encoder[Any] | None = None,
    challengers: Mapping[str, Policy[Any]] | None = None,
    ledger: Any = None,
) -> Skew:
    """Makes a share of a folder's decisions again: features of the stored request and items, state of the rewards before, draw.

    Whatever differs, what is learned and evaluated is not what was served: a part answers otherwise each time, reads what is not in its
    arguments, such as a clock or a file, or is another one by the same name and settings. Features are compared within 1e-4, probabilities
    within 1e-9. Where the snapshot is of other arithmetic than this process has, the features alone are compared.

    Args:
        folder: the recommender's; it may be open.
        share: of the decisions, chosen by their ids, in [0, 1]; 1,000 at most.
        policy: as for `recsdk.live.reproduce.reproduce`, as are the others.
        scorers: all of them, in their order, as given to `Recommender.open`; None makes them.
        encoder: as given to `Recommender.open`; None makes it.
        challengers: policies of a trial that are no plugins.
        ledger: the kind of ledger, by name or as a config; None looks which installed one the folder holds.

    Raises:
        LedgerMismatch: a part that cannot be made, or is another than the folder's; a folder that has decided nothing yet.
        LedgerCorrupt: when a record is not what was written.
        LedgerError: when there is no ledger in the folder.
        InvalidValue: a share out of its range.

    Example:
        >>> import recsdk
        >>> with recsdk.Recommender.open("barn", items=[{"id": "hay"}, {"id": "oats"}], policy="lin-ts") as barn:
        ...     for _ in range(20):
        ...         _ = barn.reward(barn.recommend({}).decision_id, 1.0)
        >>> recompute("barn", share=1.0)
        Skew(num_same=20, different={}, num_left_out=0)
    """
    require_number("share", share, at_least=0, at_most=1)
    with contextlib.closing(store(folder, ledger).read(folder)) as stored:
        begin, asked = base.first(stored), _chosen(stored, share)
        chosen = [record for record in asked if record.num_learned >= begin]
        num_left_out = len(asked) - len(chosen)
        header = json.loads(stored.get("snapshot/header") or "{}")
        found, makers = dict[str, str](), (policy or policy_of(stored), scorers, encoder, challengers or {})
        with recovered(stored, begin, *makers) as learner:
            again = _Again(stored, learner, is_exact=header.get("arithmetic") in (None, learner.arithmetic))
            for outcome in itertools.chain(stored.outcomes(begin), [None]):
                while chosen and chosen[-1].num_learned <= learner.num_learned:
                    found |= again.told(chosen.pop())
                if outcome is None or not chosen or not _can_learn(learner, *outcome):
                    break
                learner.learn(*reversed(outcome))
    different = {name: what for name, what in found.items() if what not in ("", "left out")}
    num_left_out += sum(what == "left out" for what in found.values()) + len(chosen)
    return Skew(sum(not what for what in found.values()), different, num_left_out)


def _can_learn(learner: Learner, reward: RewardRecord, record: DecisionRecord) -> bool:
    """Tells whether a learner goes on as the one that served: not after what it cannot know any more, or cannot forget."""
    return bool(len(record.action)) and (reward.replaces is None or learner.forgets)


def _chosen(stored: Ledger, share: float) -> list[DecisionRecord]:
    """Returns a share of the decisions, those that had learned least last."""
    hashed = ((_hash(record.decision_id), number, record) for number, record in enumerate(stored.decisions()) if _is_own(record))
    chosen = heapq.nsmallest(MOST, (entry for entry in hashed if entry[0] < share))
    return [record for _, _, record in sorted(chosen, key=lambda entry: (-entry[2].num_learned, -entry[1]))]


def _is_own(record: DecisionRecord) -> bool:
    """Tells whether it is not emptied, and no slate that was served again."""
    return bool(len(record.action)) and marks.read(record).repeats is None


def _hash(decision_id: str) -> float:
    digest = hashlib.blake2b(decision_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


class _Again:
    """Makes decisions again, of what a learner knows."""

    def __init__(self, stored: Ledger, learner: Learner, is_exact: bool) -> None:
        self._stored = stored
        self._learner = learner
        self._is_exact = is_exact
        self._decider = Decider(learner, Choice((), 1, 0, 1, logs_all=True), Arms(None))
        self._decider.start(stored)
        self._can: dict[str, bool] = {}  # by the text of the parts

    def told(self, record: DecisionRecord) -> dict[str, str]:
        """Returns by the decision's id what differs; "" for nothing."""
        if not self._can_be_made(record) or (marks.read(record).local and not self._changed.isdisjoint(record.slots.tolist())):
            return {record.decision_id: "left out"}
        return {record.decision_id: self._difference(record)}

    @functools.cached_property
    def _changed(self) -> frozenset[int]:
        """The slots of items that were changed at some time: a decision of another process may know them as they were before."""
        if not isinstance(self._stored, Whole):
            return frozenset(item.slot for item in self._stored.items())
        shown = (event for event in self._stored.events() if isinstance(event, ItemRecord))
        return frozenset(slot for slot, num in collections.Counter(item.slot for item in shown).items() if num > 1)

    def _can_be_made(self, record: DecisionRecord) -> bool:
        if record.parts not in self._can:
            parts = json.loads(record.parts)
            same = (parts.get("model"), parts.get("draw")) == (self._learner.evidence.model, DRAW_SCHEME)
            self._can[record.parts] = same and "ramp" not in parts and not differences(parts["policy"], self._learner.policy)
        return self._can[record.parts] and marks.is_of_the_policy(record) and marks.unfit(record, 0) is None

    def _difference(self, record: DecisionRecord) -> str:
        evidence, slots = self._learner.evidence, record.slots.astype(np.int64)
        request, items = self._learner.as_asked(record), self._learner.as_shown(record, slots.tolist())
        vectors = np.stack([self._stored.shown(record.decision_id, slot).vector for slot in slots.tolist()])
        phi = evidence.phi(evidence.user(request), request, items, vectors)
        keeps_all = len(record.features) == len(slots)
        if not np.allclose(phi if keeps_all else phi[record.action], record.features, rtol=TOLERANCE, atol=TOLERANCE / 100):
            return "features"
        if not self._is_exact:
            return ""
        phi = record.features.astype(np.float64) if keeps_all else phi
        context = Context(frozen(phi), frozen(np.ones(len(slots), bool)), frozen(slots))
        found = marks.read(record)
        wanted = Places({place: int(record.action[place]) for place in found.pinned}, dict(found.promoted))
        arm = Arm(POLICY, 1.0, self._learner.policy, self._learner.state)
        again = draw([arm], self._decider.rng(record.decision_id), context, len(record.action), wanted).decision
        if not np.allclose(again.probs, record.probs, rtol=0, atol=1e-9):
            return "probabilities"
        return "" if np.array_equal(again.action, record.action) else "items"
