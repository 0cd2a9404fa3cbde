"""Who plays the worlds of `online.py`, and how: everyone meets the same visits in the same order."""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import attrs
import contestants
import numpy as np
from online_worlds import Played, World

import recsdk
from recsdk import Context, Interaction, Policy, explore
from recsdk.base import Array, Rng
from recsdk.live import features as phi

FLOOR = 0.05
"""Share of uniform exploration that the recommender adds to every policy."""


class Sets(NamedTuple):
    """The features of all visits in the order of play: with the encoder, f64[T, K, D], and without."""

    phi: np.ndarray
    raw: np.ndarray


Play = Callable[[World, np.ndarray, Sets, int], np.ndarray]
"""From a world, the order of its visits, their features and a seed to f64[T], the expected reward of each decision."""


@attrs.frozen(kw_only=True, eq=False)
class Rates:
    """Shows the item with the best mean reward so far, the past included.

    Attributes:
        sums: f64[N], rewards of each item in the past.
        counts: f64[N], how many these are.
    """

    runs_on: ClassVar[tuple[str, ...]] = ("numpy",)
    learns_from: ClassVar[str] = "chosen"

    sums: np.ndarray
    counts: np.ndarray

    def init(self, prior: Array) -> tuple[np.ndarray, np.ndarray]:
        """See `recsdk.Policy`."""
        del prior
        return self.sums.copy(), self.counts.copy()

    def probs(self, state: tuple[np.ndarray, np.ndarray], rng: Rng, context: Context) -> Array:
        """See `recsdk.Policy`."""
        del rng
        sums, counts = state
        return explore.greedy(sums[context.item] / counts[context.item], context.mask)

    def update(self, state: tuple[np.ndarray, np.ndarray], interaction: Interaction) -> tuple[np.ndarray, np.ndarray]:
        """See `recsdk.Policy`."""
        sums, counts = state
        slot = interaction.context.item[interaction.action]
        sums[slot] += interaction.reward
        counts[slot] += 1
        return state


def own(make: Callable[[World], Policy[Any]], *, encoded: bool = False, floor: float = FLOOR) -> Play:
    """Plays a policy of recsdk; with the encoder's features it begins at the prior that the recommender gives it."""

    def play(world: World, order: np.ndarray, sets: Sets, seed: int) -> np.ndarray:
        policy = make(world)
        if floor:
            policy = recsdk.WithFloor(policy=policy, floor=floor)
        visits, table = world.visits, sets.phi if encoded else sets.raw
        num_columns = 1 + len(world.told)
        prior = phi.prior(num_columns, dim=table.shape[2] - num_columns - 2) if encoded else None
        played = Played(features=table, item=visits.item[order], reward=visits.reward[order])
        return recsdk.simulate(policy, played, len(order), seed=seed, prior=prior, engine="numpy").value

    return play


def vw(options: str, *, encoded: bool) -> Play:
    """Plays Vowpal Wabbit, which sees the same features, and which item each is; crossed with each feature where the world needs that."""

    def play(world: World, order: np.ndarray, sets: Sets, seed: int) -> np.ndarray:
        from vowpalwabbit import Workspace

        crossed = "--interactions fi " if world.crossed and not encoded else ""
        model = f"{crossed}--bit_precision 22 --cb_min_cost -1 --cb_max_cost 0 --quiet"
        workspace, draw = Workspace(f"--cb_explore_adf {options} {model} --random_seed {seed + 1}"), random.Random(seed)
        table, visits, values = sets.phi if encoded else sets.raw, world.visits, []
        for row, place in enumerate(order):
            lines = [f"{line} |i {item}" for line, item in zip(contestants.vw_lines(table[row]), visits.item[place], strict=True)]
            probs = workspace.predict(lines)
            (action,) = draw.choices(range(len(lines)), probs)
            reward = visits.reward[place]
            lines[action] = f"0:{-reward[action]}:{probs[action]} {lines[action]}"
            workspace.learn(lines)
            values.append(reward.dot(probs) / sum(probs))
        return np.array(values)

    return play


SUBJECTS = ("encoder + wide-deep", "encoder + lin-ts")
"""Who is compared with everybody: our default policy, and the one that begins at the encoder's ranking."""
SLOW = "VW"
"""Who plays one order alone: an event of 20 candidates takes a millisecond, as text."""
OURS: dict[str, Play] = {
    "encoder + wide-deep": own(lambda world: recsdk.WideDeep(), encoded=True),
    "encoder + lin-ts": own(lambda world: recsdk.LinTS(), encoded=True),
    "encoder alone": own(lambda world: recsdk.ByColumn(), encoded=True),
    "encoder alone, no floor": own(lambda world: recsdk.ByColumn(), encoded=True, floor=0),
    "wide-deep": own(lambda world: recsdk.WideDeep()),
    "lin-ts": own(lambda world: recsdk.LinTS()),
    "popularity": own(lambda world: recsdk.ByColumn()),
    "popularity, no floor": own(lambda world: recsdk.ByColumn(), floor=0),
    "popularity that learns": own(lambda world: Rates(sums=world.sums, counts=world.counts)),
    "random": own(lambda world: recsdk.Uniform(), floor=0),
}
PEERS: dict[str, Play] = {
    "encoder + VW regcb": vw("--regcbopt --mellowness 0.0001", encoded=True),
    "VW regcb": vw("--regcbopt --mellowness 0.0001", encoded=False),
}
"""Of squarecb, regcb and epsilon-greedy this earned most in 4,000 visits to the cinema."""
EVERYONE = OURS | (PEERS if importlib.util.find_spec("vowpalwabbit") else {})
"""Who plays, by name. Without the encoder a policy sees what is told of the user, and the films' genres and how the user liked these."""
