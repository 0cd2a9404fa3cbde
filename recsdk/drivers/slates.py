"""Plays a policy against a world that is shown several candidates at once."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple, Protocol

import numpy as np

from recsdk import arrays
from recsdk.base import Array, Interaction, Policy, Rng, decide_slate
from recsdk.checks import require_integer
from recsdk.drivers import loop
from recsdk.drivers.simulate import Environment


class Attention(Protocol):
    """What of a slate is looked at. Its methods are array-API code, so that a simulation compiles."""

    def look(self, rng: Rng, reward: Array) -> tuple[Array, Array]:
        """Returns what is given of the rewards that each position would get by itself, and the weights to learn with, f64[L] both.

        A weight is 0 where it is known that nobody looked.
        """

    def value(self, mean: Array) -> Array:
        """Returns f64[], the expected sum of rewards of a slate with means f64[L]; best where the means descend."""


class SlateSimulation(NamedTuple):
    """What happened; T rounds of L positions.

    Attributes:
        state: the policy's last state.
        log: the interactions, with a leading T * L: the positions of a round stand together, from the top, each with the candidates that
            remained and its own exact propensity.
        position: i64[T * L], from 0 at the top.
        regret: f64[T], expected reward of the best slate less that of the one shown; >= 0.
    """

    state: Any
    log: Interaction
    position: np.ndarray
    regret: np.ndarray


def simulate_slates(
    policy: Policy[Any],
    environment: Environment[Any],
    num_rounds: int,
    *,
    size: int,
    attention: Attention,
    state: Any = None,
    seed: int = 0,
    prior: Array | None = None,
    engine: loop.Engine = "auto",
) -> SlateSimulation:
    """Lets a policy fill a slate in each round by `decide_slate`, be rewarded by position, and learn from each, from the top.

    Args:
        policy: the policy to run, by its configuration.
        environment: the world; every round of it must have at least `size` candidates.
        num_rounds: T >= 1.
        size: L >= 1.
        attention: what is looked at: `recsdk.environments.PositionBias` or `Cascade`.
        state: where to start from, consumed; None for `policy.init(prior)`.
        seed: of the world, the rewards and the policy's choices.
        prior: f64[D], belief about the weights; None for zeros.
        engine: "auto" compiles where the policy runs on JAX and JAX is installed.

    Raises:
        InvalidValue: when `num_rounds` or `size` is below 1, or the policy does not run on `engine`.
        TooFewCandidates: when a round has fewer than `size` candidates; on JAX masked ones count.
    """
    require_integer("num_rounds", num_rounds, at_least=1)
    require_integer("size", size, at_least=1)
    engine = loop.choose_engine(policy, engine)
    if state is None:
        state = loop.init(policy, np.zeros(environment.dim) if prior is None else prior)
    carry = state, environment.init(seed)
    step = _step(policy, environment, size, attention)  # type: ignore[arg-type]  # frozen configs are hashable
    (state, _), (log, regret) = loop.run(step, carry, np.arange(num_rounds), engine=engine, seed=seed, stream=loop.SIMULATE)
    rows = arrays.tree_map(lambda array: array.reshape(-1, *array.shape[2:]), log)
    return SlateSimulation(state, rows, np.tile(np.arange(size), num_rounds), regret)


@functools.lru_cache(maxsize=128)  # one function object per question, so that it is compiled once
def _step(policy: Policy[Any], environment: Environment[Any], size: int, attention: Attention) -> loop.Step:
    def step(carry: tuple[Any, Any], rng: Rng, time: Array) -> tuple[tuple[Any, Any], Any]:
        state, world = carry
        context, mean, reward = environment.round(world, rng, time)
        action, propensity, _ = decide_slate(policy, state, rng, context, size)
        given, weight = attention.look(rng, reward[action])
        xp = mean.__array_namespace__()
        mask, places, rows = context.mask, xp.arange(len(context.mask)), []
        for position in range(size):
            of_position = context._replace(mask=mask)
            row = Interaction(of_position, action[position], given[position], propensity[position], weight[position])
            state, mask = policy.update(state, row), mask & (places != action[position])
            rows.append(row)
        best = -xp.sort(-xp.where(context.mask, mean, -xp.inf))[:size]
        log = arrays.tree_map(lambda *arrays: xp.stack([xp.asarray(array) for array in arrays]), *rows)
        return (state, world), (log, attention.value(best) - attention.value(mean[action]))

    return step
