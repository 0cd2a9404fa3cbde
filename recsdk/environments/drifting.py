"""A world whose best candidates change over time."""

from __future__ import annotations

from typing import Any, NamedTuple

import attrs
import numpy as np

from recsdk.base import Array, Rng
from recsdk.checks import integer, number, require_integer
from recsdk.drivers.simulate import Round
from recsdk.environments._candidates import on_sphere
from recsdk.errors import InvalidValue


class Turning(NamedTuple):
    """The plane in which the weights turn.

    Attributes:
        start: f64[D], weights in round 0, of unit length.
        aside: f64[D], unit vector at a right angle to `start`.
        flips: i64[F], numbers of the rounds in which the weights change sign.
    """

    start: Array
    aside: Array
    flips: Array


def _rounds(instance: object, field: Any, value: tuple[int, ...]) -> None:
    name = f"{type(instance).__name__}.{field.name}"
    if not isinstance(value, tuple) or list(value) != sorted(set(value)):
        raise InvalidValue(f"{name} must be a tuple of numbers of rounds, each above the one before, got {value!r}.")
    for number_of_round in value:
        require_integer(name, number_of_round, at_least=1)


@attrs.frozen(kw_only=True)
class DriftingWorld:
    """Rewards are x.weights + noise, with weights that turn and flip, and fresh candidates x on the unit sphere.

    In round t the weights are cos(drift t) start + sin(drift t) aside, times -1 for each of the `flips` up to t.

    Attributes:
        num_candidates: K, number of candidates in a round.
        dim: D, number of features, at least 2.
        drift: angle by which the weights turn in a round, in radians; 0 for none.
        flips: numbers of the rounds, ascending, in which the best candidates become the worst.
        noise: standard deviation of the reward.

    Example:
        >>> from recsdk import LinTS, simulate
        >>> from recsdk.environments import DriftingWorld
        >>> simulate(LinTS(), DriftingWorld(drift=0.0, flips=(500,)), 5, engine="numpy").log.reward.shape
        (5,)
    """

    num_candidates: int = attrs.field(default=10, validator=integer(at_least=1))
    dim: int = attrs.field(default=8, validator=integer(at_least=2))
    drift: float = attrs.field(default=0.001, validator=number(at_least=0))
    flips: tuple[int, ...] = attrs.field(default=(), validator=_rounds)
    noise: float = attrs.field(default=0.1, validator=number(at_least=0))

    def init(self, seed: int) -> Turning:
        plane, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((self.dim, 2)))
        return Turning(plane[:, 0].copy(), plane[:, 1].copy(), np.array(self.flips, np.int64))

    def weights(self, world: Turning, time: Array) -> Array:
        """Returns f64[D], the truth of round `time`."""
        xp = world.start.__array_namespace__()
        angle = self.drift * time
        sign = 1.0 - 2.0 * ((world.flips <= time).sum() % 2)
        return sign * (xp.cos(angle) * world.start + xp.sin(angle) * world.aside)

    def round(self, world: Turning, rng: Rng, time: Array) -> Round:
        context = on_sphere(rng, self.num_candidates, self.dim)
        mean = context.features @ self.weights(world, time)
        return Round(context, mean, mean + self.noise * rng.standard_normal((self.num_candidates,)))
