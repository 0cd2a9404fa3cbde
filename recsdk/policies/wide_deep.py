"""An average of a linear, a wide, a deep and an items' own reward model, under optimistic inverse gap weighting."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, NamedTuple

import attrs
import numpy as np

from recsdk import arrays, explore, fast
from recsdk.base import Array, Context, Interaction, Rng, Scores
from recsdk.checks import integer, number
from recsdk.policies import _items, _network, _ridge, _span
from recsdk.policies._items import ItemBeliefs, Observation
from recsdk.policies._memory import Memory
from recsdk.policies._network import Network
from recsdk.policies._ridge import Ridge
from recsdk.policies._span import Span

RATE = 2.0  # squared losses in [0, 1] are mixable up to this rate
SHARE = 1e-3  # share of the trust that is spread evenly in each round, so that a model that was right long ago can be overtaken
CAUTION = 2.0  # with alpha, the optimism of `DisjointLinUCB`: by less, the fourth model leaves an item for good after a few bad rounds
CHANCE_SLOPE = 4.0  # log odds change by this much where a chance near 1/2 changes by 1


class Models(NamedTuple):
    """State of `WideDeep`.

    Attributes:
        linear: the linear model: ridge regression on phi, with weights that all items share.
        network: the wide and the deep model, both with shared weights and each item's own.
        squares: f64[N, D], for each item, the sum of phi^2 over the rounds that showed it.
        trust: f64[4], weights of the linear, the wide, the deep and the items' own model in their average; they sum to 1.
        span: range of the rewards.
        items: the items' own model: ridge regression on phi for each item that has a place.
    """

    linear: Ridge
    network: Network
    squares: Array
    trust: Array
    span: Span
    items: ItemBeliefs


@attrs.frozen(kw_only=True)
class WideDeep:
    """Averages four reward models, from linear to deep, by how well each predicts: the default policy, which needs no tuning.

    The models estimate a candidate's reward. The first is ridge regression on phi, with weights that all items share; the wide one is
    logistic regression, the deep one a network with one hidden layer, both with weights that all items share and weights of each item's
    own; the fourth is a ridge regression for each item, which begins at the weights of the first. Their predictions p_j are averaged with
    weights that fall with their squared errors (the aggregating algorithm, w_j <- w_j exp(-2 (r - p_j)^2)), so that the average is nearly
    as good as the best of them. The linear models learn from few data, the deep one needs many. The average plus alpha times its
    uncertainty,

        sum_j w_j width_j,    width_1 = |x|_{A^-1},    width_2 = width_3 = width_4 / 2 = sqrt(sum_d x_d^2 / (ridge + sum_t x_{t,d}^2)),

    is an optimistic score; the last sum is over the rounds of the candidate's own item. Inverse gap weighting turns the scores into
    probabilities, with gamma = scale sqrt(K t): nearly greedy, but every candidate keeps a positive probability.

    A prior mean b of the weights is where the linear and the wide model begin: at the reward x.b, and at the log odds 4 x.b, which is the
    chance 1/2 + x.b to first order. It counts as ridge |b|^2 rounds in t. So the policy ranks by a prior from the first decision on;
    without one, b = 0, the first decision is uniform.

    Estimates are on the scale of the rewards seen: from 0 to 1, or as much further as two rewards have been. A single outlier counts as the
    end of that range, so it does no lasting harm. Memory: 24 num_items (D + width) + 8 num_items D + 8 num_ridges D (D + 1) + 8 memory (D +
    3) bytes; 11 MB for D = 64.

    Attributes:
        alpha: size of the optimism; larger explores more.
        scale: greed of the inverse gap weighting.
        ridge: weight of the prior, in observations of unit length.
        width: units of the hidden layer, H.
        num_items: number of places for items' own weights; at least that of the slots in use, from the oldest to the newest. Of items that
            share a place the last that was rewarded has it; the others are known by their phi alone.
        memory: number of rounds kept for replay.
        batch_size: rounds in a step of the optimiser: the new one and others from the memory.
        learning_rate: step size of Adam.
        seed: seed of the hidden layer's first weights.
        num_ridges: number of places for items' own ridge regressions, at most `num_items`; they are shared in the same way. Of an item
            without a place the fourth model says what the first one does.

    References:
        Cheng et al., Wide & Deep Learning for Recommender Systems, DLRS 2016. Vovk, A Game of Prediction with Expert Advice, JCSS 1998: the
        aggregating algorithm; Herbster, Warmuth, Tracking the Best Expert, Machine Learning 1998: the share. Foster, Rakhlin, Beyond UCB,
        ICML 2020: inverse gap weighting. Li, Chu, Langford, Schapire, WWW 2010: the widths, and a ridge regression for each item.

    Example:
        >>> import numpy as np
        >>> from recsdk import Context, Interaction, WideDeep, learn
        >>> policy, context = WideDeep(num_items=2, memory=100), Context(np.eye(2), np.ones(2, bool), np.arange(2))
        >>> state = learn(policy, policy.init(np.zeros(2)), Interaction(context, 1, 1.0, 0.5, 1.0))
        >>> policy.scores(state, context).mean.round(2)
        array([0.42, 0.54])
    """

    runs_on: ClassVar[tuple[str, ...]] = ("numpy", "jax")
    learns_from: ClassVar[str] = "chosen"
    kernels: ClassVar[str] = "recsdk.policies._kernels"
    schema_version: ClassVar[int] = 2

    alpha: float = attrs.field(default=0.25, validator=number(at_least=0))
    scale: float = attrs.field(default=100.0, validator=number(above=0))
    ridge: float = attrs.field(default=1.0, validator=number(above=0))
    width: int = attrs.field(default=64, validator=integer(at_least=1))
    num_items: int = attrs.field(default=1000, validator=integer(at_least=1))
    memory: int = attrs.field(default=10_000, validator=integer(at_least=1))
    batch_size: int = attrs.field(default=16, validator=integer(at_least=1))
    learning_rate: float = attrs.field(default=6e-3, validator=number(above=0))
    seed: int = attrs.field(default=0, validator=integer(at_least=0))
    num_ridges: int = attrs.field(default=64, validator=integer(at_least=1))

    def init(self, prior: Array) -> Models:
        xp = prior.__array_namespace__()
        (dim,) = prior.shape
        if kernels := fast.kernels(self, prior):
            kernels.wide_deep()
        hidden = np.random.default_rng(self.seed).standard_normal((dim, self.width)) * (2 / dim) ** 0.5
        return Models(
            linear=_ridge.init(prior, self.ridge),
            network=_network.init(xp.asarray(hidden), CHANCE_SLOPE * prior, self.num_items, self.memory),
            squares=xp.zeros((self.num_items, dim), dtype=xp.float64),
            trust=xp.ones(4, dtype=xp.float64) / 4,
            span=_span.init(xp),
            items=_items.init(min(self.num_ridges, self.num_items), prior, self.ridge),
        )

    def scores(self, state: Models, context: Context) -> Scores:
        low, high, *_ = state.span
        mean, bonus = self._shares(state, context)
        return Scores(low + (high - low) * mean, (high - low) * bonus)

    def probs(self, state: Models, rng: Rng, context: Context) -> Array:
        del rng
        if kernels := fast.kernels(self, context.features):
            return self._probs(kernels.wide_deep().probs, state, context)
        mean, bonus = self._shares(state, context)
        prior = state.linear.prior
        num_rounds = state.linear.total + self.ridge * prior.dot(prior)
        gamma = self.scale * (context.mask.astype(mean.dtype).sum() * num_rounds) ** 0.5
        return explore.inverse_gap(mean + bonus, context.mask, gamma)

    def update(self, state: Models, interaction: Interaction) -> Models:
        context, action, reward, _, weight = interaction
        x, slot = context.features[action], context.item[action]
        xp = x.__array_namespace__()
        if (kernels := fast.kernels(self, x)) and weight > 0:
            return self._learned(kernels.wide_deep().learn, state, Observation(slot, x, reward, weight))
        learns = xp.asarray(weight > 0)
        place = slot % self.num_items
        known = xp.where(state.network.owner[place] == slot, state.squares[place], 0.0) + weight * x**2
        squares = arrays.put(state.squares, place, xp.where(learns, known, state.squares[place]))
        span = _span.widen(state.span, reward, learns)
        linear = _span.share(span, x.dot(state.linear.mean))
        seen = Observation(slot, x, reward, weight)
        network, wide, deep = _network.update(state.network, seen, span, self.batch_size, self.learning_rate)
        own = _span.share(span, x.dot(_items.means(state.items, slot[None], state.linear.mean)[0]))
        errors = xp.stack([linear, wide, deep, own]) - _span.share(span, reward)
        trust = state.trust * xp.exp(-RATE * weight * errors**2)
        trust = (1 - SHARE) * trust / trust.sum() + SHARE / trust.shape[0]
        trust = xp.where(learns, trust, state.trust)
        reward = xp.clip(reward, span.low, span.high)
        items = _items.update(state.items, seen._replace(reward=reward), state.linear.mean, self.ridge)
        belief = _ridge.update(state.linear, interaction._replace(reward=reward))
        return Models(belief, network, squares, trust, span, items)

    def _shares(self, state: Models, context: Context) -> Scores:
        """Returns mean and bonus on the scale from 0 for the low end of the rewards' range to 1 for the high end."""
        x, _, slots = context
        xp = x.__array_namespace__()
        of_items = xp.vecdot(x, _items.means(state.items, slots, state.linear.mean))
        linear, own = (_span.share(state.span, mean) for mean in (x.dot(state.linear.mean), of_items))
        guesses = xp.stack([linear, *_network.predict(state.network, x, slots), own])
        shared, alone = state.trust[0], state.trust[3]
        width = shared * _ridge.widths(state.linear, x) + (1 - shared + (CAUTION - 1) * alone) * self._own_widths(state, x, slots)
        return Scores(state.trust.dot(guesses), self.alpha * width)

    def _own_widths(self, state: Models, x: Array, slots: Array) -> Array:
        xp = x.__array_namespace__()
        places = slots % self.num_items
        owned = state.network.owner[places] == slots
        return xp.sqrt((x**2 / (self.ridge + xp.where(owned[:, None], state.squares[places], 0.0))).sum(1))

    def _probs(self, kernel: Callable[..., Array], state: Models, context: Context) -> Array:
        """Is `probs` by a kernel, after the two products of matrices."""
        x = np.ascontiguousarray(context.features, np.float64)
        mask, slots = np.ascontiguousarray(context.mask), np.ascontiguousarray(context.item, np.int64)
        linear, network, squares, trust, span, items = state
        shared, dim = fast.own(network.shared), x.shape[1]
        products = x.dot(linear.root), x.dot(shared[0, : dim * self.width].reshape(dim, self.width))
        of_items = items.owner, items.mean
        mean, prior, *others = map(fast.own, (linear.mean, linear.prior, network.own, network.owner, squares, trust, *of_items))
        numbers = np.array((*span, linear.total))
        return kernel(x, mask, slots, *products, mean, prior, shared, *others, numbers, self.alpha, self.scale, self.ridge, CAUTION)

    def _learned(self, kernel: Callable[..., None], state: Models, seen: Observation) -> Models:
        """Is `update` by a kernel."""
        slot, x, reward, weight = seen
        linear, network, squares, trust, span, items = state
        (rows, count), numbers = network.memory, np.array((*span, linear.total))
        written = linear.mean, linear.root, network.shared, network.own, network.owner, squares, trust, rows, *items
        arrays_of_state = tuple(map(fast.own, written))
        settings = self.batch_size, self.learning_rate, RATE, SHARE, self.ridge
        x = np.ascontiguousarray(x, np.float64)
        kernel(x, int(slot), float(reward), float(weight), *arrays_of_state, int(count), numbers, *settings)
        mean, root, shared, own, owner, squares, trust, rows, *of_items = arrays_of_state
        *ends, total = numbers
        belief = Ridge(mean, root, linear.prior, linear.ridge, total)
        network = Network(shared, own, owner, Memory(rows, count + 1))
        return Models(belief, network, squares, trust, Span(*ends), ItemBeliefs(*of_items))
