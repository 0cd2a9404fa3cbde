"""What every estimator gives and every interval takes: an estimate as a sum of ratios of sums over rounds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from recsdk.errors import InsufficientOverlap


class Terms(NamedTuple):
    """An estimate, taken apart by rounds: its value is the sum over j of sum_t numerator[t, j] / sum_t denominator[t, j].

    Terms of two logs are concatenated, a bootstrap weighs rows, and a stream keeps sums of columns and of their products.

    Attributes:
        numerator: f64[T, J].
        denominator: f64[T, J], >= 0. J is 1 for IPS (w rho r, w), SNIPS (w rho r, w rho), DM and DR; 2 for SNDR.
    """

    numerator: np.ndarray
    denominator: np.ndarray


def average(values: np.ndarray, weights: np.ndarray) -> Terms:
    """Returns the terms of a weighted mean; a round of weight 0 is as good as absent.

    Args:
        values: f64[T].
        weights: f64[T], >= 0.

    Example:
        >>> value(average(np.array([0.0, 1.0, 1.0]), np.ones(3)))
        0.6666666666666666
    """
    return Terms((weights * values)[:, None], weights[:, None])


def add(*parts: Terms) -> Terms:
    """Returns the terms of the sum of several estimates on the same rounds."""
    # Each column lies in one piece, so that NumPy sums it pairwise.
    return Terms(*(np.concatenate([column.T for column in field]).T for field in zip(*parts, strict=True)))


def value(terms: Terms) -> float:
    """Returns the estimate.

    Raises:
        InsufficientOverlap: when a denominator sums to 0.
    """
    return float(_ratios(terms).sum())


def influence(terms: Terms) -> np.ndarray:
    """Returns f64[T], how far each round moves the estimate, by the delta method; the sum of squares is the variance.

    That of the difference of two estimates on one log is the difference of theirs. It has the factor that makes the standard error of a
    plain mean s / sqrt(T). A round that carries a ratio alone has an infinite one.

    Raises:
        InsufficientOverlap: when a denominator sums to 0.
    """
    residual = terms.numerator - _ratios(terms) * terms.denominator
    count = np.count_nonzero(terms.denominator, axis=0)
    scale = np.sqrt(count / np.maximum(count - 1, 1)) / terms.denominator.sum(0)
    total: np.ndarray = residual @ scale
    return np.where((terms.denominator[:, count == 1] > 0).any(1), np.inf, total) if (count == 1).any() else total


def _ratios(terms: Terms) -> np.ndarray:
    total = terms.denominator.sum(0)
    if not (total > 0).all():
        raise InsufficientOverlap(f"None of {len(terms.denominator)} rounds has an action that the target policy could have taken.")
    ratios: np.ndarray = terms.numerator.sum(0) / total
    return ratios
