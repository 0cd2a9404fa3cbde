"""Epsilon-greedy that explores less and less."""

from __future__ import annotations

from typing import ClassVar

import attrs

from recsdk import explore
from recsdk.base import Array, Context, Interaction, Rng
from recsdk.checks import number
from recsdk.policies import _algebra, _ridge
from recsdk.policies._ridge import Ridge


@attrs.frozen(kw_only=True)
class EpsilonDecay:
    """Shows the candidate with the highest estimated reward, or with probability epsilon_t any: epsilon_t = max(floor, min(1, c K / t)).

    t is 1 + the weight learned, K the number of candidates: the first c K rounds are uniform exploration, and c is about how often each
    place is tried before its estimate counts. In later rounds exploration costs as much as the logarithm of their number.

    Attributes:
        tries: c; 0 is no exploration beyond the floor.
        floor: the least epsilon, in [0, 1]; at 0 the log gives ever less to evaluate other policies with.
        ridge: weight of the prior, in observations of unit length.

    References:
        Auer, Cesa-Bianchi, Fischer, Finite-time Analysis of the Multiarmed Bandit Problem, Machine Learning 2002, figure 3 and theorem 3.
    """

    runs_on: ClassVar[tuple[str, ...]] = ("numpy", "jax")
    learns_from: ClassVar[str] = "chosen"

    tries: float = attrs.field(default=2.0, validator=number(at_least=0))
    floor: float = attrs.field(default=0.01, validator=number(at_least=0, at_most=1))
    ridge: float = attrs.field(default=1.0, validator=number(above=0))

    def init(self, prior: Array) -> Ridge:
        """See `recsdk.base.Policy`."""
        return _ridge.init(prior, self.ridge)

    def probs(self, state: Ridge, rng: Rng, context: Context) -> Array:
        """See `recsdk.base.Policy`."""
        del rng
        xp = context.features.__array_namespace__()
        wanted = self.tries * context.mask.astype(xp.float64).sum() / (1 + state.total)
        epsilon = xp.clip(wanted, self.floor, 1.0)
        best = explore.greedy(context.features.dot(state.mean), context.mask)
        return explore.mix(best, context.mask, epsilon)

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
