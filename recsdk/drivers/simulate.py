"""Simulation of a policy in a world whose truth is known, with rewards at once or late."""

from __future__ import annotations

import functools
from typing import Any, Literal, NamedTuple, Protocol, TypeVar, runtime_checkable

import attrs
import numpy as np

from recsdk import arrays
from recsdk.base import Array, Context, Interaction, Policy, Rng, decide
from recsdk.checks import number, require_integer
from recsdk.drivers import loop
from recsdk.errors import InvalidValue

W = TypeVar("W")


class Round(NamedTuple):
    """One round of a world, its truth included.

    Attributes:
        context: the candidates, as the policy sees them.
        mean: f64[K], expected reward of each candidate.
        reward: f64[K], one draw of the reward of each candidate.

    Example:
        >>> import numpy as np
        >>> from recsdk.environments import LinearWorld
        >>> world = LinearWorld(num_candidates=3, dim=2, noise=0.0)
        >>> round = world.round(world.init(0), np.random.default_rng(0), 0)
        >>> np.array_equal(round.mean, round.reward)
        True
    """

    context: Context
    mean: Array
    reward: Array


@runtime_checkable
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


class Delay(Protocol):
    """A model of when rewards arrive. No delay depends on what was shown, so all of them are known before the first round."""

    def rounds(self, num_rounds: int, seed: int) -> np.ndarray:
        """Returns i64[T], the number of rounds from each decision to its reward; with 0 it arrives before the next decision."""


@attrs.frozen(kw_only=True)
class GeometricDelay:
    """Geometric delays: a reward that has not arrived yet arrives in each round with probability 1 / (1 + mean).

    Attributes:
        mean: mean delay, in rounds; 0 for none.

    Example:
        >>> from recsdk import LinUCB, simulate
        >>> from recsdk.environments import GeometricDelay, LinearWorld
        >>> simulate(LinUCB(), LinearWorld(), 10, delay=GeometricDelay(mean=3), engine="numpy").log.reward.shape
        (10,)
    """

    mean: float = attrs.field(validator=number(at_least=0))

    def rounds(self, num_rounds: int, seed: int) -> np.ndarray:
        return np.random.default_rng([seed, *b"delay"]).geometric(1 / (1 + self.mean), num_rounds) - 1


class Simulation(NamedTuple):
    """Result of `simulate`.

    Attributes:
        state: the policy's last state.
        log: the interactions, with a leading T.
        regret: f64[T], expected reward of the best candidate less that of the chosen one, per round; >= 0.
        value: f64[T], expected reward of the policy's distribution, per round.
        mean: f64[T, K], expected reward of every candidate: the truth for an estimate from `log`.

    Example:
        >>> from recsdk import Uniform, simulate
        >>> from recsdk.environments import LinearWorld
        >>> played = simulate(Uniform(), LinearWorld(num_candidates=5), 20, engine="numpy")
        >>> played.log.action.shape, played.mean.shape, bool((played.regret >= 0).all())
        ((20,), (20, 5), True)
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
    """Runs a policy in a world for `num_rounds` rounds: it decides, gets a reward, and learns.

    A seed gives the same simulation on every machine and under every setting of JAX; the two engines draw different random numbers.

    Args:
        policy: configuration of the policy.
        environment: the world.
        num_rounds: T >= 1.
        state: state to start from, consumed; None for `policy.init(prior)`.
        seed: seed of the world, the rewards and the policy's choices, >= 0.
        prior: f64[D], belief about the weights; None for zeros.
        engine: "numpy", "jax", or "auto", which compiles where the policy runs on JAX and JAX is installed.
        delay: model of when rewards arrive, such as `recsdk.environments.GeometricDelay(mean=500)`; None for at once. A reward is learned
            when it arrives, and never if that is after the last round. The log and the regret are in the order of the decisions.

    Returns:
        The policy's last state, the log, and the truth beside it.

    Raises:
        InvalidValue: for an argument out of its range, or a policy that does not run on `engine`.

    Example:
        >>> from recsdk import LinTS, Uniform, simulate
        >>> from recsdk.environments import LinearWorld
        >>> learned, blind = (simulate(policy, LinearWorld(), 200, engine="numpy") for policy in (LinTS(), Uniform()))
        >>> bool(learned.regret.sum() < blind.regret.sum() / 2)
        True
    """
    require_integer("num_rounds", num_rounds, at_least=1)
    require_integer("seed", seed, at_least=0)
    require_environment(environment)
    engine = loop.choose_engine(policy, engine)
    prior = loop.belief(prior, environment.dim)
    if state is None:
        state = loop.init(policy, prior)
    world = environment.init(seed)
    if delay is not None:
        return _simulate_late(policy, environment, state, world, schedule(delay.rounds(num_rounds, seed)), engine, seed)
    step = _step(policy, environment)  # type: ignore[arg-type]  # frozen configs are hashable
    (state, _), outputs = loop.run(step, (state, world), np.arange(num_rounds), engine=engine, seed=seed, stream=loop.SIMULATE)
    return Simulation(state, *outputs)


def require_environment(environment: Any) -> None:
    """Refuses what is not a world.

    Raises:
        InvalidValue: naming what was given.
    """
    if isinstance(environment, type) or not isinstance(environment, Environment):
        raise InvalidValue(f"environment must be a world, such as recsdk.environments.LinearWorld(), got {environment!r}.")


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


class Event(NamedTuple):
    """Decisions and arrivals of rewards, E of them.

    Attributes:
        time: i64[E], number of the round of the decision, or of the decision that the reward belongs to.
        slot: i64[E], place where the interaction waits between the two.
        decides: bool[E], true for a decision.
    """

    time: Array
    slot: Array
    decides: Array


class Schedule(NamedTuple):
    """The order of decisions and arrivals.

    Attributes:
        events: T decisions, and the rewards that arrive by the end of round T - 1; a reward comes after its decision.
        num_slots: largest number of interactions that wait at the same time.
    """

    events: Event
    num_slots: int


def schedule(delays: Any) -> Schedule:
    """Orders the decisions and arrivals of i64[T] delays; rewards of one round arrive in the order of their decisions.

    Raises:
        InvalidValue: delays that are not whole numbers >= 0.
    """
    if not isinstance(delays, np.ndarray) or delays.ndim != 1 or delays.dtype != np.int64 or (len(delays) and delays.min() < 0):
        raise InvalidValue(f"delay must give int64[T] >= 0, got {delays!r}.")
    rounds = np.arange(len(delays))
    arrives = rounds + delays
    seen = arrives < len(delays)
    time, at = np.concatenate([rounds, rounds[seen]]), np.concatenate([rounds, arrives[seen]])
    decides = np.arange(len(time)) < len(rounds)
    order = np.lexsort((time, ~decides, at))
    time, decides = time[order], decides[order]
    slot, num_slots = _slots(time, decides, seen)
    return Schedule(Event(time, slot, decides), num_slots)


def _slots(time: np.ndarray, decides: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, int]:
    """Gives each interaction a slot from its decision to its arrival; one whose reward never arrives frees its slot at once."""
    of_round, slots = np.zeros(len(seen), np.int64), np.zeros(len(time), np.int64)
    free: list[int] = []
    num_slots = 0
    for event, (index, is_decision) in enumerate(zip(time.tolist(), decides.tolist(), strict=True)):
        if is_decision:
            if not free:
                free.append(num_slots)
                num_slots += 1
            of_round[index] = free.pop()
        if not (is_decision and seen[index]):
            free.append(int(of_round[index]))
        slots[event] = of_round[index]
    return slots, num_slots


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
