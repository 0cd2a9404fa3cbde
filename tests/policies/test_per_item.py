"""A weight vector for each item, alone or beside a shared one: against direct solves and the paper's own algorithms, in bounded memory."""

import timeit

import numpy as np
import pytest

from recsdk import (
    Context,
    DisjointLinTS,
    DisjointLinUCB,
    HybridLinTS,
    HybridLinUCB,
    Interaction,
    LinUCB,
    arrays,
    explore,
    replay,
    simulate,
    testing,
)
from recsdk.environments import LinearWorld
from recsdk.errors import InvalidValue

PRIOR = np.linspace(-1, 1, 4)
ALL = [DisjointLinUCB, DisjointLinTS, HybridLinUCB, HybridLinTS]


@testing.parametrize(DisjointLinUCB(num_items=128), DisjointLinTS(num_items=128), DisjointLinUCB(num_items=7, alpha=1))
def test_disjoint_conforms(policy, check):
    check(policy)


@testing.parametrize(
    HybridLinUCB(num_items=128), HybridLinTS(num_items=128), HybridLinUCB(num_items=7, alpha=1, item_ridge=2), num_rounds=5000
)
def test_hybrid_conforms(policy, check):
    check(policy)


def made(num_rounds=120, num_items=6, seed=0):
    """Makes a log of contexts of all the items, with slots from 50 on."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((num_rounds, num_items, 4))
    slots = np.tile(np.arange(num_items) + 50, (num_rounds, 1))
    context = Context(features, np.ones((num_rounds, num_items), bool), slots)
    action = rng.integers(0, num_items, num_rounds)
    weight = rng.choice([0.0, 1.0, 2.0], num_rounds)
    return Interaction(context, action, rng.standard_normal(num_rounds), np.full(num_rounds, 1 / num_items), weight)


def probe(seed=3):
    return Context(np.random.default_rng(seed).standard_normal((6, 4)), np.ones(6, bool), np.arange(6) + 50)


def scores_of(policy, state, context, monkeypatch, rule, seed=0):
    """Returns what a policy hands to an exploration rule."""
    seen = []
    original = getattr(explore, rule)
    monkeypatch.setattr(explore, rule, lambda scores, mask: seen.append(scores) or original(scores, mask))
    policy.probs(state, np.random.default_rng(seed), context)
    monkeypatch.undo()
    return seen[0]


def chosen(log, slot=None):
    rows = np.arange(len(log.reward))
    kept = log.weight > 0 if slot is None else (log.weight > 0) & (log.context.item[rows, log.action] == slot)
    return log.context.features[rows, log.action][kept], log.reward[kept], log.weight[kept]


def solved(features, rewards, weights, prior, penalty):
    """Returns the posterior mean and covariance by one direct solve; `penalty` is the prior's precision, a vector."""
    weighted = features * weights[:, None]
    precision = np.diag(penalty) + weighted.T @ features
    return np.linalg.solve(precision, penalty * prior + weighted.T @ rewards), np.linalg.inv(precision)


def disjoint_truth(log, context, ridge):
    """Returns each candidate's mean and width by a direct solve over its own item's rounds."""
    means, widths = [], []
    for x, slot in zip(context.features, context.item, strict=True):
        mean, covariance = solved(*chosen(log, slot), PRIOR, np.full(4, ridge))
        means.append(x @ mean)
        widths.append(np.sqrt(x @ covariance @ x))
    return np.array(means), np.array(widths)


def hybrid_truth(log, context, ridge, item_ridge):
    """Returns the candidates' means and their covariance by a direct solve for beta and all thetas at once."""
    features, rewards, weights = chosen(log)
    rows = np.arange(len(log.reward))
    slots = (log.context.item[rows, log.action] - 50)[log.weight > 0]

    def wide(features, slots):
        return np.column_stack([features, (np.eye(6)[slots][:, :, None] * features[:, None, :]).reshape(len(features), -1)])

    penalty = np.concatenate([np.full(4, ridge), np.full(24, item_ridge)])
    mean, covariance = solved(wide(features, slots), rewards, weights, np.concatenate([PRIOR, np.zeros(24)]), penalty)
    probes = wide(context.features, context.item - 50)
    return probes @ mean, probes @ covariance @ probes.T


def test_disjoint_linucb_scores_by_algorithm_1_of_its_paper(monkeypatch):
    log, policy = made(), DisjointLinUCB(alpha=1.5, ridge=2.0, num_items=16)
    state = replay(policy, log, prior=PRIOR, engine="numpy").state
    mean, width = disjoint_truth(log, probe(), 2.0)
    np.testing.assert_allclose(scores_of(policy, state, probe(), monkeypatch, "greedy"), mean + 1.5 * width, rtol=1e-10)


