"""A policy's answer as a law sees it: exact where its random numbers do not depend on the candidates, else in distribution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from recsdk.base import Array, Context, Policy, Rng
from recsdk.testing import inputs

NUM_SEEDS = 1000
MAX_Z = 4.5
"""Standard errors: a true claim is refused once in 150,000 tests, and the kit's seeds are fixed."""


class Recorder:
    """Passes random numbers on, and remembers what was asked for and given."""

    def __init__(self, rng: Rng) -> None:
        self._rng = rng
        self.asked: list[tuple[str, Any]] = []
        self.given: list[Array] = []

    def standard_normal(self, shape: Any = None) -> Array:
        """Returns f64[shape], independent standard normal."""
        return self._noted("standard_normal", shape)

    def random(self, shape: Any = None) -> Array:
        """Returns f64[shape], uniform on [0, 1)."""
        return self._noted("random", shape)

    def _noted(self, method: str, shape: Any) -> Array:
        self.asked.append((method, shape))
        self.given.append(np.asarray(getattr(self._rng, method)(shape)))
        return self.given[-1]


class Tape:
    """Gives recorded random numbers again, one array a call."""

    def __init__(self, numbers: Sequence[Array]) -> None:
        self._numbers = iter(numbers)

    def standard_normal(self, shape: Any = None) -> Array:
        """Returns the next f64[shape]."""
        del shape
        return next(self._numbers)

    def random(self, shape: Any = None) -> Array:
        """Returns the next f64[shape]."""
        del shape
        return next(self._numbers)


class Answer(NamedTuple):
    """A policy's probabilities.

    Attributes:
        mean: f64[K], over the policy's own randomness, or for one seed.
        error: f64[K], standard error of `mean`; 0 for one seed.
    """

    mean: np.ndarray
    error: np.ndarray


def draws_per_candidate(policy: Policy[Any], state: Any, dim: int) -> bool:
    """Tells whether a policy asks for other random numbers when there are more candidates.

    Then the numbers belong to places, and two orders of one set of candidates can agree in distribution only.
    """
    asked = []
    for num in (3, 5):
        recorder = Recorder(np.random.default_rng(0))
        policy.probs(state, recorder, inputs.case(num, dim).context)
        asked.append(recorder.asked)
    return asked[0] != asked[1]


def answer(policy: Policy[Any], state: Any, context: Context, *, exact: bool) -> Answer:
    """Returns what a policy says of a context: for one seed, or on average over many.

    Args:
        policy: the policy.
        state: not consumed.
        context: one round.
        exact: whether one seed is enough.
    """
    if exact:
        probs = policy.probs(state, np.random.default_rng(0), context)
        return Answer(probs, np.zeros(len(probs)))
    rng = np.random.default_rng(1 + len(context.mask))
    return average(np.stack([policy.probs(state, rng, context) for _ in range(NUM_SEEDS)]))


def average(samples: np.ndarray) -> Answer:
    """Returns the mean of f64[M, K] over M and its standard error."""
    return Answer(samples.mean(axis=0), samples.std(axis=0) / len(samples) ** 0.5)


def excess(one: Answer, other: Answer, tolerance: float) -> float:
    """Returns how far two answers are apart beyond chance and `tolerance`; <= 0 where they agree."""
    allowed = tolerance + MAX_Z * np.hypot(one.error, other.error)
    return float((np.abs(one.mean - other.mean) - allowed).max())
