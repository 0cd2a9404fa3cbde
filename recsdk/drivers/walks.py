"""The walks of a sweep: many compiled into one program on JAX, or one by one on NumPy by an executor. Each keeps only its sums.

One compiled program serves all settings that differ in nothing but floats: `values` takes the floats out of a config, `replaced` puts
others in, which may be tracers.
"""

from __future__ import annotations

import collections
import functools
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import attrs
import numpy as np

from recsdk import arrays, fast, states
from recsdk.base import Array, Interaction, Policy, Rng
from recsdk.checks import require_integer
from recsdk.drivers import loop, replay, simulate
from recsdk.drivers.executors import Executor
from recsdk.drivers.replay import LearnFrom
from recsdk.drivers.simulate import Delay, Environment, Event, schedule
from recsdk.errors import InvalidValue, one_of

AT_ONCE = 256
"""Largest number of walks in one compiled program, so that their states fit into memory."""


SHARED = 4
"""Where more walks learn the same of a log, JAX, which learns it once for all of them, is quicker than Numba."""


class Sums(NamedTuple):
    """Result of a walk: sums over its rounds, where r is the reward less the log's mean, and w its weight in the estimate.

    Attributes:
        num: i64[], rounds with w > 0.
        w, wr, ww, wwr, wwrr: f64[], of these products.
        regret: f64[], of the regret.
    """

    num: Array
    w: Array
    wr: Array
    ww: Array
    wwr: Array
    wwrr: Array
    regret: Array


class Task(NamedTuple):
    """The rounds of a sweep, the same for every policy.

    Attributes:
        rounds: the log, or i64[T], the numbers of the rounds.
        environment: the world, or None for a log.
        learn_from: as for `replay`.
        prior: f64[D].
        delay: of the rewards in the world, or None.
        centre: f64[], subtracted from the rewards, since sums of squares of small differences are exact.
    """

    rounds: Any
    environment: Environment[Any] | None
    learn_from: LearnFrom
    prior: np.ndarray
    delay: Delay | None
    centre: np.ndarray

    @property
    def num_rounds(self) -> int:
        """Returns T."""
        return len(next(arrays.leaves(self.rounds)))

    @property
    def stream(self) -> int:
        """Returns the driver's stream of randomness."""
        return loop.REPLAY if self.environment is None else loop.SIMULATE

    def lives(self, seeds: list[int]) -> tuple[list[Any], Any]:
        """Returns what belongs to each seed, and the rounds that all seeds walk, or with a delay the numbers of the events."""
        if self.environment is None:
            return [()] * len(seeds), self.rounds
        worlds = [self.environment.init(seed) for seed in seeds]
        if self.delay is None:
            return worlds, self.rounds
        plans = [schedule(self.delay.rounds(self.num_rounds, seed)) for seed in seeds]
        num_slots, num_events = 1 + max(plan.num_slots for plan in plans), max(len(plan.events.time) for plan in plans)
        nothing = Event(0, num_slots - 1, False)  # learns the round of weight 0 in the last slot: so all seeds have as many events
        own = []
        for world, plan in zip(worlds, plans, strict=True):
            missing = [(0, num_events - len(plan.events.time))]
            padded = (np.pad(kept, missing, constant_values=more) for kept, more in zip(plan.events, nothing, strict=True))
            own.append((world, simulate.waiting_room(self.environment, world, num_slots), Event(*padded)))
        return own, np.arange(num_events)


