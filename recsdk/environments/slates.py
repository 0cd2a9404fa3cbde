"""Models of the user's attention to a slate, for `recsdk.simulate_slates`."""

from __future__ import annotations

import attrs

from recsdk.base import Array, Rng
from recsdk.checks import number


@attrs.frozen(kw_only=True)
class PositionBias:
    """Users look at position l = 1, 2, ... with probability l^-power, whatever items are there; several positions may be rewarded.

    The log does not tell which positions were seen: an unseen one counts as a reward of 0. So a policy that learns from such a log
    underestimates the items that it shows further down.

    Attributes:
        power: 0 for users who look at every position; 1 is a common fit to clicks on search results.

    References:
        Joachims, Swaminathan, Schnabel, Unbiased Learning-to-Rank with Biased Feedback, WSDM 2017.

    Example:
        >>> import numpy as np
        >>> PositionBias(power=1.0).examination(np.zeros(4))
        array([1.        , 0.5       , 0.33333333, 0.25      ])
    """

    power: float = attrs.field(default=1.0, validator=number(at_least=0))

    def examination(self, like: Array) -> Array:
        """Returns f64[L], the probability that the user looks at each position, for an array of length L."""
        xp = like.__array_namespace__()
        return xp.arange(1, like.shape[0] + 1, dtype=xp.float64) ** -self.power

    def look(self, rng: Rng, reward: Array) -> tuple[Array, Array]:
        xp = reward.__array_namespace__()
        return xp.where(rng.random(reward.shape) < self.examination(reward), reward, 0.0), xp.ones_like(reward)

    def value(self, mean: Array) -> Array:
        return (self.examination(mean) * mean).sum()


@attrs.frozen(kw_only=True)
class Cascade:
    """Users look at the positions from the top until one is rewarded; at most one is. For worlds with rewards of 0 and 1.

    Positions below the rewarded one were certainly not seen, so nothing is learned from them: their weight is 0.

    References:
        Craswell, Zoeter, Taylor, Ramsey, An Experimental Comparison of Click Position-Bias Models, WSDM 2008.

    Example:
        >>> import numpy as np
        >>> Cascade().look(np.random.default_rng(0), np.array([0.0, 1.0, 1.0]))
        (array([0., 1., 0.]), array([1., 1., 0.]))
    """

    def look(self, rng: Rng, reward: Array) -> tuple[Array, Array]:
        del rng
        xp = reward.__array_namespace__()
        looked = ((reward > 0).cumsum() - (reward > 0) == 0).astype(xp.float64)
        return reward * looked, looked

    def value(self, mean: Array) -> Array:
        return 1 - (1 - mean).prod()
