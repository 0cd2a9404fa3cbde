"""Batches for training: the rewarded events of a log, cut into batches of few shapes, so that few programs are compiled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from recsdk.encoders._bags import Bags
from recsdk.encoders._tower import Tower

LEAST_STEPS = 16
"""Steps of an epoch below which the batches are made smaller, so that a short log teaches something too."""
LEAST_BATCH = 16
LEAST_ROWS = 64
LEAST_WIDTH = 4


class Examples(NamedTuple):
    """P pairs of a request and the item it took.

    Attributes:
        users: P bags.
        items: N bags, the catalogue.
        item: i64[P], which was taken.
        weight: f32[P], how much each counts, 1 on average.
        exposure: f32[N], log of how often each item was offered, relative to the others, as far as the log tells.
    """

    users: Bags
    items: Bags
    item: np.ndarray
    weight: np.ndarray
    exposure: np.ndarray


class Batch(NamedTuple):
    """B rows against C columns: column i < B is row i's own item, the rest are drawn from the catalogue.

    Attributes:
        users: i32[B, F] buckets and f32[B, F] weights, padded with weight 0.
        items: i32[C, G] and f32[C, G].
        item: i32[C].
        weight: f32[B].
        exposure: f32[C].
        log_count: f32[C], log of how often the column's item is expected among the columns.
    """

    users: tuple[np.ndarray, np.ndarray]
    items: tuple[np.ndarray, np.ndarray]
    item: np.ndarray
    weight: np.ndarray
    exposure: np.ndarray
    log_count: np.ndarray


class Compact(NamedTuple):
    """A tower with only those rows of its table that some bags use: the cost of a step does not depend on the size of the table.

    Attributes:
        tower: with the small table, padded with unused rows to a power of two.
        bags: into the small table.
        used: i64[V], the first V rows' places in the full table; the first is row 0.
    """

    tower: Tower
    bags: Bags
    used: np.ndarray


def compact(tower: Tower, bags: Bags) -> Compact:
    """Leaves out the rows that the bags do not use; Adam would not change them."""
    used, bucket = np.unique(bags.bucket, return_inverse=True)
    table = np.zeros((_power_of_two(max(len(used), LEAST_ROWS)), tower.table.shape[1]), np.float32)
    table[: len(used)] = tower.table[used]
    return Compact(tower._replace(table=table), bags._replace(bucket=bucket), used)


def expand(tower: Tower, small: Compact, full: Tower) -> Tower:
    """Returns the trained `tower` with its rows back in their places, and the others as they are in `full`."""
    table = full.table.copy()
    table[small.used] = tower.table[: len(small.used)]
    return tower._replace(table=table)


def batches(examples: Examples, size: int, num_steps: int, epochs: int, rng: np.random.Generator) -> Iterator[Batch]:
    """Yields every epoch's batches, in an order of its own; the last batch of an epoch is filled up from its beginning."""
    num_items = len(examples.items.start)
    users, items = padded(examples.users), padded(examples.items)
    taken = np.bincount(examples.item, minlength=num_items) / len(examples.item)
    log_count = np.log(size * taken + size / num_items).astype(np.float32)
    for _ in range(epochs):
        order = np.resize(rng.permutation(len(examples.item)), (num_steps, size))
        for rows in order:
            column = np.concatenate([examples.item[rows], rng.integers(num_items, size=size)])
            yield Batch(
                users=(users[0][rows], users[1][rows]),
                items=(items[0][column], items[1][column]),
                item=column.astype(np.int32),
                weight=examples.weight[rows],
                exposure=examples.exposure[column],
                log_count=log_count[column],
            )


def batch_size(num_examples: int, most: int) -> int:
    """Returns the largest power of two that leaves `LEAST_STEPS` an epoch, but not below `LEAST_BATCH`; `most` at most."""
    fitting: int = 2 ** max(num_examples // LEAST_STEPS, 1).bit_length() // 2
    return min(most, max(fitting, LEAST_BATCH))


def padded(bags: Bags) -> tuple[np.ndarray, np.ndarray]:
    """Returns i32[B, F] and f32[B, F], F the power of two that holds the largest bag: few shapes, few compilations."""
    length = np.diff(bags.start, append=len(bags.bucket))
    width = _power_of_two(max(int(length.max()), LEAST_WIDTH))
    row = np.repeat(np.arange(len(length)), length)
    place = np.arange(len(bags.bucket)) - bags.start[row]
    bucket, weight = np.zeros((len(length), width), np.int32), np.zeros((len(length), width), np.float32)
    bucket[row, place], weight[row, place] = bags.bucket, bags.weight
    return bucket, weight


def _power_of_two(size: int) -> int:
    """Returns the smallest that is not below `size`."""
    return 1 << (size - 1).bit_length()
