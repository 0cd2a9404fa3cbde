"""The live loop against a model of dicts: whatever is called in whatever order, with closing and crashing between."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from recsdk import errors
from recsdk.live.recommender import Recommender
from tests.live.shop import Clock, TopicTally, crash, forget_snapshots, state

POLICIES = ("lin-ts", "lin-ucb", "epsilon-greedy", "uniform")
NAMES = [f"i{k}" for k in range(6)]
DECISIONS = st.sampled_from([f"d{k}" for k in range(9)])
REQUESTS = st.fixed_dictionaries({"age": st.sampled_from([1, 2.5])})
VALUES = st.sampled_from([-1.0, 0.0, 1.0, 0.3])
REWARDS = st.sampled_from([None, None, "r1", "r2", "r3"])


class Shop(RuleBasedStateMachine):
    """Beside the recommender: what it should hold."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.active: set[str] = {"i0", "i1"}
        self.slots: list[str] = ["i0", "i1"]
        self.decided: dict[str, tuple] = {}  # name -> what was asked, slate
        self.rewarded: dict[tuple[str, str], float] = {}  # (decision, item) -> value
        self.named: dict[str, tuple] = {}  # reward_id -> (decision, item)

    @initialize(policy=st.sampled_from(POLICIES))
    def begin(self, policy):
        self.policy = policy
        self.open()

    def open(self):
        items = [{"id": name, "topic": name, "price": 1.0} for name in ("i0", "i1")]
        scorers = ["popularity", TopicTally()]
        self.shop = Recommender.open(self.folder, items=items, scorers=scorers, policy=self.policy, snapshot_every=3, clock=Clock())

    @precondition(lambda self: self.active)
    @rule(name=DECISIONS, request=REQUESTS, wanted=st.integers(1, 3))
    def decide(self, name, request, wanted):
        size = min(wanted, len(self.active))
        asked = (request, size)
        if name in self.decided and self.decided[name][0] != asked:
            with pytest.raises(errors.DecisionConflict):
                self.shop.recommend(request, size=size, decision_id=name)
            return
        slate = self.shop.recommend(request, size=size, decision_id=name)
        if name in self.decided:
            assert slate == self.decided[name][1]
        else:
            assert set(slate.ids) <= self.active
            assert len(set(slate.ids)) == size
            self.decided[name] = asked, slate

    @precondition(lambda self: self.decided)
    @rule(data=st.data(), value=VALUES, reward_id=REWARDS, place=st.integers(0, 2))
    def reward(self, data, value, reward_id, place):
        name = data.draw(st.sampled_from(list(self.decided)))
        ids = self.decided[name][1].ids
        item = ids[place % len(ids)]
        reward_id = reward_id or f"{name}/{ids.index(item)}"
        here = (name, item)
        if reward_id in self.named:
            outcome = "old" if self.named[reward_id] == here and self.rewarded[here] == value else "conflict"
        else:
            outcome = "conflict" if here in self.rewarded else "new"
        if outcome == "conflict":
            with pytest.raises(errors.RewardConflict):
                self.shop.reward(name, value, item=item, reward_id=reward_id)
            return
        assert self.shop.reward(name, value, item=item, reward_id=reward_id) == (outcome == "new")
        self.rewarded[here], self.named[reward_id] = value, here

    @precondition(lambda self: self.decided)
    @rule(data=st.data(), value=VALUES, bad=st.sampled_from([False, False, False, True]))
    def reward_slate(self, data, value, bad):
        name = data.draw(st.sampled_from(list(self.decided)))
        ids = self.decided[name][1].ids
        values = {ids[0]: value, **({"nobody": 1.0} if bad else {})}
        wanted = {(name, item): values.get(item, 0.0) for item in ids}
        by_name = {f"{name}/{place}": (name, item) for place, item in enumerate(ids)}
        taken = {here for reward_id, here in by_name.items() if self.named.get(reward_id) == here}
        clash = any(here in self.rewarded and (here not in taken or self.rewarded[here] != wanted[here]) for here in wanted)
        if bad or clash:
            with pytest.raises(errors.UnknownItem if bad else errors.RewardConflict):
                self.shop.reward_slate(name, values)
            return
        assert self.shop.reward_slate(name, values) == (len(taken) < len(ids))
        self.rewarded.update(wanted)
        self.named.update(by_name)

    @precondition(lambda self: len(self.active) < len(NAMES))
    @rule(data=st.data(), topic=st.sampled_from(["x", "y"]))
    def add_items(self, data, topic):
        names = sorted(data.draw(st.sets(st.sampled_from([name for name in NAMES if name not in self.active]), min_size=1)))
        self.shop.add_items([{"id": name, "topic": topic, "price": float(len(self.decided))} for name in names])
        self.active |= set(names)
        self.slots += [name for name in names if name not in self.slots]

    @precondition(lambda self: self.active)
    @rule(data=st.data())
    def remove_items(self, data):
        names = data.draw(st.sets(st.sampled_from(sorted(self.active)), min_size=1, max_size=2))
        self.shop.remove_items(sorted(names))
        self.active -= names

    @rule(name=st.sampled_from(NAMES))
    def refuse(self, name):
        with pytest.raises(errors.UnknownDecision):
            self.shop.reward(name, 1.0)
        other = next(iter(self.active ^ set(NAMES)), name)
        if {name, other} & self.active:
            with pytest.raises(errors.DuplicateCandidates):
                self.shop.add_items([{"id": name}, {"id": other}])
        if {name, other} - self.active:
            with pytest.raises(errors.UnknownItem):
                self.shop.remove_items([name, other])

    @rule()
    def snapshot(self):
        self.shop.snapshot()

    @rule(how=st.sampled_from(["close", "crash", "forget"]), policy=st.sampled_from([None, *POLICIES]))
    def reopen(self, how, policy):
        before = state(self.shop)
        self.shop.close() if how == "close" else crash(self.shop)
        if how == "forget":
            forget_snapshots(self.folder)
        same, self.policy = policy in (None, self.policy), policy or self.policy
        self.open()
        assert (state(self.shop) == before) or not same

    @invariant()
    def the_ledger_is_what_was_acknowledged(self):
        if not hasattr(self, "shop"):
            return
        ledger, ids = self.shop._loop.ledger, self.shop.catalogue.items.ids
        assert ids.tolist() == self.slots
        assert set(ids[self.shop.catalogue.active]) == self.active
        assert [record.decision_id for record in ledger.decisions()] == list(self.decided)
        found = {
            (reward.decision_id, ids[record.slots[record.action[reward.position]]]): reward.value for reward, record in ledger.outcomes()
        }
        assert found == self.rewarded
        assert self.shop.num_learned == len(self.rewarded)

    def teardown(self):
        if hasattr(self, "shop"):
            assert self.shop.audit()
            self.shop.close()
        shutil.rmtree(self.folder)


TestShop = Shop.TestCase
TestShop.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
