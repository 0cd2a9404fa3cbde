"""NumPy or a trace, one vocabulary: records of arrays, writing a row, choosing a branch, and the settings of JAX.

A record is a NamedTuple, tuple, list or dict of arrays; as in JAX, None is a record without arrays. Nothing here imports JAX unless it is
given JAX's arrays.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np

from recsdk.base import Array, Interaction
from recsdk.errors import ForkedProcess

S = TypeVar("S")


def leaves(tree: Any) -> Iterator[Any]:
    """Yields the arrays of a record, depth first; the keys of a dict in sorted order."""
    if isinstance(tree, dict):
        tree = [tree[key] for key in sorted(tree)]
    if isinstance(tree, (tuple, list)):
        for branch in tree:
            yield from leaves(branch)
    elif tree is not None:
        yield tree


def tree_map(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """Applies `function` to the arrays of records of one structure; returns a record of that structure."""
    if isinstance(tree, dict):
        return {key: tree_map(function, tree[key], *(other[key] for other in others)) for key in sorted(tree)}
    if isinstance(tree, (tuple, list)):
        mapped = [tree_map(function, *branches) for branches in zip(tree, *others, strict=True)]
        return type(tree)(*mapped) if hasattr(tree, "_fields") else type(tree)(mapped)
    return None if tree is None else function(tree, *others)


def stack(trees: list[Any]) -> Any:
    """Stacks records of one structure along a new first axis."""
    return tree_map(lambda *arrays: np.array(arrays), *trees)


def stack_rounds(rounds: Iterable[Interaction]) -> Interaction:
    """Stacks single rounds as a log, those of fewer candidates padded with zeros, which a mask reads as false."""
    log = list(rounds)
    places = max(len(row.context.mask) for row in log)

    def stacked(*arrays: np.ndarray) -> np.ndarray:
        column = np.zeros((len(arrays), places, *arrays[0].shape[1:]), arrays[0].dtype)
        for row, array in enumerate(arrays):
            column[row, : len(array)] = array
        return column

    numbers = [np.array(column) for column in zip(*(row[1:] for row in log), strict=True)]
    return Interaction(tree_map(stacked, *(row.context for row in log)), *numbers)


def padded(array: np.ndarray, size: int, *, axis: int = 0) -> np.ndarray:
    """Returns an array with zeros behind, so that an axis has `size` entries."""
    widths = [(0, 0)] * array.ndim
    widths[axis] = (0, size - array.shape[axis])
    return np.pad(array, widths)


def rows(tree: Any) -> Iterator[Any]:
    """Yields the rows of nested NamedTuples of arrays, each a record as from `at`, in an eighth of its time."""
    if isinstance(tree, tuple):
        return map(type(tree)._make, zip(*map(rows, tree), strict=True))  # type: ignore[attr-defined]
    return iter(tree)


def at(tree: Any, index: Any) -> Any:
    """Returns the record of each array's `index`-th part."""
    return tree_map(lambda array: array[index], tree)


def put(array: Array, place: Array, row: Array) -> Array:
    """Returns `array` with `row` at `place` of its first axis. Consumes `array`: NumPy writes into it, unless it is read-only."""
    if not isinstance(array, np.ndarray):
        return array.at[place].set(row)
    if not array.flags.writeable:  # what a compiled replay returns is JAX's memory
        array = array.copy()
    array[place] = row
    return array


def when(condition: Array, change: Callable[[S], S], state: S) -> S:
    """Returns `change(state)` where `condition` bool[] holds, else `state`; a trace computes both."""
    if isinstance(condition, (bool, np.bool_, np.ndarray)):
        return change(state) if condition else state
    xp = condition.__array_namespace__()
    return tree_map(lambda yes, no: xp.where(condition, yes, no), change(state), state)  # type: ignore[no-any-return]


def either(claim: Array, yes: Callable[..., Any], no: Callable[..., Any], *operands: Any) -> Any:
    """Calls one of two functions that return alike records: an `if` on NumPy, a `lax.cond` in a trace."""
    if isinstance(claim, np.bool_):
        return (yes if claim else no)(*operands)
    import jax

    return jax.lax.cond(claim, yes, no, *operands)


def fold(num: int, change: Callable[[Array, S], S], state: S) -> S:
    """Returns the state after `change(0, state)`, ... `change(num - 1, state)`: a `for` on NumPy, a loop of one body in a trace."""
    if isinstance(next(leaves(state)), np.ndarray):
        for index in range(num):
            state = change(index, state)
        return state
    import jax

    return jax.lax.fori_loop(0, num, change, state)  # type: ignore[no-any-return]