def task_of(source: Any, num_rounds: int | None, learn_from: LearnFrom, prior: Array | None, delay: Delay | None) -> Task:
    """Checks the arguments of a sweep that describe its rounds; see `recsdk.sweep`."""
    one_of("learn_from", learn_from, ("all", "matched", "none"))
    if num_rounds is not None:
        require_integer("num_rounds", num_rounds, at_least=1)
    if isinstance(source, Interaction):
        if delay is not None:
            raise InvalidValue(f"delay goes with a world: a log's rewards have come, got {delay!r}.")
        replay.require_log("log_or_environment", source)
        if num_rounds is not None and num_rounds > len(source.reward):
            raise InvalidValue(f"num_rounds must be at most {len(source.reward)}, the rows of the log, got {num_rounds}.")
        log = arrays.at(source, slice(num_rounds))
        dim, rounds, environment, centre = log.context.features.shape[-1], log, None, log.reward.mean()
    else:
        if isinstance(source, type) or not isinstance(source, Environment):
            wanted = "log_or_environment must be a log (recsdk.Interaction) or a world, such as recsdk.environments.LinearWorld()"
            raise InvalidValue(f"{wanted}, got {source!r}.")
        if num_rounds is None:
            raise InvalidValue("num_rounds must be given for a world, a whole number >= 1, got None.")
        if learn_from != "all":
            raise InvalidValue(f"learn_from must be 'all' in a world, where a policy learns what it did, got {learn_from!r}.")
        dim, rounds, environment, centre = source.dim, np.arange(num_rounds), source, np.float64(0)
    return Task(rounds, environment, learn_from, loop.belief(prior, dim), delay, np.asarray(centre))


def engines(task: Task, policies: list[Policy[Any]], num_seeds: int, engine: replay.Engine) -> dict[Policy[Any], str]:
    """Returns where each policy walks; see `recsdk.sweep` for the rule of "auto"."""
    if task.environment is not None:
        return {policy: loop.choose_engine(policy, engine) for policy in policies}  # type: ignore[arg-type]  # it refuses Numba
    if engine != "auto":
        return {policy: replay.choose_engine(policy, engine, task.num_rounds) for policy in policies}
    chosen: dict[Policy[Any], str] = {policy: loop.choose_engine(policy, "auto") for policy in policies}
    if fast.enabled() and task.num_rounds * len(policies) * num_seeds > replay.FEW_ROUNDS:
        learned = {policy: _learned(task, policy) for policy in policies if replay.has_loops(policy)}
        num_alike = collections.Counter(learned.values()) if task.learn_from != "matched" else collections.Counter()
        chosen |= {
            policy: "numba" for policy, what in learned.items() if num_alike[what] * num_seeds <= SHARED or chosen[policy] == "numpy"
        }
    return chosen


def _learned(task: Task, policy: Policy[Any]) -> Any:
    """Returns a key that is the same for policies of one compiled program that begin alike, and so learn the same of a log."""
    return replaced(policy, [0.0] * len(values(policy))), states.digest(policy, policy.init(task.prior))


@functools.lru_cache(maxsize=128)  # one function object per question, so that it is compiled once
def _begin(template: Policy[Any], environment: Environment[Any] | None, learn_from: LearnFrom, is_late: bool) -> loop.Begin:
    def begin(setting: tuple[Any, ...], shared: tuple[Array, Array], world: Any) -> tuple[loop.Step, Any]:
        policy, (prior, centre) = replaced(template, setting) if setting else template, shared
        if environment is None:
            step = functools.partial(_on_log, replay.step_of(policy, learn_from, _at_once), centre)
        elif is_late:
            step = functools.partial(_in_late_world, simulate.late_step_of(policy, environment))
        else:
            step = functools.partial(_in_world, simulate.step_of(policy, environment))
        zero = prior.__array_namespace__().zeros((), dtype=prior.dtype)
        return step, ((policy.init(prior), world), Sums(*([zero] * len(Sums._fields))))

    return begin


def _at_once(probs: Array, weight: Array) -> Array:
    """Is the `weight_after` of a sweep, where settings share a state that must not depend on what each of them decides."""
    del probs
    return weight


def _on_log(step: loop.Step, centre: Array, carry: Any, rng: Rng, logged: Interaction) -> tuple[Any, None]:
    (state, world), sums = carry
    state, (decision, _) = step(state, rng, logged)
    weight = logged.weight * decision.probs[logged.action] / logged.propensity
    return ((state, world), _added(sums, weight, logged.reward - centre, 0 * centre)), None


