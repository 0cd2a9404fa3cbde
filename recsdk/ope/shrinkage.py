"""Importance weights made smaller: less variance for some bias. Each is an argument of `ips`, `snips`, `dr` and `sndr`."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import numpy as np

from recsdk.checks import number

Shrink = Callable[[np.ndarray], np.ndarray]
"""From importance weights f64[T] to the ones that are used, f64[T]."""


def unshrunk(importance: np.ndarray) -> np.ndarray:
    """Leaves the weights as they are, which is unbiased."""
    return importance


@attrs.frozen(kw_only=True)
class Clip:
    """No weight above a limit: min(rho, limit).

    Attributes:
        limit: > 0; the higher, the less bias.

    References:
        Ionides, "Truncated importance sampling", Journal of Computational and Graphical Statistics, 2008.
    """

    limit: float = attrs.field(validator=number(above=0))

    @classmethod
    def with_limit(cls, limit: float) -> Clip:
        """Returns the one whose largest weight is `limit`."""
        return cls(limit=limit)

    def __call__(self, importance: np.ndarray) -> np.ndarray:
        """Returns f64[T], from f64[T]."""
        clipped: np.ndarray = np.minimum(importance, self.limit)
        return clipped


@attrs.frozen(kw_only=True)
class Switch:
    """No weight at all where it is above a threshold; `dr` is then Switch-DR, which leaves those actions to the reward model.

    Attributes:
        threshold: > 0; the higher, the less bias.

    References:
        Wang, Agarwal, Dudik, "Optimal and adaptive off-policy evaluation in contextual bandits", ICML, 2017.
    """

    threshold: float = attrs.field(validator=number(above=0))

    @classmethod
    def with_limit(cls, limit: float) -> Switch:
        """Returns the one whose largest weight is `limit`."""
        return cls(threshold=limit)

    def __call__(self, importance: np.ndarray) -> np.ndarray:
        """Returns f64[T], from f64[T]."""
        return np.where(importance <= self.threshold, importance, 0.0)


@attrs.frozen(kw_only=True)
class Optimistic:
    """The weight that minimises a bound on the error, strength rho / (rho^2 + strength); `dr` is then DRos.

    Attributes:
        strength: lambda > 0; the higher, the less bias. At rho = sqrt(strength) it is largest, half of that.

    References:
        Su, Dimakopoulou, Krishnamurthy, Dudik, "Doubly robust off-policy evaluation with shrinkage", ICML, 2020.
    """

    strength: float = attrs.field(validator=number(above=0))

    @classmethod
    def with_limit(cls, limit: float) -> Optimistic:
        """Returns the one whose largest weight is `limit`."""
        return cls(strength=(2 * limit) ** 2)

    def __call__(self, importance: np.ndarray) -> np.ndarray:
        """Returns f64[T], from f64[T]."""
        return self.strength * importance / (importance**2 + self.strength)


@attrs.frozen(kw_only=True)
class SubGaussian:
    """The weighted harmonic mean of the weight and 1, rho / (1 - share + share rho): errors have a light tail, though weights have not.

    Attributes:
        share: lambda in (0, 1]; the lower, the less bias. No weight is above 1 / share.

    References:
        Metelli, Russo, Restelli, "Subgaussian and differentiable importance sampling for off-policy evaluation and learning", NeurIPS,
        2021: their power mean ((1 - lambda) rho^s + lambda)^(1/s), with s = -1.
    """

    share: float = attrs.field(validator=number(above=0, at_most=1))

    @classmethod
    def with_limit(cls, limit: float) -> SubGaussian:
        """Returns the one whose largest weight is `limit`, >= 1."""
        return cls(share=1 / limit)

    def __call__(self, importance: np.ndarray) -> np.ndarray:
        """Returns f64[T], from f64[T]."""
        harmonic = 1 - self.share + self.share * importance
        shrunk: np.ndarray = np.divide(importance, harmonic, out=np.zeros_like(importance), where=importance > 0)
        return shrunk
