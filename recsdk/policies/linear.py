"""Linear bandits with one weight vector over phi, shared by all candidates."""

from __future__ import annotations

from typing import ClassVar

import attrs

from recsdk import explore
from recsdk.base import Array, Context, Interaction, Rng
from recsdk.checks import integer, number
from recsdk.policies import _algebra, _ridge
from recsdk.policies._ridge import Ridge


@attrs.frozen(kw_only=True)
class LinUCB:
    """Shows the candidate with the highest optimistic estimate, x.mean + alpha |x|_{A^-1}.

    Attributes:
        alpha: how optimistic, in units of the reward's noise; > 0 explores more.
        ridge: weight of the prior, in observations of unit length.

    References:
        Li, Chu, Langford, Schapire, A Contextual-Bandit Approach to Personalized News Article Recommendation, WWW 2010, eq. 5.
    """

    runs_on: ClassVar[tuple[str, ...]] = ("numpy", "jax")
    learns_from: ClassVar[str] = "chosen"

    alpha: float = attrs.field(default=0.5, validator=number(at_least=0))
    ridge: float = attrs.field(default=1.0, validator=number(above=0))

    def init(self, prior: Array) -> Ridge:
        """See `recsdk.base.Policy`."""
        return _ridge.init(prior, self.ridge)

    def probs(self, state: Ridge, rng: Rng, context: Context) -> Array:
        """See `recsdk.base.Policy`."""
        del rng
        bounds = context.features.dot(state.mean) + self.alpha * _ridge.widths(state, context.features)
        return explore.greedy(bounds, context.mask)

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


@attrs.frozen(kw_only=True)
class LinTS:
    """Thompson sampling: shows a candidate as often as it is the best one under the posterior.

    The probabilities are the winners' frequencies over `num_draws` draws of the weights. An action drawn from them is distributed as
    Thompson's, and they are its exact propensities given the draws; estimating propensities apart from the draw would bias the log.
    The draws come in pairs, mean + z and mean - z, each of them a draw from the posterior: that takes half the random numbers.

    Attributes:
        scale: standard deviation of the reward's noise; larger explores more.
        ridge: weight of the prior, in observations of unit length.
        num_draws: posterior draws per decision.

    References:
        Agrawal, Goyal, Thompson Sampling for Contextual Bandits with Linear Payoffs, ICML 2013, algorithm 1.
    """

    runs_on: ClassVar[tuple[str, ...]] = ("numpy", "jax")
    learns_from: ClassVar[str] = "chosen"

    scale: float = attrs.field(default=0.25, validator=number(above=0))
    ridge: float = attrs.field(default=1.0, validator=number(above=0))
    num_draws: int = attrs.field(default=32, validator=integer(at_least=1))

    def init(self, prior: Array) -> Ridge:
        """See `recsdk.base.Policy`."""
        return _ridge.init(prior, self.ridge)

    def probs(self, state: Ridge, rng: Rng, context: Context) -> Array:
        """See `recsdk.base.Policy`."""
        xp = state.mean.__array_namespace__()
        noise = rng.standard_normal(((self.num_draws + 1) // 2, state.mean.shape[0]))
        spread = self.scale * noise.dot(state.root.T)
        weights = state.mean[None, :] + xp.concat([spread, -spread])[: self.num_draws]
        return explore.votes(weights.dot(context.features.T), context.mask)

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
