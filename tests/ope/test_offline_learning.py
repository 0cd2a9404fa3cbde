"""A policy learned from a log alone is better than the one that wrote it, and goes live as it is."""

import numpy as np
import pytest

from recsdk import Recommender, WithFloor, replay, simulate, sweep, testing
from recsdk.base import Context, Interaction
from recsdk.environments import LinearWorld
from recsdk.errors import EmptyLog, InvalidContext, InvalidValue
from recsdk.ope import LinearSoftmax, delta, dr, evaluate, fit_reward_model, learn_softmax, rounds, snips, split

WORLD = LinearWorld(num_candidates=5, dim=4, noise=0.3)
LOGGER = WithFloor(policy=LinearSoftmax(weights=(1.0, -1.0, 1.0, -1.0)), floor=0.3)
WEIGHTS = WORLD.init(0).weights


def logged(num_rounds=2000):
    return simulate(LOGGER, WORLD, num_rounds, engine="numpy")


def probs_of(policy, log):
    return replay(policy, log, learn_from="none", engine="numpy").decision.probs


@testing.parametrize(LinearSoftmax(), skip={"learns": "it learns from a log, not while it is used"})
def test_conforms(policy, check):
    check(policy)


@pytest.mark.parametrize("has_model", [False, True], ids=["snips", "dr"])
def test_what_is_learnt_is_far_better_than_the_logger_and_its_held_out_value_covers_the_truth(has_model):
    made = logged()
    first, second = split(made.log)
    policy = learn_softmax(first, q_hat=fit_reward_model(first).q_hat if has_model else None)
    probs = probs_of(policy, second)
    truth = (probs * made.mean[len(first.reward) :]).sum(1).mean()
    best = made.mean.max(1).mean()
    assert made.value.mean() < 0.6 * best
    assert truth > 0.9 * best
    for estimate in evaluate(second, probs).estimates.values():
        assert estimate.low < truth < estimate.high


def test_it_is_the_best_of_its_neighbours_by_its_own_measure():
    log = logged(500).log
    q_hat = fit_reward_model(log).q_hat
    spread, total = log.reward.std(), len(log.reward)

    def measure(weights, q_hat, penalty):
        beside = rounds(log, probs_of(LinearSoftmax(weights=tuple(weights)), log), q_hat=q_hat)
        estimate = delta((snips if q_hat is None else dr)(beside))
        bessel = np.sqrt((total - 1) / total)
        return (estimate.value - penalty * bessel * estimate.stderr) / spread - 2.0 / total / 2 * np.sum(np.square(weights))

    for given, penalty in ((None, 0.0), (None, 2.0), (q_hat, 2.0)):
        found = np.array(learn_softmax(log, q_hat=given, penalty=penalty, ridge=2.0).weights)
        best = measure(found, given, penalty)
        for direction in np.vstack([np.eye(4), -np.eye(4)]):
            assert measure(found + 0.3 * direction, given, penalty) < best
            assert measure(found + 0.01 * direction, given, penalty) < best


def of_one_context(action, reward, propensity, num_candidates):
    size = len(action)
    context = Context(
        np.broadcast_to(np.eye(num_candidates), (size, num_candidates, num_candidates)).copy(),
        np.ones((size, num_candidates), np.bool_),
        np.tile(np.arange(num_candidates), (size, 1)),
    )
    return Interaction(context, np.array(action), np.array(reward, float), np.array(propensity, float), np.ones(size))


def test_the_penalty_keeps_it_from_what_was_lucky_once():
    # The first candidate earned 0.5 in each of 200 rounds, the second, in the three rounds that it had, 1, 1 and -0.3.
    log = of_one_context([0] * 200 + [1] * 3, [0.5, 0.55, 0.45, 0.5] * 50 + [1.0, 1.0, -0.3], [0.985] * 200 + [0.015] * 3, 2)
    bold, careful = (probs_of(learn_softmax(log, penalty=penalty), log)[0] for penalty in (0.0, 2.0))
    assert bold[1] > 0.9
    assert careful[1] < 0.5


