"""Two logistic reward models, a linear and a deep one, that learn from every reward and replay past rounds.

Each gives the log odds of a reward of 1. The linear one's are (w + W_a).x, the deep one's (v + V_a).h with h = relu(x U): w and v serve all
items, W_a and V_a belong to item a. One step of Adam per reward, on that round and on others taken evenly from the memory, is what makes a
single pass over a stream enough. The gradient of one hidden layer is a few lines; it is written out so that NumPy can take it live.

Items have places as in `_items`: slot modulo the number of places, and the last that was rewarded has it.

References:
    Cheng et al., Wide & Deep Learning for Recommender Systems, DLRS 2016: linear and deep, side by side.
    Kingma, Ba, Adam: A Method for Stochastic Optimization, ICLR 2015, algorithm 1; an item's row moves only when it is in the batch.
    Lin, Self-Improving Reactive Agents Based on Reinforcement Learning, Planning and Teaching, Machine Learning 1992: experience replay.
"""

from __future__ import annotations

from typing import NamedTuple

from recsdk import arrays
from recsdk.base import Array
from recsdk.policies import _memory, _span
from recsdk.policies._items import NOBODY, Observation
from recsdk.policies._memory import Memory
from recsdk.policies._span import Span

FIRST, SECOND, TINY = 0.9, 0.999, 1e-8


class Network(NamedTuple):
    """State of the two models. The axis of length 3 holds the weights and Adam's decayed means of their slopes and of the slopes' squares.

    Attributes:
        shared: f64[3, D H + D + H], U, w and v one after the other.
        own: f64[N, 3, D + H], W and V of the item that has the place.
        owner: i64[N], slot of the item that has the place, -1 for none.
        memory: the last rounds: phi of the candidate that was shown, reward, weight and slot.
    """

    shared: Array
    own: Array
    owner: Array
    memory: Memory


class _Activity(NamedTuple):
    """Values inside the models; `linear` and `deep` are the predicted chances, f64[B]."""

    hidden: Array
    weights: Array
    linear: Array
    deep: Array


def init(hidden: Array, linear: Array, num_items: int, num_rounds: int) -> Network:
    """Returns models of which the deep one predicts 1/2 of everything; U begins at `hidden`, f64[D, H], and w at `linear`, f64[D]."""
    xp = hidden.__array_namespace__()
    dim, width = hidden.shape
    values = xp.concat([xp.reshape(hidden, (-1,)), linear, xp.zeros(width, dtype=xp.float64)])
    return Network(
        shared=xp.stack([values, xp.zeros_like(values), xp.zeros_like(values)]),
        own=xp.zeros((num_items, 3, dim + width), dtype=xp.float64),
        owner=xp.full((num_items,), NOBODY, dtype=xp.int64),
        memory=_memory.init(xp, num_rounds, dim + 3),
    )


def predict(state: Network, x: Array, slots: Array) -> tuple[Array, Array]:
    """Returns f64[K] and f64[K], the chance of a reward of 1 by the linear and by the deep model."""
    places = slots % state.owner.shape[0]
    activity = _forward(state.shared[0], state.own[places, 0], state.owner[places] == slots, x)
    return activity.linear, activity.deep


class Learned(NamedTuple):
    """Result of an update: the state, and the chances that the models had predicted for the round, f64[] each."""

    state: Network
    linear: Array
    deep: Array


