"""An ensemble of ridge regressions, each on a bootstrap of its own."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import attrs

from recsdk import explore
from recsdk.base import Array, Context, Interaction, Rng
from recsdk.checks import integer, number
from recsdk.policies import _counter, _ridge
from recsdk.policies._ridge import Ridge


class Ensemble(NamedTuple):
    """What the members know.

    Attributes:
        members: each member's belief.
        count: i64[], rounds learned, which number their coins.
    """

    members: tuple[Ridge, ...]
    count: Array


@attrs.frozen(kw_only=True)
class Bag:
    """Shows a candidate as often as members of a bootstrap ensemble find it best.

    Each member learns from a round twice or not at all, as its coin falls ("double or nothing"), so that the members differ as the data
    leave open. The probabilities are the members' votes, without any draw of the policy's own: they are the exact propensities. A
    candidate for which no member votes has probability 0: put `WithFloor` around it, as the live loop does.

    Attributes:
        num_members: M; an update takes M times that of one regression.
        ridge: weight of the prior, in observations of unit length.
        seed: of the coins, which are a function of (seed, round, member): `update` has no rng, and a fold must give the same state again.

    References:
        Eckles, Kaptein, Thompson Sampling with the Online Bootstrap, arXiv 1410.4009, 2014: algorithm 1 and double-or-nothing weights.
        Agarwal, Hsu, Kale, Langford, Li, Schapire, Taming the Monster, ICML 2014: "bag" among its baselines.
    """

    runs_on: ClassVar[tuple[str, ...]] = ("numpy", "jax")
    learns_from: ClassVar[str] = "chosen"

    num_members: int = attrs.field(default=10, validator=integer(at_least=1))
    ridge: float = attrs.field(default=1.0, validator=number(above=0))
    seed: int = attrs.field(default=0, validator=integer(at_least=0))

    def init(self, prior: Array) -> Ensemble:
        """See `recsdk.base.Policy`."""
        xp = prior.__array_namespace__()
        return Ensemble(tuple(_ridge.init(prior, self.ridge) for _ in range(self.num_members)), xp.zeros((), dtype=xp.int64))

    def probs(self, state: Ensemble, rng: Rng, context: Context) -> Array:
        """See `recsdk.base.Policy`."""
        del rng
        xp = context.features.__array_namespace__()
        means = xp.stack([member.mean for member in state.members])
        return explore.votes(means.dot(context.features.T), context.mask)

    def update(self, state: Ensemble, interaction: Interaction) -> Ensemble:
        """See `recsdk.base.Policy`."""
        weights = interaction.weight * _coins(state.count, self.seed, self.num_members)
        members = (_ridge.update(member, interaction._replace(weight=weights[index])) for index, member in enumerate(state.members))
        return Ensemble(tuple(members), _counter.next_round(state.count, interaction.weight))


def _coins(count: Array, seed: int, num: int) -> Array:
    """Returns f64[num], each 0 or 2."""
    xp = count.__array_namespace__()
    return 2 * (_counter.words(count, seed, num) >> xp.asarray(63, dtype=xp.uint64)).astype(xp.float64)
