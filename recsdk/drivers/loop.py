"""The one loop over rounds: a `for` on NumPy, a compiled `lax.scan` on JAX. Nothing else knows the difference."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from recsdk import arrays
from recsdk.base import Array, Policy, Rng
from recsdk.checks import require_integer
from recsdk.errors import InvalidValue, MissingExtra, one_of

Step = Callable[[Any, Rng, Any], tuple[Any, Any]]
Engine = Literal["auto", "numpy", "jax"]

REPLAY, SIMULATE = 1, 2
"""The drivers' streams of randomness: a log and its replay, or a world and its play, made from one seed must not share numbers."""

PIECE_BYTES = 2**22
"""Rounds go over to JAX in pieces of about this size: to copy a log of 200 MB whole took longer than to walk it."""


class JaxRandom:
    """The `Rng` of a trace: gives the same methods as `numpy.random.Generator`, from a JAX key.

    Args:
        key: of all its numbers, but for the one drawn ahead.
        ahead: f64[], what the first `random()` returns. The loop draws it for many rounds together, since most rounds use no other number.
    """

    def __init__(self, key: Array, ahead: Array | None = None) -> None:
        self._key = key
        self._ahead = ahead
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

        if shape == () and self._ahead is not None:
            ahead, self._ahead = self._ahead, None
            return ahead
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


def init(policy: Policy[Any], prior: Array) -> Any:
    """Returns the state before any interaction; of a policy for JAX alone it is made on JAX, with 64 bits on as in the loop."""
    if "numpy" in policy.runs_on:
        return policy.init(prior)
    import jax

    with jax.enable_x64(True):
        return policy.init(jax.numpy.array(prior))


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
        return _run_jax(step, carry, rounds, jax.random.fold_in(jax.random.key(seed), stream))


def _run_numpy(step: Step, carry: Any, rounds: Any, rng: np.random.Generator) -> tuple[Any, Any]:
    outputs = []
    for row in arrays.rows(rounds):
        carry, output = step(carry, rng, row)
        outputs.append(output)
    return carry, arrays.stack(outputs)


def _run_jax(step: Step, carry: Any, rounds: Any, key: Array) -> tuple[Any, Any]:
    num_rounds = len(next(arrays.leaves(rounds)))
    size = min(num_rounds, max(1, PIECE_BYTES * num_rounds // sum(leaf.nbytes for leaf in arrays.leaves(rounds))))
    walk, pieces = _compiled(step), list[Any]()
    for start in range(0, num_rounds, size):
        first = min(start, num_rounds - size)  # the last piece reaches back into the one before it, to be of the compiled size
        carry, outputs = walk(carry, arrays.at(rounds, slice(first, first + size)), key, first, start - first)
        if pieces:  # waits for the piece before only: JAX reads one while it walks the other, and holds no more than these two
            pieces[-1] = arrays.tree_map(np.asarray, pieces[-1])
        pieces.append(outputs)
    pieces[-1] = arrays.tree_map(lambda array: np.asarray(array)[start - first :], pieces[-1])
    return arrays.tree_map(np.asarray, carry), arrays.tree_map(lambda *arrays: np.concatenate(arrays), *pieces)


def randoms(key: Array, first: Array, size: int) -> tuple[Array, Array]:
    """Returns with a leading `size` what `JaxRandom` takes in each round from number `first` on."""
    import jax

    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, first + jax.numpy.arange(size))
    return keys, jax.vmap(lambda key: jax.random.uniform(jax.random.fold_in(key, 0), dtype="float64"))(keys)


@functools.lru_cache(maxsize=128)
def _compiled(step: Step) -> Callable[..., tuple[Any, Any]]:
    import jax

    def walk(carry: Any, rounds: Any, key: Array, first: Array, skip: Array) -> tuple[Any, Any]:
        """Walks a piece of the rounds that begins with number `first`, without the `skip` in front."""
        size = len(next(arrays.leaves(rounds)))
        keys, ahead = randoms(key, first, size)

        def one(carry: Any, index: Array) -> tuple[Any, Any]:
            return step(carry, JaxRandom(keys[index], ahead[index]), arrays.at(rounds, index))

        def body(index: Array, walked: tuple[Any, Any]) -> tuple[Any, Any]:
            carry, output = one(walked[0], index)
            # Not by `at`, which would ask in every round whether the index is in bounds.
            placed = functools.partial(jax.lax.dynamic_update_index_in_dim, index=index, axis=0)
            return carry, arrays.tree_map(placed, walked[1], output)

        _, output = jax.eval_shape(one, carry, 0)
        outputs = arrays.tree_map(lambda leaf: jax.numpy.zeros((size, *leaf.shape), leaf.dtype), output)
        return jax.lax.fori_loop(skip, size, body, (carry, outputs))  # type: ignore[no-any-return]

    return jax.jit(walk)
