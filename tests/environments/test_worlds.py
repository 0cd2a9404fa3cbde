"""Every simulator: its mean is the truth, on both engines, whatever the seed."""

import attrs
import numpy as np
import pytest

from recsdk import LinTS, Uniform, simulate
from recsdk.environments import ChangingWorld, DriftingWorld, HeavyTailedWorld, LinearWorld, LogisticWorld, NeuralWorld
from recsdk.errors import InvalidValue

WORLDS = [
    LinearWorld(num_candidates=4, dim=3),
    LogisticWorld(num_candidates=4, dim=3),
    NeuralWorld(num_candidates=4, dim=3),
    DriftingWorld(num_candidates=4, dim=3, drift=0.01, flips=(50, 300)),
    HeavyTailedWorld(num_candidates=4, dim=3, degrees=4.0),
    ChangingWorld(num_items=12, num_candidates=4, dim=3, lifetime=40),
]
NUM_ROUNDS = 3000
each_world = pytest.mark.parametrize("world", WORLDS, ids=lambda world: type(world).__name__)


@pytest.fixture(scope="module")
def played():
    """One simulation of each world on each engine."""
    kept = {}

    def play(world, engine, seed=1):
        key = world, engine, seed
        if key not in kept:
            kept[key] = simulate(Uniform(), world, NUM_ROUNDS, seed=seed, engine=engine)
        return kept[key]

    return play


