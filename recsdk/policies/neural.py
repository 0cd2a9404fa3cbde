"""Policies on a network of any depth, which run on JAX: live behind `Jitted`, which the live loop puts around them by itself."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import attrs

from recsdk import explore
from recsdk.base import Array, Context, Interaction, Rng
from recsdk.checks import integer, number
from recsdk.errors import InvalidValue
from recsdk.policies import _memory, _mlp
from recsdk.policies._memory import Memory
from recsdk.policies._mlp import Trained
from recsdk.policies._ridge import Ridge
from recsdk.policies.linear import LinTS


def _widths(instance: object, field: attrs.Attribute, value: Any) -> None:
    if not (isinstance(value, tuple) and value and all(type(width) is int and width >= 1 for width in value)):
        raise InvalidValue(f"{type(instance).__name__}.{field.name} must be a tuple of integers >= 1, at least one, got {value!r}.")


class Span(NamedTuple):
    """The least reward so far, at most 0, and the largest, at least 1; f64[] each."""

    low: Array
    high: Array


class NeuralState(NamedTuple):
    """What is known.

    Attributes:
        network: predicts rewards.
        memory: phi, reward and weight of the last rounds.
        span: of the rewards.
        total: f64[], sum of the weights learned.
    """

    network: Trained
    memory: Memory
    span: Span
    total: Array


@attrs.frozen(kw_only=True)
class NeuralSquareCB:
    """Inverse gap weighting on a neural network: p(a) = 1 / (K + gamma (best - estimate(a))), and the rest to the best.

    The network learns from every reward: one step of Adam on the log loss of that round and of others taken evenly from the memory. Its
    estimates are on the scale of the rewards seen: between 0 and 1, or as much further as rewards went. gamma = scale sqrt(K t).

    It knows items by their phi alone. Before any reward it is uniform; `prior` is not used.

    Attributes:
        widths: units of the hidden layers.
        scale: greed.
        memory: number of rounds kept for replay.
        batch_size: rounds learned per reward, that one and others from the memory.
        learning_rate: of Adam.
        seed: of the network's first weights.

    References:
        Foster, Rakhlin, Beyond UCB, ICML 2020, algorithm 1, with a network as the regression oracle. Lin, Self-Improving Reactive Agents,
        Machine Learning 1992: experience replay.
    """

    runs_on: ClassVar[tuple[str, ...]] = ("jax",)
    learns_from: ClassVar[str] = "chosen"

    widths: tuple[int, ...] = attrs.field(default=(64,), validator=_widths)
    scale: float = attrs.field(default=10.0, validator=number(above=0))
    memory: int = attrs.field(default=10_000, validator=integer(at_least=1))
    batch_size: int = attrs.field(default=16, validator=integer(at_least=2))
    learning_rate: float = attrs.field(default=3e-3, validator=number(above=0))
    seed: int = attrs.field(default=0, validator=integer(at_least=0))

    def init(self, prior: Array) -> NeuralState:
        """See `recsdk.base.Policy`."""
        return _init(self, prior)

    def probs(self, state: NeuralState, rng: Rng, context: Context) -> Array:
        """See `recsdk.base.Policy`."""
        del rng
        scores = _mlp.chances(state.network.weights, self.widths, context.features)
        gamma = self.scale * (context.mask.astype("float64").sum() * state.total) ** 0.5
        return explore.inverse_gap(scores, context.mask, gamma)

    def update(self, state: NeuralState, interaction: Interaction) -> NeuralState:
        """See `recsdk.base.Policy`."""
        return _learn(self, state, interaction)


class NeuralLinearState(NamedTuple):
    """What is known.

    Attributes:
        neural: the network, as it learns, and the last rounds.
        weights: f64[P], those of the network from which h is taken.
        last: the belief about the weights of [h(phi), 1].
    """

    neural: NeuralState
    weights: Array
    last: Ridge


@attrs.frozen(kw_only=True)
class NeuralLinear:
    """Thompson sampling on what a network has learned to see: a Bayesian linear model of [h(phi), 1], h the last hidden layer.

    The linear model learns from every reward, exactly, and explores as `LinTS` does. The network learns as that of `NeuralSquareCB`, but
    its features are taken over every `refresh` rounds only: then the belief is built again, as the fold of the remembered rounds with the
    new features, O(memory H^2), some ten milliseconds. What is older than the memory is then forgotten. `prior` is not used.

    Attributes:
        widths: units of the hidden layers.
        scale: standard deviation of the reward's noise; larger explores more.
        ridge: weight of the prior, in observations of unit length.
        num_draws: posterior draws per decision.
        refresh: rounds from one rebuilding to the next.
        memory: number of rounds kept for replay and rebuilding.
        batch_size: rounds learned by the network per reward.
        learning_rate: of Adam.
        seed: of the network's first weights.

    References:
        Riquelme, Tucker, Snoek, Deep Bayesian Bandits Showdown, ICLR 2018: "neural linear".
    """

    runs_on: ClassVar[tuple[str, ...]] = ("jax",)
    learns_from: ClassVar[str] = "chosen"

    widths: tuple[int, ...] = attrs.field(default=(64,), validator=_widths)
    scale: float = attrs.field(default=0.25, validator=number(above=0))
    ridge: float = attrs.field(default=1.0, validator=number(above=0))
    num_draws: int = attrs.field(default=32, validator=integer(at_least=1))
    refresh: int = attrs.field(default=1_000, validator=integer(at_least=1))
    memory: int = attrs.field(default=2_000, validator=integer(at_least=1))
    batch_size: int = attrs.field(default=16, validator=integer(at_least=2))
    learning_rate: float = attrs.field(default=3e-3, validator=number(above=0))
    seed: int = attrs.field(default=0, validator=integer(at_least=0))

    def init(self, prior: Array) -> NeuralLinearState:
        """See `recsdk.base.Policy`."""
        neural, xp = _init(self, prior), prior.__array_namespace__()
        last = self._linear.init(xp.zeros(self.widths[-1] + 1, dtype=xp.float64))
        return NeuralLinearState(neural, neural.network.weights * 1.0, last)

    def probs(self, state: NeuralLinearState, rng: Rng, context: Context) -> Array:
        """See `recsdk.base.Policy`."""
        seen = context._replace(features=self._seen(state.weights, context.features))
        return self._linear.probs(state.last, rng, seen)

    def update(self, state: NeuralLinearState, interaction: Interaction) -> NeuralLinearState:
        """See `recsdk.base.Policy`."""
        import jax

        neural = _learn(self, state.neural, interaction)
        context, action, *others = interaction
        row = Context(self._seen(state.weights, context.features[action][None]), context.mask[:1], context.item[:1])
        last = self._linear.update(state.last, Interaction(row, 0, *others))
        due = (interaction.weight > 0) & (neural.memory.count % self.refresh == 0)
        weights = jax.numpy.where(due, neural.network.weights, state.weights)
        last = jax.lax.cond(due, lambda: self._rebuilt(neural), lambda: last)
        return NeuralLinearState(neural, weights, last)

    @property
    def _linear(self) -> LinTS:
        return LinTS(scale=self.scale, ridge=self.ridge, num_draws=self.num_draws)

    def _seen(self, weights: Array, x: Array) -> Array:
        """Returns f64[B, H + 1], [h(phi), 1]."""
        import jax

        deep = _mlp.hidden(weights, self.widths, x)
        return jax.numpy.concatenate([deep, jax.numpy.ones((x.shape[0], 1))], axis=1)

    def _rebuilt(self, neural: NeuralState) -> Ridge:
        """Folds the remembered rounds, as the network sees them now, into the belief before any data."""
        import jax

        rows = neural.memory.rows
        seen = self._seen(neural.network.weights, rows[:, :-2])

        def learn(row: Array, belief: Ridge) -> Ridge:
            shown = Context(seen[row][None], True, 0)
            return self._linear.update(belief, Interaction(shown, 0, rows[row, -2], 1.0, rows[row, -1]))

        return jax.lax.fori_loop(0, rows.shape[0], learn, self._linear.init(jax.numpy.zeros(seen.shape[1])))  # type: ignore[no-any-return]


def _init(policy: NeuralSquareCB | NeuralLinear, prior: Array) -> NeuralState:
    xp = prior.__array_namespace__()
    network = _mlp.init(prior, policy.widths, policy.seed)
    span = Span(xp.zeros((), dtype=xp.float64), xp.ones((), dtype=xp.float64))
    return NeuralState(network, _memory.init(xp, policy.memory, prior.shape[0] + 2), span, xp.zeros((), dtype=xp.float64))


def _learn(policy: NeuralSquareCB | NeuralLinear, state: NeuralState, interaction: Interaction) -> NeuralState:
    """Takes one step on this round and on others from the memory; a round of weight 0 changes nothing."""
    import jax

    xp = jax.numpy
    context, action, reward, _, weight = interaction
    learns = weight > 0
    row = xp.concatenate([context.features[action], xp.stack([reward, weight])])
    rows = xp.concatenate([row[None], _memory.others(state.memory, policy.batch_size - 1)])
    low, high = state.span
    span = Span(xp.where(learns, xp.minimum(low, reward), low), xp.where(learns, xp.maximum(high, reward), high))
    targets = (rows[:, -2] - span.low) / (span.high - span.low)
    network = _mlp.step(state.network, policy.widths, rows[:, :-2], targets, rows[:, -1], policy.learning_rate)
    network = jax.tree.map(lambda new, old: xp.where(learns, new, old), network, state.network)
    return NeuralState(network, _memory.keep(state.memory, row, learns, rows[-1]), span, state.total + weight)
