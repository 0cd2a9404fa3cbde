"""Two logistic reward models, a linear and a deep one, that learn from every reward and replay what they have seen.

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

from recsdk.base import Array
from recsdk.policies import _arrays
from recsdk.policies._items import NOBODY, Observation

FIRST, SECOND, TINY = 0.9, 0.999, 1e-8
GOLDEN = 0.6180339887498949
"""Its multiples, modulo 1, fill the unit interval evenly, wherever one stops: replayed rounds need no random numbers."""


class Network(NamedTuple):
    """What is known; the 3 are the weights and what Adam keeps of their slopes, the decayed means of these and of their squares.

    Attributes:
        shared: f64[3, D H + D + H], U, w and v one after the other.
        own: f64[N, 3, D + H], W and V of the item that has the place.
        owner: i64[N], its slot, -1 for none.
        memory: f64[M, D + 3], the last rounds in a ring: phi of the candidate that was shown, reward, weight and slot.
        count: i64[], rounds learned.
    """

    shared: Array
    own: Array
    owner: Array
    memory: Array
    count: Array


class _Activity(NamedTuple):
    """What passes through the models: `linear` and `deep` are chances, f64[B]."""

    hidden: Array
    weights: Array
    linear: Array
    deep: Array


def init(hidden: Array, num_items: int, num_rounds: int) -> Network:
    """Returns models that predict 1/2 of everything; `hidden` f64[D, H] is U to begin with."""
    xp = hidden.__array_namespace__()
    dim, width = hidden.shape
    values = xp.concat([xp.reshape(hidden, (-1,)), xp.zeros(dim + width, dtype=xp.float64)])
    return Network(
        shared=xp.stack([values, xp.zeros_like(values), xp.zeros_like(values)]),
        own=xp.zeros((num_items, 3, dim + width), dtype=xp.float64),
        owner=xp.full((num_items,), NOBODY, dtype=xp.int64),
        memory=xp.zeros((num_rounds, dim + 3), dtype=xp.float64),
        count=xp.zeros((), dtype=xp.int64),
    )


def predict(state: Network, x: Array, slots: Array) -> tuple[Array, Array]:
    """Returns f64[K] and f64[K], the chance of a reward of 1 by the linear and by the deep model."""
    places = slots % state.owner.shape[0]
    activity = _forward(state.shared[0], state.own[places, 0], state.owner[places] == slots, x)
    return activity.linear, activity.deep


class Learned(NamedTuple):
    """What an update gives: the state, and the chances that the models had given the round, f64[] each."""

    state: Network
    linear: Array
    deep: Array


def update(state: Network, seen: Observation, span: tuple[Array, Array], batch_size: int, rate: float) -> Learned:
    """Learns from one round and replays `batch_size` - 1 others; O(`batch_size` D H). Consumes `state`; a weight of 0 changes nothing.

    Args:
        state: of the models.
        seen: the round.
        span: the rewards that count as chances of 0 and of 1; f64[] each.
        batch_size: B, rounds in a step.
        rate: of Adam.
    """
    xp = seen.x.__array_namespace__()
    learns = xp.asarray(seen.weight > 0)
    place = seen.slot % state.owner.shape[0]
    stays = ~learns | (state.owner[place] == seen.slot)
    row = xp.concat([seen.x, xp.stack([seen.reward, seen.weight, seen.slot.astype(xp.float64)])])
    rows = xp.concat([row[None, :], state.memory[_others(state, batch_size - 1)]])
    at = state.count % state.memory.shape[0]
    # The sum with nothing makes the write wait for the reads: else XLA copies the memory.
    written = xp.where(learns, row, state.memory[at]) + 0.0 * rows[-1]
    state = state._replace(
        owner=_arrays.put(state.owner, place, xp.where(learns, seen.slot, state.owner[place])),
        memory=_arrays.put(state.memory, at, written),
        count=state.count + learns.astype(xp.int64),
    )
    x, weights, slots = rows[:, :-3], rows[:, -2] / batch_size, rows[:, -1].astype(xp.int64)
    chances = (rows[:, -3] - span[0]) / (span[1] - span[0])
    places = slots % state.owner.shape[0]
    owned = state.owner[places] == slots
    own = xp.where((stays | (places != place))[:, None, None], state.own[places], 0.0)  # who takes a place over starts anew
    activity = _forward(state.shared[0], own[:, 0], owned, x)
    linear, deep = (activity.linear - chances) * weights, (activity.deep - chances) * weights
    dim = x.shape[1]
    slopes = xp.concat([linear[:, None] * x, deep[:, None] * activity.hidden], axis=1)
    back = xp.where(activity.hidden > 0, deep[:, None] * activity.weights[:, dim:], 0.0)
    # An item that is in the batch several times gets the sum of its slopes, in each of its rows.
    same = ((places[:, None] == places[None, :]) & owned[None, :]).astype(xp.float64)
    all_slopes = xp.concat([xp.reshape(x.T.dot(back), (-1,)), slopes.sum(0), xp.reshape(same.dot(slopes), (-1,))])
    ours = xp.concat([state.shared, xp.reshape(xp.permute_dims(own, (1, 0, 2)), (3, -1))], axis=1)
    moved = xp.where(learns, _adam(ours, all_slopes, state.count.astype(xp.float64), rate), ours)
    shared, moved = moved[:, : state.shared.shape[1]], moved[:, state.shared.shape[1] :]
    own = xp.permute_dims(xp.reshape(moved, (3, batch_size, -1)), (1, 0, 2))
    state = state._replace(shared=shared, own=_arrays.put(state.own, places, own))
    return Learned(state, activity.linear[0], activity.deep[0])


def _others(state: Network, num: int) -> Array:
    """Returns i64[num], places of remembered rounds, spread evenly; those that nothing is in yet have weight 0."""
    xp = state.count.__array_namespace__()
    size = state.memory.shape[0]
    known = xp.where(state.count < size, state.count, size)
    turns = (state.count * num + xp.arange(num)).astype(xp.float64)
    return (turns * GOLDEN % 1.0 * known.astype(xp.float64)).astype(xp.int64)


def _sigmoid(log_odds: Array) -> Array:
    return 0.5 + 0.5 * log_odds.__array_namespace__().tanh(0.5 * log_odds)  # never overflows


def _forward(shared: Array, own: Array, owned: Array, x: Array) -> _Activity:
    xp = x.__array_namespace__()
    dim, size = x.shape[1], own.shape[1]
    weights = shared[None, -size:] + xp.where(owned[:, None], own, 0.0)
    hidden = x.dot(xp.reshape(shared[:-size], (dim, -1)))
    hidden = xp.where(hidden > 0, hidden, 0.0)
    linear, deep = xp.vecdot(x, weights[:, :dim]), xp.vecdot(hidden, weights[:, dim:])
    return _Activity(hidden, weights, _sigmoid(linear), _sigmoid(deep))


def _adam(parts: Array, slope: Array, count: Array, rate: float) -> Array:
    value, first, second = parts
    xp = slope.__array_namespace__()
    first = FIRST * first + (1 - FIRST) * slope
    second = SECOND * second + (1 - SECOND) * slope**2
    step = rate * (1 - SECOND**count) ** 0.5 / (1 - FIRST ** xp.where(count > 0, count, 1.0))
    return xp.stack([value - step * first / (xp.sqrt(second) + TINY), first, second])