@each_world
@pytest.mark.parametrize("engine", ["numpy", "jax"])
def test_the_mean_of_the_rewards_is_the_truth(played, world, engine):
    simulation = played(world, engine)
    log = simulation.log
    mean = simulation.mean[np.arange(NUM_ROUNDS), log.action]
    for part in (slice(None), mean > np.quantile(mean, 0.8), mean < np.quantile(mean, 0.2), slice(NUM_ROUNDS // 2)):
        surprise = (log.reward - mean)[part]
        assert abs(surprise.mean()) < 4 * surprise.std() / len(surprise) ** 0.5
        assert surprise.std() > 0


@each_world
def test_the_engines_play_the_same_world(played, world):
    """The seed's truth is one; what is drawn in the rounds is alike."""
    one, other = played(world, "numpy"), played(world, "jax")
    for what in (
        lambda simulation: simulation.mean.ravel(),
        lambda simulation: simulation.mean.max(axis=1),
        lambda simulation: simulation.log.reward**2 if not isinstance(world, HeavyTailedWorld) else abs(simulation.log.reward),
        lambda simulation: simulation.regret,
        lambda simulation: simulation.log.context.features[:, 0, 0],
    ):
        left, right = what(one), what(other)
        error = np.hypot(left.std() / len(left) ** 0.5, right.std() / len(right) ** 0.5)
        assert abs(left.mean() - right.mean()) < 4 * error + 1e-12


@each_world
@pytest.mark.parametrize("engine", ["numpy", "jax"])
def test_the_seed_decides_everything(played, world, engine):
    first = played(world, engine)
    again = simulate(Uniform(), world, NUM_ROUNDS, seed=1, engine=engine)
    np.testing.assert_array_equal(first.log.reward, again.log.reward)
    np.testing.assert_array_equal(first.mean, again.mean)
    assert (simulate(Uniform(), world, NUM_ROUNDS, seed=2, engine=engine).mean != first.mean).any()


@each_world
def test_a_world_is_a_value(world):
    assert attrs.evolve(world) == world
    assert hash(attrs.evolve(world)) == hash(world)


@each_world
def test_it_can_be_learned(world):
    """Thompson sampling on a linear model does better than chance in each."""
    still = attrs.evolve(world, drift=0.0, flips=()) if isinstance(world, DriftingWorld) else world
    learned, chance = (simulate(policy, still, 800, seed=2, engine="numpy").regret[300:].mean() for policy in (LinTS(), Uniform()))
    assert learned < 0.6 * chance


def test_clicks_follow_the_logistic_curve():
    world = LogisticWorld(num_candidates=3, dim=2, slope=2.0, intercept=-0.5)
    simulation = simulate(Uniform(), world, 200, seed=3, engine="numpy")
    scores = simulation.log.context.features @ world.init(3).weights
    np.testing.assert_allclose(np.log(simulation.mean / (1 - simulation.mean)), 2 * scores - 0.5, rtol=1e-9, atol=1e-12)
    assert set(np.unique(simulation.log.reward)) == {0.0, 1.0}


def test_a_neural_truth_is_not_linear(played):
    share = []
    for gain in (0.05, 3.0):
        simulation = simulate(Uniform(), NeuralWorld(num_candidates=4, dim=3, gain=gain), 500, engine="numpy")
        features, mean = simulation.log.context.features.reshape(-1, 3), simulation.mean.ravel()
        fitted = features @ np.linalg.lstsq(features, mean, rcond=None)[0]
        share.append(1 - ((mean - fitted) ** 2).sum() / (mean**2).sum())
    assert share[0] > 0.999
    assert 0.2 < share[1] < 0.97


def test_weights_turn_by_the_drift_and_flip_when_told():
    world = DriftingWorld(dim=5, drift=0.01, flips=(100, 150))
    truth = world.init(0)
    weights = np.array([world.weights(truth, time) for time in range(200)])
    np.testing.assert_allclose((weights**2).sum(axis=1), 1)
    cosines = (weights[1:] * weights[:-1]).sum(axis=1)
    np.testing.assert_allclose(cosines[[99, 149]], -np.cos(0.01), rtol=1e-9)
    np.testing.assert_allclose(np.delete(cosines, [99, 149]), np.cos(0.01), rtol=1e-9)


def test_a_flip_costs_a_policy_that_does_not_forget():
    still, flipped = (
        simulate(LinTS(), DriftingWorld(drift=0.0, flips=flips), 600, seed=1, engine="numpy").regret[300:].mean() for flips in ((), (300,))
    )
    assert flipped > 5 * still


# scipy.stats.t.ppf(probability, 2.5)
STUDENT_2_5 = [
    (0.1, -1.7302509288),
    (0.55, 0.1388147679),
    (0.75, 0.7850136830),
    (0.9, 1.7302509288),
    (0.99, 5.3531111730),
    (0.999, 13.8221931109),
]


def test_noise_is_students_t():
    world = HeavyTailedWorld(num_candidates=50, dim=2, scale=2.0, degrees=2.5)
    rng, truth = np.random.default_rng(0), world.init(0)
    rounds = [world.round(truth, rng, time) for time in range(2000)]
    noise = np.concatenate([a_round.reward - a_round.mean for a_round in rounds]) / 2
    for probability, value in STUDENT_2_5:
        share = (noise <= value).mean()
        assert abs(share - probability) < 4 * (probability * (1 - probability) / len(noise)) ** 0.5


def test_items_come_and_go_one_at_a_time_and_keep_their_places():
    world = ChangingWorld(num_items=12, num_candidates=4, dim=3, lifetime=10, sold_out=0.4)
    log = simulate(Uniform(), world, 300, engine="numpy").log
    item = log.context.item
    assert (item % 4 == np.arange(4)).all()
    changes = (item[1:] != item[:-1]).sum(axis=1)
    np.testing.assert_array_equal(np.flatnonzero(changes), np.arange(9, 299, 10))
    assert (changes <= 1).all()
    assert set(item.ravel()) == set(range(12))
    assert (np.sort(item[:10], axis=1) == np.arange(4)).all()
    assert log.context.mask.any(axis=1).all()
    assert abs(1 - log.context.mask.mean() - 0.4) < 0.05


def test_an_item_keeps_its_appeal_when_it_is_back():
    world = ChangingWorld(num_items=8, num_candidates=4, dim=3, lifetime=5, appeal=1.0)
    simulation = simulate(Uniform(), world, 200, seed=3, engine="numpy")
    truth, context = world.init(3), simulation.log.context
    np.testing.assert_allclose(simulation.mean, context.features @ truth.weights + truth.appeal[context.item])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LogisticWorld(slope=-1), "LogisticWorld.slope must be a finite number >= 0, got -1"),
        (lambda: NeuralWorld(gain=0), "NeuralWorld.gain must be a finite number > 0, got 0"),
        (lambda: DriftingWorld(dim=1), "DriftingWorld.dim must be a whole number >= 2, got 1"),
        (lambda: DriftingWorld(flips=(5, 5)), r"DriftingWorld.flips must be a tuple of numbers of rounds, .*, got \(5, 5\)"),
        (lambda: DriftingWorld(flips=[5]), "DriftingWorld.flips must be a tuple"),
        (lambda: DriftingWorld(flips=(0,)), "DriftingWorld.flips must be a whole number >= 1, got 0"),
        (lambda: HeavyTailedWorld(degrees=1), "HeavyTailedWorld.degrees must be a finite number > 1, got 1"),
        (lambda: ChangingWorld(num_items=10, num_candidates=4), "num_items must be a multiple of num_candidates = 4, got 10"),
        (lambda: ChangingWorld(sold_out=1.5), "ChangingWorld.sold_out must be a finite number >= 0 and <= 1, got 1.5"),
    ],
)
def test_a_world_that_cannot_be_is_refused(make, message):
    with pytest.raises(InvalidValue, match=message):
        make()
