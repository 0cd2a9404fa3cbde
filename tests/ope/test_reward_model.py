import numpy as np
import pytest

from recsdk import ope
from recsdk.errors import InvalidContext, InvalidLog, InvalidValue
from tests.ope.logs import log_of, random_log


def linear_log(size=500, noise=0.0):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(size, 3, 4))
    means = features @ np.array([1.0, -2.0, 0.5, 0.0])
    action = rng.integers(3, size=size)
    reward = means[np.arange(size), action] + noise * rng.normal(size=size)
    return log_of(action, reward, np.full(size, 1 / 3), features=features, num_candidates=3), means


def test_a_linear_reward_is_recovered_for_every_candidate():
    log, means = linear_log()
    assert np.abs(ope.fit_reward_model(log, model=ope.Ridge(strength=1e-9)).q_hat - means).max() < 1e-9


def test_a_round_is_predicted_by_a_model_that_has_not_seen_it():
    log, _ = linear_log(size=60)
    before = ope.fit_reward_model(log).q_hat
    for row in range(0, 60, 7):
        reward = log.reward.copy()
        reward[row] += 1000
        after = ope.fit_reward_model(log._replace(reward=reward)).q_hat
        changed = np.abs(after - before).max(1) > 1e-6
        assert not changed[row]
        assert changed.sum() == 48  # all but its own fold of 12


def test_the_ridge_solution_is_the_normal_equations_with_a_free_intercept():
    log, _ = linear_log(size=40, noise=1.0)
    weight = np.random.default_rng(1).random(40)
    found = ope.fit_reward_model(log._replace(weight=weight), num_folds=40, model=ope.Ridge(strength=2.0)).q_hat
    x = np.concatenate([np.ones((40, 1)), log.context.features[np.arange(40), log.action]], axis=1)
    penalty = 2.0 * np.diag([0, 1, 1, 1, 1])
    for row in (0, 13, 39):
        others = np.arange(40) != row
        scaled = x[others] * weight[others, None]
        expected = np.linalg.inv(scaled.T @ x[others] + penalty) @ scaled.T @ log.reward[others]
        assert found[row] == pytest.approx(expected[0] + log.context.features[row] @ expected[1:], rel=1e-9)


@pytest.mark.parametrize("model", [ope.Ridge(), ope.Ridge(strength=1e9)])
def test_rewards_that_shift_are_predicted_as_much_higher(model):
    log, _ = linear_log(noise=1.0)
    before, after = (ope.fit_reward_model(log._replace(reward=log.reward + shift), model=model).q_hat for shift in (0, 100))
    assert after == pytest.approx(before + 100, abs=1e-6)


def test_the_folds_follow_the_seed():
    log, _ = linear_log(size=60, noise=1.0)
    assert np.array_equal(ope.fit_reward_model(log, seed=3).q_hat, ope.fit_reward_model(log, seed=3).q_hat)
    assert not np.array_equal(ope.fit_reward_model(log, seed=3).q_hat, ope.fit_reward_model(log, seed=4).q_hat)


def test_padding_is_worth_nothing_and_may_hold_anything():
    log, _ = linear_log(size=60)
    mask = np.ones((60, 3), np.bool_)
    mask[:, 2] = log.action == 2
    junk = np.where(mask[:, :, None], log.context.features, 1e6)
    found = ope.fit_reward_model(log._replace(context=log.context._replace(mask=mask, features=junk))).q_hat
    assert np.array_equal(found, np.where(mask, ope.fit_reward_model(log).q_hat, 0))


