"""Rows that were shown together on one page, which are not independent."""

from __future__ import annotations

from typing import Any

import numpy as np

from recsdk.checks import plain_array
from recsdk.errors import InvalidLog
from recsdk.ope.terms import Terms

COPIES = 5
"""Pages with equal rewards other than 0 at all positions, from which on this is no coincidence."""

CONDITIONAL = (
    "rows of a page are valued each given what the logging policy put above it, which the target may not: evaluate whole pages with "
    "`recsdk.ope.slates`, or the top position alone"
)


def page_numbers(page: Any, num_rounds: int) -> np.ndarray:
    """Returns i64[T], the number of each row's page, from names.

    Raises:
        InvalidLog: not one name for each row.
    """
    names = plain_array("page", page)
    if names.shape != (num_rounds,):
        raise InvalidLog(f"page must be one name for each of {num_rounds} rows, got {list(names.shape)}.")
    _, number = np.unique(names, return_inverse=True)
    return np.asarray(number, np.int64)


def by_page(terms: Terms, page: np.ndarray) -> Terms:
    """Adds up the terms of each page: the same estimate, with a standard error that does not treat the rows of a page as independent.

    Args:
        terms: of T rows.
        page: i64[T], from 0.

    Example:
        >>> rows = Terms(np.array([[1.0], [0.0], [2.0]]), np.ones((3, 1)))
        >>> by_page(rows, np.array([0, 0, 1])).numerator.ravel()
        array([1., 2.])
    """
    return Terms(*(np.stack([np.bincount(page, column) for column in field.T]).T for field in terms))


def refuse_copies(page: np.ndarray, reward: np.ndarray) -> None:
    """Refuses rewards of whole pages that were copied to each of their rows.

    Raises:
        InvalidLog: all pages have the same reward in each of their rows, and not only by coincidence.
    """
    size = np.bincount(page)
    least, most = np.full(len(size), np.inf), np.full(len(size), -np.inf)
    np.minimum.at(least, page, reward)
    np.maximum.at(most, page, reward)
    many = size > 1
    if (least[many] == most[many]).all() and np.count_nonzero(most[many]) >= COPIES:
        raise InvalidLog(
            f"reward must be that of each row, but is the same in all rows of each of {int(many.sum())} pages: a page's reward is one "
            "outcome, so give it to one row, the top one, and 0 to the others."
        )
