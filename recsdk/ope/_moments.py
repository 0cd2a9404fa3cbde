"""Ratios of sums, and their standard errors, from sums and sums of products alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from recsdk.errors import InsufficientOverlap


class Moments(NamedTuple):
    """What is left of C columns over T rounds.

    Attributes:
        sums: f64[C].
        products: f64[C, C], sums of the products of two columns.
        counts: i64[C], rounds in which a column is not 0.
    """

    sums: np.ndarray
    products: np.ndarray
    counts: np.ndarray


def ratio(moments: Moments, numerators: Sequence[int], denominators: Sequence[int]) -> tuple[float, float]:
    """Returns the sum over j of numerator j / denominator j, and its standard error, as `recsdk.ope.influence` would have it.

    Args:
        moments: of all columns.
        numerators: J numbers of columns.
        denominators: J numbers of columns.

    Raises:
        InsufficientOverlap: when a denominator sums to 0.
    """
    above, below = list(numerators), list(denominators)
    total, counts = moments.sums[below], moments.counts[below]
    if not (total > 0).all():
        raise InsufficientOverlap("No round has an action that the target policy could have taken.")
    ratios = moments.sums[above] / total
    if (counts == 1).any():
        return float(ratios.sum()), math.inf
    scale = np.sqrt(counts / (counts - 1)) / total
    slope = np.zeros(len(moments.sums))
    np.add.at(slope, above, scale)
    np.add.at(slope, below, -scale * ratios)
    # Products that cancel leave a rounding error of either sign.
    return float(ratios.sum()), math.sqrt(max(slope @ moments.products @ slope, 0.0))
