"""Kernels of the neural policies: what `wide_deep`, `neural` and `_network` compute on NumPy, in two calls a round.

The policies' own code is the definition, and what a trace reads; a test holds each kernel to it, step by step. A kernel writes into the
state where it stands. It uses one thread and no BLAS, so its bits depend on the processor alone. `reassoc` lets the compiler sum in the
order of the processor's lanes, fixed when it is compiled.

All of them stand in one file: Numba's cache looks at the file of a kernel only, and does not notice a change in another. So touch this file
after a change of the constants that it imports; the test of the steps fails until then.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numba
import numpy as np
from numba import types

from recsdk import fast
from recsdk.base import Array
from recsdk.explore import TIE
from recsdk.policies._memory import GOLDEN
from recsdk.policies._network import FIRST, SECOND, TINY

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
SIZES = "features, mask, item and the arrays of the state must be of sizes that fit together"

Function = TypeVar("Function", bound=Callable[..., Any])

FLOATS, FLOATS_2, FLOATS_3 = (types.Array(types.float64, ndim, "C") for ndim in (1, 2, 3))
OWNERS = types.Array(types.int64, 1, "C")
NUMBER, COUNT = types.float64, types.int64
GIVEN, GIVEN_2 = (types.Array(types.float64, ndim, "C", readonly=True) for ndim in (1, 2))
MASK, SLOTS = (types.Array(kind, 1, "C", readonly=True) for kind in (types.bool_, types.int64))


def _inner(function: Function) -> Function:
    return cast(Function, numba.njit(**OPTIONS)(function))


def _sums(function: Function) -> Function:
    return cast(Function, numba.njit(**OPTIONS, fastmath={"reassoc"})(function))


@_sums
def _dot(a: Array, b: Array) -> float:
    total = 0.0
    for i in range(a.shape[0]):
        total += a[i] * b[i]
    return total


@_inner
def _sigmoid(log_odds: float) -> float:
    return 0.5 + 0.5 * math.tanh(0.5 * log_odds)


@_inner
def _share(low: float, high: float, reward: float) -> float:
    return min(max((reward - low) / (high - low), 0.0), 1.0)


@_inner
def _inverse_gap(scores: Array, mask: Array, scale: float, num_rounds: float) -> Array:
    """Is `explore.inverse_gap` with gamma = scale sqrt(K num_rounds)."""
    num, top = 0.0, -np.inf
    for k in range(mask.shape[0]):
        if mask[k]:
            num += 1.0
            if scores[k] > top:
                top = scores[k]
    gamma, least = scale * math.sqrt(num * num_rounds), top - TIE * (1 + abs(top))
    probs, rest, num_best = np.zeros(mask.shape[0]), 1.0, 0
    for k in range(mask.shape[0]):
        if mask[k]:
            if scores[k] >= least:
                num_best += 1
            else:
                probs[k] = 1 / (num + gamma * (top - scores[k]))
                rest -= probs[k]
    for k in range(mask.shape[0]):
        if mask[k] and scores[k] >= least:
            probs[k] = rest / num_best
    return probs


@_inner
def _multiply(x: Array, dim: int, weights: Array, start: int, out: Array) -> None:
    """Adds x W to `out`, f64[B, H], for the first `dim` columns of x. W, f64[dim, H], begins at place `start` of `weights`."""
    batch, width = out.shape
    for d in range(0, dim - 3, 4):  # four rows of W at a time, for all of x: each is read once
        a = start + d * width
        b, c, e = a + width, a + 2 * width, a + 3 * width
        for i in range(batch):
            xa, xb, xc, xe = x[i, d], x[i, d + 1], x[i, d + 2], x[i, d + 3]
            for h in range(width):
                out[i, h] += (xa * weights[a + h] + xb * weights[b + h]) + (xc * weights[c + h] + xe * weights[e + h])
    for d in range(dim - dim % 4, dim):
        a = start + d * width
        for i in range(batch):
            for h in range(width):
                out[i, h] += x[i, d] * weights[a + h]


@_inner
def _multiply_transposed(x: Array, dim: int, back: Array, out: Array, start: int) -> None:
    """Writes x^T back, f64[dim, H], to `out` from place `start` on; `back` is f64[B, H]."""
    batch, width = back.shape
    for d in range(dim):
        a = start + d * width
        for h in range(width):
            out[a + h] = 0.0
        for i in range(0, batch - 3, 4):
            xa, xb, xc, xe = x[i, d], x[i + 1, d], x[i + 2, d], x[i + 3, d]
            for h in range(width):
                out[a + h] += (xa * back[i, h] + xb * back[i + 1, h]) + (xc * back[i + 2, h] + xe * back[i + 3, h])
        for i in range(batch - batch % 4, batch):
            for h in range(width):
                out[a + h] += x[i, d] * back[i, h]


@_inner
def _adam(parts: Array, slopes: Array, count: int, rate: float) -> None:
    """Is `_network._adam` in place: `parts`, f64[3, P], holds the values and the means of slopes and squares; `count` is at least 1."""
    step, scale = rate / (1 - FIRST**count), 1 / (1 - SECOND**count)
    value, first, second = parts[0], parts[1], parts[2]
    for i in range(slopes.shape[0]):
        mean = FIRST * first[i] + (1 - FIRST) * slopes[i]
        square = SECOND * second[i] + (1 - SECOND) * slopes[i] * slopes[i]
        first[i], second[i] = mean, square
        value[i] -= step * mean / (math.sqrt(square * scale) + TINY)


@_inner
def _remember(rows: Array, count: int, batch: Array) -> None:
    """Fills f64[B, W], whose first row is a new round, with others from the ring `rows`, and keeps the round there."""
    size, others = rows.shape[0], batch.shape[0] - 1
    known = min(count, size)
    for i in range(others):
        place = int(float(count * others + i) * GOLDEN % 1.0 * known)
        for j in range(rows.shape[1]):
            batch[i + 1, j] = rows[place, j]
    for j in range(rows.shape[1]):
        rows[count % size, j] = batch[0, j]


@_inner
def _widen(span: Array, reward: float) -> None:
    """Is `_span.widen` in place."""
    span[0], span[1] = min(span[0], max(span[2], reward)), max(span[1], min(span[3], reward))
    span[2], span[3] = min(span[2], reward), max(span[3], reward)


@_sums
def _doubt(x: Array, counts: Array, ridge: float) -> float:
    total = 0.0
    for d in range(x.shape[0]):
        total += x[d] * x[d] / (ridge + counts[d])
    return total


@_sums
def _odds(x: Array, shared: Array, own: Array) -> float:
    """Returns x.(shared + own), where these two may be longer than x."""
    total = 0.0
    for d in range(x.shape[0]):
        total += x[d] * (shared[d] + own[d])
    return total


@_inner
def _fits(
    dim: int, mean: Array, shared: Array, own: Array, owner: Array, squares: Array, trust: Array, holder: Array, means: Array
) -> bool:
    """Tells whether the arrays of a state are of such sizes that nothing is read or written beside them."""
    width, num_places, num_ridges = own.shape[2] - dim, owner.shape[0], holder.shape[0]
    is_shared = shared.shape == (3, (dim + 1) * width + dim) and mean.shape[0] == dim and trust.shape[0] == 4
    is_own = own.shape[:2] == (num_places, 3) and squares.shape == (num_places, dim) and means.shape == (num_ridges, dim)
    return bool(is_shared and is_own and width > 0 and num_places > 0 and num_ridges > 0)


@_inner
def _condition(mean: Array, root: Array, x: Array, pull: float, weight: float) -> None:
    """Is `_ridge.condition` in place."""
    dim = mean.shape[0]
    direction = np.zeros((1, dim))
    _multiply(x.reshape(1, dim), dim, root.reshape(dim * dim), 0, direction)
    direction = direction[0]
    shrink = 1 / (1 + weight * _dot(direction, direction))
    size = weight * shrink / (1 + math.sqrt(shrink))
    for i in range(dim):
        gain = _dot(root[i], direction)
        mean[i] += pull * shrink * gain
        step = size * gain
        for d in range(dim):
            root[i, d] -= step * direction[d]


def _probs(
    x: Array,
    mask: Array,
    slots: Array,
    spread: Array,
    hidden: Array,
    mean: Array,
    prior: Array,
    shared: Array,
    own: Array,
    owner: Array,
    squares: Array,
    trust: Array,
    holder: Array,
    means: Array,
    numbers: Array,
    alpha: float,
    scale: float,
    ridge: float,
    caution: float,
) -> Array:
    """Is `WideDeep.probs`, given x root, `spread`, and x U, `hidden`."""
    num, width = hidden.shape
    dim, num_places, low, high = x.shape[1], owner.shape[0], numbers[0], numbers[1]
    is_context = x.shape[0] == num and spread.shape == x.shape and mask.shape[0] == num and slots.shape[0] == num
    is_state = _fits(dim, mean, shared, own, owner, squares, trust, holder, means) and prior.shape[0] == dim
    if not (is_context and is_state and own.shape[2] - dim == width):
        raise ValueError(SIZES)
    common = shared[0, shared.shape[1] - dim - width :]
    others = 1 - trust[0] + (caution - 1) * trust[3]
    no_own, no_squares, scores = np.zeros(dim + width), np.zeros(dim), np.empty(num)
    for k in range(num):
        row, place, ridge_place, active = x[k], slots[k] % num_places, slots[k] % holder.shape[0], hidden[k]
        is_known = owner[place] == slots[k]
        weights, seen = (own[place, 0], squares[place]) if is_known else (no_own, no_squares)
        for h in range(width):
            active[h] = active[h] if active[h] > 0 else 0.0
        linear = alone = _share(low, high, _dot(row, mean))
        if holder[ridge_place] == slots[k]:
            alone = _share(low, high, _dot(row, means[ridge_place]))
        wide = _sigmoid(_odds(row, common, weights))
        deep = _sigmoid(_odds(active, common[dim:], weights[dim:]))
        doubt = trust[0] * math.sqrt(_dot(spread[k], spread[k])) + others * math.sqrt(_doubt(row, seen, ridge))
        scores[k] = trust[0] * linear + trust[1] * wide + trust[2] * deep + trust[3] * alone + alpha * doubt
    return _inverse_gap(scores, mask, scale, numbers[4] + ridge * _dot(prior, prior))


@_inner
def _train(batch: Array, shared: Array, own: Array, owner: Array, low: float, high: float, count: int, rate: float) -> Array:
    """Is the step of `_network.update`: returns the chances that the two models had predicted for the first of the rounds."""
    num, dim = batch.shape[0], batch.shape[1] - 3
    width, tail = own.shape[2] - dim, shared.shape[1] - own.shape[2]
    common, nothing = shared[0, tail:], np.zeros(dim + width)
    hidden, back, rows = np.zeros((num, width)), np.empty((num, width)), np.empty((num, dim + width))
    places, is_known, is_first = np.empty(num, np.int64), np.empty(num, np.bool_), np.empty(num, np.bool_)
    chances = np.empty((num, 2))
    _multiply(batch, dim, shared[0], 0, hidden)
    for i in range(num):
        x, active, slot = batch[i, :dim], hidden[i], int(batch[i, dim + 2])
        places[i] = slot % owner.shape[0]
        is_known[i], is_first[i] = owner[places[i]] == slot, True
        for j in range(i):
            is_first[i] &= places[j] != places[i]
        weights = own[places[i], 0] if is_known[i] else nothing
        for h in range(width):
            active[h] = active[h] if active[h] > 0 else 0.0
        chances[i, 0] = _sigmoid(_odds(x, common, weights))
        chances[i, 1] = _sigmoid(_odds(active, common[dim:], weights[dim:]))
        target, weight = _share(low, high, batch[i, dim]), batch[i, dim + 1] / num
        wide, deep = (chances[i, 0] - target) * weight, (chances[i, 1] - target) * weight
        for d in range(dim):
            rows[i, d] = wide * x[d]
        for h in range(width):
            rows[i, dim + h] = deep * active[h]
            back[i, h] = deep * (common[dim + h] + weights[dim + h]) if active[h] > 0 else 0.0
    slopes, mine = np.zeros(shared.shape[1]), np.empty(dim + width)
    _multiply_transposed(batch, dim, back, slopes, 0)
    for i in range(num):
        for d in range(dim + width):
            slopes[tail + d] += rows[i, d]
    _adam(shared, slopes, count, rate)
    for i in range(num):
        if is_first[i]:
            for d in range(dim + width):
                mine[d] = 0.0
            for j in range(i, num):
                if is_known[j] and places[j] == places[i]:
                    for d in range(dim + width):
                        mine[d] += rows[j, d]
            _adam(own[places[i]], mine, count, rate)
    return chances[0]


@_inner
def _take_over(slot: int, place: int, own: Array, owner: Array, squares: Array) -> None:
    """Makes an item the owner of a place, as unknown as a new one, unless it is the owner already."""
    if owner[place] != slot:
        owner[place] = slot
        for d in range(squares.shape[1]):
            squares[place, d] = 0.0
        for part in range(3):
            for d in range(own.shape[2]):
                own[place, part, d] = 0.0


@_inner
def _hold(slot: int, place: int, holder: Array, means: Array, roots: Array, mean: Array, ridge: float) -> None:
    """Makes an item the owner of the ridge regression at a place, which begins at `mean`, unless it is the owner already."""
    if holder[place] != slot:
        holder[place] = slot
        for i in range(mean.shape[0]):
            means[place, i] = mean[i]
            for d in range(mean.shape[0]):
                roots[place, i, d] = ridge**-0.5 if i == d else 0.0


def _learn(
    x: Array,
    slot: int,
    reward: float,
    weight: float,
    mean: Array,
    root: Array,
    shared: Array,
    own: Array,
    owner: Array,
    squares: Array,
    trust: Array,
    rows: Array,
    holder: Array,
    means: Array,
    roots: Array,
    count: int,
    numbers: Array,
    batch_size: int,
    rate: float,
    loss: float,
    share: float,
    ridge: float,
) -> None:
    """Is `WideDeep.update` for a weight above 0, in place; `numbers` are those of the span, and the total."""
    dim = x.shape[0]
    fits = _fits(dim, mean, shared, own, owner, squares, trust, holder, means)
    if not (fits and root.shape == (dim, dim) and rows.shape[1] == dim + 3 and roots.shape == (holder.shape[0], dim, dim)):
        raise ValueError(SIZES)
    ridge_place, place, batch = slot % holder.shape[0], slot % owner.shape[0], np.empty((batch_size, dim + 3))
    batch[0, dim], batch[0, dim + 1], batch[0, dim + 2] = reward, weight, slot
    _take_over(slot, place, own, owner, squares)
    _hold(slot, ridge_place, holder, means, roots, mean, ridge)
    for d in range(dim):
        squares[place, d] += weight * x[d] * x[d]
        batch[0, d] = x[d]
    _widen(numbers, reward)
    low, high, guess, alone = numbers[0], numbers[1], _dot(x, mean), _dot(x, means[ridge_place])
    _remember(rows, count, batch)
    wide, deep = _train(batch, shared, own, owner, low, high, count + 1, rate)
    target, total = _share(low, high, reward), 0.0
    guesses = (_share(low, high, guess), wide, deep, _share(low, high, alone))
    for i in range(4):
        trust[i] *= math.exp(-loss * weight * (guesses[i] - target) ** 2)
        total += trust[i]
    for i in range(4):
        trust[i] = (1 - share) * trust[i] / total + share / 4
    reward = min(max(reward, low), high)
    _condition(mean, root, x, weight * (reward - guess), weight)
    _condition(means[ridge_place], roots[ridge_place], x, weight * (reward - alone), weight)
    numbers[4] += weight


def _neural_probs(product: Array, mask: Array, weights: Array, total: float, scale: float) -> Array:
    """Is `NeuralSquareCB.probs`, given the last product of matrices, and `weights`, the biases of that layer and the last layer."""
    num, width = product.shape
    if not (mask.shape[0] == num and weights.shape[0] == 2 * width + 1):
        raise ValueError(SIZES)
    scores = np.empty(num)
    for k in range(num):
        active = product[k]
        for h in range(width):
            value = active[h] + weights[h]
            active[h] = value if value > 0 else 0.0
        scores[k] = _sigmoid(_dot(active, weights[width:]) + weights[2 * width])
    return _inverse_gap(scores, mask, scale, total)


def _neural_learn(
    x: Array,
    reward: float,
    weight: float,
    network: Array,
    widths: Array,
    rows: Array,
    count: int,
    span: Array,
    batch_size: int,
    rate: float,
) -> None:
    """Is `neural._learn` for a weight above 0, in place; `widths` are those of all layers, that of the input first."""
    dim, num_weights = x.shape[0], widths[-1] + 1
    for layer in range(widths.shape[0] - 1):
        num_weights += (widths[layer] + 1) * widths[layer + 1]
    if not (rows.shape[1] == dim + 2 and widths[0] == dim and network.shape == (3, num_weights)):
        raise ValueError(SIZES)
    batch = np.empty((batch_size, dim + 2))
    batch[0, dim], batch[0, dim + 1] = reward, weight
    for d in range(dim):
        batch[0, d] = x[d]
    _widen(span, reward)
    _remember(rows, count, batch)
    _descend(batch, network, widths, span[0], span[1], count + 1, rate)


@_inner
def _descend(batch: Array, network: Array, widths: Array, low: float, high: float, count: int, rate: float) -> None:
    """Takes a step of Adam down the log loss of a batch."""
    num, num_layers, weights = batch.shape[0], widths.shape[0] - 1, network[0]
    layers = np.empty(num * widths.sum())  # what comes out of each, one after the other
    below, start, place = batch, 0, 0
    for layer in range(num_layers):
        inputs, outputs = widths[layer], widths[layer + 1]
        out = layers[place : place + num * outputs].reshape(num, outputs)
        bias = start + inputs * outputs
        for i in range(num):
            for h in range(outputs):
                out[i, h] = weights[bias + h]
        _multiply(below, inputs, weights, start, out)
        for i in range(num):
            for h in range(outputs):
                out[i, h] = out[i, h] if out[i, h] > 0 else 0.0
        below, start, place = out, bias + outputs, place + num * outputs
    width, dim = widths[num_layers], widths[0]
    slopes, above = np.zeros(weights.shape[0]), np.empty((num, width))
    for i in range(num):
        chance = _sigmoid(_dot(below[i], weights[start:]) + weights[start + width])
        slope = (chance - _share(low, high, batch[i, dim])) * batch[i, dim + 1] / num
        slopes[start + width] += slope
        for h in range(width):
            slopes[start + h] += slope * below[i, h]
            above[i, h] = slope * weights[start + h] if below[i, h] > 0 else 0.0
    for layer in range(num_layers - 1, -1, -1):
        inputs, outputs = widths[layer], widths[layer + 1]
        bias, place = start - outputs, place - num * outputs
        start = bias - inputs * outputs
        for i in range(num):
            for h in range(outputs):
                slopes[bias + h] += above[i, h]
        if layer == 0:
            _multiply_transposed(batch, inputs, above, slopes, start)
        else:
            below = layers[place - num * inputs : place].reshape(num, inputs)
            _multiply_transposed(below, inputs, above, slopes, start)
            back = np.empty((num, inputs))
            for i in range(num):
                for d in range(inputs):
                    a = start + d * outputs
                    back[i, d] = _dot(above[i], weights[a : a + outputs]) if below[i, d] > 0 else 0.0
            above = back
    _adam(network, slopes, count, rate)


class Kernels(NamedTuple):
    """Kernels of a policy.

    Attributes:
        probs: is its `probs`, after the products of matrices.
        learn: is its `update` for a weight above 0, in place.
    """

    probs: Callable[..., Any]
    learn: Callable[..., Any]


@functools.cache
def wide_deep() -> Kernels:
    """Compiles the kernels of `WideDeep`, or finds them where Numba keeps them."""
    network, items = (FLOATS_2, FLOATS_3, OWNERS, FLOATS_2), (OWNERS, FLOATS_2)
    learned = (*items, FLOATS_3, COUNT, FLOATS)
    return Kernels(
        _compiled(_probs, GIVEN_2, MASK, SLOTS, FLOATS_2, FLOATS_2, FLOATS, FLOATS, *network, FLOATS, *items, FLOATS, *[NUMBER] * 4),
        _compiled(_learn, GIVEN, COUNT, NUMBER, NUMBER, FLOATS, FLOATS_2, *network, FLOATS, FLOATS_2, *learned, COUNT, *[NUMBER] * 4),
    )


@functools.cache
def neural() -> Kernels:
    """Compiles the kernels of `NeuralSquareCB` and `NeuralLinear`."""
    return Kernels(
        _compiled(_neural_probs, FLOATS_2, MASK, FLOATS, NUMBER, NUMBER),
        _compiled(_neural_learn, GIVEN, NUMBER, NUMBER, FLOATS_2, OWNERS, FLOATS_2, COUNT, FLOATS, COUNT, NUMBER),
    )


def _compiled(function: Callable[..., Any], *arguments: Any) -> Callable[..., Any]:
    """Returns a function compiled for these types of arguments; it refuses others, so that no request waits for a compilation."""
    kernel: Any = fast.jit(**OPTIONS)(function)
    kernel.compile(arguments)
    kernel.disable_compile()
    return cast(Callable[..., Any], kernel)
