"""Linear bandits with weights of each item's own: alone (disjoint), or beside weights that all items share (hybrid)."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import attrs

from recsdk import explore
from recsdk.base import Array, Context, Interaction, Rng, Scores
from recsdk.checks import integer, number
from recsdk.policies import _items, _ridge
from recsdk.policies._items import ItemBeliefs, Observation
from recsdk.policies._ridge import Ridge


class Disjoint(NamedTuple):
    """State of the disjoint policies.

    Attributes:
        items: belief about each item that has a place.
        prior: f64[D], the belief about every other item.
    """

    items: ItemBeliefs
    prior: Array


def _start_disjoint(policy: Any, prior: Array) -> Disjoint:
    return Disjoint(_items.init(policy.num_items, prior, policy.ridge), prior * 1.0)


def _disjoint_posterior(state: Disjoint, context: Context, ridge: float) -> Scores:
    """Returns mean and standard deviation of each candidate's mean reward, in units of the noise."""
    features, _, slots = context
    xp = features.__array_namespace__()
    found = _items.find(state.items, slots, state.prior, ridge)
    spread = _items.spread(found, features)
    return Scores(xp.vecdot(features, found.mean), xp.sqrt(xp.vecdot(spread, spread)))


def _update_disjoint(policy: Any, state: Disjoint, interaction: Interaction) -> Disjoint:
    (features, _, slots), action, reward, _, weight = interaction
    seen = Observation(slots[action], features[action], reward, weight)
    return Disjoint(_items.update(state.items, seen, state.prior, policy.ridge), state.prior)


@attrs.frozen(kw_only=True)
class DisjointLinUCB:
    """LinUCB with a model for each item: shows the candidate with the highest x.mean_a + alpha |x|_{A_a^-1}.

    Use it for few items that are shown often and please different users in ways that phi does not describe: nothing that is learned about
    one item says anything about another. With many items use `HybridLinUCB`, where a new item starts from what is true of all, or `LinUCB`.

    Items may come and go at any time. There are `num_items` places, and an item's place is its catalogue slot modulo that; an item that is
    rewarded takes its place from another item, and starts from the prior. Memory: 8 num_items (D^2 + D + 1) bytes, 2.2 MB for 1,000 items
    of D = 16.

    Attributes:
        alpha: size of the optimism, in units of the reward's noise; larger explores more.
        ridge: weight of the prior, in observations of unit length.
        num_items: how many items have weights of their own at a time; at least the newest item's slot less the oldest's, and 1.

    References:
        Li, Chu, Langford, Schapire, A Contextual-Bandit Approach to Personalized News Article Recommendation, WWW 2010, algorithm 1.

    Example:
        >>> import numpy as np
        >>> from recsdk import Context, DisjointLinUCB, Interaction, learn
        >>> policy, context = DisjointLinUCB(num_items=2), Context(np.ones((2, 1)), np.ones(2, bool), np.arange(2))
        >>> state = learn(policy, policy.init(np.zeros(1)), Interaction(context, 1, 1.0, 0.5, 1.0))
        >>> policy.scores(state, context).mean
        array([0. , 0.5])
    """

    runs_on: ClassVar[tuple[str, ...]] = ("numpy", "jax")
    learns_from: ClassVar[str] = "chosen"

    alpha: float = attrs.field(default=0.5, validator=number(at_least=0))
    ridge: float = attrs.field(default=1.0, validator=number(above=0))
    num_items: int = attrs.field(default=1000, validator=integer(at_least=1))

    init = _start_disjoint
    probs = _ridge.optimistic
    update = _update_disjoint

    def scores(self, state: Disjoint, context: Context) -> Scores:
        mean, width = _disjoint_posterior(state, context, self.ridge)
        return Scores(mean, self.alpha * width)


