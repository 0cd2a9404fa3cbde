"""Are the propensities in a log true? Counted while the log goes by, for logs of any length.

Counting per item has no power to see a wrong propensity: errors of opposite sign cancel. So draws are counted in bins of the logged
probability, and importance weights towards targets that the policy knows nothing of must have mean 1. Both are martingales, whatever the
policy learned meanwhile, and are judged by Freedman's inequality.

References:
    Freedman, On Tail Probabilities for Martingales, Annals of Probability 1975, theorem 1.6.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

EDGES = np.concatenate([10.0 ** np.arange(-6, -1), np.arange(0.02, 0.1, 0.02), np.arange(0.1, 0.96, 0.1), [0.95, 0.99]])
"""Of the bins of the logged probability."""
LEAST_WEIGHED = 0.01
"""Smaller probabilities are left to the bins: their weights are too large to tell anything."""
TARGETS = ("uniform", "the first candidates", "the last candidates", "even slots", "low slots")
LOG_CERTAINTY = math.log(2e5 * (len(EDGES) + 1 + len(TARGETS)))
"""Of all comparisons together: a true log fails with a probability below 1e-5."""


class Comparison(NamedTuple):
    """What was counted against what the logged probabilities promised.

    Attributes:
        what: was compared.
        expected: by the logged probabilities.
        found: in the log.
        allowed: difference by chance.
    """

    what: str
    expected: float
    found: float
    allowed: float

    @property
    def is_true(self) -> bool:
        """Whether chance explains the difference."""
        return abs(self.found - self.expected) <= self.allowed


class Honesty:
    """Counts draws as they are added.

    Example:
        >>> rng, honest, liar = np.random.default_rng(0), Honesty(), Honesty()
        >>> for _ in range(4000):
        ...     probs = rng.dirichlet(np.ones(5))
        ...     action = rng.choice(5, p=probs)
        ...     honest.add(probs, action, np.arange(5))
        ...     liar.add(0.8 * probs + 0.04, action, np.arange(5))
        >>> honest.num_draws, len(honest.lies()), len(liar.lies()) > 3
        (4000, 0, True)
    """

    def __init__(self) -> None:
        self.num_draws = 0
        self._bins = np.zeros((3, len(EDGES) + 1))  # expected, found, variance
        self._weights = np.zeros((3, len(TARGETS)))
        self._largest = np.zeros(len(TARGETS))

    def add(self, probs: np.ndarray, action: int, slots: np.ndarray) -> None:
        """Counts a draw.

        Args:
            probs: f64[K], as logged, of the candidates that were left.
            action: index of the one that was drawn.
            slots: i64[K], of these candidates.
        """
        self.num_draws += 1
        taken = np.arange(len(probs)) == action
        place = np.searchsorted(EDGES, probs, side="right")
        inside, found = (np.bincount(place, values, len(EDGES) + 1) for values in (probs, taken))
        self._bins += np.stack([inside, found, inside * (1 - np.minimum(inside, 1))])
        shares = np.where(probs >= LEAST_WEIGHED, _shares(slots), 0.0)
        weights = shares / np.maximum(probs, LEAST_WEIGHED)
        expected = shares.sum(axis=1)
        self._weights += np.stack([expected, weights[:, action], (weights * shares).sum(axis=1) - expected**2])
        np.maximum(self._largest, weights.max(axis=1), out=self._largest)

    def comparisons(self) -> list[Comparison]:
        """Returns every comparison that had something to count."""
        names = [f"{low:.3g} <= p < {high:.3g}" for low, high in zip((0, *EDGES), (*EDGES, np.inf), strict=True)]
        bins = [Comparison(name, e, f, chance(v, 1.0)) for name, e, f, v in zip(names, *self._bins, strict=True) if e or f]
        rows = zip(TARGETS, *self._weights, self._largest, strict=True)
        return bins + [Comparison(f"weights of {name}", e, f, chance(v, w)) for name, e, f, v, w in rows if w]

    def lies(self) -> list[Comparison]:
        """Returns the comparisons that chance does not explain."""
        return [one for one in self.comparisons() if not one.is_true]


def _shares(slots: np.ndarray) -> np.ndarray:
    """Returns f64[len(TARGETS), K], what each target gives to the candidates; it knows nothing of the draw."""
    size, rank = len(slots), np.arange(len(slots))
    wanted = np.stack([np.ones(size), rank < max(size // 4, 1), rank >= size - max(size // 4, 1), slots % 2 == 0, 1.0 / (1.0 + slots)])
    total = wanted.sum(axis=1, keepdims=True)
    return np.where(total > 0, wanted / np.where(total > 0, total, 1.0), 1.0 / size)


def chance(variance: float, largest: float) -> float:
    """Returns how far a sum of martingale differences of this variance, none larger than `largest`, may be from 0."""
    tail = largest * LOG_CERTAINTY / 3
    return float(tail + math.sqrt(tail**2 + 2 * max(variance, 0.0) * LOG_CERTAINTY)) if variance > 1e-9 else 1e-6
