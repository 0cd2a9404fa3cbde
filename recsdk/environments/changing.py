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
    """The whole catalogue.

    Attributes:
        items: f64[N, D], what is known of each item, of unit length.
        weights: f64[D], of unit length: what the features are worth.
        appeal: f64[N], what the features do not tell.
    """

    items: Array
    weights: Array
    appeal: Array


@attrs.frozen(kw_only=True)
class ChangingWorld:
    """Rewards are x.weights + the item's own appeal + noise, for items of which one goes and one comes every `lifetime` rounds.

    In round t the slots t // lifetime to t // lifetime + K - 1 (modulo N) are in the shop, each at the place slot % K for as long as it is;
    of these, each is sold out (masked) with probability `sold_out`, but never all. An item's features are user * item, with a fresh user of
    unit length times sqrt(D) in every round.

    Attributes:
        num_items: N, a multiple of `num_candidates`, so that no two items in the shop want one place.
        num_candidates: K.
        dim: D.
        lifetime: rounds between one change of the shop and the next.
        sold_out: share of the items in the shop that cannot be shown in a round, in [0, 1].
        appeal: standard deviation of what only an item's own rewards can tell.
        noise: standard deviation of the reward.
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
        """See `recsdk.Environment`."""
        rng = np.random.default_rng(seed)
        items, weights = rng.standard_normal((self.num_items, self.dim)), rng.standard_normal(self.dim)
        items /= np.sqrt(np.vecdot(items, items))[:, None]
        return Shelf(items, weights / np.sqrt(weights @ weights), self.appeal * rng.standard_normal(self.num_items))

    def round(self, world: Shelf, rng: Rng, time: Array) -> Round:
        """See `recsdk.Environment`."""
        user, luck = rng.standard_normal((self.dim,)), rng.random((self.num_candidates,))
        xp = user.__array_namespace__()
        user = user / xp.sqrt(user @ user) * self.dim**0.5
        oldest, places = time // self.lifetime, xp.arange(self.num_candidates)
        item = (oldest + (places - oldest) % self.num_candidates) % self.num_items
        features = user[None, :] * world.items[item]
        mean = features @ world.weights + world.appeal[item]
        mask = (luck >= self.sold_out) | (luck == luck.max())
        return Round(Context(features, mask, item), mean, mean + self.noise * rng.standard_normal((self.num_candidates,)))
