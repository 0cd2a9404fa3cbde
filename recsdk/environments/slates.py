"""What of a slate is looked at, for `recsdk.simulate_slates`."""

from __future__ import annotations

import attrs

from recsdk.base import Array, Rng
from recsdk.checks import number


@attrs.frozen(kw_only=True)
class PositionBias:
    """Position l from 1 on is looked at with probability l^-power, whatever stands there and above; several may be rewarded.

    Nobody can tell what was looked at: what was not counts as no reward. So a policy that learns from this takes what it showed further
    down for worse than it is.

    Attributes:
        power: 0 looks at everything, 1 is a common fit to clicks on search results.

    References:
        Joachims, Swaminathan, Schnabel, Unbiased Learning-to-Rank with Biased Feedback, WSDM 2017.
    """

    power: float = attrs.field(default=1.0, validator=number(at_least=0))

    def examination(self, like: Array) -> Array:
        """Returns f64[L], the probability with which each position is looked at, for an array of length L."""
        xp = like.__array_namespace__()
        return xp.arange(1, like.shape[0] + 1, dtype=xp.float64) ** -self.power

    def look(self, rng: Rng, reward: Array) -> tuple[Array, Array]:
        """See `recsdk.simulate_slates`."""
        xp = reward.__array_namespace__()
        return xp.where(rng.random(reward.shape) < self.examination(reward), reward, 0.0), xp.ones_like(reward)

    def value(self, mean: Array) -> Array:
        """See `recsdk.simulate_slates`."""
        return (self.examination(mean) * mean).sum()


@attrs.frozen(kw_only=True)
class Cascade:
    """Positions are looked at from the top until one is rewarded; at most one is. For worlds with rewards of 0 and 1.

    Below the rewarded position nobody looked, which is known, so nothing is learned there: weight 0.

    References:
        Craswell, Zoeter, Taylor, Ramsey, An Experimental Comparison of Click Position-Bias Models, WSDM 2008.
    """

    def look(self, rng: Rng, reward: Array) -> tuple[Array, Array]:
        """See `recsdk.simulate_slates`."""
        del rng
        xp = reward.__array_namespace__()
        looked = ((reward > 0).cumsum() - (reward > 0) == 0).astype(xp.float64)
        return reward * looked, looked

    def value(self, mean: Array) -> Array:
        """See `recsdk.simulate_slates`."""
        return 1 - (1 - mean).prod()