def test_disjoint_lints_draws_each_items_reward_from_its_own_posterior(monkeypatch):
    log, policy = made(), DisjointLinTS(scale=0.5, ridge=2.0, num_draws=40_000, num_items=16)
    state = replay(policy, log, prior=PRIOR, engine="numpy").state
    mean, width = disjoint_truth(log, probe(), 2.0)
    draws = scores_of(policy, state, probe(), monkeypatch, "votes")
    assert (np.abs(draws.mean(axis=0) - mean) < 4 * 0.5 * width / 40_000**0.5).all()
    np.testing.assert_allclose(draws.var(axis=0), 0.25 * width**2, rtol=0.03)
    np.testing.assert_allclose(np.corrcoef(draws.T), np.eye(6), atol=0.03)


def test_hybrid_linucb_is_the_direct_solve_for_shared_and_own_weights_at_once(monkeypatch):
    log, policy = made(), HybridLinUCB(alpha=1.5, ridge=2.0, item_ridge=3.0, num_items=16)
    state = replay(policy, log, prior=PRIOR, engine="numpy").state
    mean, covariance = hybrid_truth(log, probe(), 2.0, 3.0)
    wanted = mean + 1.5 * np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(scores_of(policy, state, probe(), monkeypatch, "greedy"), wanted, rtol=1e-9)


def test_hybrid_linucb_scores_by_algorithm_2_of_its_paper(monkeypatch):
    log, alpha = made()._replace(weight=np.ones(120)), 0.7
    shared, moment = np.eye(4), np.zeros(4)
    own = {slot: [np.eye(4), np.zeros((4, 4)), np.zeros(4)] for slot in range(50, 56)}
    rows = np.arange(120)
    for x, reward, slot in zip(log.context.features[rows, log.action], log.reward, log.context.item[rows, log.action], strict=True):
        a, b, m = own[slot]
        shared += b.T @ np.linalg.solve(a, b)
        moment += b.T @ np.linalg.solve(a, m)
        a, b, m = own[slot] = [a + np.outer(x, x), b + np.outer(x, x), m + reward * x]
        shared += np.outer(x, x) - b.T @ np.linalg.solve(a, b)
        moment += reward * x - b.T @ np.linalg.solve(a, m)
    beta, inverse, wanted = np.linalg.solve(shared, moment), np.linalg.inv(shared), []
    for x, slot in zip(probe().features, probe().item, strict=True):
        a, b, m = own[slot]
        theta, y = np.linalg.solve(a, m - b @ beta), np.linalg.solve(a, x)
        s = x @ inverse @ x - 2 * x @ inverse @ b.T @ y + x @ y + y @ b @ inverse @ b.T @ y
        wanted.append(x @ beta + x @ theta + alpha * np.sqrt(s))
    policy = HybridLinUCB(alpha=alpha, ridge=1.0, item_ridge=1.0, num_items=16)
    state = replay(policy, log, engine="numpy").state
    np.testing.assert_allclose(scores_of(policy, state, probe(), monkeypatch, "greedy"), wanted, rtol=1e-9)


def test_hybrid_lints_draws_all_candidates_from_their_joint_posterior(monkeypatch):
    log, policy = made(), HybridLinTS(scale=0.5, ridge=2.0, item_ridge=3.0, num_draws=40_000, num_items=16)
    state = replay(policy, log, prior=PRIOR, engine="numpy").state
    mean, covariance = hybrid_truth(log, probe(), 2.0, 3.0)
    draws = scores_of(policy, state, probe(), monkeypatch, "votes")
    spread = np.sqrt(np.diag(covariance))
    assert (np.abs(draws.mean(axis=0) - mean) < 4 * 0.5 * spread / 40_000**0.5).all()
    np.testing.assert_allclose(np.cov(draws.T) / np.outer(spread, spread) / 0.25, covariance / np.outer(spread, spread), atol=0.04)


def test_items_that_are_all_like_are_one_linucb(monkeypatch):
    log = made()
    hybrid = HybridLinUCB(item_ridge=1e9, num_items=16)
    plain = scores_of(LinUCB(), replay(LinUCB(), log, engine="numpy").state, probe(), monkeypatch, "greedy")
    scores = scores_of(hybrid, replay(hybrid, log, engine="numpy").state, probe(), monkeypatch, "greedy")
    np.testing.assert_allclose(scores, plain, rtol=1e-6)


