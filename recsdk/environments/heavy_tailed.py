"""A world with heavy-tailed rewards, such as revenue."""

from __future__ import annotations

import math

import attrs
import numpy as np

from recsdk.base import Array, Rng
from recsdk.checks import integer, number
from recsdk.drivers.simulate import Round
from recsdk.environments._candidates import on_sphere
from recsdk.environments.linear import LinearTruth


@attrs.frozen(kw_only=True)
class HeavyTailedWorld:
    """Rewards are x.weights + scale * Student's t, with fresh candidates x on the unit sphere.

    Attributes:
        num_candidates: K, number of candidates in a round.
        dim: D, number of features.
        scale: scale of the noise; its standard deviation is scale * sqrt(degrees / (degrees - 2)), infinite up to 2 degrees.
        degrees: degrees of freedom, > 1 so that a mean exists; the smaller, the heavier the tails.

    References:
        Bailey, Polar Generation of Random Variates with the t-Distribution, Mathematics of Computation 1994.

    Example:
        >>> from recsdk import LinTS, simulate
        >>> from recsdk.environments import HeavyTailedWorld
        >>> simulate(LinTS(), HeavyTailedWorld(degrees=1.5), 5, engine="numpy").log.reward.shape
        (5,)
    """

    num_candidates: int = attrs.field(default=10, validator=integer(at_least=1))
    dim: int = attrs.field(default=8, validator=integer(at_least=1))
    scale: float = attrs.field(default=0.1, validator=number(at_least=0))
    degrees: float = attrs.field(default=2.5, validator=number(above=1))

    def init(self, seed: int) -> LinearTruth:
        weights = np.random.default_rng(seed).standard_normal(self.dim)
        return LinearTruth(weights / np.sqrt(weights @ weights))

    def round(self, world: LinearTruth, rng: Rng, time: Array) -> Round:
        del time
        context = on_sphere(rng, self.num_candidates, self.dim)
        mean = context.features @ world.weights
        return Round(context, mean, mean + self.scale * _student(rng, self.num_candidates, self.degrees))


def _student(rng: Rng, num: int, degrees: float) -> Array:
    radius, angle = rng.random((num,)), rng.random((num,))
    xp = radius.__array_namespace__()
    # 1 - radius lies in (0, 1], whose power is finite.
    return xp.sqrt(degrees * ((1 - radius) ** (-2 / degrees) - 1)) * xp.cos(2 * math.pi * angle)
