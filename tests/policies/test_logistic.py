"""Rewards of 0 or 1: against quadrature, against the exact posterior, and by calibration."""

from typing import Any, ClassVar

import attrs
import numpy as np
import pytest

from recsdk import Context, Discounted, Interaction, LogisticTS, Mergeable, Windowed, learn, replay, simulate, testing
from recsdk.drivers.simulate import Round
from recsdk.environments import LinearWorld
from recsdk.errors import InvalidReward, InvalidValue


@attrs.frozen(kw_only=True)
class Squeezed:
    """Brings the kit's rewards, which lie in [-2, 2], into [0, 1], for a policy that takes no others."""

    runs_on: ClassVar[Any] = ("numpy", "jax")
    learns_from: ClassVar[Any] = "chosen"

    policy: Any

    def init(self, prior):
        return self.policy.init(prior)

    def probs(self, state, rng, context):
        return self.policy.probs(state, rng, context)

    def update(self, state, interaction):
        inside = 0.5 + 0.5 * interaction.context.features.__array_namespace__().tanh(2 * interaction.reward)
        return self.policy.update(state, interaction._replace(reward=inside))


@testing.parametrize(
    Squeezed(policy=LogisticTS()),
    Squeezed(policy=Discounted(policy=LogisticTS(), discount=0.999)),
)
def test_conforms(policy, check):
    check(policy)


@testing.parametrize(Squeezed(policy=LogisticTS(num_draws=1, ridge=0.1)), skip={"spread": "its answer is the winner of its one draw"})
def test_conforms_with_one_draw(policy, check):
    check(policy)


@attrs.frozen(kw_only=True)
class ClickWorld:
    """Rewards are 1 with probability sigmoid(3 x.weights - 1)."""

    world: LinearWorld = attrs.field(factory=lambda: LinearWorld(num_candidates=10, dim=5))

    @property
    def dim(self):
        return self.world.dim + 1

    def init(self, seed):
        return self.world.init(seed)

    def round(self, world, rng, time):
        context, mean, _ = self.world.round(world, rng, time)
        xp = mean.__array_namespace__()
        p = 1 / (1 + xp.exp(1 - 3 * mean))
        features = xp.concat([context.features, xp.ones((mean.shape[0], 1), dtype=xp.float64)], axis=1)
        clicks = (rng.random((mean.shape[0],)) < p).astype(xp.float64)
        return Round(context._replace(features=features), p, clicks)


def single(x, reward, weight=1.0):
    return Interaction(Context(x[None, :], np.ones(1, bool), np.zeros(1, np.int64)), 0, reward, 1.0, weight)


def moments(mean, variance, reward):
    """Returns mean and variance of N(mean, variance) times the likelihood of one reward, by quadrature."""
    a = mean + np.sqrt(variance) * np.linspace(-12, 12, 20_001)
    log = -((a - mean) ** 2) / (2 * variance) + reward * -np.logaddexp(0, -a) + (1 - reward) * -np.logaddexp(0, a)
    mass = np.exp(log - log.max())
    mass /= mass.sum()
    return mass @ a, mass @ a**2 - (mass @ a) ** 2


@pytest.mark.parametrize("variance", [0.01, 0.3, 1.0, 4.0, 100.0])
@pytest.mark.parametrize("reward", [0.0, 1.0])
def test_one_reward_moves_the_log_odds_to_nearly_their_exact_moments(variance, reward):
    for mean in (-1.0, 0.0, 0.5):
        policy = LogisticTS(ridge=1 / variance)
        state = policy.update(policy.init(np.array([mean])), single(np.ones(1), reward))
        wanted_mean, wanted_variance = moments(mean, variance, reward)
        assert abs(state.mean.item() - wanted_mean) <= 0.1 * np.sqrt(variance)
        assert state.root.item() ** 2 == pytest.approx(wanted_variance, rel=0.1)


@pytest.mark.parametrize("reward", [0.0, 1.0])
def test_no_reward_however_surprising_overshoots(reward):
    for variance in (1.0, 1e4, 1e16):
        for mean in (-50.0, 0.0, 50.0):
            policy = LogisticTS(ridge=1 / variance)
            state = policy.update(policy.init(np.array([mean])), single(np.ones(1), reward))
            assert abs(state.mean.item() - mean) <= 1.6 * np.sqrt(variance)
            assert 0.36 * variance <= state.root.item() ** 2 <= variance * (1 + 1e-12)


