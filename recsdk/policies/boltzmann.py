"""Softmax exploration on online ridge regression."""

from __future__ import annotations

from typing import ClassVar

import attrs

from recsdk import explore
from recsdk.base import Array, Context, Interaction, Rng
from recsdk.checks import number
from recsdk.policies import _algebra, _ridge
from recsdk.policies._ridge import Ridge


@attrs.frozen(kw_only=True)
class Boltzmann:
    """Shows candidates in proportion to exp(estimated reward / temperature).

    Every candidate keeps a positive probability, the worse ones ever less. It explores by how good an item looks, not by how little is
    known of it, and a fixed temperature never stops: `LinTS` and `LinUCB` are better learners. Take it for a log that is smooth in the
    estimates.

    Attributes:
        temperature: in units of reward; differences much below it hardly matter, those much above decide.
        ridge: weight of the prior, in observations of unit length.

    References:
        Sutton, Barto, Reinforcement Learning: An Introduction, 2nd edition, MIT Press 2018, eq. 2.11 on preferences.
        Cesa-Bianchi, Gentile, Lugosi, Neu, Boltzmann Exploration Done Right, NeurIPS 2017: what it cannot do.
    """

    runs_on: ClassVar[tuple[str, ...]] = ("numpy", "jax")
    learns_from: ClassVar[str] = "chosen"

    temperature: float = attrs.field(default=0.1, validator=number(above=0))
    ridge: float = attrs.field(default=1.0, validator=number(above=0))

    def init(self, prior: Array) -> Ridge:
        """See `recsdk.base.Policy`."""
        return _ridge.init(prior, self.ridge)

    def probs(self, state: Ridge, rng: Rng, context: Context) -> Array:
        """See `recsdk.base.Policy`."""
        del rng
        return explore.softmax(context.features.dot(state.mean), context.mask, self.temperature)

    def update(self, state: Ridge, interaction: Interaction) -> Ridge:
        """See `recsdk.base.Policy`."""
        return _ridge.update(state, interaction)

    def merge(self, a: Ridge, b: Ridge) -> Ridge:
        """See `recsdk.base.Mergeable`."""
        return _algebra.merge(a, b)

    def weigh(self, state: Ridge, weight: float) -> Ridge:
        """See `recsdk.base.Mergeable`."""
        return _algebra.weigh(state, weight)

    def subtract(self, whole: Ridge, part: Ridge) -> Ridge:
        """See `recsdk.base.Forgettable`."""
        return _algebra.subtract(whole, part)

    def forget(self, state: Ridge, interaction: Interaction) -> Ridge:
        """See `recsdk.base.Forgettable`."""
        return _ridge.forget(state, interaction)
