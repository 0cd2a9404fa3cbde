"""Jester: continuous ratings of jokes, so dense that every item's reward is known for thousands of users."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recsdk.datasets.files import text_lines
from recsdk.errors import EmptyLog, InvalidLog, InvalidValue

LARGEST_NUMBER = 1_000_000
"""Of a user or joke: the table of all ratings must fit into memory."""


def read_jester(path: str | Path, *, num_jokes: int = 40) -> np.ndarray:
    r"""Reads the ratings of the users who rated all of the most-rated jokes.

    Args:
        path: a CSV file, plain or gzipped, with the header `user,joke,rating`; users and jokes are numbered from 0.
        num_jokes: how many of the most-rated jokes; ties go to the lower number.

    Returns:
        f64[U, num_jokes], in [-10, 10], by user number and then joke number; 19,181 users rated all of 40, 7,200 all of 100.

    Raises:
        EmptyLog: no ratings.
        InvalidLog: a line that is not three numbers, or a joke that one user rates twice.
        InvalidValue: more jokes than there are.

    Example:
        >>> _ = Path("jester.csv").write_text("user,joke,rating\n0,0,5\n0,1,-2\n1,0,3\n1,1,9\n")
        >>> read_jester("jester.csv", num_jokes=2)
        array([[ 5., -2.],
               [ 3.,  9.]])

    References:
        Goldberg, Roeder, Gupta and Perkins, "Eigentaste: a constant time collaborative filtering algorithm", Information
        Retrieval, 2001.
    """
    try:
        table = np.loadtxt(text_lines(Path(path)), delimiter=",", skiprows=1, ndmin=2)
    except InvalidLog:
        raise
    except ValueError as error:
        raise InvalidLog(f"{path} must hold lines of user, joke, rating: {error}.") from error
    if not len(table):
        raise EmptyLog(f"{path} must have at least one rating, got none.")
    _check(table, path)
    place = table[:, :2].astype(np.int64)
    ratings = np.full(place.max(0) + 1, np.nan)
    ratings[place[:, 0], place[:, 1]] = table[:, 2]
    if not 1 <= num_jokes <= ratings.shape[1]:
        raise InvalidValue(f"num_jokes must be in [1, {ratings.shape[1]}], got {num_jokes}.")
    most_rated = np.sort(np.argsort(np.isnan(ratings).sum(0), kind="stable")[:num_jokes])
    ratings = ratings[:, most_rated]
    complete: np.ndarray = ratings[~np.isnan(ratings).any(1)]
    return complete


def _check(table: np.ndarray, path: str | Path) -> None:
    """Refuses what is not user, joke and rating, with its line; the header is line 1."""
    place = table[:, :2]
    bad = ~(np.isfinite(table).all(1) & (place == np.floor(place)).all(1) & (place >= 0).all(1) & (place < LARGEST_NUMBER).all(1))
    if table.shape[1] != 3 or bad.any():
        row = int(bad.argmax())
        raise InvalidLog(
            f"{path}, line {row + 2}: must hold user and joke, whole numbers from 0 on, and a finite rating, got {table[row].tolist()}."
        )
    key = place[:, 0] * LARGEST_NUMBER + place[:, 1]
    first = np.unique(key, return_index=True)[1]
    if len(first) < len(key):
        row = int(np.setdiff1d(np.arange(len(key)), first)[0])
        raise InvalidLog(f"{path}, line {row + 2}: user {place[row, 0]:.0f} must rate joke {place[row, 1]:.0f} once, got a second rating.")
