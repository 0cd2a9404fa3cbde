"""A policy's state in the laws: learn, save, load, compare."""

from __future__ import annotations

import contextlib
import copy
import math
import unittest
from collections.abc import Iterator
from typing import Any

import attrs
import numpy as np

from recsdk import arrays
from recsdk import states as codec
from recsdk.base import Array, Interaction, Policy
from recsdk.drivers.jitted import Jitted
from recsdk.errors import InvalidValue, LedgerCorrupt, install
from recsdk.testing import inputs

TOLERANCE = 1e-9
"""How far apart two answers may be that a law says are equal: absolute for probabilities, relative for states."""

NUM_PROBES = 16


def on_numpy(policy: Policy[Any]) -> Policy[Any]:
    """Returns the policy as it goes live: itself, or where it runs on JAX only, compiled."""
    if "numpy" in policy.runs_on:
        return policy
    needs_jax(policy)
    return Jitted(policy=policy)


def needs_jax(policy: Policy[Any]) -> None:
    """Skips the check that calls it, with the reason, for a policy that does not run on JAX, or without JAX."""
    if "jax" not in policy.runs_on:
        raise unittest.SkipTest("it does not run on JAX")
    try:
        import jax  # noqa: F401
    except ImportError:
        raise unittest.SkipTest(f"JAX is not installed: {install('deep')}") from None


def rebuilt(config: Any) -> Any:
    """Makes a config anew from its fields, as another process would: what an object hides beside its fields is lost."""
    if not attrs.has(type(config)):
        return copy.deepcopy(config)
    values = {field.alias: getattr(config, field.name) for field in attrs.fields(type(config)) if field.init}
    return type(config)(**{key: rebuilt(value) if attrs.has(type(value)) else value for key, value in values.items()})


def init(policy: Policy[Any], dim: int) -> Any:
    """Returns the state before any interaction, without a belief."""
    return policy.init(np.zeros(dim))


def learned(policy: Policy[Any], log: Interaction, state: Any = None) -> Any:
    """Returns the state after every round of a log."""
    state = init(policy, log.context.features.shape[-1]) if state is None else state
    for row in range(len(log.reward)):
        state = policy.update(state, inputs.at(log, row))
    return state


def dumps(policy: Policy[Any], state: Any) -> bytes:
    """Writes a state, which is not consumed."""
    try:
        return codec.dumps(policy, state)
    except InvalidValue as error:
        raise AssertionError(f"snapshot: {name(policy)}: the state cannot be written: {error}") from error


def loads(policy: Policy[Any], dim: int, data: bytes) -> Any:
    """Reads a state."""
    template = init(policy, dim)
    state = codec.loads(policy, template, data)
    close(policy, template)
    return state


@contextlib.contextmanager
def explained(where: str) -> Iterator[None]:
    """Turns whatever a component raises into a failure that says on what."""
    try:
        yield
    except Exception as error:
        raise AssertionError(f"{where} must not raise, got {type(error).__name__}: {error}") from error


def reloaded(component: Any, data: bytes) -> Any:
    """Reads the state of a scorer or encoder as another process would: by the template that `init` gives."""
    try:
        return codec.loads(component, component.init(), data)
    except LedgerCorrupt as error:
        raise AssertionError(f"snapshot: {component!r}: init must return a state of the same records as fit: {error}") from error


def close(policy: Policy[Any], *states: Any) -> None:
    """Frees what a native policy holds for each state."""
    for state in states:
        codec.close(policy, state)


def difference(policy: Policy[Any], one: Any, other: Any, dim: int, *, tolerance: float = 0.0) -> str:
    """Says in what two states differ, "" where they do not.

    States are compared by their arrays; those of a native policy by the probabilities that they give.

    Args:
        policy: whose states they are.
        one: a state; not consumed.
        other: a state; not consumed.
        dim: D.
        tolerance: relative to the largest value of an array; 0 means bit for bit.
    """
    if codec.is_native(policy):
        pairs = zip(answers(policy, one, dim), answers(policy, other, dim), strict=True)
        field = "the probabilities on probe {}"
    else:
        leaves = [list(arrays.leaves(state)) for state in (one, other)]
        if len(leaves[0]) != len(leaves[1]):
            return f"they have {len(leaves[0])} and {len(leaves[1])} arrays"
        pairs = zip(*leaves, strict=True)
        field = "array {} of the state"
    for index, (a, b) in enumerate(pairs):
        apart = distance(a, b)
        if apart > tolerance:
            return f"{field.format(index)} differs by {apart:.2g}: {brief(a)} and {brief(b)}"
    return ""


def answers(policy: Policy[Any], state: Any, dim: int) -> list[Array]:
    """Returns the probabilities that a state gives on some fixed contexts."""
    return [policy.probs(state, np.random.default_rng(seed), inputs.case(17, dim, seed=seed).context) for seed in range(NUM_PROBES)]


def distance(a: Any, b: Any) -> float:
    """Returns the largest difference, relative to the largest value where that is above 1; 0 only for equal arrays."""
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape or a.dtype != b.dtype:
        return math.inf
    if np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
        return 0.0
    if a.dtype.kind not in "biuf":
        return math.inf
    scale = max(1.0, float(np.abs(b).max()))
    apart = float(np.abs(np.subtract(a, b, dtype=np.float64)).max()) / scale
    return apart if apart == apart else math.inf


def brief(array: Any) -> str:
    """Prints an array on one line."""
    return np.array2string(np.asarray(array), threshold=12, edgeitems=4, precision=6).replace("\n", "")


def name(policy: Any) -> str:
    """Returns what a failure calls a policy."""
    return repr(policy.policy if isinstance(policy, Jitted) else policy)
