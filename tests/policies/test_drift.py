"""What is old counts for less, or not at all: against direct solves, in a world that flips, and where textbook formulas overflow."""

import attrs
import numpy as np
import pytest

from recsdk import Context, Discounted, EpsilonGreedy, Interaction, LinTS, LinUCB, SquareCB, Uniform, Windowed, replay, simulate, testing
from recsdk.environments import LinearWorld
from recsdk.errors import InvalidValue


@testing.parametrize(Discounted(policy=LinUCB(), discount=0.99), Discounted(policy=LinTS()), Discounted(policy=SquareCB(), discount=0.995))
def test_discounted_conforms(policy, check):
    check(policy)


@testing.parametrize(
    Windowed(policy=LinUCB(), window=100),
    Windowed(policy=LinTS()),
    Windowed(policy=SquareCB(), window=300),
    Windowed(policy=EpsilonGreedy()),
)
def test_windowed_conforms(policy, check):
    check(policy)


@testing.parametrize(Windowed(policy=LinUCB(), window=7), skip={"learns": "seven rounds are too few"})
def test_conforms_when_the_window_turns_over_within_the_kits_logs(policy, check):
    check(policy)


def rounds(features, rewards, weights=None):
    """Makes a log of single candidates."""
    num_rounds = len(rewards)
    context = Context(features[:, None, :], np.ones((num_rounds, 1), bool), np.zeros((num_rounds, 1), np.int64))
    ones = np.ones(num_rounds)
    return Interaction(context, np.zeros(num_rounds, np.int64), rewards, ones, ones if weights is None else weights)


def made(num_rounds, dim, scale=1.0, seed=0):
    rng = np.random.default_rng([seed, num_rounds, dim])
    return scale * rng.standard_normal((num_rounds, dim)), rng.standard_normal(num_rounds)


def solved(features, rewards, weights, prior, ridge=1.0):
    weighted = features * weights[:, None]
    precision = ridge * np.eye(len(prior)) + weighted.T @ features
    return np.linalg.solve(precision, ridge * prior + weighted.T @ rewards), np.linalg.inv(precision)


def assert_is(belief, mean, covariance, rtol):
    assert np.abs(belief.root @ belief.root.T - covariance).max() <= rtol * np.abs(covariance).max()
    assert np.abs(belief.mean - mean).max() <= rtol * max(1, np.abs(mean).max())


@pytest.mark.parametrize("num_rounds", [3, 50, 51, 99, 100, 1234])
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_a_windowed_belief_is_the_direct_solve_over_the_window(num_rounds, scale):
    features, rewards = made(num_rounds, 6, scale)
    prior, weights = np.ones(6), np.random.default_rng(0).choice([0.0, 1.0, 2.0], num_rounds)
    log = rounds(features, rewards, weights)
    state = replay(Windowed(policy=LinUCB(), window=50), log, prior=prior, engine="numpy").state
    last = np.flatnonzero(weights)[-50:]
    assert_is(state.belief, *solved(features[last], rewards[last], weights[last], prior), rtol=1e-8)
    assert state.belief.total == pytest.approx(weights[last].sum(), rel=1e-12)


def test_what_forgetting_cost_in_digits_is_made_good_once_a_window():
    features, rewards = made(100, 6)
    features[:50] *= 1e8
    state = replay(Windowed(policy=LinUCB(), window=50), rounds(features, rewards), engine="numpy").state
    assert_is(state.belief, *solved(features[50:], rewards[50:], np.ones(50), np.zeros(6)), rtol=1e-12)


def test_a_windowed_belief_is_that_on_jax_too_between_two_turns_of_the_ring():
    features, rewards = made(3333, 5)
    state = replay(Windowed(policy=LinTS(), window=100), rounds(features, rewards), engine="jax").state
    assert_is(state.belief, *solved(features[-100:], rewards[-100:], np.ones(100), np.zeros(5)), rtol=1e-8)


def test_live_updates_go_on_from_a_state_that_was_replayed_on_jax():
    features, rewards = made(120, 5)
    policy, log = Windowed(policy=LinUCB(), window=50), rounds(features, rewards)
    state = replay(policy, rounds(features[:60], rewards[:60]), engine="jax").state
    for row in range(60, 120):
        state = policy.update(state, Interaction(Context(*(field[row] for field in log.context)), *(field[row] for field in log[1:])))
    assert_is(state.belief, *solved(features[-50:], rewards[-50:], np.ones(50), np.zeros(5)), rtol=1e-8)


@pytest.mark.parametrize(("discount", "dim"), [(0.999, 32), (0.99, 8), (0.9, 4)])
def test_a_discounted_belief_is_the_direct_solve_with_falling_weights_but_for_a_bounded_ripple_of_the_prior(discount, dim):
    prior = np.linspace(-1, 1, dim)
    for num_rounds in (1, dim, 500):
        features, rewards = made(num_rounds, dim)
        state = replay(Discounted(policy=LinUCB(), discount=discount), rounds(features, rewards), prior=prior, engine="numpy").state
        mean, covariance = solved(features, rewards, discount ** np.arange(num_rounds)[::-1], prior)
        half = np.linalg.cholesky(np.linalg.inv(covariance))
        ratios = np.linalg.eigvalsh(half.T @ state.belief.root @ state.belief.root.T @ half)
        ripple = dim * (1 - discount)
        assert ratios.min() >= 1 / (1 + ripple)
        assert ratios.max() <= 1 + ripple
        probes = np.random.default_rng(1).standard_normal((100, dim))
        spread = np.sqrt(((probes @ covariance) * probes).sum(axis=1))
        assert (np.abs(probes @ (state.belief.mean - mean)) <= ripple * spread * np.sqrt(dim)).all()


