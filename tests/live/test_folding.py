"""What a fold learns in blocks is what it learns one by one, to the last bit; items are as they were shown."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import recsdk
from recsdk import states
from recsdk.base import Forgettable
from recsdk.errors import InvalidAnswer, InvalidContext, InvalidPropensity, InvalidReward
from recsdk.ledger import PAGE, DecisionRecord, RewardRecord
from recsdk.ledger.records import decision, fields_of
from recsdk.ledger.sqlite import Sqlite
from recsdk.live import intake
from recsdk.live.folding import Lesson, states_after
from recsdk.live.interactions import after
from tests.live.shop import Centred, state

LINEAR = ["lin-ts", "lin-ucb", "epsilon-greedy", "epsilon-decay", "boltzmann", "squarecb"]
POLICIES = ["lin-ts", "wide-deep", recsdk.Discounted(policy=recsdk.LinUCB(), discount=0.9), Centred()]
MARKS = [None, '{"arm": "holdout"}', '{"failed": ["scorer:price"]}']


def lesson(rng, dim, number, kind):
    """Returns an outcome of some kind: an item's, a page's, a void one, a correction, one that does not count."""
    num, shown = int(rng.integers(2, 6)), 2
    probs = rng.random((shown, num)) + 0.1
    action = rng.permutation(num)[:shown].astype(np.int32)
    keeps_all = kind % 2 == 0 or num == shown
    features = rng.standard_normal((num if keeps_all else shown, dim)).astype(np.float32)
    marks = MARKS[int(rng.integers(len(MARKS)))]
    record = DecisionRecord(
        f"d{number}", 0.0, "{}", "{}", 0, rng.permutation(50)[:num].astype(np.int32), action, probs / probs.sum(1, keepdims=True), features,
        None, marks,
    )  # fmt: skip
    reward = RewardRecord(f"r{number}", record.decision_id, PAGE if kind == 3 else number % shown, float(rng.random()), 0.0, void=kind == 4)
    earlier = reward._replace(value=0.25) if kind == 5 else None
    return Lesson(fields_of(record), reward, earlier, counts=kind != 6)


def changed(one, **fields):
    """Returns a lesson of a decision with other values."""
    return one._replace(fields=fields_of(decision(one.fields)._replace(**fields)))


def one_by_one(policy, begin, lessons):
    found = begin
    for fields, reward, earlier, counts in lessons:
        found = after(policy, found, decision(fields), reward, earlier) if counts else found
        yield found


class Nothing(recsdk.Uniform):
    """A policy whose state is None."""

    def init(self, prior):
        return None


def test_a_policy_without_a_state_learns_in_blocks_too():
    lessons = [lesson(np.random.default_rng(number), 3, number, 0) for number in range(5)]
    assert sum(num for state, num in states_after(Nothing(), None, lessons) if state is None) == 5


@pytest.mark.parametrize("policy", POLICIES, ids=str)
@pytest.mark.parametrize("dim", [3, 13])
def test_a_block_teaches_what_its_outcomes_teach_one_by_one(policy, dim):
    policy = intake.policy(policy)
    rng = np.random.default_rng(dim)
    kinds = [0, 1, 2, 3, 4, 6] + [5] * isinstance(policy, Forgettable)
    lessons = [lesson(rng, dim, number, 2 * (kind // 2) if policy.learns_from == "all" else kind) for number, kind in enumerate(kinds * 5)]
    begin = policy.init(np.zeros(dim)), policy.init(np.zeros(dim))
    wanted = [states.dumps(policy, found) for found in one_by_one(policy, begin[0], lessons)]
    place = 0
    for found, num in states_after(policy, begin[1], lessons):
        place += num
        assert states.dumps(policy, found) == wanted[place - 1]
    assert place == len(lessons)


@pytest.mark.parametrize("policy", LINEAR)
@pytest.mark.parametrize("dim", [1, 4, 64, 65])
def test_linear_policies_learn_a_long_block_as_they_learned_live(policy, dim):
    policy = intake.policy(policy)
    rng = np.random.default_rng(dim)
    lessons = [changed(lesson(rng, dim, number, 1), marks=None) for number in range(120)]
    (*_, live), ((folded, num),) = (
        one_by_one(policy, policy.init(np.zeros(dim)), lessons),
        states_after(policy, policy.init(np.zeros(dim)), lessons),
    )
    assert num == len(lessons)
    assert states.dumps(policy, folded) == states.dumps(policy, live)


def test_a_subclass_with_another_update_is_not_folded_as_its_parent():
    class Twice(recsdk.LinTS):
        def update(self, state, interaction):
            return super().update(super().update(state, interaction), interaction)

    rng = np.random.default_rng(1)
    lessons = [changed(lesson(rng, 3, number, 1), marks=None) for number in range(5)]
    for policy in (Twice(), recsdk.WithFloor(policy=Twice())):
        ((folded, _),) = states_after(policy, policy.init(np.zeros(3)), lessons)
        assert folded.total == 10


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda one: one._replace(reward=one.reward._replace(value=np.nan)), InvalidReward),
        (lambda one: changed(one, probs=decision(one.fields).probs * 0), InvalidPropensity),
        (lambda one: changed(one, features=decision(one.fields).features * np.float32(np.inf)), InvalidContext),
    ],
    ids=["reward", "propensity", "features"],
)
def test_an_outcome_that_cannot_be_learned_is_named_and_those_before_it_are_learned(change, error):
    policy, rng = recsdk.LinTS(), np.random.default_rng(1)
    lessons = [lesson(rng, 3, number, 1)._replace(counts=True) for number in range(4)]
    lessons = [changed(one, marks=None) for one in lessons]
    learned = states_after(policy, policy.init(np.zeros(3)), [*lessons[:2], change(lessons[2]), lessons[3]])
    next(learned)
    next(learned)
    with pytest.raises(error):
        next(learned)


def test_an_update_that_returns_nothing_is_refused():
    class Silent(Centred):
        learns_from = "chosen"

        def update(self, state, interaction):
            del state, interaction

    policy, rng = Silent(), np.random.default_rng(1)
    outcome = lesson(rng, 3, 0, 1)
    with pytest.raises(InvalidAnswer, match="got None"):
        list(states_after(policy, policy.init(np.zeros(3)), [changed(outcome, marks=None)]))


class Prices:
    """A scorer that keeps the price that each rewarded item had when it was shown."""

    columns = ("seen",)

    def init(self):
        return {"sum": np.zeros(())}

    def fit(self, log):
        del log
        return self.init()

    def score(self, state, request, candidates):
        del state, request
        return np.zeros((len(candidates.ids), 1), np.float32)

    def update(self, state, request, item, reward):
        del request
        return {"sum": state["sum"] * 1.5 + reward * np.nan_to_num(item.features["price"][0], nan=-7.0)}

    def __repr__(self):
        return "Prices()"


@settings(max_examples=8, deadline=None)
@given(st.lists(st.sampled_from(["serve", "dearer", "without a price"]), min_size=2, max_size=12))
def test_scorers_learn_of_items_as_they_were_shown(tmp_path_factory, steps):
    folder, wanted, price = tmp_path_factory.mktemp("prices"), 0.0, 3.0
    with recsdk.Recommender.open(folder, items=[{"id": "tea", "price": price}, {"id": "ice", "price": 0.0}], scorers=[Prices()]) as shop:
        for step in steps:
            if step == "serve":
                shop.reward(shop.recommend({}, candidates=["tea"]).decision_id, 1.0)
                wanted = wanted * 1.5 + (-7.0 if price is None else price)
            else:
                price = None if step == "without a price" else (price or 0.0) + 1.0
                shop.remove_items(["tea"])
                shop.add_items([{"id": "tea"} | ({} if price is None else {"price": price})])
        assert float(shop._loop.evidence.states[0]["sum"]) == wanted
        assert shop.audit()


def test_a_fold_without_blocks_of_the_same_size_is_the_same(tmp_path, monkeypatch):
    items = [{"id": name, "price": float(place)} for place, name in enumerate("abcde")]
    with recsdk.Recommender.open(tmp_path, items=items, scorers=["popularity"], policy="lin-ts") as shop:
        for number in range(23):
            shop.reward(shop.recommend({"user_id": str(number)}).decision_id, float(number % 3 == 0))
        live = state(shop)
        for size in (1, 5, 22, 23, 500):
            monkeypatch.setattr("recsdk.live.learner.BLOCK", size)
            shop._loop.learner.fold()
            assert state(shop) == live
            assert shop.audit()


def test_corrections_are_found_without_a_look_at_all_rewards(tmp_path):
    ledger = Sqlite().open(tmp_path)
    one = np.ones((1, 1))
    ledger.add_decision(DecisionRecord("d", 0.0, json.dumps({}), "{}", 0, np.array([0]), np.array([0]), one, one.astype(np.float32)))
    first = RewardRecord("a", "d", 0, 1.0, 0.0)
    for reward in (first, first._replace(reward_id="b", replaces="a"), first._replace(reward_id="c", replaces="b")):
        ledger.add_reward(reward)
    assert [ledger.replaced(start) for start in range(4)] == [{"a", "b"}, {"a", "b"}, {"b"}, frozenset()]
    ledger.close()
