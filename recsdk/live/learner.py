"""The policy's state in the live loop: a fold over the ledger's rewards."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from recsdk import arrays, states
from recsdk.base import Forgettable, Items, Mergeable, Policy, Request
from recsdk.errors import ChangedSetting, InvalidAnswer, InvalidValue, LedgerCorrupt, LedgerMismatch, RecsdkError, warn
from recsdk.ledger import Corrects, DecisionRecord, Ledger, RewardRecord
from recsdk.ledger.records import decision, fields_of
from recsdk.live import base, features, layout
from recsdk.live.arithmetic import arithmetic
from recsdk.live.base import BASE, Beginning
from recsdk.live.catalogue import Catalogue
from recsdk.live.contest import Change, Contest
from recsdk.live.evidence import Evidence
from recsdk.live.folding import ACTION, BLOCK, DIM, PARTS, AsShown, Lesson, asked, outcome_fields, requested, shown_slots, states_after
from recsdk.live.identity import differences, identity
from recsdk.live.interactions import after

TOLERANCE = 1e-6
"""How far that state may be from the fold of the rewards that are left, as a share of its largest number, or of 1."""
MIXED = "mixed"
QUICK = 5_000
"""Rewards that are folded again in less than a second, which is exact to the last bit."""


class Mark(NamedTuple):
    """A place in a learner's life.

    Attributes:
        num_learned: rewards that the state had been folded over.
        num_tried: rewards that were shown to the policy since the folder was opened, refused ones too.
        num_changes: how often another policy began to decide since then.
    """

    num_learned: int
    num_tried: int
    num_changes: int


class Learner:
    """The state of a policy and of the scorers that learn online.

    One thread at a time changes it, the one that has its turn at the ledger. Others only read the policy's state, and hold `lock` for that:
    an update may change the state in place, and native policies serve one caller at a time.

    Attributes:
        state: the policy's; None once closed.
        num_learned: rewards that the state has been folded over.
        contest: the challengers, which learn the same; None for none.
        num_recoveries: how often the state was made from the ledger; what was computed from an earlier one may never have been durable.
        lock: is held while the policy or its state is used, and while a state is recovered or audited.
    """

    def __init__(
        self, policy: Policy[Any], evidence: Evidence, catalogue: Catalogue, ledger: Ledger, contest: Contest | None = None
    ) -> None:
        self.policy = policy
        self.evidence = evidence
        self.catalogue = catalogue
        self.state: Any = None
        self.num_learned = 0
        self.contest = contest
        self.num_recoveries = 0
        self.lock = threading.RLock()
        self._num_tried = self._num_changes = 0
        self._ledger = ledger
        self._is_mixed = False
        self._shown = AsShown(catalogue)
        self._layouts: dict[tuple[str, int], layout.Layout] = {}  # by the text of the parts, which rarely changes, and phi's width

    @property
    def forgets(self) -> bool:
        """Whether a reward can be taken out of the state again, so that a correction costs no more than a reward."""
        policies = [self.policy] if self.contest is None else self.contest.policies.values()
        return all(isinstance(policy, Forgettable) for policy in policies) and not self.evidence.learns

    @property
    def arithmetic(self) -> str:
        """How what the policies learn was rounded; "mixed" where the state goes on from a snapshot that was rounded otherwise."""
        return MIXED if self._is_mixed else arithmetic(self.policy, *(() if self.contest is None else self.contest.policies.values()))

    def learn(self, record: DecisionRecord, reward: RewardRecord) -> None:
        """Folds one reward into the state; where the state can forget, a correction too.

        Raises:
            InvalidValue: what the policy refuses; nothing has changed then, nor has `num_learned`, unless it was a correction.
        """
        if not len(record.action):  # its user is forgotten
            self.num_learned += 1
            return
        earlier = self._corrected(reward) if reward.replaces is not None and self.forgets else None
        placed = self._in_present_layout(record)
        with self.lock:
            number = self.num_learned + 1
            self._num_tried += 1
            if earlier is not None:
                self.num_learned = -1  # until it is done: if the policy refuses the new reward, the state has forgotten the old one
            self.state = after(self.policy, self.state, placed, reward, earlier)
            self.num_learned = number
            if self.contest is not None:
                self._judge(self.contest, placed, reward)
                self.contest.learn(placed, reward, earlier)
        self._teach_scorers(record, reward)

    def learn_all(self, outcomes: Sequence[tuple[DecisionRecord, RewardRecord]]) -> None:
        """Learns what was just put into the ledger, inside that transaction.

        Where there are corrections and the state cannot forget, it is made again from the snapshot before them, or from the start. Then
        it is written at once, so that no other reader of the ledger has to do so.
        """
        if all(reward.replaces is None for _, reward in outcomes) or self.forgets:
            for record, reward in outcomes:
                self.learn(record, reward)
            return
        with self.lock:
            present = self.state, self.num_learned, self.evidence.states, self._is_mixed
            challengers = None if self.contest is None else self.contest.held()
            try:
                self.state = None
                self._refold(*self._restore())
            except BaseException:
                self.close()
                self.state, self.num_learned, self.evidence.states, self._is_mixed = present
                if self.contest is not None and challengers is not None:
                    self.contest.hold(challengers)
                raise
            states.close(self.policy, present[0])
            if self.contest is not None and challengers is not None:
                self.contest.drop(challengers)
        self.keep()

    def _teach_scorers(self, record: DecisionRecord, reward: RewardRecord) -> None:
        """Shows a reward to the scorers that learn online."""
        if self.evidence.learns and not reward.void:
            slot = int(record.slots[record.action[max(reward.position, 0)]])
            self.evidence.learn(self.as_asked(record), self._shown.one(self._ledger, record.decision_id, slot), reward.value)

    def mark(self) -> Mark:
        """Returns where it stands."""
        return Mark(self.num_learned, self._num_tried, self._num_changes)

    def is_ahead(self, before: Mark, error: BaseException) -> bool:
        """Tells whether the state may hold what the ledger does not, after what was written since `before` was rolled back.

        A policy that refuses a reward has changed nothing; after any other error in it nobody knows, nor after a wrong answer of it.
        """
        if self._num_changes != before.num_changes:
            return True
        is_refusal = isinstance(error, RecsdkError) and not isinstance(error, InvalidAnswer)
        return self._num_tried != before.num_tried and not (is_refusal and self.num_learned == before.num_learned)

    def share(self, outcomes: Sequence[tuple[DecisionRecord, RewardRecord]]) -> Any:
        """Returns what outcomes alone would have taught, to be subtracted; None where the state is no sum of them."""
        if not self.forgets or self.contest is not None:
            return None
        part = self._fresh()
        for record, reward in outcomes:
            part = after(self.policy, part, self._in_present_layout(record), reward, None)
        return part

    def subtract(self, part: Any) -> bool:
        """Takes out of the state what `share` gave, and writes it as what folds begin with; inside a transaction.

        Returns:
            False where it cannot be taken out, or folding again is as quick and as exact; nothing has changed then.
        """
        before = self.beginning()
        if part is None or (self.num_learned <= QUICK and not before.num_learned):
            return False
        with self.lock:
            try:
                self.state = self.policy.subtract(self.state, part)  # type: ignore[attr-defined]  # `forgets` has asked
            except InvalidValue:  # too little is left to be told from rounding
                return False
            self._num_changes += 1
            self.num_recoveries += 1
        for name in before.header.get("contest", {}).get("entries", {}):  # they had learned of the user, too
            self._ledger.put(f"{BASE}/challenger/{name}", b"")
        if before.num_learned:
            self.keep_base(self._ledger)
        else:
            self._ledger.put(f"{BASE}/header", json.dumps(self._header()).encode())
            self._ledger.put(f"{BASE}/policy", states.dumps(self.policy, self.state))
        return True

    def refold(self) -> None:
        """Makes the state again from the rewards in the ledger, from the start; inside a transaction."""
        with self.lock:
            self._num_changes += 1
            self.num_recoveries += 1
            self.close()
            if self.contest is not None:
                self.contest.reread(self._ledger)
            self._refold(*self._start())

    def _in_present_layout(self, record: DecisionRecord) -> DecisionRecord:
        """Returns a decision with phi in the columns of the present parts; a column that did not exist then is 0."""
        old, new = self._layout_of(record.parts, record.features.shape[1]), self.evidence.layout
        if old == new:
            return record
        rows = layout.moved(record.features, old, new)
        if new.dim and old.version != new.version:  # two versions have different spaces: encode the request and the items again
            slots = record.slots if len(rows) == len(record.slots) else record.slots[record.action]
            vectors = [self.evidence.vectors(self.as_shown(record, [slot])) for slot in slots.tolist()]
            columns = rows[:, new.start : new.start + len(new.columns)]
            rows = features.phi(self.evidence.user(self.as_asked(record)), np.concatenate(vectors), columns).astype(np.float32)
        return record._replace(features=rows)

    def _in_present_columns(self, fields: Sequence[Any]) -> Sequence[Any]:
        """Is `_in_present_layout` of the fields of a decision."""
        if self._layout_of(fields[PARTS], fields[DIM]) == self.evidence.layout:
            return fields
        return fields_of(self._in_present_layout(decision(fields)))

    def _layout_of(self, parts: str, width: int) -> layout.Layout:
        found = self._layouts.get((parts, width))
        if found is None:
            found = self._layouts[parts, width] = layout.read(parts, width, self.evidence.known)
        return found

    def as_shown(self, record: DecisionRecord, slots: Sequence[int]) -> Items:
        """Returns items as they were when a decision was made."""
        return self._shown.all(self._ledger, record.decision_id, slots)

    @staticmethod
    def as_asked(record: DecisionRecord) -> Request:
        """Returns the request of a decision."""
        return Request(requested(record.payload), record.time)

    def recover(self) -> None:
        """Makes the state from the ledger: the last good snapshot of this policy, or the start, and the rewards after it."""
        with self.lock:
            self.close()
            if self.contest is not None:
                self.contest.reread(self._ledger)
                self.policy = self.contest.policy
            self._refold(*self._restore())
            self.num_recoveries += 1

    def fold(self) -> None:
        """Makes the state from the start of the ledger."""
        self.close()
        self._warn_of_dropped()
        self._refold(*self._start())

    def take_up(self, ledger: Ledger, serving: Learner) -> None:
        """Goes on in another's place, inside a transaction: with its ledger and its roles, and what it has learned meanwhile."""
        self._ledger = ledger
        if self.contest is not None and serving.contest is not None:
            self.state = self.contest.follow(serving.contest, self.state)
            self.policy = self.contest.policy
        self.learn_all([(record, reward) for reward, record in ledger.outcomes(self.num_learned)])
        if self.contest is not None:
            self.contest.begin(self.num_learned)
            self.contest.write(ledger)
        self.keep()

    def keep_up(self) -> None:
        """Learns what another has learned meanwhile; where that was corrected, `take_up` does."""
        outcomes = list(self._ledger.outcomes(self.num_learned))
        if all(reward.replaces is None for reward, _ in outcomes):
            for reward, record in outcomes:
                self.learn(record, reward)

    def _refold(self, state: Any, num_learned: int, end: int | None = None) -> None:
        """Folds the rewards after number `num_learned`, up to number `end`, into a state.

        What was corrected is left out where the state cannot forget it.
        """
        self.state, self.num_learned = state, num_learned
        forgets, outcomes = self.forgets, itertools.islice(outcome_fields(self._ledger, num_learned), end and end - num_learned)
        replaced = frozenset[str]() if forgets else self._replaced(num_learned)
        while block := list(itertools.islice(outcomes, BLOCK)):
            lessons = self._lessons([outcome for outcome in block if outcome[1][ACTION]], forgets, replaced)
            self._fold(lessons)
            self.num_learned += len(block) - len(lessons)  # users who are forgotten

    def _lessons(self, outcomes: Sequence[tuple[RewardRecord, Sequence[Any]]], forgets: bool, replaced: frozenset[str]) -> list[Lesson]:
        rewards, decisions = [reward for reward, _ in outcomes], [fields for _, fields in outcomes]
        if {self._layout_of(*key) for key in {(fields[PARTS], fields[DIM]) for fields in decisions}} - {self.evidence.layout}:
            decisions = list(map(self._in_present_columns, decisions))
        if forgets:
            return list(map(Lesson, decisions, rewards, map(self._corrected, rewards)))
        return [Lesson(fields, reward, None, reward.reward_id not in replaced) for reward, fields in zip(rewards, decisions, strict=True)]

    def _fold(self, lessons: Sequence[Lesson]) -> None:
        self._num_tried += len(lessons)
        for state, num in states_after(self.policy, self.state, lessons):
            self.state = state
            self.num_learned += num
        if self.contest is not None:
            for fields, reward, earlier, counts in lessons:
                record = decision(fields)
                self._judge(self.contest, record, reward)
                if counts:
                    self.contest.learn(record, reward, earlier)
        if self.evidence.learns:
            self._fold_scorers([lesson for lesson in lessons if lesson.counts and not lesson.reward.void])

    def _fold_scorers(self, lessons: Sequence[Lesson]) -> None:
        """Shows rewards to the scorers that learn online."""
        slots, rewards = shown_slots(lessons).tolist(), [lesson.reward.value for lesson in lessons]
        self.evidence.fold(
            asked(lessons), slots, rewards, lambda place: self._shown.one(self._ledger, lessons[place].fields[0], slots[place])
        )

    def _corrected(self, reward: RewardRecord) -> RewardRecord | None:
        """Returns the reward that this one takes the place of, if any."""
        return None if reward.replaces is None else self._ledger.reward(reward.replaces)

    def _judge(self, contest: Contest, record: DecisionRecord, reward: RewardRecord) -> None:
        """Lets the policies be judged by a reward, unless the decision has judged them: a page and its top item are one outcome."""
        if reward.replaces is None and reward.position <= 0:
            tops = (other for other in self._ledger.rewards_of(record.decision_id) if other.position <= 0)
            if next(tops, reward).reward_id == reward.reward_id:  # itself, or it is not in the ledger yet
                contest.judge(record, reward)

    def _replaced(self, start: int) -> frozenset[str]:
        """Returns the ids of all rewards that are corrected by rewards from number `start` on."""
        if isinstance(self._ledger, Corrects):
            return self._ledger.replaced(start)
        return frozenset(reward.replaces for reward in self._ledger.rewards(start) if reward.replaces is not None)

    def audit(self) -> bool:
        """Folds every reward from the start again, and tells whether that gives the present state to the last bit.

        Raises:
            InvalidValue: for a native part, which does not write the same state in the same bytes.
        """
        contest = self.contest
        for part in (*(contest.policies.values() if contest is not None else [self.policy]), *self.evidence.scorers):
            if states.is_native(part):
                raise InvalidValue(f"audit must compare states of arrays, got the native {part!r}.")
        with self.lock:
            written = self._written()
            present = self.state, self.num_learned, self.evidence.states, self._is_mixed
            challengers = None if contest is None else contest.held()
            try:
                self._refold(*self._start())
                return self._written() == written and self._base_is_right()
            finally:
                self.state, self.num_learned, self.evidence.states, self._is_mixed = present
                if contest is not None and challengers is not None:
                    contest.hold(challengers)

    def snapshot(self) -> None:
        """Writes the state, all or nothing."""
        with self._ledger.transaction():
            self.keep()

    def keep(self) -> None:
        """Writes the state, inside a transaction."""
        self._keep(self._ledger, "snapshot", self._header())

    def keep_base(self, ledger: Ledger) -> None:
        """Writes the state as what folds begin with, since rewards that it has learned are dropped; inside a transaction."""
        self._keep(ledger, BASE, self._header() | {"dropped": True})

    def _keep(self, ledger: Ledger, where: str, header: dict[str, Any]) -> None:
        with self.lock:
            written = states.dumps(self.policy, self.state)
            if self.contest is not None:
                header["contest"] = self.contest.keep(ledger, where)
        ledger.put(f"{where}/header", json.dumps(header).encode())
        ledger.put(f"{where}/policy", written)
        self.evidence.keep(ledger, where)

    def _header(self) -> dict[str, Any]:
        phi = layout.to_json(self.evidence.layout)
        header = {"policy": identity(self.policy), "num_learned": self.num_learned, "phi": phi, "arithmetic": self.arithmetic}
        return header | {"forgets": self.forgets, "model": self.evidence.model}

    def change(self, change: Change) -> None:
        """Lets another policy decide, and writes that, inside a transaction and with the lock."""
        assert self.contest is not None  # noqa: S101 -- whoever has a change has a contest
        self._num_changes += 1
        self.state = self.contest.change(change, self.state, self.num_learned)
        self.policy = self.contest.policy
        self.contest.write(self._ledger)
        self.keep()

    def described(self) -> dict[str, Any]:
        """Returns the policy that decides as a decision records it, in plain JSON, and with a ramp the challenger and its share."""
        ramp = None if self.contest is None else self.contest.ramp
        told = {"policy": identity(self.policy)}
        return told if ramp is None or self.contest is None else told | {"ramp": [identity(self.contest.policies[ramp[0]]), ramp[1]]}

    def deciding(self) -> tuple[Policy[Any], Any]:
        """Returns the policy that decides, and its state."""
        return (self.policy, self.state) if self.contest is None else self.contest.deciding(self.state)

    def close(self) -> None:
        """Frees what native parts hold for the state."""
        with self.lock:
            if self.state is not None:
                states.close(self.policy, self.state)
                self.state = None
            if self.contest is not None:
                self.contest.close()

    def _written(self) -> list[Any]:
        parts = zip((self.policy, *self.evidence.scorers), (self.state, *self.evidence.states), strict=True)
        contest = [] if self.contest is None else self.contest.written()
        return [self.num_learned, *contest, *(states.dumps(part, part_state) for part, part_state in parts)]

    def _restore(self) -> tuple[Any, int]:
        try:
            header, stored = json.loads(self._ledger.get("snapshot/header") or "{}"), self._ledger.get("snapshot/policy")
            is_there = stored is not None and self._fits(header) and header["num_learned"] >= base.horizon(self._ledger).num_learned
            if is_there and self._is_before_corrections(header["num_learned"]):
                self.evidence.restore(self._ledger, "snapshot")
                state = self._read(stored or b"")
                self._is_mixed = False
                self._is_mixed = header.get("arithmetic") != self.arithmetic
                if self.contest is not None:
                    self.contest.restore(self._ledger, header["contest"], self.evidence.prior())
                return state, header["num_learned"]
        except (LedgerCorrupt, LedgerMismatch):
            pass  # a snapshot that is damaged or not all there costs time, not data: the ledger has every reward
        self._warn_of_dropped()
        return self._start()

    def _fits(self, header: dict[str, Any]) -> bool:
        """Tells whether a snapshot is of this policy over this phi, and not ahead of the ledger."""
        if not self._is_of_model(header) or differences(header["policy"], self.policy):
            return False
        if self.contest is not None and not self.contest.fits(header.get("contest")):
            return False
        return bool(header.get("forgets", self.forgets) == self.forgets)  # what was corrected is folded in two ways, with other roundings

    def _is_of_model(self, header: dict[str, Any]) -> bool:
        """Tells whether states were learned over this phi, and are not ahead of the ledger."""
        if "phi" not in header or layout.from_json(header["phi"]) != self.evidence.layout:
            return False
        is_same = header.get("model", self.evidence.model) == self.evidence.model
        return bool(is_same and header["num_learned"] <= self._ledger.num_rewards())

    def _settled(self, state: Any) -> Any:
        """Returns a state written in one way: a belief has many square roots, and `weigh` takes the same one for all."""
        return self.policy.weigh(state, 1.0) if isinstance(self.policy, Mergeable) else state

    def _is_before_corrections(self, num_learned: int) -> bool:
        """Tells whether a snapshot can be gone on from: no later correction is of a reward that it cannot forget."""
        if self.forgets or not self._replaced(num_learned):
            return True
        later = set[str | None]()
        for reward in self._ledger.rewards(num_learned):
            if reward.replaces is not None and reward.replaces not in later:
                return False
            later.add(reward.reward_id)
        return True

    def _read(self, stored: bytes) -> Any:
        template = self._fresh()
        try:
            return states.loads(self.policy, template, stored)
        finally:
            states.close(self.policy, template)

    def beginning(self) -> Beginning:
        """Returns what folds begin with."""
        header, place = base.header_of(self._ledger), None
        if header.get("dropped"):
            header = header if self._is_of_model(header) else {}
            place = base.place_of(header, self.policy) if header else None
        elif self.forgets and self.contest is None and self._fits(header):
            place = f"{BASE}/policy" if self._ledger.get(f"{BASE}/policy") is not None else None
        return Beginning(header, place, header["num_learned"] if place else base.horizon(self._ledger).num_learned)

    def _start(self) -> tuple[Any, int]:
        self._is_mixed = False
        found = self.beginning()
        self.evidence.restore(self._ledger, BASE if found.has_all else "fitted")
        if self.contest is not None:
            self.contest.start(self.evidence.prior())
            if found.has_all:
                self.contest.take_base(self._ledger, found.header)
        return (self._fresh() if found.state is None else self._read(self._ledger.get(found.state) or b"")), found.num_learned

    def _warn_of_dropped(self) -> None:
        """Says so where what dropped rewards had taught is not in the state that folds begin with."""
        found = self.beginning()
        if found.state is None and found.num_learned:
            number = f"The first {found.num_learned:,} rewards of this folder"
            told = f"{number} were learned by another policy or model before the oldest were dropped"
            warn(f"{told}: this one begins with those after them.", ChangedSetting)

    def _base_is_right(self) -> bool:
        """Tells whether the state that folds begin with is, up to rounding, what the rewards before it that are left would teach."""
        found = self.beginning()
        if found.state is None or found.header.get("dropped"):  # what it had learned is not there any more
            return True
        kept = self._read(self._ledger.get(found.state) or b"")
        self._refold(self._fresh(), 0, found.num_learned)
        pairs = zip(*(arrays.leaves(self._settled(state)) for state in (self.state, kept)), strict=True)
        return all(np.abs(one - other).max(initial=0) <= TOLERANCE * max(1, np.abs(one).max(initial=0)) for one, other in pairs)

    def _fresh(self) -> Any:
        return self.policy.init(self.evidence.prior())
