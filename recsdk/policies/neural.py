"""Policies on a neural network of any depth; they run on JAX alone, and live inside `Jitted`, which the live loop adds by itself.

The network computes in float64, unlike encoders: probabilities must not depend on the padding around the candidates, and in float32 a
product of matrices does.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import attrs
import numpy as np

from recsdk import explore
from recsdk.base import Array, Context, Interaction, Rng
from recsdk.checks import integer, number
from recsdk.errors import InvalidValue
from recsdk.policies import _memory, _span
from recsdk.policies._memory import Memory
from recsdk.policies._ridge import Ridge
from recsdk.policies._span import Span
from recsdk.policies.linear import LinTS


def _widths(instance: object, field: attrs.Attribute, value: Any) -> None:
    if not (isinstance(value, tuple) and value and all(type(width) is int and width >= 1 for width in value)):
        raise InvalidValue(f"{type(instance).__name__}.{field.name} must be a tuple of integers >= 1, at least one, got {value!r}.")


class Trained(NamedTuple):
    """A network with its optimiser. Its weights are one array, since each array of a state costs 2 us a call.

    Attributes:
        weights: f64[P], of all layers: inputs times outputs, then biases, from the first to the last, which has one output.
        optimiser: Optax's state.
    """

    weights: Array
    optimiser: Any


class NeuralState(NamedTuple):
    """State of `NeuralSquareCB`.

    Attributes:
        network: the network that predicts rewards.
        memory: phi, reward and weight of the last rounds.
        span: range of the rewards.
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
    estimates are on the scale of the rewards seen: from 0 to 1, or as much further as two rewards have been. gamma = scale sqrt(K t).

    It knows items by their phi alone. Before any reward it is uniform; `prior` is not used.

    Attributes:
        widths: units of each hidden layer.
        scale: greed; larger explores less.
        memory: number of rounds kept for replay.
        batch_size: rounds in a step of the optimiser: the new one and others from the memory.
        learning_rate: step size of Adam.
        seed: seed of the network's first weights.

    Example:
        >>> from recsdk import NeuralSquareCB
        >>> NeuralSquareCB(widths=(32, 16)).runs_on
        ('jax',)

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
        return _init(self, prior)

    def probs(self, state: NeuralState, rng: Rng, context: Context) -> Array:
        del rng
        scores = _chances(state.network.weights, self.widths, context.features)
        gamma = self.scale * (context.mask.astype("float64").sum() * state.total) ** 0.5
        return explore.inverse_gap(scores, context.mask, gamma)

    def update(self, state: NeuralState, interaction: Interaction) -> NeuralState:
        return _learn(self, state, interaction)


class NeuralLinearState(NamedTuple):
    """State of `NeuralLinear`.

    Attributes:
        neural: the network as it learns, and the last rounds.
        weights: f64[P], the weights at the last refresh, from which h is computed.
        last: belief about the weights of [h(phi), 1].
    """

    neural: NeuralState
    weights: Array
    last: Ridge


