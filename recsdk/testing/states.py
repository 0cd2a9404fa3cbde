"""What the checks do with a policy's state: learn, save, load, compare."""

from __future__ import annotations

import copy
import math
import unittest
from typing import Any

import attrs
import numpy as np

from recsdk import arrays
from recsdk import states as codec
from recsdk.base import Array, Context, Interaction, Policy, Rng
from recsdk.drivers.jitted import Jitted
from recsdk.errors import InvalidValue, LedgerCorrupt
from recsdk.testing import inputs

TOLERANCE = 1e-9
"""How far apart two answers may be that a law says are equal: absolute for probabilities, relative for states."""

NUM_PROBES = 16


class AsJax:
    """Hands the numbers of a NumPy generator to JAX, so that both engines see the same."""

    def __init__(self, rng: Rng) -> None:
        self._rng = rng

    def standard_normal(self, shape: Any = None) -> Array:
        """Returns f64[shape], independent standard normal."""
        import jax.numpy as jnp

        return jnp.asarray(self._rng.standard_normal(shape))

    def random(self, shape: Any = None) -> Array:
        """Returns f64[shape], uniform on [0, 1)."""
        import jax.numpy as jnp

        return jnp.asarray(self._rng.random(shape))


@attrs.frozen
class OnNumpy:
    """A policy for JAX behind NumPy arrays, operation by operation, never compiled: what a check needs to look at it."""

    policy: Policy[Any]

    @property
    def runs_on(self) -> tuple[str, ...]:
        """NumPy, as far as the caller can see."""
        return ("numpy",)

    @property
    def learns_from(self) -> str:
        """What the wrapped policy learns from."""
        return self.policy.learns_from

    def init(self, prior: Array) -> Any:
        """See `recsdk.base.Policy`."""
        return self._call(lambda prior: self.policy.init(prior), prior)

    def probs(self, state: Any, rng: Rng, context: Context) -> Array:
        """See `recsdk.base.Policy`."""
        return self._call(lambda state, context: self.policy.probs(state, AsJax(rng), context), state, context)

    def update(self, state: Any, interaction: Interaction) -> Any:
        """See `recsdk.base.Policy`."""
        return self._call(lambda state, interaction: self.policy.update(state, interaction), state, interaction)

    def _call(self, function: Any, *records: Any) -> Any:
        import jax

        with jax.enable_x64(True):
            result = function(*(arrays.tree_map(jax.numpy.asarray, record) for record in records))
            return arrays.tree_map(np.asarray, result)


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
        raise unittest.SkipTest("JAX is not installed: pip install 'recsdk[deep]'") from None


def rebuilt(config: Any) -> Any:
    """Makes a config anew from its fields, as another process would: what an object hides beside its fields is lost."""
    if isinstance(config, OnNumpy):
        return OnNumpy(rebuilt(config.policy))
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
        return codec.dumps(_inner(policy), state)
    except InvalidValue as error:
        raise AssertionError(f"snapshot: {name(policy)}: the state cannot be written: {error}") from error


def loads(policy: Policy[Any], dim: int, data: bytes) -> Any:
    """Reads a state."""
    template = init(policy, dim)
    state = codec.loads(_inner(policy), template, data)
    close(policy, template)
    return state


def reloaded(component: Any, data: bytes) -> Any:
    """Reads the state of a scorer or encoder as another process would: by the template that `init` gives."""
    try:
        return codec.loads(component, component.init(), data)
    except LedgerCorrupt as error:
        raise AssertionError(f"snapshot: {component!r}: init must return a state of the same records as fit: {error}") from error


def close(policy: Policy[Any], *states: Any) -> None:
    """Frees what a native policy holds for each state."""
    for state in states:
        codec.close(_inner(policy), state)


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
    if codec.is_native(_inner(policy)):
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
    return repr(policy.policy if isinstance(policy, (OnNumpy, Jitted)) else policy)


def _inner(policy: Policy[Any]) -> Policy[Any]:
    return policy.policy if isinstance(policy, OnNumpy) else policy
