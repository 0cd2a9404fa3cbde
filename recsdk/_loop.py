"""The one loop over rounds: a `for` on NumPy, a compiled `lax.scan` on JAX. Nothing else knows the difference."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from recsdk import _tree
from recsdk.base import Array, Policy, Rng
from recsdk.checks import require_integer
from recsdk.errors import InvalidValue, MissingExtra, one_of

Step = Callable[[Any, Rng, Any], tuple[Any, Any]]
Engine = Literal["auto", "numpy", "jax"]

REPLAY, SIMULATE = 1, 2
"""The drivers' streams of randomness: a log and its replay, or a world and its play, made from one seed must not share numbers."""


class JaxRandom:
    """The `Rng` of a trace: gives the same methods as `numpy.random.Generator`, from a JAX key."""

    def __init__(self, key: Array) -> None:
        self._key = key
        self._num_used = 0

    def _next(self) -> Array:
        import jax

        self._num_used += 1
        return jax.random.fold_in(self._key, self._num_used)

    def standard_normal(self, shape: Any = ()) -> Array:
        """Returns f64[shape], independent standard normal."""
        import jax

        return jax.random.normal(self._next(), shape, dtype="float64")

    def random(self, shape: Any = ()) -> Array:
        """Returns f64[shape], uniform on [0, 1)."""
        import jax

        return jax.random.uniform(self._next(), shape, dtype="float64")


def choose_engine(policy: Policy[Any], engine: Engine) -> Literal["numpy", "jax"]:
    """Returns where `policy` is to run; "auto" prefers compiled JAX where the policy and the installation allow it.

    Raises:
        InvalidValue: when the policy does not run on the engine asked for.
        MissingExtra: when JAX is asked for and not installed.
    """
    one_of("engine", engine, ("auto", "numpy", "jax"))
    has_jax = importlib.util.find_spec("jax") is not None
    if engine == "auto":
        engine = "jax" if "jax" in policy.runs_on and (has_jax or "numpy" not in policy.runs_on) else "numpy"
    if engine not in policy.runs_on:
        raise InvalidValue(f"engine must be one of {policy.runs_on} for {policy}, got {engine!r}.")
    if engine == "jax" and not has_jax:
        raise MissingExtra("engine 'jax' needs JAX: pip install 'recsdk[deep]'.")
    return engine


def run(step: Step, carry: Any, rounds: Any, *, engine: Literal["numpy", "jax"], seed: int, stream: int) -> tuple[Any, Any]:
    """Walks the rounds, carrying a record.

    Args:
        step: `(carry, rng, round) -> (carry, output)`; pure. On JAX compiled once per function object: keep it, do not remake it.
        carry: a record of arrays.
        rounds: a record of arrays with a leading T >= 1.
        engine: "numpy" or "jax". On JAX everything is float64 inside a scope of its own: the application's settings are left alone.
        seed: of the randomness, >= 0; the two engines have different numbers.
        stream: of the driver, `REPLAY` or `SIMULATE`.

    Returns:
        The last carry, and the outputs stacked along a leading T; arrays are NumPy's on both engines.
    """
    require_integer("seed", seed, at_least=0)
    if engine == "numpy":
        return _run_numpy(step, carry, rounds, np.random.default_rng([seed, stream]))
    import jax

    with jax.enable_x64(True):
        result = _compiled(step)(carry, rounds, jax.random.fold_in(jax.random.key(seed), stream))
        return _tree.tree_map(np.asarray, result)  # type: ignore[no-any-return]


def _run_numpy(step: Step, carry: Any, rounds: Any, rng: np.random.Generator) -> tuple[Any, Any]:
    outputs = []
    for index in range(len(next(_tree.leaves(rounds)))):
        carry, output = step(carry, rng, _tree.at(rounds, index))
        outputs.append(output)
    return carry, _tree.stack(outputs)


@functools.lru_cache(maxsize=128)
def _compiled(step: Step) -> Callable[..., tuple[Any, Any]]:
    import jax

    def scanned(carry: Any, rounds: Any, key: Array) -> tuple[Any, Any]:
        keys = jax.random.split(key, len(next(_tree.leaves(rounds))))
        return jax.lax.scan(lambda carry, x: step(carry, JaxRandom(x[0]), x[1]), carry, (keys, rounds))

    return jax.jit(scanned)
