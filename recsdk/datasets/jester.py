"""Jester: continuous ratings of jokes, so dense that every arm's reward is known for thousands of users."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recsdk.errors import InvalidLog, InvalidValue


def read_jester(path: str | Path, *, num_jokes: int = 40) -> np.ndarray:
    """Reads the ratings of the users who rated all of the most-rated jokes.

    Args:
        path: a CSV file, plain or gzipped, with the header `user,joke,rating`; users and jokes are numbered from 0.
        num_jokes: how many of the most-rated jokes; ties go to the lower number.

    Returns:
        f64[U, num_jokes], in [-10, 10], by user number and then joke number; 19,181 users rated all of 40, 7,200 all of 100.

    Raises:
        InvalidLog: a line that is not three numbers.
        InvalidValue: more jokes than there are.

    References:
        Goldberg, Roeder, Gupta and Perkins, "Eigentaste: a constant time collaborative filtering algorithm", Information
        Retrieval, 2001.
    """
    try:
        user, joke, rating = np.loadtxt(path, delimiter=",", skiprows=1, unpack=True, ndmin=2)
    except ValueError as error:
        raise InvalidLog(f"{path} must hold lines of user, joke, rating: {error}.") from error
    ratings = np.full((int(user.max()) + 1, int(joke.max()) + 1), np.nan)
    ratings[user.astype(np.int64), joke.astype(np.int64)] = rating
    if not 1 <= num_jokes <= ratings.shape[1]:
        raise InvalidValue(f"num_jokes must be in [1, {ratings.shape[1]}], got {num_jokes}.")
    most_rated = np.sort(np.argsort(np.isnan(ratings).sum(0), kind="stable")[:num_jokes])
    ratings = ratings[:, most_rated]
    complete: np.ndarray = ratings[~np.isnan(ratings).any(1)]
    return complete
