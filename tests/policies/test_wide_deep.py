import numpy as np
import pytest

from recsdk import Context, DisjointLinUCB, Interaction, WideDeep, decide, explore, learn, simulate, testing
from recsdk.environments import ClassificationWorld, LinearWorld
from recsdk.errors import InvalidValue

SMALL = WideDeep(width=8, num_items=50, memory=64)


@testing.parametrize(SMALL)
def test_conforms(policy, check):
    check(policy)


def world(labels):
    contexts = np.random.default_rng(0).uniform(-1, 1, (600, 2))
    return ClassificationWorld(contexts=contexts, labels=labels(contexts), phi="shared")


def exclusive_or(contexts):
    return ((contexts[:, 0] > 0) ^ (contexts[:, 1] > 0)).astype(np.int64)


def context(num_items, x):
    return Context(np.tile(x, (num_items, 1)), np.ones(num_items, bool), np.arange(num_items))


def test_it_learns_what_no_linear_model_can():
    policy, linear = WideDeep(num_items=2, memory=2000), DisjointLinUCB(num_items=2)
    played, missed = (simulate(each, world(exclusive_or), 3000, engine="jax").log.reward[-1000:].mean() for each in (policy, linear))
    assert missed < 0.75
    assert played > 0.9


def test_it_comes_to_believe_the_model_that_predicts_best():
    state = simulate(WideDeep(num_items=2, memory=2000), world(exclusive_or), 3000, engine="jax").state
    assert state.trust.argmax() == 2
    state = simulate(WideDeep(num_items=10, memory=100), LinearWorld(noise=0.3), 1000, engine="jax").state
    assert state.trust[0] > 0.8


def test_trust_falls_with_the_exponential_of_the_squared_error():
    policy = WideDeep(num_items=2, width=4, memory=8)
    trust = np.array([0.4, 0.3, 0.2, 0.1])
    state = policy.init(np.zeros(2))._replace(trust=trust.copy())
    state = policy.update(state, Interaction(context(2, np.ones(2)), 1, np.float64(1), 0.5, np.float64(1)))
    wanted = trust * np.exp(-2 * np.array([1, 0.5, 0.5, 1]) ** 2)  # ridge says 0 before any reward, the others 1 / 2
    np.testing.assert_allclose(state.trust, 0.999 * wanted / wanted.sum() + 0.001 / 4, rtol=1e-12)


def test_doubt_about_an_item_shrinks_with_its_own_rounds_only():
    policy = WideDeep(num_items=3, width=4, memory=8, ridge=2.0)
    state = policy.init(np.zeros(2))
    x = np.array([1.0, 0.5])
    for weight in (1.0, 2.0):
        state = policy.update(state, Interaction(context(3, x), 1, np.float64(1), 0.5, np.float64(weight)))
    widths = policy._own_widths(state, np.tile(x, (3, 1)), np.arange(3))
    np.testing.assert_allclose(widths, np.sqrt([(x**2 / 2).sum(), (x**2 / (2 + 3 * x**2)).sum(), (x**2 / 2).sum()]), rtol=1e-12)


def on_offer(num_items=20, seed=0):
    """Makes candidates of an encoder: a deep score with a spread of 1/4, the products that it is the sum of, and 1."""
    products = np.random.default_rng(seed).standard_normal((num_items, 8)) / 4 / 8**0.5
    features = np.hstack([products.sum(axis=1)[:, None], products, np.ones((num_items, 1))])
    return Context(features, np.ones(num_items, bool), np.arange(num_items))


def test_before_any_reward_and_without_a_prior_it_explores_uniformly():
    policy = WideDeep(num_items=20, memory=8)
    np.testing.assert_allclose(policy.probs(policy.init(np.zeros(10)), None, on_offer()), np.full(20, 0.05), rtol=1e-12)


def test_before_any_reward_it_shows_the_ranking_of_the_prior():
    policy = WideDeep(num_items=20, memory=8, alpha=0.0)  # without doubt, which depends on the other features
    for seed in range(20):
        shown = on_offer(seed=seed)
        probs = policy.probs(policy.init(np.eye(10)[0]), None, shown)
        np.testing.assert_array_equal(np.argsort(-probs), np.argsort(-shown.features[:, 0]))
        opposed = policy.probs(policy.init(-np.eye(10)[0]), None, shown)
        np.testing.assert_array_equal(np.argsort(-opposed), np.argsort(shown.features[:, 0]))


