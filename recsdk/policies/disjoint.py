"""Linear bandits with a weight vector for each item: nothing that is learned of one item says anything of another."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import attrs

from recsdk import explore
from recsdk.base import Array, Context, Interaction, Rng
from recsdk.checks import integer, number
from recsdk.policies import _items
from recsdk.policies._items import ItemBeliefs, Observation


class Disjoint(NamedTuple):
    """What is known.

    Attributes:
        items: of each item that has a place.
        prior: f64[D], of every other.
    """

    items: ItemBeliefs
    prior: Array


class _Scores(NamedTuple):
    mean: Array
    width: Array


def _init(num_items: int, prior: Array, ridge: float) -> Disjoint:
    return Disjoint(_items.init(num_items, prior, ridge), prior * 1.0)


def _scores(state: Disjoint, context: Context, ridge: float) -> _Scores:
    features, _, slots = context
    xp = features.__array_namespace__()
    found = _items.find(state.items, slots, state.prior, ridge)
    spread = _items.spread(found, features)
    return _Scores(xp.vecdot(features, found.mean), xp.sqrt(xp.vecdot(spread, spread)))


def _update(state: Disjoint, interaction: Interaction, ridge: float) -> Disjoint:
    (features, _, slots), action, reward, _, weight = interaction
    seen = Observation(slots[action], features[action], reward, weight)
    return Disjoint(_items.update(state.items, seen, state.prior, ridge), state.prior)


@attrs.frozen(kw_only=True)
class DisjointLinUCB:
    """Shows the candidate with the highest optimistic estimate x.mean_a + alpha |x|_{A_a^-1}, with mean and A of its own item a.

    For few items that are shown often, and differ in whom they please in ways that phi does not say. With many, take `HybridLinUCB`,
    which starts a new item from what is true of all, or `LinUCB`.

    Items come and go without notice. There are `num_items` places, an item's is its catalogue slot modulo that; an item that is rewarded
    takes its place over from another, and starts from the prior. Memory: 8 num_items (D^2 + D + 1) bytes, 2.2 MB for 1,000 items of D = 16.

    Attributes:
        alpha: how optimistic, in units of the reward's noise; > 0 explores more.
        ridge: weight of the prior, in observations of unit length.
        num_items: number of places, at least that of the slots in use, from the oldest to the newest.

    References:
        Li, Chu, Langford, Schapire, A Contextual-Bandit Approach to Personalized News Article Recommendation, WWW 2010, algorithm 1.
    """

    runs_on: ClassVar[tuple[str, ...]] = ("numpy", "jax")
    learns_from: ClassVar[str] = "chosen"

    alpha: float = attrs.field(default=0.5, validator=number(at_least=0))
    ridge: float = attrs.field(default=1.0, validator=number(above=0))
    num_items: int = attrs.field(default=1000, validator=integer(at_least=1))

    def init(self, prior: Array) -> Disjoint:
        """See `recsdk.base.Policy`."""
        return _init(self.num_items, prior, self.ridge)

    def probs(self, state: Disjoint, rng: Rng, context: Context) -> Array:
        """See `recsdk.base.Policy`."""
        del rng
        scores = _scores(state, context, self.ridge)
        return explore.greedy(scores.mean + self.alpha * scores.width, context.mask)

    def update(self, state: Disjoint, interaction: Interaction) -> Disjoint:
        """See `recsdk.base.Policy`."""
        return _update(state, interaction, self.ridge)


@attrs.frozen(kw_only=True)
class DisjointLinTS:
    """Thompson sampling with a weight vector for each item: shows a candidate as often as it is the best one under the posterior.

    The items' posteriors are independent, so the candidates' rewards are drawn, and not the weights: the law is the same. For items, places
    and memory see `DisjointLinUCB`; for the probabilities `LinTS`.

    Attributes:
        scale: standard deviation of the reward's noise; larger explores more.
        ridge: weight of the prior, in observations of unit length.
        num_draws: posterior draws per decision.
        num_items: number of places, at least that of the slots in use, from the oldest to the newest.

    References:
        Agrawal, Goyal, Thompson Sampling for Contextual Bandits with Linear Payoffs, ICML 2013, algorithm 1, for each item.
    """

    runs_on: ClassVar[tuple[str, ...]] = ("numpy", "jax")
    learns_from: ClassVar[str] = "chosen"

    scale: float = attrs.field(default=0.25, validator=number(above=0))
    ridge: float = attrs.field(default=1.0, validator=number(above=0))
    num_draws: int = attrs.field(default=32, validator=integer(at_least=1))
    num_items: int = attrs.field(default=1000, validator=integer(at_least=1))

    def init(self, prior: Array) -> Disjoint:
        """See `recsdk.base.Policy`."""
        return _init(self.num_items, prior, self.ridge)

    def probs(self, state: Disjoint, rng: Rng, context: Context) -> Array:
        """See `recsdk.base.Policy`."""
        mean, width = _scores(state, context, self.ridge)
        noise = rng.standard_normal((self.num_draws, mean.shape[0]))
        return explore.votes(mean[None, :] + self.scale * noise * width[None, :], context.mask)

    def update(self, state: Disjoint, interaction: Interaction) -> Disjoint:
        """See `recsdk.base.Policy`."""
        return _update(state, interaction, self.ridge)