def test_what_all_rewards_have_in_common_changes_nothing():
    log = logged(500).log
    here, there = (learn_softmax(log._replace(reward=log.reward + shift)).weights for shift in (0.0, 100.0))
    np.testing.assert_allclose(here, there, atol=1e-3)


def test_the_unit_of_reward_changes_nothing():
    log = logged(500).log
    here, there = (learn_softmax(log._replace(reward=log.reward * unit)).weights for unit in (1.0, 1000.0))
    np.testing.assert_allclose(here, there, atol=1e-3)


def test_padding_and_rounds_of_no_weight_change_nothing():
    log = logged(500).log
    log = log._replace(weight=np.where(np.arange(500) < 300, 1.0, 0.0))
    features = np.concatenate([log.context.features, np.full((500, 2, 4), 9.0)], axis=1)
    mask, item = (np.pad(column, [(0, 0), (0, 2)]) for column in log.context[1:])
    reward = np.where(log.weight, log.reward, 7.0)
    padded = log._replace(context=Context(features, mask, item), reward=reward)
    np.testing.assert_allclose(learn_softmax(padded).weights, learn_softmax(log).weights, atol=1e-5)


def test_where_all_rewards_are_alike_it_is_uniform():
    log = of_one_context([0] * 100 + [1] * 103, [1.0] * 203, [0.5] * 203, 2)
    assert learn_softmax(log).weights == pytest.approx((0.0, 0.0), abs=1e-6)


def test_it_goes_live_as_it_is(tmp_path):
    likes = {"a": 0.0, "b": 1.0}
    policy = LinearSoftmax(weights=(4.0, 0.0))
    options = {"items": [{"id": name} for name in likes], "policy": policy, "floor": 0.1, "log_features": "all"}
    with Recommender.open(tmp_path, scorers=[lambda request, items: np.array([likes[name] for name in items.ids])], **options) as shop:
        shown = [shop.recommend({}) for _ in range(200)]
        for each in shown:
            shop.reward(each.decision_id, 1.0)
    favourite = 0.9 / (1 + np.exp(-4)) + 0.05
    assert {round(float(each.propensities[0]), 6) for each in shown if each.ids[0] == "b"} == {round(favourite, 6)}
    assert sum(each.ids[0] == "b" for each in shown) > 170


def test_it_runs_in_a_sweep_and_in_a_compiled_replay():
    log = logged(200).log
    policies = [LinearSoftmax(weights=tuple(WEIGHTS * size)) for size in (1.0, 8.0)]
    table = sweep(policies, log, num_processes=1)
    assert table.reward[1] > table.reward[0]
    compiled = replay(policies[1], log, engine="jax").decision.probs
    np.testing.assert_allclose(compiled, probs_of(policies[1], log), atol=1e-12)


def test_without_weights_it_decides_by_the_prior():
    np.testing.assert_array_equal(LinearSoftmax().init(np.array([1.0, 0.5])), [1.0, 0.5])


def test_weights_of_another_width_are_refused():
    with pytest.raises(InvalidValue, match=r"LinearSoftmax\.weights must be 3, one for each feature, got 2"):
        LinearSoftmax(weights=(1.0, 2.0)).init(np.zeros(3))


@pytest.mark.parametrize("weights", [[1.0], (np.nan,), (1,), np.ones(2)], ids=repr)
def test_weights_that_are_no_tuple_of_finite_floats_are_refused(weights):
    with pytest.raises(InvalidValue, match=r"LinearSoftmax\.weights must be a tuple of finite floats"):
        LinearSoftmax(weights=weights)


@pytest.mark.parametrize("option", [{"penalty": -1.0}, {"ridge": 0.0}, {"num_steps": 0}, {"penalty": np.nan}], ids=repr)
def test_an_option_out_of_range_is_refused(option):
    with pytest.raises(InvalidValue, match=f"{next(iter(option))} must be"):
        learn_softmax(logged(10).log, **option)


def test_a_log_without_features_or_rounds_is_refused():
    log = logged(10).log
    with pytest.raises(InvalidContext, match="features must have at least one column"):
        learn_softmax(log._replace(context=log.context._replace(features=np.zeros((10, 5, 0)))))
    with pytest.raises(EmptyLog):
        learn_softmax(log._replace(weight=np.zeros(10)))
