"""Plays a policy against a world whose truth is known."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from recsdk import _loop
from recsdk.base import Array, Context, Interaction, Policy, Rng, decide
from recsdk.checks import require_integer

W = TypeVar("W")


class Round(NamedTuple):
    """What a world holds ready for one round.

    Attributes:
        context: what the policy may see.
        mean: f64[K], the expected reward of each candidate.
        reward: f64[K], the reward that each candidate would get, one draw.
    """

    context: Context
    mean: Array
    reward: Array


class Environment(Protocol[W]):
    """A world with known truth. Its methods are array-API code, so that a simulation compiles.

    Attributes:
        dim: D, the width of the features.
    """

    @property
    def dim(self) -> int: ...

    def init(self, seed: int) -> W:
        """Returns the world: a record of arrays, made once, on NumPy."""

    def round(self, world: W, rng: Rng, time: Array) -> Round:
        """Returns round number `time`, an i64[] from 0 on."""


class Simulation(NamedTuple):
    """What happened.

    Attributes:
        state: the policy's last state.
        log: the interactions, with a leading T.
        regret: f64[T], expected reward of the best candidate less that of the chosen one, per round; >= 0.
        value: f64[T], expected reward of the policy's distribution, per round.
        mean: f64[T, K], the expected reward of every candidate: the truth that an estimate from `log` is to find.
    """

    state: Any
    log: Interaction
    regret: np.ndarray
    value: np.ndarray
    mean: np.ndarray


def simulate(
    policy: Policy[Any],
    environment: Environment[Any],
    num_rounds: int,
    *,
    state: Any = None,
    seed: int = 0,
    prior: Array | None = None,
    engine: _loop.Engine = "auto",
) -> Simulation:
    """Lets a policy decide, be rewarded and learn for `num_rounds` rounds.

    Args:
        policy: the policy to run, by its configuration.
        environment: the world to run it in.
        num_rounds: T >= 1.
        state: where to start from, consumed; None for `policy.init(prior)`.
        seed: of the world, the rewards and the policy's choices.
        prior: f64[D], belief about the weights; None for zeros.
        engine: "auto" compiles where the policy runs on JAX and JAX is installed.

    Raises:
        InvalidValue: when `num_rounds` is below 1, or the policy does not run on `engine`.
    """
    require_integer("num_rounds", num_rounds, at_least=1)
    if state is None:
        state = policy.init(np.zeros(environment.dim) if prior is None else prior)
    carry, rounds = (state, environment.init(seed)), np.arange(num_rounds)
    step = _step(policy, environment)  # type: ignore[arg-type]  # frozen configs are hashable
    engine = _loop.choose_engine(policy, engine)
    (state, _), outputs = _loop.run(step, carry, rounds, engine=engine, seed=seed, stream=_loop.SIMULATE)
    return Simulation(state, *outputs)


def step_of(policy: Policy[Any], environment: Environment[Any]) -> _loop.Step:
    """Returns one round of a simulation: carries the state and the world, gives the fields of `Simulation` after `state`."""

    def step(carry: tuple[Any, Any], rng: Rng, time: Array) -> tuple[tuple[Any, Any], Any]:
        state, world = carry
        context, mean, reward = environment.round(world, rng, time)
        action, propensity, probs = decide(policy, state, rng, context)
        xp = mean.__array_namespace__()
        interaction = Interaction(context, action, reward[action], propensity, xp.ones_like(propensity))
        best = xp.where(context.mask, mean, -xp.inf).max()
        state = policy.update(state, interaction)
        return (state, world), (interaction, best - mean[action], probs @ mean, mean)

    return step


_step = functools.lru_cache(maxsize=128)(step_of)  # one function object per question, so that it is compiled once
