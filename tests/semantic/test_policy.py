"""Walks: the propensity that is logged is that of the item among all items, and what is learned is a fold of the walks."""

import functools

import numpy as np
import pytest

from recsdk import Boltzmann, LinTS, LinUCB, SquareCB, Uniform
from recsdk.errors import EmptyCandidates, InvalidContext, InvalidProbs, InvalidPropensity, InvalidReward, InvalidValue
from recsdk.semantic import TreePolicy, add, build, remove
from recsdk.semantic.codes import Codebook
from recsdk.states import digest
from tests.semantic.worlds import DIM, FLOOR, TEMPERATURE, boltzmann, softmax_walk, taught, tree_of, user_of

POLICIES = [Boltzmann(temperature=TEMPERATURE), SquareCB(), LinUCB(), LinTS(num_draws=4), Uniform()]
TREE = remove(tree_of(90), [0, 7, 50])
SOME = [1, 2, 3, 44, 50]


@functools.cache
def policy_and_state(inner):
    policy = TreePolicy(policy=inner, floor=FLOOR)
    return policy, taught(policy, TREE)


def everything(policy, state, tree, user, excluded, seed=0):
    """Returns f64[N], the probability of each slot."""
    chances = [
        policy.probability(state, np.random.default_rng(seed), tree, user, slot, excluded=excluded) for slot in range(len(tree.words))
    ]
    return np.array(chances)


@pytest.mark.parametrize("inner", POLICIES, ids=repr)
@pytest.mark.parametrize("excluded", [(), SOME, range(1, 89)], ids=["none", "some", "all but one"])
def test_the_probabilities_of_all_items_sum_to_one_and_are_zero_on_those_that_may_not_be_drawn(inner, excluded):
    policy, state = policy_and_state(inner)
    probs = everything(policy, state, TREE, user_of(1), excluded)
    may = TREE.active & ~np.isin(np.arange(90), list(excluded))
    assert abs(probs.sum() - 1) < 1e-12
    assert not probs[~may].any()
    assert (probs[may] >= FLOOR / may.sum() * (1 - 1e-12)).all()


@pytest.mark.parametrize("inner", POLICIES, ids=repr)
def test_the_logged_propensity_is_the_probability_of_the_item_to_the_bit(inner):
    policy, state = policy_and_state(inner)
    for seed in range(60):
        walk = policy.decide(state, np.random.default_rng(seed), TREE, user_of(seed), excluded=SOME)
        chance = policy.probability(state, np.random.default_rng(seed), TREE, user_of(seed), walk.item, excluded=SOME)
        assert walk.propensity == chance == walk.steps.prod()


@pytest.mark.parametrize("excluded", [(), SOME], ids=["none", "some"])
def test_a_walk_by_softmax_is_that_of_sums_over_all_items(excluded):
    policy, state = policy_and_state(boltzmann())
    for seed in range(3):
        known = softmax_walk(TREE, [part.mean for part in state], user_of(seed), excluded)
        assert np.abs(everything(policy, state, TREE, user_of(seed), excluded) / np.where(known, known, 1) - (known > 0)).max() < 1e-9


def test_items_are_drawn_as_often_as_their_propensities_say():
    policy, state = policy_and_state(boltzmann())
    probs, rng, counts, rounds = everything(policy, state, TREE, user_of(4), SOME), np.random.default_rng(11), np.zeros(90), 2500
    for _ in range(rounds):
        counts[policy.decide(state, rng, TREE, user_of(4), excluded=SOME).item] += 1
    may = probs > 0
    chi_squared = (np.square(counts - rounds * probs)[may] / (rounds * probs[may])).sum()
    assert not counts[~may].any()
    assert abs(chi_squared - (may.sum() - 1)) < 4 * np.sqrt(2 * (may.sum() - 1))


def test_a_floor_of_one_draws_each_item_alike_and_not_each_code():
    policy = TreePolicy(policy=LinUCB(), floor=1.0)
    probs = everything(policy, policy.init(TREE), TREE, user_of(0), SOME)
    assert np.ptp(probs[probs > 0]) < 1e-15