@pytest.mark.parametrize("make", [HybridLinUCB, HybridLinTS])
def test_a_new_item_starts_from_what_is_true_of_all(make):
    truth = np.array([1.0, -1.0, 0.5, 2.0])
    log = made(400)
    rows = np.arange(400)
    log = log._replace(reward=log.context.features[rows, log.action] @ truth, weight=np.ones(400))
    policy = make(num_items=64)
    state = replay(policy, log, engine="numpy").state
    new = Context(np.random.default_rng(5).standard_normal((10, 4)), np.ones(10, bool), np.arange(10))
    assert policy.probs(state, np.random.default_rng(0), new).argmax() == (new.features @ truth).argmax()


@pytest.mark.parametrize("make", ALL)
def test_an_item_that_takes_a_place_over_starts_from_the_prior(make):
    policy = make(num_items=4)
    first, second = (Context(np.eye(4)[:1], np.ones(1, bool), np.array([slot])) for slot in (1, 5))
    state = policy.init(PRIOR)
    for _ in range(20):
        state = policy.update(state, Interaction(first, 0, 3.0, 1.0, 1.0))
    before = state.items.mean[1].copy()
    state = policy.update(state, Interaction(second, 0, 9.0, 1.0, 0.0))
    assert state.items.owner[1] == 1
    np.testing.assert_array_equal(state.items.mean[1], before)
    state = policy.update(state, Interaction(second, 0, 9.0, 1.0, 1.0))
    assert state.items.owner.tolist() == [-1, 5, -1, -1]
    fresh = policy.update(policy.init(PRIOR), Interaction(second, 0, 9.0, 1.0, 1.0))
    np.testing.assert_array_equal(state.items.mean[1], fresh.items.mean[1])
    np.testing.assert_array_equal(state.items.root[1], fresh.items.root[1])


def test_of_two_items_that_meet_in_a_place_the_other_is_unknown(monkeypatch):
    policy = DisjointLinUCB(alpha=1.0, num_items=4)
    state = policy.update(policy.init(PRIOR), Interaction(Context(np.eye(4)[:1], np.ones(1, bool), np.array([1])), 0, 3.0, 1.0, 1.0))
    both = Context(np.eye(4)[[0, 0]], np.ones(2, bool), np.array([1, 5]))
    known, unknown = scores_of(policy, state, both, monkeypatch, "greedy")
    assert known == pytest.approx((PRIOR[0] + 3) / 2 + 0.5**0.5)
    assert unknown == pytest.approx(PRIOR[0] + 1)


@pytest.mark.parametrize("make", ALL)
def test_the_memory_is_what_the_documentation_says(make):
    state = make(num_items=1000).init(np.zeros(16))
    assert sum(part.nbytes for part in state.items) == 8 * 1000 * (16**2 + 16 + 1)
    after = replay(make(num_items=1000), made(), engine="numpy", prior=PRIOR).state
    assert sum(part.nbytes for part in after.items) == 8 * 1000 * (4**2 + 4 + 1)


@pytest.mark.parametrize("make", ALL)
def test_a_live_update_does_not_copy_the_places(make):
    log = made()
    rounds = [Interaction(Context(*(field[row] for field in log.context)), *(field[row] for field in log[1:])) for row in range(20)]

    def seconds(num_items):
        policy = make(num_items=num_items)
        state = policy.init(PRIOR)
        root = state.items.root

        def learn():
            nonlocal state
            for interaction in rounds:
                state = policy.update(state, interaction)

        taken = min(timeit.repeat(learn, number=1, repeat=5))
        assert state.items.root is root
        return taken

    assert seconds(50_000) < 4 * seconds(10)


def test_live_updates_go_on_from_a_state_that_was_replayed_on_jax():
    log, policy = made(), HybridLinUCB(num_items=16)
    half = slice(60)
    state = replay(policy, arrays.at(log, half), engine="jax").state
    for row in range(60, 120):
        state = policy.update(state, arrays.at(log, row))
    whole = replay(policy, log, engine="numpy").state
    for got, wanted in zip(arrays.leaves(state), arrays.leaves(whole), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("policy", [HybridLinUCB(num_items=10), HybridLinTS(num_items=10)], ids=lambda policy: type(policy).__name__)
def test_where_items_are_alike_the_hybrid_learns_faster_than_the_disjoint(policy):
    world = LinearWorld(num_candidates=10, dim=8)
    disjoint = simulate(DisjointLinUCB(num_items=10), world, 500, seed=0, engine="numpy").regret.sum()
    assert simulate(policy, world, 500, seed=0, engine="numpy").regret.sum() < 0.5 * disjoint


@pytest.mark.parametrize("make", ALL)
def test_a_number_of_places_below_1_is_refused(make):
    with pytest.raises(InvalidValue, match=r"num_items must be a whole number >= 1, got 0"):
        make(num_items=0)