@attrs.frozen(kw_only=True)
class DisjointLinTS:
    """Thompson sampling with a model for each item: shows a candidate as often as it is the best one under the posterior.

    The items' posteriors are independent, so the candidates' rewards are drawn instead of the weights: the distribution is the same. For
    items, places and memory see `DisjointLinUCB`; for the probabilities `LinTS`.

    Attributes:
        scale: standard deviation of the reward's noise; larger explores more.
        ridge: weight of the prior, in observations of unit length.
        num_draws: posterior draws per decision.
        num_items: how many items have weights of their own at a time; at least the newest item's slot less the oldest's, and 1.

    References:
        Agrawal, Goyal, Thompson Sampling for Contextual Bandits with Linear Payoffs, ICML 2013, algorithm 1, for each item.

    Example:
        >>> import numpy as np
        >>> from recsdk import Context, DisjointLinTS
        >>> policy, context = DisjointLinTS(num_items=2), Context(np.ones((2, 1)), np.ones(2, bool), np.arange(2))
        >>> policy.scores(policy.init(np.zeros(1)), context).bonus
        array([0.25, 0.25])
    """

    runs_on: ClassVar[tuple[str, ...]] = ("numpy", "jax")
    learns_from: ClassVar[str] = "chosen"

    scale: float = attrs.field(default=0.25, validator=number(above=0))
    ridge: float = attrs.field(default=1.0, validator=number(above=0))
    num_draws: int = attrs.field(default=32, validator=integer(at_least=1))
    num_items: int = attrs.field(default=1000, validator=integer(at_least=1))

    init = _start_disjoint
    update = _update_disjoint

    def scores(self, state: Disjoint, context: Context) -> Scores:
        mean, width = _disjoint_posterior(state, context, self.ridge)
        return Scores(mean, self.scale * width)

    def probs(self, state: Disjoint, rng: Rng, context: Context) -> Array:
        mean, width = _disjoint_posterior(state, context, self.ridge)
        noise = rng.standard_normal((self.num_draws, mean.shape[0]))
        return explore.votes(mean[None, :] + self.scale * noise * width[None, :], context.mask)


class Hybrid(NamedTuple):
    """State of the hybrid policies.

    Attributes:
        shared: belief about the weights beta that all items share.
        items: belief from each item's own rewards, with beta taken as 0: A_a and A_a^-1 b_a in the paper's letters.
    """

    shared: Ridge
    items: ItemBeliefs


class _GivenBeta(NamedTuple):
    """Rewards of K candidates given beta: reward ~ N(mean + tilt.beta, width^2).

    Attributes:
        mean: f64[K].
        width: f64[K].
        tilt: f64[K, D].
    """

    mean: Array
    width: Array
    tilt: Array


def _start_hybrid(policy: Any, prior: Array) -> Hybrid:
    return Hybrid(_ridge.init(prior, policy.ridge), _items.init(policy.num_items, prior * 0.0, policy.item_ridge))


def _given_beta(state: Hybrid, context: Context, item_ridge: float) -> _GivenBeta:
    features, _, slots = context
    xp = features.__array_namespace__()
    found = _items.find(state.items, slots, xp.zeros_like(state.shared.prior), item_ridge)
    spread = _items.spread(found, features)
    gain = (found.root @ spread[:, :, None])[:, :, 0]
    return _GivenBeta(xp.vecdot(features, found.mean), xp.sqrt(xp.vecdot(spread, spread)), item_ridge * gain)


def _hybrid_posterior(state: Hybrid, context: Context, item_ridge: float) -> Scores:
    mean, width, tilt = _given_beta(state, context, item_ridge)
    xp = tilt.__array_namespace__()
    return Scores(mean + tilt.dot(state.shared.mean), xp.sqrt(width**2 + _ridge.widths(state.shared, tilt) ** 2))


def _update_hybrid(policy: Any, state: Hybrid, interaction: Interaction) -> Hybrid:
    """Learns about beta, and about the item given beta; O(D^2).

    Given beta, the item's weights are N(beta, I / item_ridge) before any of its rewards. So this reward is normal about
    x.mean_a + item_ridge (A_a^-1 x).beta with variance 1 + x.A_a^-1 x: a scalar observation of beta.
    """
    context, action, reward, _, weight = interaction
    row = Context(*(field[action][None] for field in context))
    mean, width, tilt = (part[0] for part in _given_beta(state, row, policy.item_ridge))
    belief, root, prior, ridge, total = state.shared
    told = weight / (1 + weight * width**2)
    belief, root = _ridge.condition(belief, root, tilt.dot(root), told * (reward - mean - tilt.dot(belief)), told)
    seen = Observation(context.item[action], context.features[action], reward, weight)
    items = _items.update(state.items, seen, prior * 0.0, policy.item_ridge)
    return Hybrid(Ridge(belief, root, prior, ridge, total + weight), items)


