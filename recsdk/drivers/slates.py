"""Simulation of a policy that fills a slate in each round."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple, Protocol

import numpy as np

from recsdk import arrays
from recsdk.base import Array, Interaction, Policy, Rng, decide_slate
from recsdk.checks import require_integer
from recsdk.drivers import loop
from recsdk.drivers.simulate import Environment, require_environment


class Attention(Protocol):
    """A model of which positions of a slate the user looks at. Its methods are array-API code, so that a simulation compiles."""

    def look(self, rng: Rng, reward: Array) -> tuple[Array, Array]:
        """Returns the rewards given, and the weights to learn with, f64[L] both; `reward` f64[L] is what each position would get alone.

        A weight is 0 where it is known that nobody looked.
        """

    def value(self, mean: Array) -> Array:
        """Returns f64[], the expected sum of rewards of a slate with means f64[L]; best where the means descend."""


class SlateSimulation(NamedTuple):
    """Result of `simulate_slates`: T rounds of L positions.

    Attributes:
        state: the policy's last state.
        log: the interactions, with a leading T * L: the positions of a round stand together, from the top, each with the candidates that
            remained and its own exact propensity.
        position: i64[T * L], from 0 at the top.
        regret: f64[T], expected reward of the best slate less that of the one shown; >= 0.

    Example:
        >>> from recsdk import Uniform, simulate_slates
        >>> from recsdk.environments import LogisticWorld, PositionBias
        >>> played = simulate_slates(Uniform(), LogisticWorld(), 5, size=3, attention=PositionBias(), engine="numpy")
        >>> played.position
        array([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2])
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
    """Runs a policy that fills a slate in each round by `decide_slate`, and learns from each position's reward, from the top.

    Args:
        policy: configuration of the policy.
        environment: the world; every round of it must have at least `size` candidates.
        num_rounds: T >= 1.
        size: L >= 1, number of positions.
        attention: model of what the user looks at: `recsdk.environments.PositionBias` or `Cascade`.
        state: state to start from, consumed; None for `policy.init(prior)`.
        seed: seed of the world, the rewards and the policy's choices, >= 0.
        prior: f64[D], belief about the weights; None for zeros.
        engine: "numpy", "jax", or "auto", which compiles where the policy runs on JAX and JAX is installed.

    Returns:
        The last state, the log by position, and the regret.

    Raises:
        InvalidValue: for an argument out of its range, or a policy that does not run on `engine`.
        TooFewCandidates: when a round has fewer than `size` candidates; on JAX masked ones count.

    Example:
        >>> from recsdk import LinUCB, simulate_slates
        >>> from recsdk.environments import Cascade, LogisticWorld
        >>> played = simulate_slates(LinUCB(), LogisticWorld(), 50, size=2, attention=Cascade(), engine="numpy")
        >>> played.log.reward.shape, played.regret.shape
        ((100,), (50,))
    """
    require_integer("num_rounds", num_rounds, at_least=1)
    require_integer("size", size, at_least=1)
    require_integer("seed", seed, at_least=0)
    require_environment(environment)
    engine = loop.choose_engine(policy, engine)
    prior = loop.belief(prior, environment.dim)
    if state is None:
        state = loop.init(policy, prior)
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