def after(first: Array, number: Array) -> Array:
    """Returns `number`, f64[], the same in every bit, and in a trace not before `first`, finite, is known.

    An update that waits so for the decision can write into the state where it stands; XLA would otherwise copy all of it in each round,
    since it reads the old state after the update was scheduled.
    """
    return number if isinstance(first, np.ndarray) else number + 0.0 * first.sum()


_forked_after_jax = False


def _note_fork() -> None:
    """Runs in a forked child: finds out whether its parent had started JAX, whose threads the child does not have."""
    global _forked_after_jax
    bridge = sys.modules.get("jax._src.xla_bridge")  # importing JAX starts nothing; the first array does
    _forked_after_jax = _forked_after_jax or bool(getattr(bridge, "_backends", False))


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_note_fork)


def require_jax() -> Any:
    """Returns the module `jax`, and refuses a process in which it would wait for ever.

    Raises:
        ForkedProcess: in a child that was forked after its parent had used JAX.
    """
    if _forked_after_jax:
        raise ForkedProcess(
            "JAX cannot run in a process that was forked after its parent had used JAX: it would never return. "
            "Start processes by multiprocessing.get_context('spawn'), or use JAX only after the fork."
        )
    import jax

    return jax


@contextlib.contextmanager
def on_jax() -> Iterator[Any]:
    """Gives the module `jax` under recsdk's settings: 64 bits, transfers allowed, one generator. The application's own are left alone.

    Raises:
        ForkedProcess: in a child that was forked after its parent had used JAX.
    """
    jax = require_jax()
    config = jax.config
    guards = config.jax_transfer_guard_host_to_device, config.jax_transfer_guard_device_to_host, config.jax_transfer_guard_device_to_device
    with contextlib.ExitStack() as settings:
        settings.enter_context(jax.enable_x64(True))
        if any(guard not in (None, "allow") for guard in guards):  # asked first: to enter a scope takes 20 us
            settings.enter_context(jax.transfer_guard("allow"))
        if not config.jax_threefry_partitionable:
            settings.enter_context(jax.threefry_partitionable(True))
        yield jax


@contextlib.contextmanager
def on_cpu() -> Iterator[Any]:
    """Is `on_jax` for one walk and for live use: on the CPU where the application has not chosen a device.

    The steps of one policy are small and wait for one another: an H200 took ten times as long for them as the processor beside it. An
    application chooses by `jax.default_device(...)` around the call, or by the setting `jax_default_device`.
    """
    with on_jax() as jax:
        device = _device_for_small_steps(jax)
        with contextlib.nullcontext() if device is None else jax.default_device(device):
            yield jax


def _device_for_small_steps(jax: Any) -> Any:
    """Returns a CPU; None where JAX is on one, where the application has chosen, and where JAX is kept from CPUs."""
    if jax.config.jax_default_device is not None or jax.default_backend() == "cpu":
        return None
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        return None


BLOCK = 128
"""Of so many values the maximum is taken first: that reads them once, at the speed of the memory."""


def largest(values: np.ndarray, count: int) -> np.ndarray:
    """Returns i64[count], where the largest values are, largest first; of equal ones the earlier first. Sorts no more than these.

    Example:
        >>> largest(np.array([1.0, 3.0, 2.0, 3.0]), 3).tolist()
        [1, 3, 2]
    """
    blocks = len(values) // BLOCK
    if count > 0 and 4 * count <= blocks:
        best = values[: blocks * BLOCK].reshape(blocks, BLOCK).max(axis=1)
        reached = np.partition(best, blocks - count)[blocks - count]  # by at least `count` values, one in each of these blocks
        kept = np.flatnonzero(values >= reached)
        return np.asarray(kept[_largest(values[kept], count)])
    return _largest(values, count)


def _largest(values: np.ndarray, count: int) -> np.ndarray:
    if 0 < count < len(values):
        least = np.partition(values, len(values) - count)[len(values) - count]
        places = (values >= least).nonzero()[0]
        if len(places) > count:  # too many are equal to the least: the first of them count
            equal = (values[places] == least).nonzero()[0]
            places = np.delete(places, equal[count - len(places) :])
    else:
        places = np.arange(len(values))[:count]
    largest: np.ndarray = places[(-values[places]).argsort(kind="stable")]  # equal values stand in rising order of their places
    return largest
