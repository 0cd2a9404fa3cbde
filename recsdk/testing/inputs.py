"""The inputs of the laws: contexts and logs made of fixed random numbers, the same in every run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from recsdk import arrays
from recsdk.base import Context, Interaction

DIM = 5
"""Number of features where a law does not need another: a policy on JAX is compiled anew for every width, and every size of a bucket."""

SIZES = {1: (1, 3, 100), DIM: (1, 2, 3, 17, 100), 64: (1, 17, 100)}
"""Numbers of candidates that are tried, by the number of features."""

NUM_SLOTS = 128
"""Catalogue slots in the kit's contexts and logs lie in [0, 128); those from 100 on never occur in a log."""

UNSEEN_SLOT = 100

Features = Callable[[np.random.Generator, int, int], np.ndarray]


class Case(NamedTuple):
    """A context, and how a failure calls it."""

    name: str
    context: Context


def _mixed(rng: np.random.Generator, num: int, dim: int) -> np.ndarray:
    return rng.standard_normal((num, dim)) * np.where(np.arange(dim) % 2, 1e-8, 1e8)


KINDS: dict[str, Features] = {
    "normal": lambda rng, num, dim: rng.standard_normal((num, dim)),
    "huge": lambda rng, num, dim: 1e8 * rng.standard_normal((num, dim)),
    "tiny": lambda rng, num, dim: 1e-8 * rng.standard_normal((num, dim)),
    "mixed": _mixed,
    "tied": lambda rng, num, dim: np.tile(rng.standard_normal(dim), (num, 1)),
    "half tied": lambda rng, num, dim: np.repeat(rng.standard_normal((num // 2 + 1, dim)), 2, axis=0)[:num],
    "zero": lambda rng, num, dim: np.zeros((num, dim)),
}
"""How the candidates' features are made."""

LEAST, MOST, _TEN = 5e-324, 1e30, np.arange(10.0)  # the smallest number there is; as large as a bad float32 score may come

EXTREMES: dict[str, np.ndarray] = {
    "all 0": 0 * _TEN,
    "0 and -0": np.where(_TEN % 2, 0.0, -0.0),
    "all 1": 1 + 0 * _TEN,
    "all 1e30": MOST + 0 * _TEN,
    "all -1e30": -MOST + 0 * _TEN,
    "one 1e30": MOST * (_TEN == 3),
    "one -1e30": -MOST * (_TEN == 3),
    "+-1e30": np.where(_TEN % 2, MOST, -MOST),
    "1e30, a rounding apart": MOST * (1 - 2e-16 * _TEN),
    "1e30 alone": np.array([MOST]),
    "1, a rounding apart": 1 + 2.0**-52 * _TEN,
    "two best": 1.0 * (_TEN < 2),
    "all but one best": 1.0 * (_TEN != 4),
    "all 5e-324": LEAST + 0 * _TEN,
    "denormal": LEAST * _TEN,
    "+-5e-324": np.where(_TEN % 2, LEAST, -LEAST),
    "+-1e-300": np.where(_TEN % 2, 1e-300, -1e-300),
    "1e-30 to 1e30": 10.0 ** np.linspace(-30, 30, 10),
    "1e8 apart": 1e8 * (_TEN - 5),
    "5e-324 beside 1e30": np.where(_TEN == 7, MOST, LEAST),
}
"""Scores by name: with D = 1 a linear policy's are multiples of them, with more each feature is."""


def case(num: int, dim: int, kind: str = "normal", *, padded: bool = False, unseen: bool = False, seed: int = 0) -> Case:
    """Makes one context.

    Args:
        num: K.
        dim: D.
        kind: one of `KINDS`.
        padded: every third place, but never the first, is padding.
        unseen: the candidates' slots are those that no log has; then K <= 28.
        seed: of its numbers.
    """
    rng = np.random.default_rng([seed, num, dim, *kind.encode()])
    slots = np.arange(UNSEEN_SLOT, NUM_SLOTS) if unseen else np.arange(UNSEEN_SLOT)
    mask = np.ones(num, bool)
    if padded:
        mask[2::3] = False
    context = Context(KINDS[kind](rng, num, dim), mask, rng.choice(slots, num, replace=False))
    return Case(f"{num} candidates of {dim} features, {kind}{', padded' if padded else ''}", context)


def extreme(which: str, dim: int) -> Case:
    """Makes a context whose candidates have each feature equal to a number of `EXTREMES[which]`; every fourth is padding."""
    scores = EXTREMES[which]
    mask = np.arange(len(scores)) % 4 != 3 if "one" not in which else np.ones(len(scores), bool)
    context = Context(np.tile(scores[:, None], (1, dim)), mask, np.arange(len(scores)))
    return Case(f"{len(scores)} candidates of {dim} features, {which}", context)


def log(num_rounds: int, num: int, dim: int, kind: str = "normal", *, seed: int = 0) -> Interaction:
    """Makes a log that was chosen uniformly at random, with padding in every third round and weights of 0.5, 1 and 2.

    Rewards are linear in the direction of the chosen features, with noise, and lie in [-2, 2] as all rewards in the kit.
    """
    rng = np.random.default_rng([seed, num_rounds, num, dim])
    truth = rng.standard_normal(dim)
    truth /= np.sqrt(truth @ truth)
    features = np.stack([KINDS[kind](rng, num, dim) for _ in range(num_rounds)])
    directions = features / np.linalg.norm(features, axis=2, keepdims=True)
    mask = np.ones((num_rounds, num), bool)
    if num > 2:
        mask[::3, num // 2] = False
    item = np.stack([rng.choice(UNSEEN_SLOT, num, replace=False) for _ in range(num_rounds)])
    action = np.array([rng.choice(np.flatnonzero(row)) for row in mask])
    mean = (directions @ truth)[np.arange(num_rounds), action]
    reward = mean + rng.uniform(-0.2, 0.2, num_rounds)
    weight = np.array([1.0, 0.5, 2.0, 1.0])[np.arange(num_rounds) % 4]
    return Interaction(Context(features, mask, item), action, reward, 1 / mask.sum(axis=1), weight)


def at(log: Interaction, row: Any) -> Interaction:
    """Returns a round, or with a slice a part, of a log."""
    return arrays.at(log, row)  # type: ignore[no-any-return]


def frozen(record: Any) -> Any:
    """Returns a copy of a record whose arrays cannot be written to."""

    def freeze(array: Any) -> np.ndarray:
        copy = np.array(array)
        copy.setflags(write=False)
        return copy

    return arrays.tree_map(freeze, record)
