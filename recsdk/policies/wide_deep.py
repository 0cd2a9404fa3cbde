"""A linear, a wide and a deep reward model, believed as far as they have predicted well, under optimistic inverse gap weighting."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import attrs
import numpy as np

from recsdk import arrays, explore
from recsdk.base import Array, Context, Interaction, Rng
from recsdk.checks import integer, number
from recsdk.policies import _network, _ridge
from recsdk.policies._items import Observation
from recsdk.policies._network import Network
from recsdk.policies._ridge import Ridge

RATE = 2.0  # squared losses in [0, 1] are mixable up to this rate
SHARE = 1e-3  # of the trust is dealt out anew in each round, so that a model that was right long ago can be overtaken


class Models(NamedTuple):
    """What is known.

    Attributes:
        linear: of the weights that all items share: ridge regression on phi.
        network: the wide and the deep model, both with shared weights and each item's own.
        squares: f64[N, D], sums of the squares of what each item was shown with.
        trust: f64[3], in the linear, the wide and the deep model; sums to 1.
        low: f64[], the least reward so far, at most 0.
        high: f64[], the largest reward so far, at least 1.
    """

    linear: Ridge
    network: Network
    squares: Array
    trust: Array
    low: Array
    high: Array


@attrs.frozen(kw_only=True)
class WideDeep:
    """Learns linear and other tastes, of all items and of each, and believes what predicts best: the default that needs no tuning.

    Three models estimate a candidate's reward: ridge regression on phi, logistic regression and a network with one hidden layer, the last
    two with weights that all items share and weights of each item's own. Their predictions p_j are averaged with weights that fall
    with their squared errors (the aggregating algorithm, w_j <- w_j exp(-2 (r - p_j)^2)), so that the average loses little
    to the best of them. The linear ones are ahead on few data, the deep one on many. To the average is added alpha times its doubt,

        sum_j w_j width_j,    width_1 = |x|_{A^-1},    width_2 = width_3 = sqrt(sum_d x_d^2 / (ridge + sum_t x_{t,d}^2)),

    the last sum over the rounds of the candidate's own item. Inverse gap weighting turns these optimistic scores into probabilities, with
    gamma = scale sqrt(K t): nearly greedy, as optimism allows, and yet every candidate keeps a positive probability.

    Estimates are on the scale of the rewards seen: between 0 and 1, or as much further as rewards went. Memory:
    24 num_items (D + width) + 8 num_items D + 8 memory (D + 3) bytes; 9 MB for D = 64.

    Attributes:
        alpha: how optimistic, > 0 explores more.
        scale: greed of the inverse gap weighting.
        ridge: weight of the prior, in observations of unit length.
        width: units of the hidden layer, H.
        num_items: number of places for items' own weights, at least that of the slots in use, from the oldest to the newest; of items that
            share a place the last that was rewarded has it, and the other is known by its phi alone.
        memory: number of rounds kept for replay.
        batch_size: rounds learned per reward, that one and others from the memory.
        learning_rate: of Adam.
        seed: of the hidden layer's first weights.

    References:
        Cheng et al., Wide & Deep Learning for Recommender Systems, DLRS 2016. Vovk, A Game of Prediction with Expert Advice, JCSS 1998: the
        aggregating algorithm; Herbster, Warmuth, Tracking the Best Expert, Machine Learning 1998: the share. Foster, Rakhlin, Beyond UCB,
        ICML 2020: inverse gap weighting. Li, Chu, Langford, Schapire, WWW 2010: the widths.
    """

    runs_on: ClassVar[tuple[str, ...]] = ("numpy", "jax")
    learns_from: ClassVar[str] = "chosen"

    alpha: float = attrs.field(default=0.25, validator=number(at_least=0))
    scale: float = attrs.field(default=100.0, validator=number(above=0))
    ridge: float = attrs.field(default=1.0, validator=number(above=0))
    width: int = attrs.field(default=64, validator=integer(at_least=1))
    num_items: int = attrs.field(default=1000, validator=integer(at_least=1))
    memory: int = attrs.field(default=10_000, validator=integer(at_least=1))
    batch_size: int = attrs.field(default=16, validator=integer(at_least=1))
    learning_rate: float = attrs.field(default=6e-3, validator=number(above=0))
    seed: int = attrs.field(default=0, validator=integer(at_least=0))

    def init(self, prior: Array) -> Models:
        """See `recsdk.base.Policy`."""
        xp = prior.__array_namespace__()
        (dim,) = prior.shape
        hidden = np.random.default_rng(self.seed).standard_normal((dim, self.width)) * (2 / dim) ** 0.5
        return Models(
            linear=_ridge.init(prior, self.ridge),
            network=_network.init(xp.asarray(hidden), self.num_items, self.memory),
            squares=xp.zeros((self.num_items, dim), dtype=xp.float64),
            trust=xp.ones(3, dtype=xp.float64) / 3,
            low=xp.zeros((), dtype=xp.float64),
            high=xp.ones((), dtype=xp.float64),
        )

    def probs(self, state: Models, rng: Rng, context: Context) -> Array:
        """See `recsdk.base.Policy`."""
        del rng
        x, mask, slots = context
        xp = x.__array_namespace__()
        guesses = xp.stack([_linear(state, x), *_network.predict(state.network, x, slots)])
        linear = state.trust[0]
        width = linear * _ridge.widths(state.linear, x) + (1 - linear) * self._own_widths(state, x, slots)
        gamma = self.scale * (mask.astype(xp.float64).sum() * state.linear.total) ** 0.5
        return explore.inverse_gap(state.trust.dot(guesses) + self.alpha * width, mask, gamma)

    def update(self, state: Models, interaction: Interaction) -> Models:
        """See `recsdk.base.Policy`."""
        context, action, reward, _, weight = interaction
        x, slot = context.features[action], context.item[action]
        xp = x.__array_namespace__()
        learns = xp.asarray(weight > 0)
        place = slot % self.num_items
        known = xp.where(state.network.owner[place] == slot, state.squares[place], 0.0) + weight * x**2
        squares = arrays.put(state.squares, place, xp.where(learns, known, state.squares[place]))
        low = xp.where(learns, xp.minimum(state.low, reward), state.low)
        high = xp.where(learns, xp.maximum(state.high, reward), state.high)
        state = state._replace(squares=squares, low=low, high=high)
        linear = _linear(state, x)
        network, wide, deep = _network.update(
            state.network, Observation(slot, x, reward, weight), (low, high), self.batch_size, self.learning_rate
        )
        errors = xp.stack([linear, wide, deep]) - (reward - low) / (high - low)
        trust = state.trust * xp.exp(-RATE * weight * errors**2)
        trust = (1 - SHARE) * trust / trust.sum() + SHARE / 3
        trust = xp.where(learns, trust, state.trust)
        return state._replace(linear=_ridge.update(state.linear, interaction), network=network, trust=trust)

    def _own_widths(self, state: Models, x: Array, slots: Array) -> Array:
        xp = x.__array_namespace__()
        places = slots % self.num_items
        owned = state.network.owner[places] == slots
        return xp.sqrt((x**2 / (self.ridge + xp.where(owned[:, None], state.squares[places], 0.0))).sum(1))


def _linear(state: Models, x: Array) -> Array:
    """Returns f64[K], or f64[] for one phi: what the linear model expects, from 0 for the least reward to 1 for the largest."""
    return x.__array_namespace__().clip((x.dot(state.linear.mean) - state.low) / (state.high - state.low), 0.0, 1.0)
