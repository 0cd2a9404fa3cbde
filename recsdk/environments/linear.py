"""A world with linear rewards."""

from __future__ import annotations

from typing import NamedTuple

import attrs
import numpy as np

from recsdk.base import Array, Rng
from recsdk.checks import integer, number
from recsdk.drivers.simulate import Round
from recsdk.environments._candidates import on_sphere


class LinearTruth(NamedTuple):
    """The hidden weights.

    Attributes:
        weights: f64[D], of unit length.
    """

    weights: Array


@attrs.frozen(kw_only=True)
class LinearWorld:
    """Rewards are x.weights + noise, with fresh candidates x on the unit sphere in every round.

    Attributes:
        num_candidates: K, number of candidates in a round.
        dim: D, number of features.
        noise: standard deviation of the reward.

    Example:
        >>> from recsdk import LinTS, simulate
        >>> from recsdk.environments import LinearWorld
        >>> simulate(LinTS(), LinearWorld(num_candidates=20, noise=0.3), 5, engine="numpy").log.reward.shape
        (5,)
    """

    num_candidates: int = attrs.field(default=10, validator=integer(at_least=1))
    dim: int = attrs.field(default=8, validator=integer(at_least=1))
    noise: float = attrs.field(default=0.1, validator=number(at_least=0))

    def init(self, seed: int) -> LinearTruth:
        weights = np.random.default_rng(seed).standard_normal(self.dim)
        return LinearTruth(weights / np.sqrt(weights @ weights))

    def round(self, world: LinearTruth, rng: Rng, time: Array) -> Round:
        del time
        context = on_sphere(rng, self.num_candidates, self.dim)
        mean = context.features @ world.weights
        return Round(context, mean, mean + self.noise * rng.standard_normal((self.num_candidates,)))
