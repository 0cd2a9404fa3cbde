"""The world of clicks."""

from __future__ import annotations

import attrs
import numpy as np

from recsdk.base import Array, Rng
from recsdk.checks import integer, number
from recsdk.drivers.simulate import Round
from recsdk.environments._candidates import on_sphere
from recsdk.environments.linear import LinearTruth


@attrs.frozen(kw_only=True)
class LogisticWorld:
    """Rewards are 0 or 1: a click with probability 1 / (1 + exp(-(slope x.weights + intercept))), for fresh x on the unit sphere.

    Attributes:
        num_candidates: K, number of candidates in a round.
        dim: D, number of features.
        slope: size of the differences between candidates, in log odds; at 0 all have the same chance.
        intercept: log odds of a candidate at a right angle to the weights; -3 gives rare clicks.

    Example:
        >>> from recsdk import LinTS, simulate
        >>> from recsdk.environments import LogisticWorld
        >>> simulate(LinTS(), LogisticWorld(intercept=-3.0), 5, engine="numpy").log.reward.shape
        (5,)
    """

    num_candidates: int = attrs.field(default=10, validator=integer(at_least=1))
    dim: int = attrs.field(default=8, validator=integer(at_least=1))
    slope: float = attrs.field(default=4.0, validator=number(at_least=0))
    intercept: float = attrs.field(default=-1.0, validator=number())

    def init(self, seed: int) -> LinearTruth:
        weights = np.random.default_rng(seed).standard_normal(self.dim)
        return LinearTruth(weights / np.sqrt(weights @ weights))

    def round(self, world: LinearTruth, rng: Rng, time: Array) -> Round:
        del time
        context = on_sphere(rng, self.num_candidates, self.dim)
        xp = context.features.__array_namespace__()
        mean = 1 / (1 + xp.exp(-(self.slope * (context.features @ world.weights) + self.intercept)))
        reward = (rng.random((self.num_candidates,)) < mean).astype(xp.float64)
        return Round(context, mean, reward)