@attrs.frozen(kw_only=True)
class NeuralLinear:
    """Thompson sampling with a Bayesian linear model of [h(phi), 1], where h is the last hidden layer of a network.

    The linear model learns from every reward, exactly, and explores as `LinTS` does. The network learns as that of `NeuralSquareCB`, but
    the linear model sees its new features every `refresh` rounds only: then the belief is rebuilt from the rounds in memory, in
    O(memory H^2), some ten milliseconds. Older rounds are forgotten. `prior` is not used.

    Attributes:
        widths: units of each hidden layer.
        scale: standard deviation of the reward's noise; larger explores more.
        ridge: weight of the prior, in observations of unit length.
        num_draws: posterior draws per decision.
        refresh: number of rounds between two rebuilds of the belief.
        memory: number of rounds kept for replay and rebuilding.
        batch_size: rounds in a step of the optimiser: the new one and others from the memory.
        learning_rate: step size of Adam.
        seed: seed of the network's first weights.

    Example:
        >>> from recsdk import NeuralLinear, simulate
        >>> NeuralLinear(widths=(32, 16), refresh=500).runs_on
        ('jax',)

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
        neural, xp = _init(self, prior), prior.__array_namespace__()
        last = self._linear.init(xp.zeros(self.widths[-1] + 1, dtype=xp.float64))
        return NeuralLinearState(neural, neural.network.weights * 1.0, last)

    def probs(self, state: NeuralLinearState, rng: Rng, context: Context) -> Array:
        seen = context._replace(features=self._seen(state.weights, context.features))
        return self._linear.probs(state.last, rng, seen)

    def update(self, state: NeuralLinearState, interaction: Interaction) -> NeuralLinearState:
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

        deep = _hidden(weights, self.widths, x)
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
    network = _fresh(prior, policy.widths, policy.seed)
    return NeuralState(network, _memory.init(xp, policy.memory, prior.shape[0] + 2), _span.init(xp), xp.zeros((), dtype=xp.float64))


def _learn(policy: NeuralSquareCB | NeuralLinear, state: NeuralState, interaction: Interaction) -> NeuralState:
    """Takes one step on this round and on others from the memory; a round of weight 0 changes nothing."""
    import jax

    xp = jax.numpy
    context, action, reward, _, weight = interaction
    learns = weight > 0
    row = xp.concatenate([context.features[action], xp.stack([reward, weight])])
    rows = xp.concatenate([row[None], _memory.others(state.memory, policy.batch_size - 1)])
    span = _span.widen(state.span, reward, learns)
    network = _step(state.network, policy.widths, rows[:, :-2], _span.share(span, rows[:, -2]), rows[:, -1], policy.learning_rate)
    network = jax.tree.map(lambda new, old: xp.where(learns, new, old), network, state.network)
    return NeuralState(network, _memory.keep(state.memory, row, learns, rows[-1]), span, state.total + weight)


def _adam(rate: float) -> Any:
    import optax  # type: ignore[import-untyped]  # its wheel has no type information

    return optax.adam(rate)


def _fresh(like: Array, widths: tuple[int, ...], seed: int) -> Trained:
    """Returns a network with He's initial weights that predicts 1/2 of everything, for inputs of the width of `like`, f64[D]."""
    import jax

    rng = np.random.default_rng(seed)
    parts = []
    for inputs, outputs in pairwise((like.shape[0], *widths)):
        parts += [rng.standard_normal(inputs * outputs) * (2 / inputs) ** 0.5, np.zeros(outputs)]
    weights = like.__array_namespace__().asarray(np.concatenate([*parts, np.zeros(widths[-1] + 1)]))
    with jax.enable_x64(True):
        return Trained(weights, _adam(1.0).init(weights))


def _hidden(weights: Array, widths: tuple[int, ...], x: Array) -> Array:
    """Returns f64[B, H], the last hidden layer for f64[B, D]."""
    import jax

    start = 0
    for outputs in widths:
        end = start + x.shape[1] * outputs
        x = jax.nn.relu(x @ weights[start:end].reshape(-1, outputs) + weights[None, end : end + outputs])
        start = end + outputs
    return x


def _log_odds(weights: Array, widths: tuple[int, ...], x: Array) -> Array:
    return _hidden(weights, widths, x) @ weights[-widths[-1] - 1 : -1] + weights[-1]


def _chances(weights: Array, widths: tuple[int, ...], x: Array) -> Array:
    """Returns f64[B], the predicted chances for f64[B, D]."""
    import jax

    return jax.nn.sigmoid(_log_odds(weights, widths, x))


def _step(network: Trained, widths: tuple[int, ...], x: Array, targets: Array, counts: Array, rate: float) -> Trained:
    """Takes one step of Adam down the log loss, each of B rounds counted as often as `counts` says."""
    import jax
    import optax

    def loss(weights: Array) -> Array:
        return (counts * optax.losses.sigmoid_binary_cross_entropy(_log_odds(weights, widths, x), targets)).mean()

    slopes = jax.grad(loss)(network.weights)
    with jax.numpy_dtype_promotion("standard"):  # Optax counts in int32 and decays in floats
        change, optimiser = _adam(rate).update(slopes, network.optimiser)
    return Trained(network.weights + change, optimiser)
