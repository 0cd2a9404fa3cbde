"""Epsilon-greedy on online ridge regression."""

from __future__ import annotations

from typing import ClassVar

import attrs

from recsdk import explore
from recsdk.base import Array, Context, Interaction, Rng
from recsdk.checks import number
from recsdk.policies import _algebra, _ridge
from recsdk.policies._ridge import Ridge


@attrs.frozen(kw_only=True)
class EpsilonGreedy:
    """Shows the candidate with the highest estimated reward, or with probability `epsilon` any.

    Attributes:
        epsilon: share of uniform exploration, in [0, 1]; at 0 the log cannot tell what other policies would have earned.
        ridge: weight of the prior, in observations of unit length.

    References:
        Langford, Zhang, The Epoch-Greedy Algorithm for Contextual Multi-armed Bandits, NeurIPS 2007.
    """

    runs_on: ClassVar[tuple[str, ...]] = ("numpy", "jax")
    learns_from: ClassVar[str] = "chosen"

    epsilon: float = attrs.field(default=0.1, validator=number(at_least=0, at_most=1))
    ridge: float = attrs.field(default=1.0, validator=number(above=0))

    def init(self, prior: Array) -> Ridge:
        """See `recsdk.base.Policy`."""
        return _ridge.init(prior, self.ridge)

    def probs(self, state: Ridge, rng: Rng, context: Context) -> Array:
        """See `recsdk.base.Policy`."""
        del rng
        best = explore.greedy(context.features.dot(state.mean), context.mask)
        return explore.mix(best, context.mask, self.epsilon)

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
