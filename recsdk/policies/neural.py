"""Policies on a neural network of any depth.

The network computes in float64, unlike encoders: probabilities must not depend on the padding around the candidates, and in float32 a
product of matrices does. As in `_network`, the gradient is written out, so that NumPy can take it live.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import attrs
import numpy as np

from recsdk import arrays, explore, fast
from recsdk.base import Array, Context, Interaction, Rng
from recsdk.checks import integer, number
from recsdk.errors import InvalidValue
from recsdk.policies import _memory, _network, _ridge, _span
from recsdk.policies._memory import Memory
from recsdk.policies._ridge import Ridge
from recsdk.policies._span import Span
from recsdk.policies.linear import LinTS


def _widths(instance: object, field: attrs.Attribute, value: Any) -> None:
    if not (isinstance(value, tuple) and value and all(type(width) is int and width >= 1 for width in value)):
        raise InvalidValue(f"{type(instance).__name__}.{field.name} must be a tuple of integers >= 1, at least one, got {value!r}.")


class NeuralState(NamedTuple):
    """State of `NeuralSquareCB`.

    Attributes:
        network: f64[3, P], the weights of the network that predicts rewards, and Adam's decayed means of their slopes and of the slopes'
            squares. The weights are those of all layers: inputs times outputs, then biases, from the first to the last, of one output.
        memory: phi, reward and weight of the last rounds.
        span: range of the rewards.
        total: f64[], sum of the weights learned.
    """

    network: Array
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
        ('numpy', 'jax')

    References:
        Foster, Rakhlin, Beyond UCB, ICML 2020, algorithm 1, with a network as the regression oracle. Lin, Self-Improving Reactive Agents,
        Machine Learning 1992: experience replay.
    """

    runs_on: ClassVar[tuple[str, ...]] = ("numpy", "jax")
    learns_from: ClassVar[str] = "chosen"
    kernels: ClassVar[str] = "recsdk.policies._kernels"

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
        if kernels := fast.kernels(self, context.features):
            return _probs(kernels.neural().probs, self, state, context)
        weights = state.network[0]
        scores = _chances(weights, _layers(weights, self.widths, context.features)[-1])
        gamma = self.scale * (context.mask.astype(scores.dtype).sum() * state.total) ** 0.5
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
        >>> from recsdk import NeuralLinear
        >>> NeuralLinear(widths=(32, 16), refresh=500).runs_on
        ('numpy', 'jax')

    References:
        Riquelme, Tucker, Snoek, Deep Bayesian Bandits Showdown, ICLR 2018: "neural linear".
    """

    runs_on: ClassVar[tuple[str, ...]] = ("numpy", "jax")
    learns_from: ClassVar[str] = "chosen"
    kernels: ClassVar[str] = "recsdk.policies._kernels"

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
        return NeuralLinearState(neural, neural.network[0] * 1.0, last)

    def probs(self, state: NeuralLinearState, rng: Rng, context: Context) -> Array:
        seen = context._replace(features=self._seen(state.weights, context.features))
        return self._linear.probs(state.last, rng, seen)

    def update(self, state: NeuralLinearState, interaction: Interaction) -> NeuralLinearState:
        neural = _learn(self, state.neural, interaction)
        context, action, *others = interaction
        xp = context.features.__array_namespace__()
        row = Context(self._seen(state.weights, context.features[action][None]), context.mask[:1], context.item[:1])
        due = xp.asarray(interaction.weight > 0) & (neural.memory.count % self.refresh == 0)
        learned = NeuralLinearState(neural, state.weights, self._linear.update(state.last, Interaction(row, 0, *others)))
        return arrays.either(due, self._rebuilt, lambda state: state, learned)  # type: ignore[no-any-return]

    @property
    def _linear(self) -> LinTS:
        return LinTS(scale=self.scale, ridge=self.ridge, num_draws=self.num_draws)

    def _seen(self, weights: Array, x: Array) -> Array:
        """Returns f64[B, H + 1], [h(phi), 1]."""
        xp = x.__array_namespace__()
        return xp.concat([_layers(weights, self.widths, x)[-1], xp.ones((x.shape[0], 1), dtype=xp.float64)], axis=1)

    def _rebuilt(self, state: NeuralLinearState) -> NeuralLinearState:
        """Lets the belief before any data learn the remembered rounds, as the network sees them now."""
        neural, weights = state.neural, state.neural.network[0] * 1.0
        rows = neural.memory.rows
        seen = self._seen(weights, rows[:, :-2])

        def learn(row: Array, belief: Ridge) -> Ridge:
            shown = Context(seen[row][None], True, 0)
            return self._linear.update(belief, Interaction(shown, 0, rows[row, -2], 1.0, rows[row, -1]))

        belief = arrays.fold(rows.shape[0], learn, _ridge.init(0.0 * state.last.prior, self.ridge))
        return NeuralLinearState(neural, weights, belief)


def _init(policy: NeuralSquareCB | NeuralLinear, prior: Array) -> NeuralState:
    """Returns a network with He's initial weights that predicts 1/2 of everything, and nothing remembered."""
    xp = prior.__array_namespace__()
    if kernels := fast.kernels(policy, prior):
        kernels.neural()
    rng, parts = np.random.default_rng(policy.seed), []
    for inputs, outputs in pairwise((prior.shape[0], *policy.widths)):
        parts += [rng.standard_normal(inputs * outputs) * (2 / inputs) ** 0.5, np.zeros(outputs)]
    weights = xp.asarray(np.concatenate([*parts, np.zeros(policy.widths[-1] + 1)]))
    network = xp.stack([weights, xp.zeros_like(weights), xp.zeros_like(weights)])
    return NeuralState(network, _memory.init(xp, policy.memory, prior.shape[0] + 2), _span.init(xp), xp.zeros((), dtype=xp.float64))


