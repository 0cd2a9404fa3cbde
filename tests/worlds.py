"""A world for bandits that know items, not features."""

from typing import NamedTuple

import attrs
import numpy as np

from recsdk import Context, Round
from recsdk.base import Array, Rng


class Chances(NamedTuple):
    """What is true.

    Attributes:
        means: f64[phases, K].
    """

    means: Array


@attrs.frozen(kw_only=True)
class ItemWorld:
    """Rewards are 1 with the chance of the item, else 0; the chances change in phases of `length` rounds, and the last one stays.

    Phi is the chance in the first phase, and which item it is.
    """

    chances: tuple[tuple[float, ...], ...]
    length: int = 10**9

    @property
    def dim(self) -> int:
        """See `recsdk.Environment`."""
        return 1 + len(self.chances[0])

    def init(self, seed: int) -> Chances:
        """See `recsdk.Environment`."""
        del seed
        return Chances(np.array(self.chances))

    def round(self, world: Chances, rng: Rng, time: Array) -> Round:
        """See `recsdk.Environment`."""
        xp = world.means.__array_namespace__()
        num = len(self.chances[0])
        mean = world.means[xp.minimum(time // self.length, len(self.chances) - 1)]
        features = xp.concat([world.means[0][:, None], xp.eye(num, dtype=xp.float64)], axis=1)
        context = Context(features, xp.ones(num, dtype=xp.bool), xp.arange(num))
        return Round(context, mean, (rng.random((num,)) < mean).astype(xp.float64))