def update(state: Network, seen: Observation, span: Span, batch_size: int, rate: float) -> Learned:
    """Learns from one round and replays `batch_size` - 1 others; O(`batch_size` D H). Consumes `state`; a weight of 0 changes nothing.

    Args:
        state: of the models.
        seen: the round.
        span: range of the rewards, from those that count as a chance of 0 to those that count as 1.
        batch_size: B, rounds in a step.
        rate: of Adam.
    """
    xp = seen.x.__array_namespace__()
    learns = xp.asarray(seen.weight > 0)
    place = seen.slot % state.owner.shape[0]
    stays = ~learns | (state.owner[place] == seen.slot)
    row = xp.concat([seen.x, xp.stack([seen.reward, seen.weight, seen.slot.astype(xp.float64)])])
    rows = xp.concat([row[None, :], _memory.others(state.memory, batch_size - 1)])
    state = state._replace(
        owner=arrays.put(state.owner, place, xp.where(learns, seen.slot, state.owner[place])),
        memory=_memory.keep(state.memory, row, learns, rows[-1]),
    )
    x, weights, slots = rows[:, :-3], rows[:, -2] / batch_size, rows[:, -1].astype(xp.int64)
    chances = _span.share(span, rows[:, -3])
    places = slots % state.owner.shape[0]
    owned = state.owner[places] == slots
    own = xp.where((stays | (places != place))[:, None, None], state.own[places], 0.0)  # who takes a place over starts anew
    activity = _forward(state.shared[0], own[:, 0], owned, x)
    of_shared, of_rows = _slopes(activity, x, (activity.linear - chances) * weights, (activity.deep - chances) * weights)
    # An item that is in the batch several times gets the sum of its slopes, in each of its rows.
    same = ((places[:, None] == places[None, :]) & owned[None, :]).astype(xp.float64)
    slopes = xp.concat([of_shared, xp.reshape(same.dot(of_rows), (-1,))])
    parts = xp.concat([state.shared, xp.reshape(xp.permute_dims(own, (1, 0, 2)), (3, -1))], axis=1)
    parts = xp.where(learns, adam(parts, slopes, state.memory.count.astype(xp.float64), rate), parts)
    size = state.shared.shape[1]
    own = xp.permute_dims(xp.reshape(parts[:, size:], (3, batch_size, -1)), (1, 0, 2))
    state = state._replace(shared=parts[:, :size], own=arrays.put(state.own, places, own))
    return Learned(state, activity.linear[0], activity.deep[0])


def _slopes(activity: _Activity, x: Array, linear: Array, deep: Array) -> tuple[Array, Array]:
    """Returns the slopes of the log loss by `Network.shared` and by each round's own row, given those by its log odds, f64[B] each."""
    xp = x.__array_namespace__()
    rows = xp.concat([linear[:, None] * x, deep[:, None] * activity.hidden], axis=1)
    back = xp.where(activity.hidden > 0, deep[:, None] * activity.weights[:, x.shape[1] :], 0.0)
    return xp.concat([xp.reshape(x.T.dot(back), (-1,)), rows.sum(0)]), rows


def sigmoid(log_odds: Array) -> Array:
    """Returns the chances of log odds."""
    return 0.5 + 0.5 * log_odds.__array_namespace__().tanh(0.5 * log_odds)  # never overflows


def _forward(shared: Array, own: Array, owned: Array, x: Array) -> _Activity:
    xp = x.__array_namespace__()
    dim, size = x.shape[1], own.shape[1]
    weights = shared[None, -size:] + xp.where(owned[:, None], own, 0.0)
    hidden = x.dot(xp.reshape(shared[:-size], (dim, -1)))
    hidden = xp.where(hidden > 0, hidden, 0.0)
    linear, deep = xp.vecdot(x, weights[:, :dim]), xp.vecdot(hidden, weights[:, dim:])
    return _Activity(hidden, weights, sigmoid(linear), sigmoid(deep))


def adam(parts: Array, slope: Array, count: Array, rate: float) -> Array:
    """Takes step number `count`, f64[], of Adam.

    Args:
        parts: f64[3, P], the weights, and the decayed means of their slopes and of the slopes' squares.
        slope: f64[P].
        count: f64[].
        rate: the step's size.

    Returns:
        The new parts.
    """
    value, first, second = parts
    xp = slope.__array_namespace__()
    first = FIRST * first + (1 - FIRST) * slope
    second = SECOND * second + (1 - SECOND) * slope**2
    count = xp.where(count > 0, count, 1.0)
    step = rate / (1 - FIRST**count) * first / (xp.sqrt(second / (1 - SECOND**count)) + TINY)
    return xp.stack([value - step, first, second])