def _learn(policy: NeuralSquareCB | NeuralLinear, state: NeuralState, interaction: Interaction) -> NeuralState:
    """Takes one step on this round and on others from the memory; a round of weight 0 changes nothing."""
    context, action, reward, _, weight = interaction
    x = context.features[action]
    xp = x.__array_namespace__()
    if (kernels := fast.kernels(policy, x)) and weight > 0:
        return _learned(kernels.neural().learn, policy, state, x, reward, weight)
    learns = xp.asarray(weight > 0)
    row = xp.concat([x, xp.stack([reward, weight])])
    rows = xp.concat([row[None], _memory.others(state.memory, policy.batch_size - 1)])
    span = _span.widen(state.span, reward, learns)
    memory = _memory.keep(state.memory, row, learns, rows[-1])
    slopes = _slopes(state.network[0], policy.widths, rows[:, :-2], _span.share(span, rows[:, -2]), rows[:, -1] / policy.batch_size)
    network = _network.adam(state.network, slopes, memory.count.astype(xp.float64), policy.learning_rate)
    return NeuralState(xp.where(learns, network, state.network), memory, span, state.total + weight)


def _layers(weights: Array, widths: tuple[int, ...], x: Array) -> list[Array]:
    """Returns what goes into each layer for x, f64[B, D]: x itself, and the hidden layers one after the other, f64[B, H] each."""
    xp = x.__array_namespace__()
    found, start = [x], 0
    for outputs in widths:
        end = start + found[-1].shape[1] * outputs
        layer = found[-1].dot(xp.reshape(weights[start:end], (-1, outputs))) + weights[None, end : end + outputs]
        found.append(xp.where(layer > 0, layer, 0.0))
        start = end + outputs
    return found


def _chances(weights: Array, last: Array) -> Array:
    """Returns f64[B], the predicted chances, given the last hidden layer."""
    return _network.sigmoid(last.dot(weights[-last.shape[1] - 1 : -1]) + weights[-1])


def _slopes(weights: Array, widths: tuple[int, ...], x: Array, targets: Array, counts: Array) -> Array:
    """Returns f64[P], the slopes of the sum of `counts` times the log loss of B rounds."""
    xp = x.__array_namespace__()
    *inputs, last = _layers(weights, widths, x)
    above = (counts * (_chances(weights, last) - targets))[:, None]  # slopes by what comes out of a layer before it is cut off at 0
    head = weights[-widths[-1] - 1 : -1]
    slopes, end = [xp.concat([last.T.dot(above)[:, 0], above.sum(0)])], weights.shape[0] - widths[-1] - 1
    above = xp.where(last > 0, above * head[None, :], 0.0)
    for layer, below in reversed(list(enumerate(inputs))):
        num, width = below.shape[1], above.shape[1]
        slopes.append(xp.concat([xp.reshape(below.T.dot(above), (-1,)), above.sum(0)]))
        start = end - (num + 1) * width
        if layer > 0:
            above = xp.where(below > 0, above.dot(xp.reshape(weights[start : end - width], (num, width)).T), 0.0)
        end = start
    return xp.concat(slopes[::-1])


def _probs(kernel: Callable[..., Array], policy: NeuralSquareCB, state: NeuralState, context: Context) -> Array:
    """Is `NeuralSquareCB.probs` by a kernel, after the products of matrices."""
    weights, width = fast.own(state.network)[0], policy.widths[-1]
    x = _layers(weights, policy.widths[:-1], np.asarray(context.features, np.float64))[-1]
    last = weights[-(x.shape[1] + 2) * width - 1 :]
    product = x.dot(last[: x.shape[1] * width].reshape(-1, width))
    return kernel(product, np.ascontiguousarray(context.mask), last[-2 * width - 1 :], float(state.total), policy.scale)


def _learned(
    kernel: Callable[..., None], policy: NeuralSquareCB | NeuralLinear, state: NeuralState, x: Array, reward: float, weight: float
) -> NeuralState:
    """Is `_learn` by a kernel."""
    network, rows, count = fast.own(state.network), fast.own(state.memory.rows), state.memory.count
    numbers, widths = np.array(state.span), np.array((len(x), *policy.widths))
    x = np.ascontiguousarray(x, np.float64)
    kernel(x, float(reward), float(weight), network, widths, rows, int(count), numbers, policy.batch_size, policy.learning_rate)
    return NeuralState(network, Memory(rows, count + 1), Span(*numbers), state.total + weight)
