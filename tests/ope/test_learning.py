"""What a policy that learns would have earned, from a log of another that is not uniform."""

import numpy as np
import pytest

import recsdk
from recsdk import ope
from recsdk.errors import InvalidValue
from tests.ope.logs import log_of
from tests.ope.test_policy_targets import live

WEIGHTS = np.array([0.5, -1.0, 0.25])


def skewed_log(seed, size):
    """Returns a log that takes the first of four candidates, which is as good as any, with probability .7."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(size, 4, 3))
    logging = np.array([0.7, 0.1, 0.1, 0.1])
    action = rng.choice(4, size=size, p=logging)
    reward = (features @ WEIGHTS)[np.arange(size), action] + 0.1 * rng.normal(size=size)
    return log_of(action, reward, logging[action], features=features)


def head(log, end):
    context = recsdk.Context(*(column[:end] for column in log.context))
    return recsdk.Interaction(context, *(column[:end] for column in log[1:]))


POLICY, LENGTH, RUNS = recsdk.LinUCB(alpha=1.0), 6, 200


def test_a_life_on_a_skewed_log_is_the_policys_own():
    replayed, lived, by_dr = [], [], []
    for seed in range(RUNS):
        log = skewed_log(seed, 150)
        found = ope.rejection_replay(POLICY, log, seed=seed, engine="numpy")
        end = np.flatnonzero(found.accepted)[LENGTH - 1] + 1
        part = found._replace(probs=found.probs[:end], accepted=found.accepted[:end])
        replayed.append(ope.value(ope.accepted_mean(head(log, end), part)))
        q_hat = log.context.features[:end] @ WEIGHTS + 0.3
        by_dr.append(ope.value(ope.dr(ope.rounds(head(log, end), part.probs, q_hat=q_hat))))
        lived.append(live(POLICY, seed=1000 + seed, length=LENGTH))
    error = np.sqrt((np.var(replayed, ddof=1) + np.var(lived, ddof=1)) / RUNS)
    assert abs(np.mean(replayed) - np.mean(lived)) < 4 * error
    assert abs(np.mean(by_dr) - np.mean(lived)) < 4 * error
    assert np.std(by_dr) < 0.8 * np.std(replayed)


def test_every_round_is_accepted_where_the_log_is_its_own():
    rng = np.random.default_rng(0)
    log = log_of(rng.integers(4, size=200), rng.random(200), np.full(200, 0.25), features=rng.normal(size=(200, 4, 3)), num_candidates=4)
    found = ope.rejection_replay(recsdk.Uniform(), log, scale=1.0, engine="numpy")
    assert found.accepted.all()
    assert not found.capped.any()
    assert ope.value(ope.accepted_mean(log, found)) == pytest.approx(log.reward.mean(), rel=1e-12)


def test_rounds_are_accepted_as_often_as_they_should_be():
    log = skewed_log(0, 4000)
    policy = recsdk.EpsilonGreedy(epsilon=1.0)
    found = ope.rejection_replay(policy, log, engine="numpy")
    chance = np.where(log.action == 0, 0.1 * 0.25 / 0.7, 0.1 * 0.25 / 0.1)
    z = (found.accepted - chance).sum() / np.sqrt((chance * (1 - chance)).sum())
    assert abs(z) < 4
    assert abs(np.mean(log.action[found.accepted] == 0) - 0.25) < 4 * np.sqrt(0.19 / found.accepted.sum())


def test_a_larger_scale_gives_a_longer_life_and_says_where_it_is_not_the_policys_own():
    log = skewed_log(0, 1000)
    short, long = (ope.rejection_replay(POLICY, log, scale=scale, engine="numpy") for scale in (0.1, 0.5))
    assert long.accepted.sum() > 1.5 * short.accepted.sum()
    assert not short.capped.any()
    assert long.capped.any()
    assert long.accepted[long.capped].all()
    some = ope.rejection_replay(POLICY, log, scale=0.15, engine="numpy")
    chance = 0.15 * some.probs[np.arange(1000), log.action] / log.propensity
    assert np.array_equal(some.capped, chance > 1)
    assert 0 < some.capped.mean() < 1


def test_it_learns_from_what_is_accepted_only():
    log = skewed_log(0, 300)
    found = ope.rejection_replay(POLICY, log, seed=4, engine="numpy")
    state = POLICY.init(np.zeros(3))
    for row in range(300):
        context = recsdk.Context(*(column[row] for column in log.context))
        assert found.probs[row] == pytest.approx(POLICY.probs(state, np.random.default_rng(0), context), abs=1e-9)
        if found.accepted[row]:
            state = POLICY.update(state, recsdk.Interaction(context, *(column[row] for column in log[1:])))


def test_both_engines_agree_on_the_chances():
    pytest.importorskip("jax")
    log = skewed_log(0, 400)
    policy = recsdk.WithFloor(policy=recsdk.ByColumn(column=0), floor=0.5)
    found = [ope.rejection_replay(policy, log, engine=engine) for engine in ("numpy", "jax")]
    assert found[0].probs == pytest.approx(found[1].probs, rel=1e-9)
    shares = [each.accepted.mean() for each in found]
    assert abs(shares[0] - shares[1]) < 4 * np.sqrt(2 * shares[0] / 400)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan")])
def test_a_scale_out_of_range_is_refused(scale):
    with pytest.raises(InvalidValue, match="scale must be a finite number > 0"):
        ope.rejection_replay(POLICY, skewed_log(0, 10), scale=scale)
