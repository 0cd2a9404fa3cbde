"""Ratings guessed from sparse ones."""

import numpy as np
import pytest

from recsdk import LinUCB, simulate
from recsdk.environments import fit_ratings_world
from recsdk.errors import EmptyLog, InvalidValue


def sparse(rank=2, share=0.5, noise=0.0):
    rng = np.random.default_rng(0)
    truth = 3 + rng.standard_normal((40, rank)) @ rng.standard_normal((rank, 30))
    user, item = np.nonzero(rng.random(truth.shape) < share)
    return truth, user, item, truth[user, item] + noise * rng.standard_normal(len(user))


def test_ratings_of_low_rank_are_found_again_from_half_of_them():
    truth, user, item, rating = sparse()
    world = fit_ratings_world(user, item, rating, num_factors=3, ridge=1e-4, num_iterations=60)
    unseen = np.ones(truth.shape, bool)
    unseen[user, item] = False
    assert np.abs(world.ratings - truth)[unseen].mean() < 0.05 * truth.std()


def test_the_truth_is_linear_in_what_a_policy_sees():
    _, user, item, rating = sparse(noise=0.2)
    world = fit_ratings_world(user, item, rating, num_factors=4)
    assert (world.ratings.shape, world.dim) == ((40, 30), 9)
    np.testing.assert_allclose(world.ratings, rating.mean() + world.users @ world.items.T)
    assert simulate(LinUCB(alpha=0.1), world, 400, engine="numpy").regret[200:].mean() < 0.05


def test_an_iteration_never_fits_worse():
    _, user, item, rating = sparse(noise=0.2)

    def loss(world):
        errors = rating - world.ratings[user, item]
        penalty = (world.users[user] ** 2).sum() + (world.items[item] ** 2).sum()
        return (errors**2).sum() + 0.1 * penalty

    losses = [loss(fit_ratings_world(user, item, rating, num_factors=2, num_iterations=count)) for count in (1, 2, 5, 20)]
    assert losses == sorted(losses, reverse=True)


def test_who_has_no_ratings_has_the_mean():
    world = fit_ratings_world(np.array([0, 2]), np.array([0, 3]), np.array([1.0, 4.0]))
    assert world.ratings.shape == (3, 4)
    np.testing.assert_array_equal(world.ratings[1], 2.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"user": np.array([-1, 0])}, r"user must be int64\[2\] >= 0"),
        ({"item": np.array([0.0, 1.0])}, r"item must be int64\[2\] >= 0 as rating, got float64\[2\]"),
        ({"rating": np.array([1.0, np.nan])}, r"rating must be finite float64\[M\]"),
        ({"ridge": 0}, "ridge must be a finite number > 0, got 0"),
        ({"num_factors": 0}, "num_factors must be a whole number >= 1, got 0"),
    ],
)
def test_what_is_not_a_table_of_ratings_is_refused(change, message):
    with pytest.raises(InvalidValue, match=message):
        fit_ratings_world(**{"user": np.array([0, 1]), "item": np.array([0, 1]), "rating": np.array([1.0, 2.0])} | change)


def test_no_ratings_make_no_world():
    with pytest.raises(EmptyLog):
        fit_ratings_world(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
