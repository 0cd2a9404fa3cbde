"""Real data as a bandit: what the world says is what the data says."""

import numpy as np
import pytest

from recsdk import LinUCB, Uniform, simulate
from recsdk.environments import ClassificationWorld, RatingsWorld
from recsdk.errors import EmptyLog, InvalidValue

RNG = np.random.default_rng(0)
CONTEXTS = RNG.standard_normal((30, 2))
LABELS = np.arange(30) % 3
USERS, ITEMS, RATINGS = RNG.standard_normal((20, 2)), RNG.standard_normal((5, 2)), RNG.random((20, 5))


def played(world, num_rounds, engine="numpy"):
    return simulate(Uniform(), world, num_rounds, seed=4, engine=engine)


@pytest.mark.parametrize("engine", ["numpy", "jax"])
def test_a_class_earns_1_where_it_is_the_rows_label(engine):
    simulation = played(ClassificationWorld(contexts=CONTEXTS, labels=LABELS), 60, engine)
    order = np.random.default_rng(4).permutation(30)
    rows = np.concatenate([order, order])
    np.testing.assert_array_equal(simulation.mean, np.eye(3)[LABELS[rows]])
    np.testing.assert_array_equal(simulation.log.reward, simulation.log.action == LABELS[rows])
    features = simulation.log.context.features
    assert features.shape == (60, 3, 9)
    for label in range(3):
        block = features[:, label].reshape(60, 3, 3)
        np.testing.assert_array_equal(block[:, label], np.column_stack([CONTEXTS[rows], np.ones(60)]))
        assert not np.delete(block, label, axis=1).any()


@pytest.mark.parametrize("engine", ["numpy", "jax"])
def test_classes_may_share_their_features_and_are_told_apart_by_their_slots(engine):
    shared = played(ClassificationWorld(contexts=CONTEXTS, labels=LABELS, phi="shared"), 60, engine)
    blocks = played(ClassificationWorld(contexts=CONTEXTS, labels=LABELS), 60, engine)
    np.testing.assert_array_equal(shared.log.context.features, blocks.log.context.features[:, :1, :3].repeat(3, axis=1))
    np.testing.assert_array_equal(shared.log.context.item, np.tile(np.arange(3), (60, 1)))
    np.testing.assert_array_equal(shared.mean, blocks.mean)


def test_every_row_is_played_once_before_any_is_played_again():
    simulation = played(ClassificationWorld(contexts=CONTEXTS, labels=LABELS), 60)
    first, second = simulation.log.context.features[:30, 0], simulation.log.context.features[30:, 0]
    assert len(np.unique(first, axis=0)) == 30
    np.testing.assert_array_equal(first, second)


def test_a_linear_policy_learns_classes_that_are_linear():
    contexts = np.random.default_rng(1).standard_normal((400, 2))
    labels = (contexts @ [1.0, 2.0] > 0).astype(np.int64)
    simulation = simulate(LinUCB(), ClassificationWorld(contexts=contexts, labels=labels), 400, engine="numpy")
    assert simulation.regret[200:].mean() < 0.12
    assert played(ClassificationWorld(contexts=contexts, labels=labels), 400).regret.mean() > 0.4


@pytest.mark.parametrize("engine", ["numpy", "jax"])
def test_an_item_earns_the_users_own_rating(engine):
    simulation = played(RatingsWorld(ratings=RATINGS, users=USERS, items=ITEMS), 45, engine)
    order = np.resize(np.random.default_rng(4).permutation(20), 45)
    np.testing.assert_array_equal(simulation.mean, RATINGS[order])
    np.testing.assert_array_equal(simulation.log.reward, RATINGS[order, simulation.log.action])
    features = simulation.log.context.features
    wanted = np.concatenate([USERS[order][:, None] * ITEMS, np.tile(ITEMS, (45, 1, 1)), np.ones((45, 5, 1))], axis=2)
    np.testing.assert_array_equal(features, wanted)


@pytest.mark.parametrize(
    "world",
    [
        ClassificationWorld(contexts=CONTEXTS, labels=LABELS),
        ClassificationWorld(contexts=CONTEXTS, labels=LABELS, phi="shared"),
        RatingsWorld(ratings=RATINGS, users=USERS, items=ITEMS),
    ],
)
def test_the_declared_width_is_that_of_the_features(world):
    assert played(world, 1).log.context.features.shape[-1] == world.dim


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ClassificationWorld(contexts=CONTEXTS, labels=LABELS[:-1]), r"labels must be int64\[30\] >= 0, got int64\[29\]"),
        (lambda: ClassificationWorld(contexts=CONTEXTS, labels=LABELS * 1.0), r"labels must be int64\[30\] >= 0, got float64\[30\]"),
        (lambda: ClassificationWorld(contexts=CONTEXTS, labels=LABELS, phi="block"), "phi must be one of"),
        (lambda: ClassificationWorld(contexts=CONTEXTS, labels=LABELS - 1), r"labels must be int64\[30\] >= 0"),
        (
            lambda: ClassificationWorld(contexts=CONTEXTS[0], labels=LABELS),
            r"ClassificationWorld.contexts must be a finite float64\[N, D\]",
        ),
        (lambda: ClassificationWorld(contexts=CONTEXTS * np.nan, labels=LABELS), r"contexts must be a finite float64\[N, D\]"),
        (
            lambda: RatingsWorld(ratings=RATINGS.T, users=USERS, items=ITEMS),
            r"ratings must be float64\[U, K\] = \[20, 5\] as users and items",
        ),
        (lambda: RatingsWorld(ratings=RATINGS, users=USERS[:, :1], items=ITEMS), r"users and items must be of one width, got 1 and 2"),
    ],
)
def test_data_that_do_not_fit_are_refused(make, message):
    with pytest.raises(InvalidValue, match=message):
        make()


def test_data_without_rows_are_refused():
    with pytest.raises(EmptyLog, match="contexts must have at least one row"):
        ClassificationWorld(contexts=CONTEXTS[:0], labels=LABELS[:0])
