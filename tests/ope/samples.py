"""Rounds and terms of random logs, for the tests of intervals."""

import math

import numpy as np

from recsdk import ope
from tests.ope.logs import random_log


def some_rounds(seed: int = 0, size: int = 2000) -> ope.Rounds:
    """Returns rounds of a log with a floor of .05 over 4 candidates, so of weights up to 80."""
    log, target, _ = random_log(seed, size)
    return ope.rounds(log, target)


def some_terms(seed: int = 0, size: int = 2000) -> list[ope.Terms]:
    """Returns terms of a mean, of one ratio and of two."""
    rng = np.random.default_rng(seed)
    weight, reward = rng.exponential(size=size), rng.normal(size=size)
    return [
        ope.average(weight * reward, np.ones(size)),
        ope.average(reward, weight),
        ope.add(ope.average(reward, weight), ope.average(reward**2, np.ones(size))),
    ]


def stderr_of(terms: ope.Terms) -> float:
    """Returns the delta method's standard error."""
    return math.sqrt((ope.influence(terms) ** 2).sum())