def test_the_prior_is_renewed_exactly_on_average():
    policy = Discounted(policy=LinUCB(ridge=2.0), discount=0.98)
    state, precisions = policy.init(np.ones(4)), []
    nothing = Interaction(Context(np.zeros((1, 4)), np.ones(1, bool), np.zeros(1, np.int64)), 0, 0.0, 1.0, 1.0)
    for _ in range(400):
        state = policy.update(state, nothing)
        precisions.append(np.diag(np.linalg.inv(state.belief.root @ state.belief.root.T)))
    np.testing.assert_allclose(np.mean(precisions[-4:], axis=0), 2.0, rtol=0.04)
    np.testing.assert_allclose(state.belief.mean, 1.0, rtol=1e-12)


def test_a_discount_of_1_forgets_nothing():
    features, rewards = made(300, 5)
    plain = replay(LinUCB(), rounds(features, rewards), engine="numpy").state
    state = replay(Discounted(policy=LinUCB(), discount=1), rounds(features, rewards), engine="numpy").state
    for got, wanted in zip(state.belief, plain, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_a_round_of_weight_2_ages_the_past_by_two_rounds():
    features, rewards = made(3, 1)
    policy = Discounted(policy=LinUCB(ridge=1e-6), discount=0.5)
    state = replay(policy, rounds(features, rewards, np.array([1.0, 1.0, 2.0])), engine="numpy").state
    wanted = features[0] ** 2 / 8 + features[1] ** 2 / 4 + 2 * features[2] ** 2
    assert 1 / state.belief.root.item() ** 2 == pytest.approx(wanted.item(), rel=1e-4)
    assert state.belief.total == 1 / 8 + 1 / 4 + 2


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_one_item_excited_for_100000_rounds_keeps_all_finite(scale):
    """Discounting without renewing the prior overflows float64 at round 70,623."""
    features = np.zeros((100_000, 5))
    features[:, 2] = scale
    state = replay(Discounted(policy=LinUCB(), discount=0.99), rounds(features, np.ones(100_000)), engine="jax").state
    variances = np.linalg.eigvalsh(state.belief.root @ state.belief.root.T)
    assert np.isfinite(state.belief.mean).all()
    assert variances.max() <= 1.05
    assert variances.min() == pytest.approx(0.01 / scale**2, rel=0.02)
    assert state.belief.mean[2] == pytest.approx(1 / scale, rel=0.02)
    assert state.belief.total == pytest.approx(100, rel=1e-6)


def test_a_round_of_huge_weight_leaves_all_finite():
    features, rewards = made(20, 3)
    weights = np.ones(20)
    weights[10] = 1e6
    state = replay(Discounted(policy=LinUCB(), discount=0.9), rounds(features, rewards, weights), engine="numpy").state
    assert np.isfinite(state.belief.root).all()
    assert np.isfinite(state.belief.mean).all()


@attrs.frozen(kw_only=True)
class FlippingWorld:
    """A linear world that turns over: after `flip` rounds the weights are the opposite."""

    world: LinearWorld
    flip: int = 5000

    @property
    def dim(self):
        return self.world.dim

    def init(self, seed):
        return self.world.init(seed)

    def round(self, world, rng, time):
        xp = time.__array_namespace__()
        sign = xp.where(time < self.flip, 1.0, -1.0)
        return self.world.round(world._replace(weights=sign * world.weights), rng, time)


def shares_of_the_oracle(policy):
    """Returns what a policy gets of what can be got, in the last 500 rounds before the flip, and 1,500 to 2,000 rounds after it."""
    simulation = simulate(policy, FlippingWorld(world=LinearWorld()), 7000, seed=0, engine="numpy")
    best = simulation.mean.max(axis=1)
    return [simulation.value[rows].mean() / best[rows].mean() for rows in (slice(4500, 5000), slice(6500, 7000))]


@pytest.mark.parametrize("inner", [LinUCB(), LinTS(), SquareCB()], ids=lambda policy: type(policy).__name__)
def test_after_a_flip_a_discounted_policy_is_back_within_2000_rounds_and_the_plain_one_is_not(inner):
    before, late = shares_of_the_oracle(Discounted(policy=inner, discount=0.995))
    assert min(before, late) >= 0.9
    before, late = shares_of_the_oracle(inner)
    assert before >= 0.9
    assert late < 0.5


def test_after_a_flip_a_windowed_policy_is_back_within_2000_rounds():
    assert min(shares_of_the_oracle(Windowed(policy=LinUCB(), window=500))) >= 0.9


@pytest.mark.parametrize("discount", [0, -0.5, 1.01, float("nan")])
def test_a_discount_outside_its_range_is_refused(discount):
    with pytest.raises(InvalidValue, match=r"Discounted.discount must be a finite number > 0 and <= 1, got "):
        Discounted(policy=LinUCB(), discount=discount)


def test_what_cannot_be_discounted_or_windowed_is_refused():
    with pytest.raises(InvalidValue, match=r"Discounted.policy must be a linear policy: LinUCB, .* got Uniform\(\)"):
        Discounted(policy=Uniform())
    with pytest.raises(InvalidValue, match=r"Windowed.policy must be a policy of arrays .* offers `forget` .* got Uniform\(\)"):
        Windowed(policy=Uniform())
    with pytest.raises(InvalidValue, match=r"Windowed.window must be a whole number >= 1, got 0"):
        Windowed(policy=LinUCB(), window=0)
