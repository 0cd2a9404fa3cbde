"""What was learned is corrected: by forgetting where the state can, else by folding again; recovery and audits stay exact."""

from typing import ClassVar

import attrs
import numpy as np
import pytest

import recsdk
from recsdk import arrays
from recsdk.errors import InvalidReward, InvalidValue
from recsdk.live.folding import states_after
from recsdk.live.observe import CountObserver
from recsdk.live.rewards import Feedback, Receipt
from tests.live.shop import Centred, TopicTally, Weights, crash, forget_snapshots, small_recommender, state
from tests.live.test_feedback import CLICKS, ITEMS, Clock, quality, rewards, shop_at

POLICIES = ["lin-ts", "lin-ucb", recsdk.Discounted(policy=recsdk.LinTS(), discount=0.9), "wide-deep"]
"""The first two can forget; the others cannot."""


@pytest.fixture
def clock():
    return Clock()


def reward_shop(folder, **options):
    return recsdk.Recommender.open(folder, **{"items": ITEMS, "scorers": [quality], "policy": "lin-ts", "log_features": "all", **options})


def lived(shop, values, size=1):
    """Decides under fixed names and rewards; returns the shop."""
    for number, value in enumerate(values):
        ids = shop.recommend({}, size=size, candidates=["abc"[number % 3]], decision_id=f"d{number}").ids
        shop.reward(f"d{number}", value, item=ids[0], reward_id=f"r{number}")
    return shop


def leaves(shop):
    return [np.asarray(leaf, np.float64) for leaf in arrays.leaves(shop._loop.learner.state)]


def beliefs(shop):
    """Returns the state of a policy that can forget, in one form of the many that say the same."""
    return [np.asarray(leaf, np.float64) for leaf in arrays.leaves(shop.policy.weigh(shop._loop.learner.state, 1.0))]


@pytest.mark.parametrize("policy", ["lin-ts", "lin-ucb"])
def test_a_corrected_reward_leaves_what_the_right_one_would_have_taught(tmp_path, policy):
    values = [1.0, 0.0, 0.5, 100.0, 0.25, 1.0]
    with lived(reward_shop(tmp_path / "wrong", policy=policy), values) as wrong:
        assert wrong.correct("r3", 0.75) is Receipt.TAKEN
        assert wrong.correct("r5", None) is Receipt.TAKEN
        assert wrong.num_learned == len(values) + 2
        with lived(reward_shop(tmp_path / "right", policy=policy), [*values[:3], 0.75, 0.25]) as right:
            for one, other in zip(beliefs(wrong), beliefs(right), strict=True):
                assert np.allclose(one, other, rtol=1e-9, atol=1e-12)


