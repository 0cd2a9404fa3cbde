"""A world with nonlinear rewards."""

from __future__ import annotations

from typing import NamedTuple

import attrs
import numpy as np

from recsdk.base import Array, Rng
from recsdk.checks import integer, number
from recsdk.drivers.simulate import Round
from recsdk.environments._candidates import on_sphere


class NeuralTruth(NamedTuple):
    """A network of one hidden layer.

    Attributes:
        hidden: f64[D, H], weights of the hidden units.
        output: f64[H], weights of the output, of unit length.
    """

    hidden: Array
    output: Array


@attrs.frozen(kw_only=True)
class NeuralWorld:
    """Rewards are tanh(x.hidden).output + noise, a fixed random network, with fresh candidates x on the unit sphere.

    A linear model explains a part of the truth, and the less, the larger `gain` is: x and -x are equally likely and tanh is odd.

    Attributes:
        num_candidates: K, number of candidates in a round.
        dim: D, number of features.
        width: H, number of hidden units.
        gain: standard deviation of the input of a hidden unit; with a small one the truth is nearly linear, with a large one nearly a vote
            of half-spaces.
        noise: standard deviation of the reward.

    Example:
        >>> from recsdk import LinTS, simulate
        >>> from recsdk.environments import NeuralWorld
        >>> simulate(LinTS(), NeuralWorld(gain=6.0), 5, engine="numpy").log.reward.shape
        (5,)
    """

    num_candidates: int = attrs.field(default=10, validator=integer(at_least=1))
    dim: int = attrs.field(default=8, validator=integer(at_least=1))
    width: int = attrs.field(default=16, validator=integer(at_least=1))
    gain: float = attrs.field(default=3.0, validator=number(above=0))
    noise: float = attrs.field(default=0.1, validator=number(at_least=0))

    def init(self, seed: int) -> NeuralTruth:
        rng = np.random.default_rng(seed)
        hidden, output = rng.standard_normal((self.dim, self.width)), rng.standard_normal(self.width)
        return NeuralTruth(self.gain * hidden, output / np.sqrt(output @ output))

    def round(self, world: NeuralTruth, rng: Rng, time: Array) -> Round:
        del time
        context = on_sphere(rng, self.num_candidates, self.dim)
        xp = context.features.__array_namespace__()
        mean = xp.tanh(context.features @ world.hidden) @ world.output
        return Round(context, mean, mean + self.noise * rng.standard_normal((self.num_candidates,)))
