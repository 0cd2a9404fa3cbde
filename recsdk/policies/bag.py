"""An ensemble of ridge regressions, each on its own bootstrap sample."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import attrs

from recsdk import explore
from recsdk.base import Array, Context, Interaction, Rng
from recsdk.checks import integer, number
from recsdk.policies import _counter, _ridge
from recsdk.policies._ridge import Ridge


class Ensemble(NamedTuple):
    """State of `Bag`.

    Attributes:
        members: each member's belief.
        count: i64[], number of rounds learned, from which the coins are made.
    """

    members: tuple[Ridge, ...]
    count: Array


@attrs.frozen(kw_only=True)
class Bag:
    """Shows a candidate as often as the members of a bootstrap ensemble find it best.

    Each member learns from a round twice or not at all, by the toss of a coin ("double or nothing"), so the members differ as much as the
    data leaves open. The probabilities are the shares of the members' votes; the policy draws nothing, so they are the exact propensities.
    A candidate without votes has probability 0: wrap the policy in `WithFloor`, as the live loop does.

    Attributes:
        num_members: M, number of ridge regressions; an update costs M times that of one.
        ridge: weight of the prior, in observations of unit length.
        seed: seed of the coins. They are a function of (seed, round, member), since `update` has no rng and a fold must repeat.

    References:
        Eckles, Kaptein, Thompson Sampling with the Online Bootstrap, arXiv 1410.4009, 2014: algorithm 1 and double-or-nothing weights.
        Agarwal, Hsu, Kale, Langford, Li, Schapire, Taming the Monster, ICML 2014: "bag" among its baselines.

    Example:
        >>> import numpy as np
        >>> from recsdk import Bag, Context
        >>> policy, context = Bag(num_members=4), Context(np.eye(2), np.ones(2, bool), np.arange(2))
        >>> policy.probs(policy.init(np.array([0.1, 0.0])), np.random.default_rng(0), context)
        array([1., 0.])
    """

    runs_on: ClassVar[tuple[str, ...]] = ("numpy", "jax")
    learns_from: ClassVar[str] = "chosen"

    num_members: int = attrs.field(default=10, validator=integer(at_least=1))
    ridge: float = attrs.field(default=1.0, validator=number(above=0))
    seed: int = attrs.field(default=0, validator=integer(at_least=0))

    def init(self, prior: Array) -> Ensemble:
        xp = prior.__array_namespace__()
        return Ensemble(tuple(_ridge.init(prior, self.ridge) for _ in range(self.num_members)), xp.zeros((), dtype=xp.int64))

    def probs(self, state: Ensemble, rng: Rng, context: Context) -> Array:
        del rng
        xp = context.features.__array_namespace__()
        means = xp.stack([member.mean for member in state.members])
        return explore.votes(means.dot(context.features.T), context.mask)

    def update(self, state: Ensemble, interaction: Interaction) -> Ensemble:
        weights = interaction.weight * _coins(state.count, self.seed, self.num_members)
        members = (_ridge.update(member, interaction._replace(weight=weights[index])) for index, member in enumerate(state.members))
        return Ensemble(tuple(members), _counter.next_round(state.count, interaction.weight))


def _coins(count: Array, seed: int, num: int) -> Array:
    """Returns f64[num], each 0 or 2."""
    xp = count.__array_namespace__()
    return 2 * (_counter.words(count, seed, num) >> xp.asarray(63, dtype=xp.uint64)).astype(xp.float64)
