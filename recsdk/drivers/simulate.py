"""Plays a policy against a world whose truth is known."""

from __future__ import annotations

import functools
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

import numpy as np

from recsdk import arrays
from recsdk.base import Array, Context, Interaction, Policy, Rng, decide
from recsdk.checks import require_integer
from recsdk.drivers import loop
from recsdk.drivers.delay import Delay, Event, Schedule, schedule

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
    def dim(self) -> int:
        """Returns D."""

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
    engine: loop.Engine = "auto",
    delay: Delay | None = None,
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
        delay: when rewards arrive, such as `recsdk.environments.GeometricDelay(mean=500)`; None for at once. A reward is learned when it
            arrives, and not at all where that is after the last round. The log and the regret are in the order of the decisions.

    Raises:
        InvalidValue: when `num_rounds` is below 1, or the policy does not run on `engine`.
    """
    require_integer("num_rounds", num_rounds, at_least=1)
    engine = loop.choose_engine(policy, engine)
    if state is None:
        state = loop.init(policy, np.zeros(environment.dim) if prior is None else prior)
    world = environment.init(seed)
    if delay is not None:
        return _simulate_late(policy, environment, state, world, schedule(delay.rounds(num_rounds, seed)), engine, seed)
    step = _step(policy, environment)  # type: ignore[arg-type]  # frozen configs are hashable
    (state, _), outputs = loop.run(step, (state, world), np.arange(num_rounds), engine=engine, seed=seed, stream=loop.SIMULATE)
    return Simulation(state, *outputs)


def step_of(policy: Policy[Any], environment: Environment[Any]) -> loop.Step:
    """Returns one round of a simulation: carries the state and the world, gives the fields of `Simulation` after `state`."""

    def step(carry: tuple[Any, Any], rng: Rng, time: Array) -> tuple[tuple[Any, Any], Any]:
        state, world = carry
        played = _play(policy, environment, state, world, rng, time)
        return (policy.update(state, played[0]), world), played

    return step


_step = functools.lru_cache(maxsize=128)(step_of)  # one function object per question, so that it is compiled once


def _play(policy: Policy[Any], environment: Environment[Any], state: Any, world: Any, rng: Rng, time: Array) -> tuple[Any, ...]:
    """Decides one round; returns the fields of `Simulation` after `state`."""
    context, mean, reward = environment.round(world, rng, time)
    action, propensity, probs = decide(policy, state, rng, context)
    xp = mean.__array_namespace__()
    interaction = Interaction(context, action, reward[action], propensity, xp.ones_like(propensity))
    best = xp.where(context.mask, mean, -xp.inf).max()
    return interaction, best - mean[action], probs @ mean, mean


def _simulate_late(
    policy: Policy[Any], environment: Environment[Any], state: Any, world: Any, plan: Schedule, engine: Literal["numpy", "jax"], seed: int
) -> Simulation:
    waiting = waiting_room(environment, world, plan.num_slots)
    step = _late_step(policy, environment)  # type: ignore[arg-type]  # frozen configs are hashable
    (state, _, _), outputs = loop.run(step, (state, world, waiting), plan.events, engine=engine, seed=seed, stream=loop.SIMULATE)
    return Simulation(state, *arrays.at(outputs, plan.events.decides))


def waiting_room(environment: Environment[Any], world: Any, num_slots: int) -> Interaction:
    """Returns slots for interactions whose rewards are to come; each holds a round of weight 0."""
    context = environment.round(world, np.random.default_rng(0), np.int64(0)).context  # for the shapes of its arrays
    nothing = Interaction(context, np.int64(0), np.float64(0), np.float64(1), np.float64(0))
    return arrays.stack([nothing] * num_slots)  # type: ignore[no-any-return]


def late_step_of(policy: Policy[Any], environment: Environment[Any]) -> loop.Step:
    """Returns one event of a simulation with delay: carries the state, the world and what waits; gives what `step_of` gives."""

    def step(carry: tuple[Any, Any, Any], rng: Rng, event: Event) -> tuple[tuple[Any, Any, Any], Any]:
        state, world, waiting = carry

        def decides(state: Any, arrived: Interaction) -> tuple[Any, Any]:
            del arrived
            return state, _play(policy, environment, state, world, rng, event.time)

        def learns(state: Any, arrived: Interaction) -> tuple[Any, Any]:
            nothing = 0 * arrived.reward
            return policy.update(state, arrived), (arrived, nothing, nothing, 0 * arrived.context.features[:, 0])

        state, outputs = arrays.either(event.decides, decides, learns, state, arrays.at(waiting, event.slot))
        return (state, world, arrays.tree_map(lambda kept, given: arrays.put(kept, event.slot, given), waiting, outputs[0])), outputs

    return step


_late_step = functools.lru_cache(maxsize=128)(late_step_of)