def _in_world(step: loop.Step, carry: Any, rng: Rng, time: Array) -> tuple[Any, None]:
    lived, sums = carry
    lived, (interaction, regret, _, _) = step(lived, rng, time)
    return (lived, _added(sums, interaction.weight, interaction.reward, regret)), None


def _in_late_world(step: loop.Step, carry: Any, rng: Rng, index: Array) -> tuple[Any, None]:
    (state, (world, waiting, events)), sums = carry
    event = arrays.at(events, index)
    (state, world, waiting), (interaction, regret, _, _) = step((state, world, waiting), rng, event)
    weight = event.decides.astype("float64")  # a reward that arrives was counted when it was decided on
    return ((state, (world, waiting, events)), _added(sums, weight, interaction.reward, regret)), None


def _added(sums: Sums, w: Array, r: Array, regret: Array) -> Sums:
    wr = w * r
    terms = ((w > 0).astype("float64"), w, wr, w * w, w * wr, wr * wr, regret)
    return Sums(*(total + term for total, term in zip(sums, terms, strict=True)))


Found = tuple[Policy[Any], int, Sums, str]
"""Policy, seed, what its walk found, and which engine walked."""


def compiled(task: Task, policies: list[Policy[Any]], seeds: list[int]) -> Iterator[Found]:
    """Walks on JAX: a program for each group of policies that differ in floats only."""
    groups: dict[Policy[Any], list[Policy[Any]]] = {}
    for policy in policies:
        groups.setdefault(replaced(policy, [0.0] * len(values(policy))), []).append(policy)
    for template, group in groups.items():
        for some_seeds in _parts(seeds, AT_ONCE):
            for some in _parts(group, max(1, AT_ONCE // len(some_seeds))):
                yield from _together(task, template, some, some_seeds)


def _together(task: Task, template: Policy[Any], policies: list[Policy[Any]], seeds: list[int]) -> Iterator[Found]:
    try:
        settings = [values(policy) for policy in policies]
        sums = _run_many(task, template, settings, seeds)
    except TypeError:  # it does with a float what cannot be traced, or it is wrong: then this raises again
        sums = arrays.tree_map(
            lambda *columns: np.concatenate(columns, axis=1), *(_run_many(task, policy, [()], seeds) for policy in policies)
        )
    for row, seed in enumerate(seeds):
        for column, policy in enumerate(policies):
            yield policy, seed, arrays.at(sums, (row, column)), "jax"


def _run_many(task: Task, template: Policy[Any], settings: list[tuple[float, ...]], seeds: list[int]) -> Sums:
    begin = _begin(template, task.environment, task.learn_from, task.delay is not None)  # type: ignore[arg-type]  # configs are hashable
    own, rounds = task.lives(seeds)
    shared = (task.prior, task.centre)
    sums: Sums = loop.run_many(begin, settings, shared, arrays.stack(own), rounds, seeds=seeds, stream=task.stream)
    return sums


def native(task: Task, policies: list[Policy[Any]], seeds: list[int], executor: Executor) -> Iterator[Found]:
    """Walks on NumPy, each by itself, where the executor runs them."""
    runs = [(policy, seed) for policy in policies for seed in seeds]
    if runs:
        function = functools.partial(_walk, task._replace(rounds=None))
        for (policy, seed), sums in zip(runs, executor.map(function, task.rounds, runs), strict=True):
            yield policy, seed, sums, "numpy"


def _walk(task: Task, rounds: Any, run: tuple[Policy[Any], int]) -> Sums:
    policy, seed = run
    begin = _begin.__wrapped__(policy, task.environment, task.learn_from, task.delay is not None)
    (own,), rounds = task._replace(rounds=rounds).lives([seed])
    step, carry = begin((), (task.prior, task.centre), own)
    ((state, _), sums), _ = loop.run(step, carry, rounds, engine="numpy", seed=seed, stream=task.stream)
    states.close(policy, state)
    return Sums(*map(np.asarray, sums))


def in_loops(task: Task, policies: list[Policy[Any]], seeds: list[int], num_threads: int | None) -> Iterator[Found]:
    """Walks a log in loops compiled by Numba, which let other threads run."""
    runs = [(policy, seed) for policy in policies for seed in seeds]
    with ThreadPoolExecutor(num_threads or os.cpu_count()) as pool:
        yield from pool.map(functools.partial(_in_loops, task), runs)


def _in_loops(task: Task, run: tuple[Policy[Any], int]) -> Found:
    (policy, seed), log = run, task.rounds
    replayed = replay.replay(policy, log, learn_from=task.learn_from, seed=seed, prior=task.prior, engine="numba")
    probs = replayed.decision.probs
    weight, reward = log.weight * probs[np.arange(len(probs)), log.action] / log.propensity, log.reward - task.centre
    nothing = np.float64(0)
    sums = arrays.tree_map(np.sum, _added(Sums(*[nothing] * len(Sums._fields)), weight, reward, nothing))
    return policy, seed, sums, replayed.engine


def _parts(values: list[Any], size: int) -> list[list[Any]]:
    return [values[start : start + size] for start in range(0, len(values), size)]


def values(config: Any) -> tuple[float, ...]:
    """Returns the numbers in the float fields of a config and of the configs within it, in order."""
    return tuple(float(value) for _, value in _floats("", config))


def named(config: Any) -> dict[str, Any]:
    """Returns every hyper-parameter by name; `policy.alpha` is the `alpha` of the config in the field `policy`."""
    return dict(_plain("", config))


def replaced(config: Any, numbers: Sequence[Any]) -> Any:
    """Returns a copy of a config with other floats, which may be tracers: its validators, which need numbers, do not run."""
    return _rebuild(config, iter(numbers))


def _branches(name: str, config: Any) -> Iterator[tuple[str, Any, bool]]:
    """Yields name, value, and whether it is a float, of what a config or a tuple holds."""
    if isinstance(config, tuple):
        for index, value in enumerate(config):
            yield f"{name}[{index}]", value, isinstance(value, float)
    elif _is_plain(config):
        for field in attrs.fields(type(config)):
            value = getattr(config, field.name)
            whole = isinstance(value, int) and not isinstance(value, bool) and field.type in (float, "float")
            yield f"{name}.{field.name}".lstrip("."), value, isinstance(value, float) or whole


def _is_plain(config: Any) -> bool:
    """Tells whether all fields of a config are given by its caller: one that derives fields from others cannot have them replaced."""
    return attrs.has(type(config)) and all(field.init for field in attrs.fields(type(config)))


def _floats(name: str, config: Any) -> Iterator[tuple[str, Any]]:
    for path, value, is_float in _branches(name, config):
        if is_float:
            yield path, value
        else:
            yield from _floats(path, value)


def _plain(name: str, config: Any) -> Iterator[tuple[str, Any]]:
    for path, value, _ in _branches(name, config):
        below = list(_plain(path, value))
        if below:
            yield from below
        elif value is None or isinstance(value, (bool, int, float, str)):
            yield path, value


def _rebuild(config: Any, numbers: Iterator[Any]) -> Any:
    parts = [next(numbers) if is_float else _rebuild(value, numbers) for _, value, is_float in _branches("", config)]
    if isinstance(config, tuple):
        return type(config)(*parts) if hasattr(config, "_fields") else tuple(parts)
    if not _is_plain(config):
        return config
    copy = object.__new__(type(config))
    for field, value in zip(attrs.fields(type(config)), parts, strict=True):
        object.__setattr__(copy, field.name, value)
    getattr(copy, "__attrs_post_init__", lambda: None)()  # wrappers offer there what the policies in them do
    return copy