def test_rewards_in_another_order_teach_the_same_within_rounding(tmp_path):
    order = np.random.default_rng(0).permutation(40).tolist()
    found = []
    for name, numbers in (("in order", range(40)), ("shuffled", order)):
        with reward_shop(tmp_path / name) as shop:
            for number in range(40):
                shop.recommend({}, candidates=["abc"[number % 3]], decision_id=f"d{number}")
            for number in numbers:
                shop.reward(f"d{number}", number / 7 - 2)
            found.append(beliefs(shop))
    for one, other in zip(*found, strict=True):
        assert np.allclose(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("policy", POLICIES, ids=str)
@pytest.mark.parametrize("snapshot_every", [2, 100])
def test_recovery_audit_and_reading_stay_exact_after_corrections(tmp_path, policy, snapshot_every):
    options = {"policy": policy, "snapshot_every": snapshot_every}
    shop = lived(reward_shop(tmp_path, **options), [1.0, 0.0, 0.5, 100.0, 0.25])
    shop.snapshot()
    for name, value in (("r3", 0.75), ("r0", None), ("r3", 0.5), ("r0", 0.125)):
        assert shop.correct(name, value) is Receipt.TAKEN
        assert shop.audit()
        shop.recommend({}, candidates=["a"], decision_id=f"after {name} {value}")
        shop.reward(f"after {name} {value}", 1.0)
    learned = state(shop)
    assert shop.audit()
    crash(shop)
    shop = reward_shop(tmp_path, **options)
    assert state(shop) == learned
    read = recsdk.read_policy(tmp_path, policy)
    for one, other in zip(arrays.leaves(read.state), arrays.leaves(shop._loop.learner.state), strict=True):
        assert np.array_equal(one, other)
    shop.close()
    forget_snapshots(tmp_path)
    with reward_shop(tmp_path, **options) as shop:
        assert state(shop) == learned


def test_another_policy_learns_the_corrected_rewards(tmp_path):
    with lived(reward_shop(tmp_path), [1.0, 0.0, 100.0]) as shop:
        shop.correct("r2", None)
    with reward_shop(tmp_path, policy="wide-deep") as shop, lived(reward_shop(tmp_path / "right", policy="wide-deep"), [1.0, 0.0]) as right:
        assert shop.audit()
        for one, other in zip(leaves(shop), leaves(right), strict=True):
            assert np.array_equal(one, other)
    with reward_shop(tmp_path) as shop:
        assert shop.audit()


def test_a_scorer_that_learns_online_is_folded_again(tmp_path):
    options = {"scorers": ["popularity", TopicTally()], "policy": "lin-ts"}
    shop = small_recommender(tmp_path, **options)
    for number in range(4):
        shop.recommend({}, candidates=["news-1"], decision_id=f"d{number}")
        shop.reward(f"d{number}", 10.0)
    shop.correct("d2/0", None)
    tally = next(part for part in shop._loop.evidence.states if isinstance(part, dict))
    assert tally["news"][0] == 30.0
    learned = state(shop)
    assert shop.audit()
    crash(shop)
    with small_recommender(tmp_path, **options) as shop:
        assert state(shop) == learned


def test_a_correction_is_answered(tmp_path):
    observer = CountObserver()
    with lived(reward_shop(tmp_path, reward_range=(0, 1), observer=observer), [1.0]) as shop:
        assert shop.correct("r0", 1.0) is Receipt.DUPLICATE
        assert shop.correct("nothing", 1.0) is Receipt.UNKNOWN
        assert shop.correct(3, 1.0) is Receipt.UNKNOWN
        for wrong in (float("nan"), 2.0, "1"):
            with pytest.raises(InvalidReward):
                shop.correct("r0", wrong)
        assert shop.correct("r0", None) is Receipt.TAKEN
        assert shop.correct("r0", None) is Receipt.DUPLICATE
        assert shop.num_learned == 2
        assert not shop.reward("d0", 1.0, reward_id="r0")  # the first reward, sent again, stays taken back
        assert shop.correct("r0", 0.5) is Receipt.TAKEN
        assert shop.audit()
    assert observer.counts["corrected"] == 6


def test_the_log_has_rewards_as_they_were_corrected_last(tmp_path):
    with lived(reward_shop(tmp_path), [1.0, 0.0, 0.5]) as shop:
        shop.correct("r0", 0.25)
        shop.correct("r1", None)
    assert recsdk.read_ledger(tmp_path).reward.tolist() == [0.25, 0.5]
    assert recsdk.read_ledger(tmp_path, default_reward=-1.0, window=0).reward.tolist() == [0.25, -1.0, 0.5]


def failing_once(error, function=recsdk.learn):
    """Returns what stands in for a function: it fails when it is first called."""
    calls = []

    def failing(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            raise error
        return function(*arguments)

    return failing


@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_a_correction_that_fails_leaves_all_as_it_was(tmp_path, policy, monkeypatch):
    with lived(reward_shop(tmp_path, policy=policy), [1.0, 0.0, 0.5]) as shop:
        before = state(shop), list(shop._loop.ledger.rewards())
        forgets = shop._loop.learner.forgets  # otherwise all is folded again
        place, function = ("interactions.learn", recsdk.learn) if forgets else ("learner.states_after", states_after)
        monkeypatch.setattr(f"recsdk.live.{place}", failing_once(KeyboardInterrupt, function))
        with pytest.raises(KeyboardInterrupt):
            shop.correct("r1", 0.75)
        assert (state(shop), list(shop._loop.ledger.rewards())) == before
        assert shop.correct("r1", 0.75) is Receipt.TAKEN
        assert shop.audit()


@attrs.frozen(kw_only=True)
class Sums(Centred):
    """A policy that learns and forgets in place."""

    learns_from: ClassVar[str] = "chosen"

    def update(self, state, interaction):
        state.weights[:] += interaction.reward * interaction.context.features[interaction.action]
        return state

    def forget(self, state, interaction):
        return self.update(state, interaction._replace(reward=-interaction.reward))

    def subtract(self, whole, part):
        return Weights(whole.weights - part.weights, whole.seen)


@pytest.mark.parametrize("policy", ["lin-ts", Sums()], ids=["pure", "in place"])
def test_a_policy_that_refuses_a_correction_has_forgotten_nothing(tmp_path, policy, monkeypatch):
    with lived(reward_shop(tmp_path, policy=policy), [1.0, 0.0, 0.5]) as shop:
        assert shop._loop.learner.forgets
        before = state(shop)
        monkeypatch.setattr("recsdk.live.interactions.learn", failing_once(InvalidValue))
        with pytest.raises(InvalidValue):
            shop.correct("r2", 0.75)
        assert state(shop) == before
        shop.correct("r2", 0.75)
        assert shop.audit()


def test_before_the_window_closes_a_correction_is_the_join(tmp_path, clock):
    with shop_at(tmp_path, clock) as shop:
        shop.recommend({}, size=2, candidates=["a", "b"], decision_id="d")
        a, b = shop.recommend({}, size=2, candidates=["a", "b"], decision_id="d").ids
        shop.signal("purchase", decision_id="d", item=a, signal_id="order-17")
        shop.signal("click", decision_id="d", item=b)
        assert shop.correct("order-17", 0.5) is Receipt.TAKEN
        assert shop.correct("d/1/click", None) is Receipt.TAKEN
        assert shop.num_learned == 0
        clock.now += 61
        assert shop.settle() == 2
        assert rewards(shop) == {("d", 0): 2.5, ("d", 1): 0.0}


@pytest.mark.parametrize("policy", ["lin-ts", "wide-deep"])
def test_after_it_what_was_learned_is_corrected(tmp_path, clock, policy):
    with shop_at(tmp_path, clock, policy=policy) as shop:
        shop.recommend({}, decision_id="d")
        shop.signal("click", decision_id="d")
        shop.signal("purchase", decision_id="d", signal_id="order-17")
        clock.now += 61
        assert shop.settle() == 1
        assert rewards(shop) == {("d", 0): 6.0}
        assert shop.correct("order-17", None) is Receipt.TAKEN
        assert rewards(shop) == {("d", 0): 1.0}
        assert shop.correct("order-17", 1.0) is Receipt.TAKEN
        assert shop.correct("order-17", 1.0) is Receipt.DUPLICATE
        assert shop.correct("order-18", 1.0) is Receipt.UNKNOWN
        assert shop.correct("order-17/1", 1.0) is Receipt.UNKNOWN  # a correction is no signal
        assert rewards(shop) == {("d", 0): 6.0}
        assert (shop.num_learned, shop.audit()) == (3, True)
        learned = state(shop)
        crash(shop)
    with shop_at(tmp_path, clock, policy=policy, feedback=None) as shop:
        assert state(shop) == learned


@pytest.mark.parametrize(("late", "learned"), [(0.0, 1.0), (0.5, 3.5), (1.0, 6.0)])
def test_a_late_signal_counts_as_feedback_says(tmp_path, clock, late, learned):
    feedback = Feedback(window=60, signals=CLICKS.signals, late=late)
    with shop_at(tmp_path, clock, feedback=feedback) as shop:
        shop.recommend({}, decision_id="d")
        shop.signal("click", decision_id="d")
        clock.now += 61
        assert shop.signal("purchase", decision_id="d", signal_id="order") is Receipt.LATE
        assert shop.signal("purchase", decision_id="d", signal_id="order") is Receipt.DUPLICATE
        assert [signal.signal_id for signal in shop._loop.ledger.signals_of("d")] == ["d/0/click", "order"]
        assert rewards(shop) == {("d", 0): learned}
        assert shop.audit()


def test_a_late_signal_after_a_default_replaces_it(tmp_path, clock):
    with shop_at(tmp_path, clock, feedback=Feedback(window=60, default=-1.0, late=0.5)) as shop:
        shop.recommend({}, decision_id="d")
        clock.now += 61
        shop.settle()
        shop.signal("reward", decision_id="d", value=0.5)
        assert [(reward.value, reward.replaces) for reward in shop._loop.ledger.rewards()] == [(-1.0, None), (0.25, "d/0")]
    with shop_at(tmp_path / "silent", clock, feedback=Feedback(window=60, default=None, late=0.5)) as shop:
        shop.recommend({}, decision_id="d")
        clock.now += 61
        shop.settle()
        shop.signal("reward", decision_id="d", value=0.5)
        assert [(reward.value, reward.replaces) for reward in shop._loop.ledger.rewards()] == [(0.25, None)]
