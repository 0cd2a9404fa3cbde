"""The one loop over rounds: a `for` on NumPy, a compiled loop on JAX, for one walk (`run`) or for many at once (`run_many`).

Nothing else in recsdk knows the difference between the two engines.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from recsdk import arrays
from recsdk.base import Array, Policy, Rng
from recsdk.checks import plain_array, require_integer
from recsdk.errors import InvalidValue, MissingExtra, install, one_of

Step = Callable[[Any, Rng, Any], tuple[Any, Any]]
Engine = Literal["auto", "numpy", "jax"]

REPLAY, SIMULATE = 1, 2
"""Streams of randomness: a replay must not share its random numbers with the simulation of the same seed that made the log."""

PIECE_BYTES = 2**22
"""Rounds are copied to JAX in pieces of about this size: to copy a log of 200 MB at once took longer than to walk it."""

GENERATOR = "threefry2x32"
"""The generator of JAX's random numbers, whichever the application has chosen as its default."""


class JaxRandom:
    """The `recsdk.Rng` of a trace: the methods of `numpy.random.Generator` that policies use, from a JAX key.

    Args:
        key: JAX key from which all numbers are made, but for `ahead`.
        ahead: f64[], returned by the first `random()`. The loop draws it for many rounds at once, since most rounds use no other number.

    Example:
        >>> import jax
        >>> from recsdk import JaxRandom
        >>> with jax.enable_x64(True):
        ...     JaxRandom(jax.random.key(0)).standard_normal((2, 3)).shape
        (2, 3)
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
        InvalidValue: when `policy` is not a policy, or does not run on the engine asked for.
        MissingExtra: when JAX is asked for and not installed.
    """
    require_policy(policy)
    one_of("engine", engine, ("auto", "numpy", "jax"))
    has_jax = importlib.util.find_spec("jax") is not None
    if engine == "auto":
        engine = "jax" if "jax" in policy.runs_on and (has_jax or "numpy" not in policy.runs_on) else "numpy"
    if engine not in policy.runs_on:
        raise InvalidValue(f"engine must be one of {policy.runs_on} for {policy}, got {engine!r}.")
    if engine == "jax" and not has_jax:
        raise MissingExtra(f"engine 'jax' needs JAX: {install('deep')}.")
    return engine


def require_policy(policy: Any) -> None:
    """Refuses what is not a policy.

    Raises:
        InvalidValue: naming what was given.
    """
    if isinstance(policy, type) or not all(callable(getattr(policy, name, None)) for name in ("init", "probs", "update")):
        raise InvalidValue(f"policy must be a policy, such as recsdk.LinUCB(), got {policy!r}.")


def belief(prior: Array | None, dim: int) -> np.ndarray:
    """Returns f64[D], what the weights of phi are believed to be before any data; zeros where `prior` is None.

    Raises:
        InvalidValue: for a prior of another length, or with entries that are not finite numbers.
    """
    if prior is None:
        return np.zeros(dim)
    values = plain_array("prior", prior, error=InvalidValue)
    if values.dtype.kind not in "iuf" or values.shape != (dim,) or not np.isfinite(values).all():
        raise InvalidValue(f"prior must be {dim} finite numbers, one for each feature, got {prior!r}.")
    return values.astype(np.float64)


def init(policy: Policy[Any], prior: np.ndarray) -> Any:
    """Returns the state before any interaction; for a policy that runs on JAX alone it is made there."""
    if "numpy" in policy.runs_on:
        return policy.init(prior)
    with arrays.on_cpu() as jax:
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
    if engine == "numpy":
        return _run_numpy(step, carry, rounds, generator(seed, stream))
    require_integer("seed", seed, at_least=0)
    with arrays.on_cpu():
        return _run_jax(step, carry, rounds, _key(seed, stream))


def generator(seed: int, stream: int) -> np.random.Generator:
    """Returns the random numbers of a walk, but for those on JAX."""
    require_integer("seed", seed, at_least=0)
    return np.random.default_rng([seed, stream])


def _key(seed: int, stream: int) -> Array:
    import jax

    return jax.random.fold_in(jax.random.key(seed, impl=GENERATOR), stream)


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


Begin = Callable[[Any, Any, Any], tuple[Step, Any]]


def run_many(
    begin: Begin, settings: Sequence[Sequence[float]], shared: Any, worlds: Any, rounds: Any, *, seeds: Sequence[int], stream: int
) -> Any:
    """Walks the rounds once for each of C settings and S seeds, all together, on JAX.

    What does not depend on the setting is computed once for all settings, and likewise for the seeds: settings of `alpha` alone share one
    posterior while they watch another's log. Each walk has the random numbers that `run` gives to its seed.

    Args:
        begin: `(setting, shared, world) -> (step, carry)` of one walk; a carry is (what it lives by, its answer).
            Compiled once per function object: keep it, do not remake it.
        settings: C settings of as many floats each, which reach `begin` as scalars that behave as Python's.
        shared: a record of arrays, the same for all walks.
        worlds: a record of arrays with a leading S, one for each seed.
        rounds: a record of arrays with a leading T >= 1.
        seeds: S of them, each >= 0.
        stream: `REPLAY` or `SIMULATE`.

    Returns:
        The last answers, with leading S and C; NumPy's arrays.
    """
    with arrays.on_jax() as jax:
        jnp = jax.numpy
        keys = jnp.stack([_key(seed, stream) for seed in seeds])
        # Made of one scalar each, the columns are weakly typed: float32 times a hyper-parameter stays float32, as with Python's floats.
        scalars = [[jnp.asarray(float(value)) for value in column] for column in zip(*settings, strict=True)]
        varies = tuple(len(set(column)) > 1 for column in zip(*settings, strict=True))
        columns = tuple(jnp.stack(column) if differs else column[0] for column, differs in zip(scalars, varies, strict=True))
        answers = _compiled_many(begin, len(settings), varies)(columns, shared, worlds, rounds, keys)
        return arrays.tree_map(np.asarray, answers)


@functools.lru_cache(maxsize=128)
def _compiled_many(begin: Begin, num_settings: int, varies: tuple[bool, ...]) -> Callable[..., Any]:
    import jax

    def walk(setting: Any, shared: Any, world: Any, rounds: Any, key: Array) -> Any:
        step, carry = begin(setting, shared, world)
        drawn = randoms(key, 0, len(next(arrays.leaves(rounds))))

        def body(carry: Any, row: Any) -> tuple[Any, None]:
            random, here = row
            return step(carry, JaxRandom(*random), here)[0], None

        (_, answer), _ = jax.lax.scan(body, carry, (drawn, rounds))
        return answer

    # The inner map is over the settings, so that what a seed draws is drawn once for all of them.
    own = tuple(0 if differs else None for differs in varies)  # what is the same for all settings is no reason to compute anything twice
    over_settings = jax.vmap(walk, in_axes=(own, None, None, None, None), axis_size=num_settings)
    return jax.jit(jax.vmap(over_settings, in_axes=(None, None, 0, None, 0)))