def test_after_many_rewards_the_posterior_is_nearly_that_of_newtons_method():
    rng = np.random.default_rng(0)
    features, truth = rng.standard_normal((3000, 4)), np.array([1.0, -0.5, 0.3, 0.0])
    clicks = (rng.random(3000) < 1 / (1 + np.exp(-features @ truth))).astype(float)
    policy = LogisticTS()
    state = policy.init(np.zeros(4))
    for x, click in zip(features, clicks, strict=True):
        state = policy.update(state, single(x, click))
    mode = np.zeros(4)
    for _ in range(20):
        p = 1 / (1 + np.exp(-features @ mode))
        hessian = np.eye(4) + (features * (p * (1 - p))[:, None]).T @ features
        mode += np.linalg.solve(hessian, features.T @ (clicks - p) - mode)
    deviation = np.sqrt(np.diag(np.linalg.inv(hessian)))
    assert (np.abs(state.mean - mode) <= 0.3 * deviation).all()
    np.testing.assert_allclose(np.sqrt(np.diag(state.root @ state.root.T)), deviation, rtol=0.05)


def test_predicted_probabilities_are_calibrated_while_it_learns():
    policy, world = LogisticTS(), ClickWorld()
    simulation = simulate(policy, world, 6000, seed=0, engine="numpy")
    log, state = simulation.log, policy.init(np.zeros(world.dim))
    predicted = np.empty(6000)
    for row in range(6000):
        context = Context(*(field[row] for field in log.context))
        predicted[row] = policy.expected(state, context)[log.action[row]]
        state = policy.update(state, Interaction(context, *(field[row] for field in log[1:])))
    for rows in np.array_split(np.argsort(predicted), 8):
        spread = np.sqrt((predicted[rows] * (1 - predicted[rows])).sum())
        assert abs(log.reward[rows].sum() - predicted[rows].sum()) <= 4 * spread
    z = (log.reward - predicted).sum() / np.sqrt((predicted * (1 - predicted)).sum())
    assert abs(z) < 4


def test_it_finds_what_is_clicked():
    simulation = simulate(LogisticTS(), ClickWorld(), 4000, seed=1, engine="numpy")
    assert simulation.regret[-1000:].mean() < 0.05 * (simulation.mean.max(axis=1) - simulation.mean.mean(axis=1)).mean()


@pytest.mark.parametrize("reward", [-0.1, 1.1, 5])
def test_a_reward_outside_0_and_1_is_refused_and_leaves_no_trace(reward):
    policy = LogisticTS()
    state = policy.init(np.zeros(3))
    with pytest.raises(InvalidReward, match=rf"reward must be in \[0, 1\] for LogisticTS, got {reward}"):
        learn(policy, state, single(np.ones(3), reward))
    assert not state.mean.any()


def test_a_share_of_a_click_is_learned_and_the_prior_is_of_the_log_odds():
    policy = LogisticTS(ridge=1e6)
    context = single(np.ones(1), 0.5).context
    state = policy.init(np.array([np.log(3.0)]))
    assert policy.expected(state, context) == pytest.approx([0.75], abs=1e-6)
    policy = LogisticTS()
    state = policy.init(np.zeros(1))
    for _ in range(2000):
        state = policy.update(state, single(np.ones(1), 0.2))
    assert policy.expected(state, context) == pytest.approx([0.2], abs=0.01)


def test_a_replay_on_jax_learns_what_numpy_learns():
    log = simulate(LogisticTS(), ClickWorld(), 200, seed=0, engine="numpy").log
    one, other = (replay(LogisticTS(), log, engine=engine).state for engine in ("numpy", "jax"))
    for got, wanted in zip(other, one, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-12)


def test_its_beliefs_do_not_add_up_and_it_does_not_say_so():
    assert not isinstance(LogisticTS(), Mergeable)
    with pytest.raises(InvalidValue, match=r"Windowed.policy must be a policy of arrays .* offers `forget`"):
        Windowed(policy=LogisticTS())