def test_a_good_model_makes_dr_tighter_than_ips():
    log, _ = linear_log(noise=0.1)
    target = np.tile([0.8, 0.1, 0.1], (500, 1))
    rounds = ope.rounds(log, target, q_hat=ope.fit_reward_model(log).q_hat)
    assert ope.delta(ope.dr(rounds)).stderr < 0.6 * ope.delta(ope.ips(rounds)).stderr


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_folds": 1}, r"num_folds must be in \[2, 2000\]"),
        ({"num_folds": 2001}, r"num_folds must be in \[2, 2000\]"),
        ({"emphasis": np.zeros(2000)}, r"emphasis must be float64\[2000\], finite, >= 0 and somewhere > 0"),
        ({"emphasis": np.ones(3)}, r"emphasis must be float64\[2000\]"),
        ({"emphasis": np.full(2000, np.nan)}, r"emphasis must be float64\[2000\]"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(InvalidValue, match=message):
        ope.fit_reward_model(random_log(0)[0], **changes)


def test_a_log_of_a_few_rounds_has_as_many_folds_and_one_round_none():
    log, _ = linear_log(size=3)
    assert sorted(ope.fit_reward_model(log).fold) == [0, 1, 2]
    with pytest.raises(InvalidValue, match="log must have at least 2 rounds for a reward model, got 1"):
        ope.fit_reward_model(linear_log(size=1)[0])


def test_features_that_cannot_be_learnt_from_are_refused():
    log, _ = linear_log(size=60)
    features = log.context.features.copy()
    with pytest.raises(InvalidContext, match="at least one column"):
        ope.fit_reward_model(log._replace(context=log.context._replace(features=features[:, :, :0])))
    features[7, 2, 1] = np.inf
    with pytest.raises(InvalidLog, match=r"(?s)features must be finite, .*in row 7"):
        ope.fit_reward_model(log._replace(context=log.context._replace(features=features)))


def test_the_folds_are_kept_and_even():
    log, _ = linear_log(size=60)
    fold = ope.fit_reward_model(log, num_folds=7).fold
    assert sorted(np.bincount(fold)) == [8, 8, 8, 9, 9, 9, 9]


def test_a_fold_with_all_the_weight_is_refused():
    log, _ = linear_log(size=4)
    with pytest.raises(InvalidValue, match="num_folds must leave rounds of positive weight beside each fold, got 4"):
        ope.fit_reward_model(log._replace(weight=np.array([0.0, 1, 0, 0])), num_folds=4)


def test_emphasis_is_scaled_so_that_the_ridge_stays_what_it_is():
    log, _ = linear_log(size=60, noise=1.0)
    plain, alike = (ope.fit_reward_model(log, emphasis=emphasis).q_hat for emphasis in (None, np.full(60, 1e6)))
    assert alike == pytest.approx(plain, rel=1e-9)


def test_a_more_robust_model_has_the_weights_of_drs_variance():
    # Farajtabar et al. 2018: E[pi(a)^2 (1 - p) / p^2 (r - q(a))^2] is the variance of DR given the context, for a deterministic target.
    rng = np.random.default_rng(0)
    logging, means, q_hat = rng.dirichlet(np.ones(4)), rng.random(4), rng.random(4)
    log = log_of(np.arange(4), means, logging)
    for best in range(4):
        rounds = ope.rounds(log, np.tile(np.eye(4)[best], (4, 1)))
        loss = (logging * ope.more_robust(rounds) * (means - q_hat) ** 2).sum()
        correction = np.eye(4)[best] / logging * (means - q_hat)
        assert loss == pytest.approx((logging * correction**2).sum() - (logging * correction).sum() ** 2, rel=1e-12)


def test_mrdr_has_less_variance_than_dr_where_the_model_cannot_be_right():
    # A linear model of a reward that is not: it has to choose where to be right.
    rng = np.random.default_rng(0)
    values = {"dr": [], "mrdr": []}
    for _ in range(60):
        features = np.stack([np.ones((400, 5)), rng.normal(size=(400, 5))], axis=2)
        means = features[:, :, 1] ** 2
        logging = np.where(np.arange(5) == features[:, :, 1].argmin(1)[:, None], 0.8, 0.05)
        action = (logging.cumsum(1) < rng.random((400, 1))).sum(1).clip(max=4)
        rows = np.arange(400)
        log = log_of(action, means[rows, action], logging[rows, action], features=features, num_candidates=5)
        target = np.eye(5)[features[:, :, 1].argmax(1)]
        rounds = ope.rounds(log, target)
        for name, emphasis in (("dr", None), ("mrdr", ope.more_robust(rounds))):
            q_hat = ope.fit_reward_model(log, emphasis=emphasis).q_hat
            values[name].append(ope.value(ope.dr(rounds._replace(q_hat=q_hat))) - (target * means).sum(1).mean())
    assert np.std(values["mrdr"]) < 0.7 * np.std(values["dr"])
    for errors in values.values():
        assert abs(np.mean(errors)) < 4 * np.std(errors) / np.sqrt(60)
