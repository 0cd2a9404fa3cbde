"""A ridge belief for each item, in bounded memory.

An item's place is its catalogue slot modulo the number of places, so that it is found without a search, on both engines. The slots of a
catalogue are handed out one after the other: with as many places as slots in use, oldest to newest, no two items meet. Where two do, the
one that was rewarded last has the place, and the other is as unknown as a new item.
"""

from __future__ import annotations

from typing import NamedTuple

from recsdk import arrays
from recsdk.base import Array
from recsdk.policies import _ridge

NOBODY = -1


class ItemBeliefs(NamedTuple):
    """Posteriors of the items' weights, each N(mean, scale^2 root root^T); 8 N (D^2 + D + 1) bytes.

    Attributes:
        owner: i64[N], slot of the item that has the place, -1 for none.
        mean: f64[N, D].
        root: f64[N, D, D].
    """

    owner: Array
    mean: Array
    root: Array


class Observation(NamedTuple):
    """The update of one item by one reward.

    Attributes:
        slot: i64[], of the item.
        x: f64[D].
        reward: f64[].
        weight: f64[], 0 for nothing.
    """

    slot: Array
    x: Array
    reward: Array
    weight: Array


def init(num_items: int, prior: Array, ridge: float) -> ItemBeliefs:
    """Returns N = `num_items` places that nobody has."""
    xp = prior.__array_namespace__()
    fresh = _ridge.init(prior, ridge)
    owner = xp.full((num_items,), NOBODY, dtype=xp.int64)
    return ItemBeliefs(owner, *(xp.repeat(part[None], num_items, axis=0) for part in (fresh.mean, fresh.root)))


def find(items: ItemBeliefs, slots: Array, prior: Array, ridge: float) -> ItemBeliefs:
    """Returns the beliefs about the items of i64[K], one each, and the prior for those that have no place."""
    xp = slots.__array_namespace__()
    places = slots % items.owner.shape[0]
    owner = items.owner[places]
    owns = owner == slots
    fresh = _ridge.init(prior, ridge)
    mean = means(items, slots, prior)
    root = xp.where(owns[:, None, None], items.root[places], fresh.root[None, :, :])
    return ItemBeliefs(owner, mean, root)


def means(items: ItemBeliefs, slots: Array, prior: Array) -> Array:
    """Returns f64[K, D], the mean weights of each item of i64[K], and the prior for those that have no place."""
    xp = slots.__array_namespace__()
    places = slots % items.owner.shape[0]
    return xp.where((items.owner[places] == slots)[:, None], items.mean[places], prior[None, :])


def spread(items: ItemBeliefs, features: Array) -> Array:
    """Returns f64[K, D], root^T x of each candidate under the belief about its own item: its length is the standard deviation."""
    return (features[:, None, :] @ items.root)[:, 0, :]


def update(items: ItemBeliefs, seen: Observation, prior: Array, ridge: float) -> ItemBeliefs:
    """Conditions the belief about one item, which takes its place over from another if need be; O(D^2). Consumes `items`."""
    xp = seen.x.__array_namespace__()
    place = seen.slot % items.owner.shape[0]
    owner, mean, root = (part[place] for part in items)
    fresh = _ridge.init(prior, ridge)
    owns = owner == seen.slot
    known_mean, known_root = xp.where(owns, mean, fresh.mean), xp.where(owns, root, fresh.root)
    pull = seen.weight * (seen.reward - seen.x.dot(known_mean))
    new_mean, new_root = _ridge.condition(known_mean, known_root, seen.x.dot(known_root), pull, seen.weight)
    counts = seen.weight > 0
    rows = xp.where(counts, seen.slot, owner), xp.where(counts, new_mean, mean), xp.where(counts, new_root, root)
    return ItemBeliefs(*(arrays.put(part, place, row) for part, row in zip(items, rows, strict=True)))
