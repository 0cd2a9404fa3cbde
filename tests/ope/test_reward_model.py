import numpy as np
import pytest
from ope.logs import log_of, random_log

from recsdk import ope
from recsdk.errors import InvalidContext, InvalidLog, InvalidValue


def linear_log(size=500, noise=0.0):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(size, 3, 4))
    means = features @ np.array([1.0, -2.0, 0.5, 0.0])
    action = rng.integers(3, size=size)
    reward = means[np.arange(size), action] + noise * rng.normal(size=size)
    return log_of(action, reward, np.full(size, 1 / 3), features=features, num_candidates=3), means


def test_a_linear_reward_is_recovered_for_every_candidate():
    log, means = linear_log()
    assert np.abs(ope.fit_reward_model(log, ridge=1e-9) - means).max() < 1e-9


def test_a_round_is_predicted_by_a_model_that_has_not_seen_it():
    log, _ = linear_log(size=60)
    before = ope.fit_reward_model(log)
    for row in range(0, 60, 7):
        reward = log.reward.copy()
        reward[row] += 1000
        after = ope.fit_reward_model(log._replace(reward=reward))
        changed = np.abs(after - before).max(1) > 1e-6
        assert not changed[row]
        assert changed.sum() == 48  # all but its own fold of 12


def test_the_ridge_solution_is_the_normal_equations():
    log, _ = linear_log(size=40, noise=1.0)
    weight = np.random.default_rng(1).random(40)
    found = ope.fit_reward_model(log._replace(weight=weight), num_folds=40, ridge=2.0)
    x = log.context.features[np.arange(40), log.action]
    for row in (0, 13, 39):
        others = np.arange(40) != row
        scaled = x[others] * weight[others, None]
        expected = np.linalg.inv(scaled.T @ x[others] + 2.0 * np.eye(4)) @ scaled.T @ log.reward[others]
        assert found[row] == pytest.approx(log.context.features[row] @ expected, rel=1e-9)


def test_the_folds_follow_the_seed():
    log, _ = linear_log(size=60, noise=1.0)
    assert np.array_equal(ope.fit_reward_model(log, seed=3), ope.fit_reward_model(log, seed=3))
    assert not np.array_equal(ope.fit_reward_model(log, seed=3), ope.fit_reward_model(log, seed=4))


def test_padding_is_worth_nothing_and_may_hold_anything():
    log, _ = linear_log(size=60)
    mask = np.ones((60, 3), np.bool_)
    mask[:, 2] = log.action == 2
    junk = np.where(mask[:, :, None], log.context.features, 1e6)
    found = ope.fit_reward_model(log._replace(context=log.context._replace(mask=mask, features=junk)))
    assert np.array_equal(found, np.where(mask, ope.fit_reward_model(log), 0))


def test_a_good_model_makes_dr_tighter_than_ips():
    log, _ = linear_log(noise=0.1)
    target = np.tile([0.8, 0.1, 0.1], (500, 1))
    rounds = ope.rounds(log, target, q_hat=ope.fit_reward_model(log))
    assert ope.delta(ope.dr(rounds)).stderr < 0.6 * ope.delta(ope.ips(rounds)).stderr


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_folds": 1}, r"num_folds must be in \[2, 2000\]"),
        ({"num_folds": 2001}, r"num_folds must be in \[2, 2000\]"),
        ({"ridge": 0.0}, "ridge must be finite and > 0"),
        ({"ridge": float("nan")}, "ridge must be finite and > 0"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(InvalidValue, match=message):
        ope.fit_reward_model(random_log(0)[0], **changes)


def test_features_that_cannot_be_learnt_from_are_refused():
    log, _ = linear_log(size=60)
    features = log.context.features.copy()
    with pytest.raises(InvalidContext, match="at least one column"):
        ope.fit_reward_model(log._replace(context=log.context._replace(features=features[:, :, :0])))
    features[7, 2, 1] = np.inf
    with pytest.raises(InvalidLog, match=r"(?s)features must be finite, .*in row 7"):
        ope.fit_reward_model(log._replace(context=log.context._replace(features=features)))
