"""Threads share a recommender: nobody waits while a model or the disk works, and nothing of the promises is given up for it."""

import threading
from concurrent.futures import ThreadPoolExecutor

import attrs
import numpy as np
import pytest

import recsdk
from recsdk.errors import DecisionConflict, LedgerError
from recsdk.ledger import DecisionRecord
from recsdk.ledger.sqlite import Sqlite
from tests.live.shop import Hashing, small_recommender, state

PATIENCE = 60.0
"""Seconds after which something that must happen has not."""
ITEMS = [{"id": f"i{number}", "price": float(number)} for number in range(8)]


def together(calls):
    """Calls each in a thread of its own, all at once, and returns their answers or errors."""
    start = threading.Barrier(len(calls))

    def run(call):
        start.wait()
        try:
            return call()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


class Gate:
    """Blocks whoever passes it for the user "slow", until it is opened."""

    def __init__(self):
        self.reached, self.opened = threading.Event(), threading.Event()

    def passed(self, user):
        if user == "slow":
            self.reached.set()
            assert self.opened.wait(PATIENCE)


@attrs.frozen(kw_only=True)
class Blocking(Hashing):
    """An encoder that blocks."""

    gate: Gate = attrs.field(factory=Gate, repr=False, eq=False)

    def encode_requests(self, state, requests):
        self.gate.passed(requests["user"][0])
        return super().encode_requests(state, requests)


def blocked_scorer(gate):
    def cheapness(request, candidates):
        gate.passed(request.features["user"])
        return -candidates.features["price"]

    return cheapness


class SlowDisk:
    """A ledger that blocks before it writes the decision "slow", while its transaction is open."""

    def __init__(self, gate):
        self.gate = gate

    def holds(self, folder):
        return Sqlite().holds(folder)

    def read(self, folder):
        return Sqlite().read(folder)

    def open(self, folder):
        ledger = Sqlite().open(folder)
        add = ledger.add_decision

        def add_decision(record: DecisionRecord):
            self.gate.passed(record.decision_id)
            add(record)

        ledger.add_decision = add_decision
        return ledger


def serves_others(shop, gate):
    """Whether requests are answered, rewards learned and items added while a request is stuck in the gate."""
    with ThreadPoolExecutor(1) as pool:
        stuck = pool.submit(shop.recommend, {"user": "slow"}, decision_id="slow")
        assert gate.reached.wait(PATIENCE)
        shown = shop.recommend({"user": "ann"}, decision_id="fast")
        shop.reward("fast", 1.0)
        shop.add_items([{"id": "new", "price": 1.0}])
        went_on = not stuck.done()
        gate.opened.set()
        slate = stuck.result(PATIENCE)
    assert shop.recommend({"user": "slow"}, decision_id="slow") == slate
    assert shop.recommend({"user": "ann"}, decision_id="fast") == shown
    return went_on


def test_no_lock_is_held_while_an_encoder_works(tmp_path):
    gate = Gate()
    encoder = Blocking(gate=gate)
    history = [{"item": "i0", "time": 1.0, "user": "ann"}]
    with recsdk.Recommender.open(tmp_path, items=ITEMS, encoder=encoder, history=history, policy="lin-ts") as shop:
        assert serves_others(shop, gate)
        assert shop.audit()


def test_no_lock_is_held_while_a_scorer_works(tmp_path):
    gate = Gate()
    with recsdk.Recommender.open(tmp_path, items=ITEMS, scorers=[blocked_scorer(gate)], policy="lin-ts") as shop:
        assert serves_others(shop, gate)
        assert shop.audit()
        # What was decided on the catalogue of before was decided again, since items had been added meanwhile.
        assert 8 in shop._loop.ledger.decision("slow").slots


def test_no_lock_is_held_while_the_disk_works(tmp_path):
    gate, reached = Gate(), threading.Event()

    def scorer(request, candidates):
        if request.features["user"] == "ann":
            reached.set()
        return -candidates.features["price"]

    store = SlowDisk(gate)
    with (
        recsdk.Recommender.open(tmp_path, items=ITEMS, scorers=[scorer], policy="lin-ts", ledger=store) as shop,
        ThreadPoolExecutor(2) as pool,
    ):
        stuck = pool.submit(shop.recommend, {"user": "slow"}, decision_id="slow")
        assert gate.reached.wait(PATIENCE)
        other = pool.submit(shop.recommend, {"user": "ann"})  # its models work, and only its own commit waits
        assert reached.wait(PATIENCE)
        assert not stuck.done()
        gate.opened.set()
        assert stuck.result(PATIENCE).ids
        assert other.result(PATIENCE).ids


@pytest.mark.parametrize("scorers", [[], ["popularity"]], ids=["shared", "one at a time"])
def test_32_threads_on_one_decision_id_get_one_decision(tmp_path, scorers):
    with small_recommender(tmp_path, scorers=scorers) as shop:
        slates = together([lambda: shop.recommend({"diet": "all"}, size=2, decision_id="d")] * 32)
        assert len(set(slates)) == 1
        assert [record.decision_id for record in shop._loop.ledger.decisions()] == ["d"]


def test_32_threads_on_one_decision_id_with_two_requests_get_one_decision_or_a_conflict(tmp_path):
    with small_recommender(tmp_path) as shop:
        answers = together([lambda number=number: shop.recommend({"age": number % 2}, decision_id="d") for number in range(32)])
        slates = {answer for answer in answers if not isinstance(answer, Exception)}
        assert len(slates) == 1
        assert sum(isinstance(answer, DecisionConflict) for answer in answers) == 16
        assert len(list(shop._loop.ledger.decisions())) == 1


