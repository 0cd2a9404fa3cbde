"""Feedback against its pure join: whatever is told in whatever order, with crashing between, and with each write failing once."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

import recsdk
from recsdk.live.rewards import Feedback
from tests.live.shop import crash, forget_snapshots, state, tables
from tests.live.test_feedback import Clock, shop_at
from tests.live.test_settlement import joined

USERS, ITEMS = st.sampled_from(["ann", "bob"]), st.sampled_from(["a", "b"])
DECISIONS = st.sampled_from([f"d{number}" for number in range(8)])
SIGNALS = st.sampled_from([f"s{number}" for number in range(6)])
KINDS = st.sampled_from(["click", "purchase"])
VALUES = st.sampled_from([-1.0, 0.0, 0.5, 2.0])
POLICIES = [recsdk.LinTS(), recsdk.Discounted(policy=recsdk.LinTS(), discount=0.9)]
TERMS = [
    Feedback(window=60, start=-30, late=0.5, signals={"click": 1, "purchase": 5}),
    Feedback(window=60, default=None, aggregation="latest", signals={"click": 1, "purchase": 5}),
    Feedback(window=60, start=-30, per="page", caps={"click": 2}, signals={"click": 1, "purchase": 5}),
]


class Shop(RuleBasedStateMachine):
    """Tells what may happen to a shop, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.folder, self.clock = Path(tempfile.mkdtemp()), Clock()

    @initialize(feedback=st.sampled_from(TERMS), policy=st.sampled_from(POLICIES))
    def begin(self, feedback, policy):
        self.options = {"feedback": feedback, "policy": policy, "snapshot_every": 4}
        self.shop = shop_at(self.folder, self.clock, **self.options)
        self.decided = {}
        self.told = {}

    @rule(name=DECISIONS, user=USERS, item=ITEMS, deferred=st.booleans())
    def recommend(self, name, user, item, deferred):
        asked = self.decided.setdefault(name, (user, item, deferred))
        self.shop.recommend({}, user=asked[0], candidates=[asked[1]], decision_id=name, deferred=asked[2])

    @rule(
        signal_id=SIGNALS,
        kind=st.sampled_from(["click", "purchase"]),
        user=USERS,
        item=ITEMS,
        value=VALUES,
        ago=st.sampled_from([None, 0.0, 20.0, 50.0]),
    )
    def signal_by_user(self, signal_id, kind, user, item, value, ago):
        told = self.told.setdefault(signal_id, {"name": kind, "user": user, "item": item, "value": value})
        self.shop.signal(**told, signal_id=signal_id, time=None if ago is None else self.clock.now - ago)

    @rule(name=DECISIONS, kind=KINDS)
    def signal_by_decision(self, name, kind):
        self.shop.signal(kind, decision_id=name, position=0, signal_id=f"{name}/{kind}")

    @rule(signal_id=SIGNALS, value=st.none() | VALUES)
    def correct(self, signal_id, value):
        self.shop.correct(signal_id, value)

    @rule(name=DECISIONS, verb=st.sampled_from(["shown", "not_shown"]))
    def say(self, name, verb):
        getattr(self.shop, verb)(name)

    @rule(seconds=st.sampled_from([1.0, 25.0, 61.0]))
    def wait(self, seconds):
        self.clock.now += seconds

    @rule(fold_again=st.booleans())
    def crash(self, fold_again):
        self.shop.settle()
        learned = state(self.shop)
        crash(self.shop)
        if fold_again:
            forget_snapshots(self.folder)
        self.shop = shop_at(self.folder, self.clock, **self.options)
        assert state(self.shop) == learned

    @precondition(lambda self: self.decided)
    @rule()
    def look(self):
        self.shop.settle()
        assert joined(self.shop)
        assert self.shop.audit()

    def teardown(self):
        if hasattr(self, "shop"):
            self.look()
            self.shop.close()
        shutil.rmtree(self.folder)


TestShop = Shop.TestCase
TestShop.settings = settings(max_examples=12, stateful_step_count=25, deadline=None)


VERBS = {
    "settle": lambda shop: shop.settle(),
    "late": lambda shop: shop.signal("click", decision_id="settled", signal_id="late"),
    "correct": lambda shop: shop.correct("s", 3.0),
    "retract": lambda shop: shop.correct("s", None),
    "not_shown": lambda shop: shop.not_shown("settled"),
    "shown": lambda shop: shop.shown("ahead"),
    "early": lambda shop: shop.signal("click", user="ann", item="a"),
    "join": lambda shop: shop.recommend({}, user="eve", candidates=["a"], decision_id="awaited"),
}


@pytest.mark.parametrize("policy", POLICIES, ids=["forgets", "cannot forget"])
@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_happens_all_or_not_at_all(tmp_path, verb, policy):
    """Whichever of its writes fails: then nothing has changed, and the same call succeeds."""
    clock = Clock()
    shop = shop_at(tmp_path, clock, feedback=TERMS[0], policy=policy)
    shop.recommend({}, decision_id="settled")
    shop.signal("purchase", decision_id="settled", signal_id="s")
    clock.now += 61
    shop.recommend({}, decision_id="ahead", deferred=True)
    shop.signal("click", user="eve", item="a")
    if verb == "settle":
        clock.now += 10
        shop.recommend({}, decision_id="open")
        clock.now += 61
    for write in range(1, 20):
        before = seen(shop, tmp_path)
        failing = FailingLedger(shop._loop.ledger, write)
        shop._loop.ledger = shop._loop.learner._ledger = shop._loop.settlement._ledger = failing
        try:
            VERBS[verb](shop)
            break
        except KeyboardInterrupt:
            shop._loop.settlement._ledger = shop._loop.ledger
            assert seen(shop, tmp_path) == before
        finally:
            failing.left = -1
    assert write > 1
    assert joined(shop)
    learned = state(shop)
    crash(shop)
    with shop_at(tmp_path, clock, feedback=None, policy=policy) as shop:
        assert state(shop) == learned
        assert shop.audit()


def seen(shop, folder):
    settled = shop._loop.settlement
    return (
        state(shop),
        settled.num_settled,
        settled._until,
        settled._due,
        settled._early,
        {name: rows for name, rows in tables(folder).items() if name != "parts"},
    )


class FailingLedger:
    """A ledger whose n-th write fails before it is done; 0 for the first."""

    def __init__(self, ledger, number):
        self._ledger, self.left = ledger, number

    def __getattr__(self, name):
        found = getattr(self._ledger, name)
        if name not in ("add_decision", "add_signal", "add_reward", "put"):
            return found

        def write(*arguments):
            self.left -= 1
            if not self.left:
                raise KeyboardInterrupt
            return found(*arguments)

        return write
