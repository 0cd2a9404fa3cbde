"""Comparison of many policies, settings and seeds on one log or in one world."""

from __future__ import annotations

import contextlib
import itertools
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from recsdk import arrays
from recsdk.base import Array, Interaction, Policy
from recsdk.checks import require_integer
from recsdk.drivers import walks
from recsdk.drivers.executors import Executor, Processes
from recsdk.drivers.replay import Engine, LearnFrom
from recsdk.drivers.simulate import Delay, Environment
from recsdk.drivers.walks import Sums, Task
from recsdk.errors import InvalidValue


class Sweep(NamedTuple):
    """Result of `sweep`: a table of N rows, one for each policy and seed; the rows of a policy stand together.

    Attributes:
        policy: configuration of the policy.
        seed: i64[N].
        num_rounds: i64[N], T.
        reward: f64[N], mean reward per round. In a world it is the policy's own; on a log it is the self-normalised importance-weighted
            estimate, NaN where no round has an action that the policy could have taken.
        stderr: f64[N], of `reward`, over rounds.
        regret: f64[N], sum over rounds of the expected reward of the best candidate less that of the chosen one; NaN on a log.
        effective_size: f64[N], Kish's effective sample size of the rounds' weights in `reward`; T in a world.
        engine: what walked, "numpy", "numba" or "jax".

    Example:
        >>> from recsdk import LinUCB, Uniform, sweep
        >>> from recsdk.environments import LinearWorld
        >>> table = sweep([LinUCB(), Uniform()], LinearWorld(), num_rounds=200, seeds=(0, 1), engine="numpy", num_processes=1)
        >>> best, blind = table.over_seeds()
        >>> bool(best["regret"] < blind["regret"])
        True
    """

    policy: tuple[Policy[Any], ...]
    seed: np.ndarray
    num_rounds: np.ndarray
    reward: np.ndarray
    stderr: np.ndarray
    regret: np.ndarray
    effective_size: np.ndarray
    engine: tuple[str, ...] = ()

    def rows(self) -> list[dict[str, Any]]:
        """Returns the table as rows of plain values, for JSON or a data frame; None stands for NaN and infinity."""
        columns = zip(self.policy, *(column.tolist() for column in self[1:-1]), self.engine, strict=True)
        return [
            {"policy": repr(policy), "hyperparameters": walks.named(policy)}
            | {name: _finite(value) for name, value in zip(self._fields[1:], values, strict=True)}
            for policy, *values in columns
        ]

    def over_seeds(self) -> list[dict[str, Any]]:
        """Returns one row for each policy: means over its seeds, and their standard error where it has several."""
        rows = []
        for policy in dict.fromkeys(self.policy):
            own = np.array([other == policy for other in self.policy])
            row: dict[str, Any] = {"policy": repr(policy), "hyperparameters": walks.named(policy), "num_seeds": int(own.sum())}
            for name in ("reward", "regret"):
                values = getattr(self, name)[own]
                error = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else np.nan
                row |= {name: _finite(values.mean()), f"{name}_stderr": _finite(error)}
            rows.append(row)
        return rows