def test_a_reward_from_32_threads_counts_once(tmp_path):
    with small_recommender(tmp_path) as shop:
        shop.recommend({}, decision_id="d")
        answers = together([lambda: shop.reward("d", 1.0)] * 32)
        assert sorted(answers) == [False] * 31 + [True]
        assert shop.num_learned == 1


@pytest.mark.parametrize("policy", ["lin-ts", "wide-deep"])
@pytest.mark.parametrize("scorers", [["recency"], ["popularity"]], ids=["shared", "one at a time"])
def test_what_threads_decided_and_learned_is_recovered_and_recomputed_exactly(tmp_path, policy, scorers):
    """Every logged distribution is that of the state after `num_learned` rewards, whatever came between."""
    options = {"policy": policy, "scorers": scorers, "log_features": "all", "snapshot_every": 50}
    shop = recsdk.Recommender.open(tmp_path, items=ITEMS, **options)

    def visits(thread):
        for number in range(15):
            shown = shop.recommend({}, size=2, decision_id=f"{thread}/{number}")
            shop.reward(shown.decision_id, float(number % 2), item=shown.ids[0])
        if thread == 0:
            shop.add_items([{"id": "late", "price": 3.0}])
            shop.remove_items(["i3"])

    answers = together([lambda thread=thread: visits(thread) for thread in range(8)])
    assert answers == [None] * 8
    assert shop.num_learned == 120
    assert shop.audit()
    learned = state(shop)
    records = list(shop._loop.ledger.decisions())
    assert len({record.num_learned for record in records}) > 10
    recomputed(shop, records)
    shop.close()
    with recsdk.Recommender.open(tmp_path, **options) as shop:
        assert state(shop) == learned


def recomputed(shop, records):
    """Asserts that each logged distribution is that of the state that the record names."""
    outcomes = list(shop._loop.ledger.outcomes())
    learner, folded = shop._loop.learner, 0
    learner.state, learner.num_learned = learner._start()
    for record in sorted(records, key=lambda record: record.num_learned):
        for reward, decision in outcomes[folded : record.num_learned]:
            learner.learn(decision, reward)
        folded = record.num_learned
        context = recsdk.Context(record.features.astype(np.float64), np.ones(len(record.slots), bool), record.slots.astype(np.int64))
        again = recsdk.base.decide_slate(
            shop.policy, learner.state, shop._loop.decider.rng(record.decision_id), context, len(record.action)
        )
        assert again.action.tolist() == record.action.tolist()
        assert again.probs.tobytes() == record.probs.tobytes()
    for reward, decision in outcomes[folded:]:
        learner.learn(decision, reward)


def test_decisions_and_rewards_that_wait_share_a_transaction(tmp_path):
    """While the first is at the disk, others come; all of them are then in one transaction."""
    gate, begun = Gate(), []
    with recsdk.Recommender.open(tmp_path, items=ITEMS, policy="lin-ts", ledger=SlowDisk(gate)) as shop, ThreadPoolExecutor(9) as pool:
        for number in range(4):
            shop.recommend({}, decision_id=f"d{number}")
        transaction = shop._loop.ledger.transaction
        shop._loop.ledger.transaction = lambda: begun.append(None) or transaction()
        stuck = pool.submit(shop.recommend, {"user": "slow"}, decision_id="slow")
        assert gate.reached.wait(PATIENCE)
        others = [pool.submit(shop.recommend, {}) for _ in range(4)] + [pool.submit(shop.reward, f"d{k}", 1.0) for k in range(4)]
        deadline = threading.Event()
        while len(shop._loop.turns._queue) < 8 and not deadline.wait(0.001):
            pass
        gate.opened.set()
        assert all(other.result(PATIENCE) for other in [stuck, *others])
        assert len(begun) == 1  # the first was alone, and needs none
        assert shop.num_learned == 4


def test_one_bad_reward_among_those_that_wait_is_refused_alone(tmp_path):
    gate = Gate()
    with recsdk.Recommender.open(tmp_path, items=ITEMS, policy="lin-ts", ledger=SlowDisk(gate)) as shop, ThreadPoolExecutor(9) as pool:
        for number in range(4):
            shop.recommend({}, decision_id=f"d{number}")
        stuck = pool.submit(shop.recommend, {"user": "slow"}, decision_id="slow")
        assert gate.reached.wait(PATIENCE)
        good = [pool.submit(shop.reward, f"d{number}", 1.0) for number in range(4)]
        bad = pool.submit(shop.reward, "none", 1.0)
        while len(shop._loop.turns._queue) < 5:
            pass
        gate.opened.set()
        assert stuck.result(PATIENCE)
        assert [one.result(PATIENCE) for one in good] == [True] * 4
        with pytest.raises(recsdk.errors.UnknownDecision):
            bad.result(PATIENCE)
        assert shop.num_learned == 4
        assert shop.audit()


def test_closing_while_threads_call_ends_each_call_with_an_answer_or_a_ledger_error(tmp_path):
    shop = small_recommender(tmp_path)
    enough = threading.Semaphore(0)
    answered = []

    def visit():
        try:
            while True:
                answered.append(shop.recommend({}).decision_id)
                enough.release()
        except LedgerError as error:
            return str(error)

    with ThreadPoolExecutor(4) as pool:
        visits = [pool.submit(visit) for _ in range(4)]
        for _ in range(20):
            assert enough.acquire(timeout=PATIENCE)
        shop.close()
        assert {visit.result(PATIENCE) for visit in visits} == {"This recommender is closed: open the folder again."}
    with small_recommender(tmp_path) as shop:
        assert sorted(record.decision_id for record in shop._loop.ledger.decisions()) == sorted(answered)