@attrs.frozen(kw_only=True)
class HybridLinUCB:
    """LinUCB with shared and own weights: an item's are beta + theta_a, beta learned from all items, theta_a from its own rewards.

    A new item starts from what is true of all items; an item that is shown often becomes what its own rewards say. This is algorithm 2 of
    the paper with phi for both of its kinds of features. There the posterior is that of a hierarchical model, beta ~ N(prior, I / ridge),
    theta_a ~ N(0, I / item_ridge), and its matrices reduce: B_a = A_a - item_ridge I, so that A_0 grows by rank one with each reward. The
    answers are the paper's, for O(D^2) a reward, without subtractions of matrices.

    An item that lost its place starts anew; what it had taught about beta stays. Places and memory are as in `DisjointLinUCB`.

    Attributes:
        alpha: size of the optimism, in units of the reward's noise; larger explores more.
        ridge: weight of the prior of beta, in observations of unit length.
        item_ridge: weight of the belief that an item is like all others; the larger, the more this is `LinUCB`.
        num_items: how many items have weights of their own at a time; at least the newest item's slot less the oldest's, and 1.

    References:
        Li, Chu, Langford, Schapire, A Contextual-Bandit Approach to Personalized News Article Recommendation, WWW 2010, algorithm 2.

    Example:
        >>> import numpy as np
        >>> from recsdk import Context, HybridLinUCB, Interaction, learn
        >>> policy, context = HybridLinUCB(num_items=2), Context(np.ones((2, 1)), np.ones(2, bool), np.arange(2))
        >>> state = learn(policy, policy.init(np.zeros(1)), Interaction(context, 1, 1.0, 0.5, 1.0))
        >>> policy.scores(state, context).mean.round(2)
        array([0.48, 0.52])
    """

    runs_on: ClassVar[tuple[str, ...]] = ("numpy", "jax")
    learns_from: ClassVar[str] = "chosen"

    alpha: float = attrs.field(default=0.5, validator=number(at_least=0))
    ridge: float = attrs.field(default=1.0, validator=number(above=0))
    item_ridge: float = attrs.field(default=10.0, validator=number(above=0))
    num_items: int = attrs.field(default=1000, validator=integer(at_least=1))

    init = _start_hybrid
    probs = _ridge.optimistic
    update = _update_hybrid

    def scores(self, state: Hybrid, context: Context) -> Scores:
        mean, width = _hybrid_posterior(state, context, self.item_ridge)
        return Scores(mean, self.alpha * width)


@attrs.frozen(kw_only=True)
class HybridLinTS:
    """Thompson sampling on the model of `HybridLinUCB`: draws the weights that all items share, and each item's reward given these.

    Attributes:
        scale: standard deviation of the reward's noise; larger explores more.
        ridge: weight of the prior of beta, in observations of unit length.
        item_ridge: weight of the belief that an item is like all others; the larger, the more this is `LinTS`.
        num_draws: posterior draws per decision.
        num_items: how many items have weights of their own at a time; at least the newest item's slot less the oldest's, and 1.

    References:
        Li, Chu, Langford, Schapire, A Contextual-Bandit Approach to Personalized News Article Recommendation, WWW 2010, section 3.2, the
        model; Agrawal, Goyal, Thompson Sampling for Contextual Bandits with Linear Payoffs, ICML 2013, the rule.

    Example:
        >>> import numpy as np
        >>> from recsdk import Context, HybridLinTS
        >>> policy, context = HybridLinTS(num_items=2), Context(np.ones((2, 1)), np.ones(2, bool), np.arange(2))
        >>> policy.probs(policy.init(np.zeros(1)), np.random.default_rng(0), context).sum()
        np.float64(1.0)
    """

    runs_on: ClassVar[tuple[str, ...]] = ("numpy", "jax")
    learns_from: ClassVar[str] = "chosen"

    scale: float = attrs.field(default=0.25, validator=number(above=0))
    ridge: float = attrs.field(default=1.0, validator=number(above=0))
    item_ridge: float = attrs.field(default=10.0, validator=number(above=0))
    num_draws: int = attrs.field(default=32, validator=integer(at_least=1))
    num_items: int = attrs.field(default=1000, validator=integer(at_least=1))

    init = _start_hybrid
    update = _update_hybrid

    def scores(self, state: Hybrid, context: Context) -> Scores:
        mean, width = _hybrid_posterior(state, context, self.item_ridge)
        return Scores(mean, self.scale * width)

    def probs(self, state: Hybrid, rng: Rng, context: Context) -> Array:
        mean, width, tilt = _given_beta(state, context, self.item_ridge)
        belief, root = state.shared.mean, state.shared.root
        beta = belief[None, :] + self.scale * rng.standard_normal((self.num_draws, belief.shape[0])).dot(root.T)
        noise = rng.standard_normal((self.num_draws, mean.shape[0]))
        return explore.votes(mean[None, :] + beta.dot(tilt.T) + self.scale * noise * width[None, :], context.mask)