def sweep(
    policies: Sequence[Policy[Any]],
    log_or_environment: Interaction | Environment[Any],
    *,
    seeds: Sequence[int] = (0,),
    num_rounds: int | None = None,
    learn_from: LearnFrom = "all",
    prior: Array | None = None,
    delay: Delay | None = None,
    engine: Engine = "auto",
    num_processes: int | None = None,
    executor: Executor | None = None,
) -> Sweep:
    """Runs `replay` or `simulate` for each policy and seed, and keeps only their results.

    Policies on JAX that differ in nothing but floats are compiled once and run together; every other needs its own program. A policy that
    uses a float in a way that cannot be traced (`if self.discount == 1`) runs alone. Policies on NumPy run in several processes: a script
    with such policies must call this below `if __name__ == "__main__":`, and their classes must be importable, since the configurations
    are sent to the processes.

    Args:
        policies: configurations of the policies; at least one, and no two equal.
        log_or_environment: a log, as for `replay`, or a world, as for `simulate`.
        seeds: seeds of the policies' choices, and of the world.
        num_rounds: T; on a log the number of its first rounds to use, None for all.
        learn_from: on a log, as for `replay`; in a world it can only be "all".
        prior: f64[D], belief about the weights; None for zeros.
        delay: model of when rewards arrive in a world, as for `simulate`.
        engine: as for `replay`, for each policy by itself. "auto" compiles by JAX where the policy runs on it and JAX is installed. But
            where the walks of a log are more than 20,000 rounds together, Numba takes a policy that has loops, unless more than four
            walks learn the same, which a program of JAX learns once for all of them.
        num_processes: largest number of processes for policies on NumPy, and of threads on Numba; 1 runs NumPy in this process, None uses
            every processor.
        executor: where policies on NumPy run; None for `Processes(num_processes=num_processes)`.

    Returns:
        The table of results.

    Raises:
        InvalidValue: for an argument out of its range, or a policy that does not run on `engine`.
        EmptyLog: for a log without rows.
        InvalidLog: for a log with a bad row, by its number.

    Example:
        >>> from recsdk import LinUCB, sweep
        >>> from recsdk.environments import LinearWorld
        >>> policies = [LinUCB(alpha=0.0), LinUCB(alpha=0.3)]
        >>> table = sweep(policies, LinearWorld(), num_rounds=50, seeds=(0, 1), engine="numpy", num_processes=1)
        >>> [(row["hyperparameters"]["alpha"], row["seed"]) for row in table.rows()]
        [(0.0, 0), (0.0, 1), (0.3, 0), (0.3, 1)]
    """
    task = walks.task_of(log_or_environment, num_rounds, learn_from, prior, delay)
    policies, seeds = _distinct("policies", policies), _distinct("seeds", seeds)
    for seed in seeds:
        require_integer("seed", seed, at_least=0)
    executor = _executor(num_processes, executor)
    engines = walks.engines(task, policies, len(seeds), engine)
    on: dict[str, list[Policy[Any]]] = {
        name: [policy for policy in policies if engines[policy] == name] for name in ("numpy", "numba", "jax")
    }
    walked = (
        walks.compiled(task, on["jax"], seeds),
        walks.in_loops(task, on["numba"], seeds, num_processes),
        walks.native(task, on["numpy"], seeds, executor),
    )
    found: dict[tuple[Policy[Any], int], tuple[Sums, str]] = {}
    with _progress(len(policies) * len(seeds)) as advance:
        for policy, seed, sums, taken in itertools.chain(*walked):
            found[policy, seed] = sums, taken
            advance()
    return _table(task, [(policy, seed, *found[policy, seed]) for policy in policies for seed in seeds])


def _table(task: Task, found: list[walks.Found]) -> Sweep:
    policies, seeds, rows, engines = zip(*found, strict=True)
    num, w, wr, ww, wwr, wwrr, regret = arrays.stack(list(rows))
    with np.errstate(divide="ignore", invalid="ignore"):
        shifted = wr / w  # NaN where the log cannot tell
        # The delta method for a ratio, as in `recsdk.ope`; rounding may leave a zero sum of squares below 0.
        squares = np.maximum(wwrr - 2 * shifted * wwr + shifted**2 * ww, 0)
        stderr = np.where(num > 1, np.sqrt(num / (num - 1) * squares) / w, np.where(num == 1, np.inf, np.nan))
        effective = np.where(num > 0, w * w / ww, 0)
    none = np.full(len(rows), np.nan)
    return Sweep(
        policy=policies,
        seed=np.array(seeds),
        num_rounds=np.full(len(rows), task.num_rounds),
        reward=shifted + task.centre,
        stderr=stderr,
        regret=none if task.environment is None else regret,
        effective_size=effective,
        engine=engines,
    )


def _executor(num_processes: int | None, executor: Executor | None) -> Executor:
    if num_processes is not None:
        require_integer("num_processes", num_processes, at_least=1)
    if executor is None:
        return Processes(num_processes=num_processes)
    if num_processes is not None:
        raise InvalidValue(f"num_processes must be None beside an executor, which has its own, got {num_processes} and {executor!r}.")
    if isinstance(executor, type) or not isinstance(executor, Executor):
        raise InvalidValue(f"executor must have a method map, as recsdk.Processes() has, got {executor!r}.")
    return executor


def _distinct(name: str, values: Iterable[Any]) -> list[Any]:
    try:
        given = list(values)
        distinct = list(dict.fromkeys(given))
    except TypeError as error:  # not iterable, or not hashable
        raise InvalidValue(f"{name} must be a sequence of plain configurations or numbers, got {values!r}.") from error
    if not distinct or len(distinct) != len(given):
        raise InvalidValue(f"{name} must be at least one, and no two equal, got {given}.")
    return distinct


def _finite(value: Any) -> Any:
    return value if not isinstance(value, float) or math.isfinite(value) else None


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """Shows a bar on standard error where that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    with Progress(*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task("sweeping", total=total)
        yield lambda: bar.advance(task)