def test_the_default_settings_put_most_probability_on_the_first_of_the_prior():
    policy = WideDeep(memory=8)
    offers = [on_offer(seed=seed) for seed in range(50)]
    of_first = [policy.probs(policy.init(np.eye(10)[0]), None, shown)[shown.features[:, 0].argmax()] for shown in offers]
    assert np.mean(of_first) > 0.7
    assert np.mean(np.array(of_first) > 0.5) > 0.85


def test_a_prior_counts_as_its_weight_in_rounds():
    policy = WideDeep(num_items=20, memory=8, ridge=4.0, scale=10.0)
    prior = np.eye(10)[0] / 2
    mean, bonus = policy.scores(policy.init(prior), on_offer())
    np.testing.assert_allclose(
        policy.probs(policy.init(prior), None, on_offer()), explore.inverse_gap(mean + bonus, np.ones(20, bool), 10 * 20**0.5), rtol=1e-12
    )


def test_a_wrong_prior_is_unlearned():
    policy, rng, earned = WideDeep(num_items=3, memory=500), np.random.default_rng(0), []
    shown = Context(np.array([[0.3, 1.0], [0.0, 1.0], [-0.3, 1.0]]), np.ones(3, bool), np.arange(3))
    state, chances = policy.init(np.array([1.0, 0.0])), np.array([0.1, 0.4, 0.7])
    for _ in range(1_000):
        action, propensity, probs = decide(policy, state, rng, shown)
        state = learn(policy, state, Interaction(shown, action, float(rng.random() < chances[action]), propensity, 1.0))
        earned.append(probs @ chances)
    assert earned[0] < 0.25
    assert np.mean(earned[-300:]) > 0.6


def test_every_candidate_keeps_a_probability():
    state = simulate(SMALL, world(exclusive_or), 500, engine="numpy").state
    probs = [SMALL.probs(state, None, context(2, x)) for x in np.random.default_rng(1).uniform(-3, 3, (100, 3))]
    assert np.min(probs) > 0
    assert np.max(probs) > 0.9


def after(policy, *rewards):
    state = policy.init(np.zeros(2))
    for reward in rewards:
        state = policy.update(state, Interaction(context(2, np.ones(2)), 0, np.float64(reward), 0.5, np.float64(1)))
    return state


def test_an_end_of_the_range_moves_out_to_where_two_rewards_have_been():
    span = after(WideDeep(num_items=2, memory=8), 0.5, 20.0, -3.0, 12.0, -5.0, 0.1).span
    assert (span.low, span.high) == (-3, 12)


@pytest.mark.parametrize("outlier", [1e6, -1e6])
def test_one_outlier_among_clicks_changes_no_estimate_by_more_than_a_click_would(outlier):
    policy = WideDeep(num_items=2, memory=8)
    clicks = [1.0, 0.0, 1.0, 1.0, 0.0]
    found = policy.scores(after(policy, *clicks, outlier), context(2, np.ones(2)))
    np.testing.assert_array_equal(found, policy.scores(after(policy, *clicks, float(outlier > 0)), context(2, np.ones(2))))


@pytest.mark.parametrize("outlier", [1e6, -1e6])
def test_it_recovers_from_one_outlier_among_clicks(outlier):
    policy, chances = WideDeep(num_items=3, memory=500), np.array([0.1, 0.4, 0.7])
    shown, rng = Context(np.array([[0.0, 1.0], [0.5, 1.0], [1.0, 1.0]]), np.ones(3, bool), np.arange(3)), np.random.default_rng(0)
    state, earned = policy.init(np.zeros(2)), []
    for time in range(1_500):
        action, propensity, probs = decide(policy, state, rng, shown)
        reward = outlier if time == 300 else float(rng.random() < chances[action])
        state = learn(policy, state, Interaction(shown, action, reward, propensity, 1.0))
        earned.append(probs @ chances)
    assert np.mean(earned[-500:]) > 0.65


@pytest.mark.parametrize(("name", "value"), [("alpha", -1), ("scale", 0), ("width", 0), ("batch_size", 0), ("learning_rate", 0)])
def test_settings_that_make_no_sense_are_refused(name, value):
    with pytest.raises(InvalidValue, match=rf"WideDeep.{name} must be"):
        WideDeep(**{name: value})