def test_items_of_equal_vectors_share_probability():
    vectors = np.repeat(TREE.vectors[:20], 2, axis=0)
    tree, (policy, state) = build(TREE.book, vectors), policy_and_state(LinUCB())
    probs = everything(policy, state, tree, user_of(2), ())
    assert np.array_equal(probs[::2], probs[1::2])


def test_the_order_in_which_items_came_is_moot():
    shuffle = np.random.default_rng(0).permutation(90)
    policy, state = policy_and_state(SquareCB())
    one, other = build(TREE.book, TREE.vectors), build(TREE.book, TREE.vectors[shuffle])
    probs = everything(policy, state, one, user_of(3), ())
    assert np.abs(probs[shuffle] / everything(policy, state, other, user_of(3), ()) - 1).max() < 1e-9


def test_the_first_codes_have_the_sums_of_their_items_probabilities():
    policy, state = policy_and_state(boltzmann())
    probs = everything(policy, state, TREE, user_of(1), SOME)
    wanted = np.bincount(np.maximum(TREE.words, 0) // TREE.book.size, probs, TREE.book.size)
    assert np.abs(policy.first(state, np.random.default_rng(0), TREE, user_of(1), excluded=SOME) - wanted).max() < 1e-12


@pytest.mark.parametrize("inner", POLICIES, ids=repr)
def test_what_is_learned_is_a_fold_of_the_walks_whatever_became_of_the_tree(inner):
    policy = TreePolicy(policy=inner)
    tree, state, rng, log = TREE, policy.init(TREE), np.random.default_rng(0), []
    for number in range(30):
        walk = policy.decide(state, rng, tree, user_of(number))
        log.append((walk, float(number % 2)))
        state = policy.update(state, *log[-1])
        tree = remove(tree, [int(walk.item)]) if number % 2 else add(tree, [int(walk.item)], tree.vectors[::-1].copy())
    again = policy.init(TREE)
    for walk, reward in log:
        again = policy.update(again, walk, reward)
    assert digest(policy, again) == digest(policy, state)


def test_it_learns_where_the_rewards_are():
    policy = TreePolicy(policy=LinUCB(alpha=0.3))
    state, rng, users = policy.init(TREE), np.random.default_rng(0), [user_of(seed) for seed in range(8)]
    truth = -TREE.vectors @ np.array(users).T  # the opposite of what it believes at first
    truth = (truth - truth.min()) / np.ptp(truth)
    earned = []
    for number in range(800):
        walk = policy.decide(state, rng, TREE, users[number % 8])
        earned.append(truth[walk.item, number % 8])
        state = policy.update(state, walk, earned[-1])
    best, mean = truth[TREE.active].max(axis=0).mean(), truth[TREE.active].mean()
    assert np.mean(earned[-300:]) > mean + 0.6 * (best - mean)


def test_a_word_of_one_level_with_one_item_each_is_the_policy_itself():
    vectors = np.eye(DIM, dtype=np.float32)
    tree, policy = build(Codebook(vectors[None]), vectors), TreePolicy(policy=boltzmann(), floor=1e-300)
    probs = everything(policy, policy.init(tree), tree, user_of(0), ())
    wanted = np.exp(user_of(0).astype(np.float64) / TEMPERATURE)
    assert np.abs(probs - wanted / wanted.sum()).max() < 1e-9


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"reward": float("nan")}, InvalidReward, "reward must be a finite number"),
        ({"weight": -1.0}, InvalidValue, "weight must be finite and >= 0"),
        ({"steps": np.array([0.5, 0.0, 0.5])}, InvalidPropensity, r"propensity must be in \(0, 1\]"),
        ({"steps": np.array([0.5])}, InvalidValue, "walk must have 3 steps, got 1"),
        ({"features": np.full((3, DIM + 2), np.nan, np.float32)}, InvalidContext, "features must be finite"),
    ],
    ids=str,
)
def test_what_nothing_can_be_learned_from_is_refused_and_changes_nothing(changed, error, message):
    policy = TreePolicy(policy=LinUCB())
    state = policy.init(TREE)
    walk, before = policy.decide(state, np.random.default_rng(0), TREE, user_of(0)), digest(policy, state)
    given = {"reward": 1.0, "weight": 1.0, **{name: value for name, value in changed.items() if name in ("reward", "weight")}}
    with pytest.raises(error, match=message):
        policy.update(state, walk._replace(**{name: value for name, value in changed.items() if name not in given}), **given)
    assert digest(policy, state) == before


