"""What items say of themselves, as a part of their vectors: on NumPy it serves, in a JAX trace it trains.

An item's vector is that of its id plus a projection of its features, hashed into 1,024 places: words and values weighted by how rare they
are, each feature brought to one length, numbers standardised. In training the ids of a share of the items are left out.

References:
    Volkovs, Yu, Poutanen, DropoutNet: Addressing Cold Start in Recommender Systems, NIPS 2017 (leaving out what a new item lacks);
    Weinberger, Dasgupta, Langford, Smola, Attenberg, Feature Hashing for Large Scale Multitask Learning, ICML 2009.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from recsdk.base import Array, Items
from recsdk.columns import NUMBER
from recsdk.data import take
from recsdk.encoders._bags import Bags, Column, Columns, bags, columns_of, each, learn_columns
from recsdk.errors import InvalidValue, nearest

NUM_BUCKETS = 2**15
"""Words and values whose rarity is told apart."""
WIDTH = 1024
"""Places into which they are hashed; the first is the same for all items."""
MOST_ROWS = 2**18
"""Rows of the tables in a training: their hashed features take 1 GiB, and each step multiplies them all."""
AT_ONCE = 1024


class Fused(NamedTuple):
    """The parameters of a model that knows items by their ids and by their features.

    Attributes:
        network: the parameters of the architecture. Outside of training its tables hold each item's whole vector, and in training that of
            its id.
        columns: the features that are read; None in training.
        rarity: f32[NUM_BUCKETS], how much a word or value counts; 0 for one that no fit has seen. None in training.
        inward: f32[WIDTH, D], from hashed features to what is added to `network.table`.
        outward: f32[WIDTH, D], to what is added to `network.output`; f32[0, D] where that is `table`.
    """

    network: Any
    columns: Columns
    rarity: np.ndarray
    inward: Array
    outward: Array


def network(params: Any) -> Any:
    """Returns the parameters of the architecture, in which each item has its whole vector."""
    return params.network if isinstance(params, Fused) else params


def learn(params: Fused, items: Items, names: tuple[str, ...], text: tuple[str, ...]) -> Fused:
    """Adds features, and words and values of them, that are new; those that are known keep their statistics.

    Raises:
        InvalidRequest: a feature that now holds another kind of value.
        InvalidValue: an item's feature that neither the items nor an earlier fit has.
    """
    there = {*items.features, *params.columns.name.tolist()}
    for name in names:
        if name not in there and len(items.ids):
            raise InvalidValue(f"item_features must name features of the items, got {name!r}.{nearest(name, there)}")
    columns = learn_columns({name: items.features[name] for name in names if name in items.features}, params.columns, text)
    rarity = params.rarity
    for group in _groups(columns):
        if group[0].kind != NUMBER:
            hashed, row = _hashed(group, items)
            pairs = np.unique(row * NUM_BUCKETS + hashed.bucket)
            count = np.bincount(pairs % NUM_BUCKETS, minlength=NUM_BUCKETS)
            found = np.where(count > 0, 1 + np.log((1 + len(items.ids)) / (1 + count)), 0)
            rarity = np.where(rarity > 0, rarity, found.astype(np.float32))
    return params._replace(columns=columns, rarity=rarity)


def features(params: Fused, items: Items) -> np.ndarray:
    """Returns f32[N, WIDTH], the items' hashed features.

    Raises:
        InvalidRequest: a feature that holds another kind of value than at the fit.
    """
    found = np.zeros((len(items.ids), WIDTH), np.float32)
    found[:, 0] = 1
    groups = _groups(params.columns)
    for group in groups:
        hashed, row = _hashed(group, items)
        if group[0].kind == NUMBER:
            weight = hashed.weight / np.float32(np.sqrt(len(group)))
        else:
            weight = hashed.weight * params.rarity[hashed.bucket]
            length = np.sqrt(np.bincount(row, weight * weight, minlength=len(found)))
            weight = weight / np.maximum(length[row], 1e-12).astype(np.float32)
        turn, place = np.divmod(hashed.bucket, WIDTH - 1)
        np.add.at(found, (row, 1 + place), np.where(turn % 2, -weight, weight))
    return found / np.float32(np.sqrt(1 + len(groups)))


def offered(params: Fused, items: Items) -> np.ndarray:
    """Returns f32[N, D], the vectors of items that have none of their own; each is the same to the last bit whatever stands beside it."""
    projection = params.outward if len(params.outward) else params.inward
    parts = [take(items, slice(first, first + AT_ONCE)) for first in range(0, max(len(items.ids), 1), AT_ONCE)]
    # One vector-matrix product per row, and not one of matrices: the latter's rounding depends on the number of rows.
    return np.concatenate([(features(params, part)[:, None] @ projection)[:, 0] for part in parts])


def fused(params: Fused, told: Array, keep: Array | None = None) -> Any:
    """Returns the architecture's parameters with each item's whole vector, from those with the vectors of ids.

    Args:
        params: with the vectors of ids, on NumPy or JAX, as `told`.
        told: f32[R, WIDTH], the hashed features of each row of the tables; zeros for one that has none.
        keep: f32[R], 0 for an item whose id is left out, else 1; None for all.
    """
    ids = params.network
    table, output = (part if keep is None or not len(part) else part * keep[:, None] for part in (ids.table, ids.output))
    return ids._replace(table=table + told @ params.inward, output=output + told @ params.outward if len(output) else output)


def parted(params: Fused, told: np.ndarray) -> Any:
    """Returns the architecture's parameters with the vectors of ids: what is left of each item's vector without its features."""
    whole = params.network
    output = whole.output - told @ params.outward if len(whole.output) else whole.output
    return whole._replace(table=whole.table - told @ params.inward, output=output)


def _groups(columns: Columns) -> list[list[Column]]:
    """Returns the numbers together, as coordinates of one vector, and every other feature by itself."""
    numbers = [column for column in each(columns) if column.kind == NUMBER]
    return [group for group in (numbers, *([column] for column in each(columns) if column.kind != NUMBER)) if group]


def _hashed(group: list[Column], items: Items) -> tuple[Bags, np.ndarray]:
    """Returns the buckets of some features, and the row of each."""
    found = bags(columns_of(group), items.features, len(items.ids), NUM_BUCKETS)
    row = np.repeat(np.arange(len(items.ids)), np.diff(found.start, append=len(found.bucket)))
    own = found.bucket > 0  # without what is in every bag
    return found._replace(bucket=found.bucket[own], weight=found.weight[own]), row[own]
