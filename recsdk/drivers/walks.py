"""The walks of a sweep: many compiled into one program on JAX, or spread over processes on NumPy. Each keeps its sums only."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recsdk import arrays, states
from recsdk.base import Array, Interaction, Policy, Rng
from recsdk.checks import check_log, require_integer
from recsdk.drivers import floats, loop, many, replay, simulate
from recsdk.drivers.delay import Delay, Event, schedule
from recsdk.drivers.replay import LearnFrom
from recsdk.drivers.simulate import Environment
from recsdk.errors import InvalidValue, one_of

AT_ONCE = 256
"""Walks in one compiled program, so that their states fit into memory."""


class Sums(NamedTuple):
    """What is kept of a walk: sums over its rounds, with the reward less the log's mean as r and its weight in the estimate as w.

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
    """What each policy is to go through.

    Attributes:
        rounds: the log, or i64[T], the numbers of the rounds.
        environment: the world, or None for a log.
        learn_from: as for `replay`.
        prior: f64[D].
        delay: of the rewards in the world, or None.
        centre: f64[], taken off the rewards, since sums of squares of small differences are exact.
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
        """Returns what each seed has of its own, and the rounds, or with a delay the numbers of the events, that all walk."""
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
    """Checks the arguments of a sweep that say what to walk; see `recsdk.sweep`."""
    one_of("learn_from", learn_from, ("all", "matched", "none"))
    if num_rounds is not None:
        require_integer("num_rounds", num_rounds, at_least=1)
    if isinstance(source, Interaction):
        if delay is not None:
            raise InvalidValue(f"delay goes with a world: a log's rewards have come, got {delay!r}.")
        check_log(source)
        if num_rounds is not None and num_rounds > len(source.reward):
            raise InvalidValue(f"num_rounds must be at most {len(source.reward)}, the rows of the log, got {num_rounds}.")
        log = arrays.at(source, slice(num_rounds))
        dim, rounds, environment, centre = log.context.features.shape[-1], log, None, log.reward.mean()
    else:
        if num_rounds is None:
            raise InvalidValue("num_rounds must be given for a world, a whole number >= 1, got None.")
        if learn_from != "all":
            raise InvalidValue(f"learn_from must be 'all' in a world, where a policy learns what it did, got {learn_from!r}.")
        dim, rounds, environment, centre = source.dim, np.arange(num_rounds), source, np.float64(0)
    belief = np.zeros(dim) if prior is None else np.asarray(prior, np.float64)
    return Task(rounds, environment, learn_from, belief, delay, np.asarray(centre))


@functools.lru_cache(maxsize=128)  # one function object per question, so that it is compiled once
def _begin(template: Policy[Any], environment: Environment[Any] | None, learn_from: LearnFrom, is_late: bool) -> many.Begin:
    def begin(setting: tuple[Any, ...], shared: tuple[Array, Array], world: Any) -> tuple[loop.Step, Any]:
        policy, (prior, centre) = floats.replaced(template, setting) if setting else template, shared
        if environment is None:
            step = functools.partial(_on_log, replay.step_of(policy, learn_from), centre)
        elif is_late:
            step = functools.partial(_in_late_world, simulate.late_step_of(policy, environment))
        else:
            step = functools.partial(_in_world, simulate.step_of(policy, environment))
        zero = prior.__array_namespace__().zeros((), dtype=prior.dtype)
        return step, ((policy.init(prior), world), Sums(*([zero] * len(Sums._fields))))

    return begin


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


Found = Iterator[tuple[Policy[Any], int, Sums]]


def compiled(task: Task, policies: list[Policy[Any]], seeds: list[int]) -> Found:
    """Walks on JAX: a program for each group of policies that differ in floats only."""
    groups: dict[Policy[Any], list[Policy[Any]]] = {}
    for policy in policies:
        groups.setdefault(floats.replaced(policy, [0.0] * len(floats.values(policy))), []).append(policy)
    for template, group in groups.items():
        for some_seeds in _parts(seeds, AT_ONCE):
            for some in _parts(group, max(1, AT_ONCE // len(some_seeds))):
                yield from _together(task, template, some, some_seeds)


def _together(task: Task, template: Policy[Any], policies: list[Policy[Any]], seeds: list[int]) -> Found:
    try:
        settings = [floats.values(policy) for policy in policies]
        sums = _run_many(task, template, settings, seeds)
    except TypeError:  # it does with a float what cannot be traced, or it is wrong: then this raises again
        sums = arrays.tree_map(
            lambda *columns: np.concatenate(columns, axis=1), *(_run_many(task, policy, [()], seeds) for policy in policies)
        )
    for row, seed in enumerate(seeds):
        for column, policy in enumerate(policies):
            yield policy, seed, arrays.at(sums, (row, column))


def _run_many(task: Task, template: Policy[Any], settings: list[tuple[float, ...]], seeds: list[int]) -> Sums:
    begin = _begin(template, task.environment, task.learn_from, task.delay is not None)  # type: ignore[arg-type]  # configs are hashable
    own, rounds = task.lives(seeds)
    shared = (task.prior, task.centre)
    sums: Sums = many.run_many(begin, settings, shared, arrays.stack(own), rounds, seeds=seeds, stream=task.stream)
    return sums


def native(task: Task, policies: list[Policy[Any]], seeds: list[int], num_processes: int) -> Found:
    """Walks on NumPy, in processes of their own where that helps."""
    runs = [(policy, seed) for policy in policies for seed in seeds]
    if min(len(runs), num_processes) <= 1:
        yield from ((policy, seed, _walk(task, policy, seed)) for policy, seed in runs)
        return
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from concurrent.futures.process import BrokenProcessPool

    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(min(len(runs), num_processes), multiprocessing.get_context("spawn")) as pool,
    ):
        sent = _stored(task, Path(folder))
        futures = {pool.submit(_walk_stored, sent, folder, policy, seed): (policy, seed) for policy, seed in runs}
        try:
            for future in as_completed(futures):
                yield *futures[future], future.result()
        except BrokenProcessPool as error:
            raise InvalidValue(
                f"num_processes must be 1 where a process cannot start, got {num_processes}: call sweep below "
                "`if __name__ == '__main__':`, and import the policies' classes from a module."
            ) from error


def _stored(task: Task, folder: Path) -> Task:
    """Writes the arrays of the rounds into files for every process to map, and returns the task without them."""
    for index, leaf in enumerate(arrays.leaves(task.rounds)):
        np.save(folder / f"{index}.npy", leaf)
    numbers = iter(range(len(list(arrays.leaves(task.rounds)))))
    return task._replace(rounds=arrays.tree_map(lambda _: next(numbers), task.rounds))


def _walk_stored(task: Task, folder: str, policy: Policy[Any], seed: int) -> Sums:
    rounds = arrays.tree_map(lambda index: np.load(Path(folder) / f"{index}.npy", mmap_mode="r"), task.rounds)
    return _walk(task._replace(rounds=rounds), policy, seed)


def _walk(task: Task, policy: Policy[Any], seed: int) -> Sums:
    begin = _begin.__wrapped__(policy, task.environment, task.learn_from, task.delay is not None)
    (own,), rounds = task.lives([seed])
    step, carry = begin((), (task.prior, task.centre), own)
    ((state, _), sums), _ = loop.run(step, carry, rounds, engine="numpy", seed=seed, stream=task.stream)
    states.close(policy, state)
    return Sums(*map(np.asarray, sums))


def _parts(values: list[Any], size: int) -> list[list[Any]]:
    return [values[start : start + size] for start in range(0, len(values), size)]