def test_what_no_walk_can_be_made_of_is_refused():
    policy, state = policy_and_state(boltzmann())
    rng = np.random.default_rng(0)
    for user in (user_of(0)[:-1], user_of(0).astype(np.float64), np.full(DIM, np.inf, np.float32)):
        with pytest.raises(InvalidValue, match=r"user must be float32\[6\], finite"):
            policy.decide(state, rng, TREE, user)
    with pytest.raises(EmptyCandidates, match="excluded must leave an item"):
        policy.decide(state, rng, TREE, user_of(0), excluded=range(90))
    with pytest.raises(InvalidValue, match=r"item must be a slot in \[0, 89\], got 90"):
        policy.probability(state, rng, TREE, user_of(0), 90)
    with pytest.raises(InvalidValue, match="floor must be a finite number > 0 and <= 1, got 0"):
        TreePolicy(policy=LinUCB(), floor=0)
    with pytest.raises(InvalidValue, match="must run on NumPy and learn from the chosen candidate alone"):
        TreePolicy(policy=_LearnsFromAll())


def test_a_branch_has_one_name_in_deciding_and_in_learning_and_no_other_branch_has_it():
    inner = _Names()
    policy = TreePolicy(policy=inner, floor=1.0)
    state, size = policy.init(TREE), TREE.book.size
    everything(policy, state, TREE, user_of(0), ())
    words = [TREE.words[TREE.order] // size ** (TREE.book.levels - 1 - level) for level in range(TREE.book.levels)]
    assert inner.seen == set().union(*(set(some.tolist()) for some in words), TREE.order.tolist())
    for seed in range(5):
        walk = policy.decide(state, np.random.default_rng(seed), TREE, user_of(seed))
        assert walk.path.tolist() == [TREE.words[walk.item] // size, TREE.words[walk.item], walk.item]
        state = policy.update(state, walk, 1.0)
        assert [part[-1] for part in state] == walk.path.tolist()


class _LearnsFromAll:
    runs_on = ("numpy",)
    learns_from = "all"


class _Wrong(_LearnsFromAll):
    learns_from = "chosen"

    def init(self, prior):
        return ()

    def probs(self, state, rng, context):
        return np.full(len(context.mask), 0.9)


class _Counts(_Wrong):
    def init(self, prior):
        return []

    def probs(self, state, rng, context):
        return np.full(len(context.mask), 1 / len(context.mask))

    def update(self, state, interaction):
        state.append(interaction.reward)
        return state


class _Names(_Counts):
    def __init__(self):
        self.seen = set()

    def probs(self, state, rng, context):
        self.seen |= set(context.item.tolist())
        return super().probs(state, rng, context)

    def update(self, state, interaction):
        state.append(int(interaction.context.item[interaction.action]))
        return state


def test_a_walk_is_looked_at_as_a_whole_before_anything_is_learned_of_it():
    policy = TreePolicy(policy=_Counts())
    state = policy.init(TREE)
    walk = policy.decide(state, np.random.default_rng(0), TREE, user_of(0))
    with pytest.raises(InvalidPropensity):
        policy.update(state, walk._replace(steps=np.array([0.5, 0.5, 0.0])), 1.0)
    assert state == ([], [], [])
    assert policy.update(state, walk, 1.0) == ([1.0], [1.0], [1.0])


def test_an_answer_that_is_no_distribution_is_refused():
    policy = TreePolicy(policy=_Wrong())
    with pytest.raises(InvalidProbs, match="sum to 1"):
        policy.decide(policy.init(TREE), np.random.default_rng(0), TREE, user_of(0))
