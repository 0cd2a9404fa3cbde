"""Linear bandits with a weight vector that all items share, and one of each item's own."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import attrs

from recsdk import explore
from recsdk.base import Array, Context, Interaction, Rng
from recsdk.checks import integer, number
from recsdk.policies import _items, _ridge
from recsdk.policies._items import ItemBeliefs, Observation
from recsdk.policies._ridge import Ridge


class Hybrid(NamedTuple):
    """What is known.

    Attributes:
        shared: of the weights beta that all items share.
        items: of each item's rewards, with beta taken for 0: A_a and A_a^-1 b_a in the paper's letters.
    """

    shared: Ridge
    items: ItemBeliefs


class _Scores(NamedTuple):
    """Of K candidates, given beta: reward ~ N(mean + tilt.beta, width^2).

    Attributes:
        mean: f64[K].
        width: f64[K].
        tilt: f64[K, D].
    """

    mean: Array
    width: Array
    tilt: Array


def _init(num_items: int, prior: Array, ridge: float, item_ridge: float) -> Hybrid:
    return Hybrid(_ridge.init(prior, ridge), _items.init(num_items, prior * 0.0, item_ridge))


def _scores(state: Hybrid, context: Context, item_ridge: float) -> _Scores:
    features, _, slots = context
    xp = features.__array_namespace__()
    found = _items.find(state.items, slots, xp.zeros_like(state.shared.prior), item_ridge)
    spread = _items.spread(found, features)
    gain = (found.root @ spread[:, :, None])[:, :, 0]
    return _Scores(xp.vecdot(features, found.mean), xp.sqrt(xp.vecdot(spread, spread)), item_ridge * gain)


def _update(state: Hybrid, interaction: Interaction, item_ridge: float) -> Hybrid:
    """Learns what one reward tells of beta, and of the item given beta; O(D^2).

    Given beta, the item's weights are N(beta, I / item_ridge) before any of its rewards. So this reward is normal about
    x.mean_a + item_ridge (A_a^-1 x).beta with variance 1 + x.A_a^-1 x: a scalar observation of beta.
    """
    context, action, reward, _, weight = interaction
    row = Context(*(field[action][None] for field in context))
    mean, width, tilt = (part[0] for part in _scores(state, row, item_ridge))
    belief, root, prior, ridge, total = state.shared
    told = weight / (1 + weight * width**2)
    belief, root = _ridge.condition(belief, root, tilt.dot(root), told * (reward - mean - tilt.dot(belief)), told)
    seen = Observation(context.item[action], context.features[action], reward, weight)
    items = _items.update(state.items, seen, prior * 0.0, item_ridge)
    return Hybrid(Ridge(belief, root, prior, ridge, total + weight), items)


@attrs.frozen(kw_only=True)
class HybridLinUCB:
    """LinUCB with shared and own weights: an item's are beta + theta_a, beta learned from all items, theta_a from its own rewards.

    A new item starts from what is true of all; an item that is shown often becomes what its own rewards say. This is algorithm 2 of the
    paper with phi for both of its kinds of features. There the posterior is that of a hierarchical model, beta ~ N(prior, I / ridge),
    theta_a ~ N(0, I / item_ridge), and its matrices reduce: B_a = A_a - item_ridge I, so that A_0 grows by rank one with each reward. The
    answers are the paper's, for O(D^2) a reward, without subtractions of matrices.

    What an item that lost its place had taught about beta stays; of itself it starts anew. Places and memory as in `DisjointLinUCB`.

    Attributes:
        alpha: how optimistic, in units of the reward's noise; > 0 explores more.
        ridge: weight of the prior of beta, in observations of unit length.
        item_ridge: weight of the belief that an item is like all others; the larger, the more this is `LinUCB`.
        num_items: number of places, at least that of the slots in use, from the oldest to the newest.

    References:
        Li, Chu, Langford, Schapire, A Contextual-Bandit Approach to Personalized News Article Recommendation, WWW 2010, algorithm 2.
    """

    runs_on: ClassVar[tuple[str, ...]] = ("numpy", "jax")
    learns_from: ClassVar[str] = "chosen"

    alpha: float = attrs.field(default=0.5, validator=number(at_least=0))
    ridge: float = attrs.field(default=1.0, validator=number(above=0))
    item_ridge: float = attrs.field(default=10.0, validator=number(above=0))
    num_items: int = attrs.field(default=1000, validator=integer(at_least=1))

    def init(self, prior: Array) -> Hybrid:
        """See `recsdk.base.Policy`."""
        return _init(self.num_items, prior, self.ridge, self.item_ridge)

    def probs(self, state: Hybrid, rng: Rng, context: Context) -> Array:
        """See `recsdk.base.Policy`."""
        del rng
        mean, width, tilt = _scores(state, context, self.item_ridge)
        xp = tilt.__array_namespace__()
        total = xp.sqrt(width**2 + _ridge.widths(state.shared, tilt) ** 2)
        return explore.greedy(mean + tilt.dot(state.shared.mean) + self.alpha * total, context.mask)

    def update(self, state: Hybrid, interaction: Interaction) -> Hybrid:
        """See `recsdk.base.Policy`."""
        return _update(state, interaction, self.item_ridge)


@attrs.frozen(kw_only=True)
class HybridLinTS:
    """Thompson sampling on the model of `HybridLinUCB`: draws the weights that all items share, and each item's reward given these.

    Attributes:
        scale: standard deviation of the reward's noise; larger explores more.
        ridge: weight of the prior of beta, in observations of unit length.
        item_ridge: weight of the belief that an item is like all others; the larger, the more this is `LinTS`.
        num_draws: posterior draws per decision.
        num_items: number of places, at least that of the slots in use, from the oldest to the newest.

    References:
        Li, Chu, Langford, Schapire, A Contextual-Bandit Approach to Personalized News Article Recommendation, WWW 2010, section 3.2, the
        model; Agrawal, Goyal, Thompson Sampling for Contextual Bandits with Linear Payoffs, ICML 2013, the rule.
    """

    runs_on: ClassVar[tuple[str, ...]] = ("numpy", "jax")
    learns_from: ClassVar[str] = "chosen"

    scale: float = attrs.field(default=0.25, validator=number(above=0))
    ridge: float = attrs.field(default=1.0, validator=number(above=0))
    item_ridge: float = attrs.field(default=10.0, validator=number(above=0))
    num_draws: int = attrs.field(default=32, validator=integer(at_least=1))
    num_items: int = attrs.field(default=1000, validator=integer(at_least=1))

    def init(self, prior: Array) -> Hybrid:
        """See `recsdk.base.Policy`."""
        return _init(self.num_items, prior, self.ridge, self.item_ridge)

    def probs(self, state: Hybrid, rng: Rng, context: Context) -> Array:
        """See `recsdk.base.Policy`."""
        mean, width, tilt = _scores(state, context, self.item_ridge)
        belief, root = state.shared.mean, state.shared.root
        beta = belief[None, :] + self.scale * rng.standard_normal((self.num_draws, belief.shape[0])).dot(root.T)
        noise = rng.standard_normal((self.num_draws, mean.shape[0]))
        return explore.votes(mean[None, :] + beta.dot(tilt.T) + self.scale * noise * width[None, :], context.mask)

    def update(self, state: Hybrid, interaction: Interaction) -> Hybrid:
        """See `recsdk.base.Policy`."""
        return _update(state, interaction, self.item_ridge)
