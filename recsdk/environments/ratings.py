"""A world of complete ratings, fitted to sparse ones."""

from __future__ import annotations

import numpy as np

from recsdk.checks import require_integer, require_number
from recsdk.environments.data import RatingsWorld
from recsdk.errors import EmptyLog, InvalidValue


def fit_ratings_world(
    user: np.ndarray,
    item: np.ndarray,
    rating: np.ndarray,
    *,
    num_factors: int = 8,
    ridge: float = 0.1,
    num_iterations: int = 10,
    seed: int = 0,
) -> RatingsWorld:
    """Fits a low-rank model to sparse ratings, and returns the world in which the model is the truth.

    A world needs every user's rating of every item; real ratings are incomplete, and not at random. Here matrix factorisation by
    alternating least squares fills them in. The policy's features are made of the same factors, so a linear policy can find the truth, and
    its reward says nothing about real users.

    Args:
        user: i64[M], user of each rating, from 0 to U - 1.
        item: i64[M], item of each rating, from 0 to K - 1; all K items are candidates in every round.
        rating: f64[M], finite.
        num_factors: d, number of factors of a user and of an item.
        ridge: weight of the penalty on a user's or item's factors, in ratings of that user or item; > 0.
        num_iterations: number of times that all users and then all items are fitted.
        seed: seed of the items' first factors.

    Returns:
        A world of U users and K items; those without ratings have factors of 0, and so the mean rating.

    Raises:
        EmptyLog, InvalidValue: no ratings, or arrays that do not fit together.

    References:
        Zhou, Wilkinson, Schreiber, Pan, Large-Scale Parallel Collaborative Filtering for the Netflix Prize, AAIM 2008.

    Example:
        >>> user, item = np.divmod(np.arange(12), 4)
        >>> world = fit_ratings_world(user, item, np.where(item == user, 1.0, 0.0), num_factors=2)
        >>> world.ratings.shape, world.dim
        ((3, 4), 5)
    """
    _check(user, item, rating)
    require_integer("num_factors", num_factors, at_least=1)
    require_integer("num_iterations", num_iterations, at_least=1)
    require_number("ridge", ridge, above=0)
    mean = rating.mean()
    users = np.zeros((int(user.max()) + 1, num_factors))
    items = np.random.default_rng(seed).standard_normal((int(item.max()) + 1, num_factors)) / np.sqrt(num_factors)
    for _ in range(num_iterations):
        _fit(users, user, items[item], rating - mean, ridge)
        _fit(items, item, users[user], rating - mean, ridge)
    return RatingsWorld(ratings=mean + users @ items.T, users=users, items=items)


def _fit(factors: np.ndarray, owner: np.ndarray, inputs: np.ndarray, targets: np.ndarray, ridge: float) -> None:
    """Sets f64[N, d], the owners' factors, to the ridge regression of each owner's targets on its inputs."""
    order = np.argsort(owner, kind="stable")
    ends = np.cumsum(np.bincount(owner, minlength=len(factors)))
    factors[:] = 0
    for number, rows in enumerate(np.split(order, ends[:-1])):
        if len(rows):
            own = inputs[rows]
            factors[number] = np.linalg.solve(own.T @ own + ridge * len(rows) * np.eye(own.shape[1]), own.T @ targets[rows])


def _check(user: np.ndarray, item: np.ndarray, rating: np.ndarray) -> None:
    if len(rating) == 0:
        raise EmptyLog("rating must have at least one row, got none.")
    for name, value in (("user", user), ("item", item)):
        if value.shape != rating.shape or value.dtype != np.int64 or value.min() < 0:
            raise InvalidValue(f"{name} must be int64[{len(rating)}] >= 0 as rating, got {value.dtype}{list(value.shape)}.")
    if rating.ndim != 1 or rating.dtype != np.float64 or not np.isfinite(rating).all():
        raise InvalidValue(f"rating must be finite float64[M], got {rating.dtype}{list(rating.shape)}.")