def played(policy, rounds):
    state = policy.init(np.zeros(2))
    for slot, x, reward, weight in rounds:
        row = Context(np.array([x]), np.ones(1, bool), np.array([slot]))
        state = policy.update(state, Interaction(row, 0, np.float64(reward), 0.5, np.float64(weight)))
    return state


def test_an_item_that_takes_a_place_over_is_as_doubtful_as_a_new_one():
    policy = WideDeep(num_items=4, width=4, memory=8)
    taken = played(policy, [(1, (1.0, 0.5), 1, 1), (5, (1.0, 0.5), 1, 1)])
    own = played(policy, [(5, (1.0, 0.5), 1, 1)])
    np.testing.assert_array_equal(taken.squares, own.squares)


def test_the_doubt_is_that_of_the_models_that_are_trusted():
    """Items of equal estimates differ by their own doubt only as far as the models of items are believed."""
    policy = WideDeep(num_items=4, width=4, memory=8, learning_rate=1e-12)
    state = played(policy, [(0, (1.0, 0.0), 0, 1)] * 5)
    rows = Context(np.ones((2, 2)), np.ones(2, bool), np.array([0, 1]))
    for trust, apart in (((1.0, 0.0, 0.0, 0.0), False), ((0.0, 1.0, 0.0, 0.0), True)):
        probs = policy.probs(state._replace(trust=np.array(trust)), None, rows)
        assert (abs(probs[0] - probs[1]) > 0.1) == apart
    new = Context(np.eye(2), np.ones(2, bool), np.array([1, 2]))  # the first of these phi is known to all items' model, and to no item's
    for trust, apart in (((1.0, 0.0, 0.0, 0.0), True), ((0.0, 1.0, 0.0, 0.0), False)):
        probs = policy.probs(state._replace(trust=np.array(trust)), None, new)
        assert (abs(probs[0] - probs[1]) > 0.1) == apart


def test_an_items_own_regression_begins_at_what_is_true_of_all_and_learns_from_its_own_rounds():
    """It is checked against the weights that solve the regression about where it began."""
    policy = WideDeep(num_items=4, width=4, memory=8, ridge=2.0)
    others = played(policy, [(0, (1.0, 0.5), 1, 1), (0, (0.5, -1.0), 0, 2)])
    began = others.linear.mean.copy()
    rounds = [((1.0, 0.0), 1.0, 1.0), ((0.5, 1.0), 0.0, 2.0)]
    state = others
    for x, reward, weight in rounds:
        state = policy.update(state, Interaction(context(4, np.array(x)), 1, np.float64(reward), 0.5, np.float64(weight)))
    x, rewards, weights = (np.array(column) for column in zip(*rounds, strict=True))
    solved = np.linalg.solve(2 * np.eye(2) + (x.T * weights) @ x, 2 * began + (x.T * weights) @ rewards)
    np.testing.assert_allclose(state.items.mean[1], solved, rtol=1e-12)


@pytest.mark.parametrize("num_ridges", [2, 64])
def test_an_item_without_a_place_is_guessed_by_what_is_true_of_all(num_ridges):
    """Item 2 takes the place of item 0 where there are two, and is the newest of three where there are enough."""
    policy = WideDeep(num_items=3, num_ridges=num_ridges, width=4, memory=8, alpha=0.0)
    state = played(policy, [(0, (1.0, 0.0), 0, 1), (0, (1.0, 0.0), 0, 1), (2, (1.0, 0.0), 1, 1)])
    alone = state._replace(trust=np.array([0.0, 0.0, 0.0, 1.0]))
    means = policy.scores(alone, context(3, np.array([1.0, 0.0]))).mean
    of_all = state.linear.mean[0]
    assert means[1] == of_all
    assert (means[0] == of_all) == (num_ridges == 2)
    assert means[2] > of_all


def test_a_round_of_weight_2_costs_trust_twice():
    policy = WideDeep(num_items=2, width=4, memory=8)
    once, twice = (played(policy, [(0, (1.0, 1.0), 1, weight)]).trust for weight in (1, 2))
    odds = [(trust - 0.001 / 4) / 0.999 for trust in (once, twice)]
    np.testing.assert_allclose(odds[1], odds[0] ** 2 / (odds[0] ** 2).sum(), rtol=1e-9)
