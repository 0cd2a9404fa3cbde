"""A catalogue whose items come and go."""

from __future__ import annotations

from typing import NamedTuple

import attrs
import numpy as np

from recsdk.base import Array, Context, Rng
from recsdk.checks import integer, number
from recsdk.drivers.simulate import Round
from recsdk.errors import InvalidValue


class Shelf(NamedTuple):
    """The whole catalogue, with its truth.

    Attributes:
        items: f64[N, D], features of each item, of unit length.
        weights: f64[D], weights of the features, of unit length.
        appeal: f64[N], part of each item's reward that does not depend on the features.
    """

    items: Array
    weights: Array
    appeal: Array


@attrs.frozen(kw_only=True)
class ChangingWorld:
    """Rewards are x.weights + the item's own appeal + noise, in a shop where one item is replaced every `lifetime` rounds.

    In round t the slots t // lifetime to t // lifetime + K - 1 (modulo N) are in the shop; an item stays at the place slot % K. Each of
    them is sold out (masked) with probability `sold_out`, but never all. An item's features are user * item, with a fresh user of unit
    length times sqrt(D) in every round.

    Attributes:
        num_items: N, a multiple of `num_candidates`, so that no two items in the shop need the same place.
        num_candidates: K, number of items in the shop.
        dim: D, number of features.
        lifetime: number of rounds between two changes of the shop.
        sold_out: share of the items in the shop that cannot be shown in a round, in [0, 1].
        appeal: standard deviation of the items' own appeal, which features do not show.
        noise: standard deviation of the reward.

    Example:
        >>> from recsdk import LinTS, simulate
        >>> from recsdk.environments import ChangingWorld
        >>> simulate(LinTS(), ChangingWorld(num_items=200, lifetime=50), 5, engine="numpy").log.reward.shape
        (5,)
    """

    num_items: int = attrs.field(default=100, validator=integer(at_least=1))
    num_candidates: int = attrs.field(default=10, validator=integer(at_least=1))
    dim: int = attrs.field(default=8, validator=integer(at_least=1))
    lifetime: int = attrs.field(default=100, validator=integer(at_least=1))
    sold_out: float = attrs.field(default=0.2, validator=number(at_least=0, at_most=1))
    appeal: float = attrs.field(default=0.3, validator=number(at_least=0))
    noise: float = attrs.field(default=0.1, validator=number(at_least=0))

    def __attrs_post_init__(self) -> None:
        if self.num_items % self.num_candidates:
            raise InvalidValue(f"num_items must be a multiple of num_candidates = {self.num_candidates}, got {self.num_items}.")

    def init(self, seed: int) -> Shelf:
        rng = np.random.default_rng(seed)
        items, weights = rng.standard_normal((self.num_items, self.dim)), rng.standard_normal(self.dim)
        items /= np.sqrt(np.vecdot(items, items))[:, None]
        return Shelf(items, weights / np.sqrt(weights @ weights), self.appeal * rng.standard_normal(self.num_items))

    def round(self, world: Shelf, rng: Rng, time: Array) -> Round:
        user, luck = rng.standard_normal((self.dim,)), rng.random((self.num_candidates,))
        xp = user.__array_namespace__()
        user = user / xp.sqrt(user @ user) * self.dim**0.5
        oldest, places = time // self.lifetime, xp.arange(self.num_candidates)
        item = (oldest + (places - oldest) % self.num_candidates) % self.num_items
        features = user[None, :] * world.items[item]
        mean = features @ world.weights + world.appeal[item]
        mask = (luck >= self.sold_out) | (luck == luck.max())
        return Round(Context(features, mask, item), mean, mean + self.noise * rng.standard_normal((self.num_candidates,)))
