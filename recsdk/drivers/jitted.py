"""Policies for JAX, live: compiled once for each bucket of candidates, called with NumPy arrays."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import attrs
import numpy as np

from recsdk import arrays
from recsdk.base import Array, Context, Interaction, Policy, Rng
from recsdk.drivers import loop
from recsdk.errors import InvalidValue

NUM_SCALARS = 4
"""Number of fields of an interaction beside its context."""


class Ask(NamedTuple):
    """A call of a method of an `Rng`.

    Attributes:
        method: name of the method.
        shape: its argument.
        end: count of the numbers drawn up to and including this call.
    """

    method: str
    shape: Any
    end: int


class Program(NamedTuple):
    """A compiled program for one bucket.

    Attributes:
        call: function of the state and i64[E + K (D + 2)]: E numbers, then the context's rows, in one array since each array costs 5 us.
        asks: calls that give the E random numbers of `probs`.
    """

    call: Callable[[Any, np.ndarray], Any]
    asks: list[Ask]


class _Given:
    """The `Rng` of a program: returns the numbers that it was given, or zeros, and records each call."""

    def __init__(self, numbers: Array | None = None) -> None:
        self._numbers = numbers
        self.asks: list[Ask] = []

    def standard_normal(self, shape: Any = None) -> Array:
        """Returns f64[shape], independent standard normal."""
        return self._next("standard_normal", shape)

    def random(self, shape: Any = None) -> Array:
        """Returns f64[shape], uniform on [0, 1)."""
        return self._next("random", shape)

    def _next(self, method: str, shape: Any) -> Array:
        import jax

        start = self.num_asked
        zeros = jax.numpy.zeros(() if shape is None else shape, dtype="float64")
        self.asks.append(Ask(method, shape, start + zeros.size))
        return zeros if self._numbers is None else self._numbers[start : start + zeros.size].reshape(zeros.shape)

    @property
    def num_asked(self) -> int:
        """How many numbers were asked for."""
        return self.asks[-1].end if self.asks else 0


def _runs_on_jax(instance: Jitted, field: Any, policy: Policy[Any]) -> None:
    del instance, field
    if "jax" not in policy.runs_on:
        raise InvalidValue(f"policy must run on NumPy to be used live, or on JAX, got {policy!r}, which runs on {policy.runs_on}.")
    loop.choose_engine(policy, "jax")


@functools.lru_cache(maxsize=128)
def _programs_of(policy: Policy[Any]) -> dict[tuple[str, int, int], Program]:
    """Returns the compiled programs of equal policies, by method, bucket and width."""
    del policy
    return {}


@attrs.frozen(kw_only=True)
class Jitted:
    """Runs a policy for JAX live, on NumPy arrays. Neural policies need it.

    `Recommender` wraps such a policy by itself. Use this class to call `decide` and `learn` directly, or to mix such a policy with native
    ones. Candidates are padded to the next power of two; the program for such a bucket is compiled when it is first met: at most 11
    programs for up to 1,024 candidates, and one to learn from the chosen candidate. The programs compute in 64 bits where the policy does,
    and the application's settings of JAX are left alone.

    The state stays on JAX's device, a CPU unless the application has chosen another; `update` overwrites it. Random numbers come from
    `rng`, as on NumPy.

    Attributes:
        policy: a policy that runs on JAX. One that is made of others is compiled as a whole.

    Raises:
        InvalidValue: when the policy does not run on JAX.
        MissingExtra: when JAX is not installed.

    Example:
        >>> import numpy as np
        >>> import recsdk
        >>> policy = recsdk.Jitted(policy=recsdk.LinUCB())
        >>> context = recsdk.Context(np.eye(2), np.ones(2, bool), np.arange(2))
        >>> recsdk.decide(policy, policy.init(np.array([0.1, 0.0])), np.random.default_rng(0), context).probs
        array([1., 0.])
    """

    policy: Policy[Any] = attrs.field(validator=_runs_on_jax)
    _programs: dict[tuple[str, int, int], Program] = attrs.field(
        init=False, eq=False, repr=False, default=attrs.Factory(lambda self: _programs_of(self.policy), takes_self=True)
    )

    @property
    def runs_on(self) -> tuple[str, ...]:
        """NumPy, as far as the caller can see."""
        return ("numpy",)

    @property
    def learns_from(self) -> str:
        """As the wrapped policy's."""
        return self.policy.learns_from

    @property
    def parts(self) -> tuple[Policy[Any], ...]:
        """The wrapped policy."""
        return (self.policy,)

    def map_parts(self, function: Callable[[Policy[Any], Any], Any], state: Any) -> Any:
        """Moves what `function` returns on NumPy, such as a stored state, to the device; see `recsdk.base.Composite`."""
        with arrays.on_cpu() as jax:
            placed = function(self.policy, state)
            return arrays.tree_map(lambda leaf: leaf if isinstance(leaf, jax.Array) else jax.numpy.array(leaf), placed)

    def init(self, prior: Array) -> Any:
        with arrays.on_cpu() as jax:  # an update gives every array of the state away, so no two may be one
            return arrays.tree_map(jax.numpy.array, self.policy.init(jax.numpy.array(prior)))

    def probs(self, state: Any, rng: Rng, context: Context) -> Array:
        num_candidates, dim = context.features.shape
        size = _bucket(num_candidates)
        program = self._programs.get(("probs", size, dim)) or self._compile_probs(state, size, dim)
        numbers, floats = _packed(context, size, program.asks[-1].end if program.asks else 0)
        start = 0
        for method, shape, end in program.asks:
            floats[start:end] = np.ravel(getattr(rng, method)(shape))
            start = end
        with arrays.on_cpu():
            return np.asarray(program.call(state, numbers))[:num_candidates]

    def update(self, state: Any, interaction: Interaction) -> Any:
        (features, mask, item), action, *others = interaction
        if self.policy.learns_from == "chosen":
            row = slice(action, action + 1)
            features, mask, item, action = features[row], mask[row], item[row], 0
        num_candidates, dim = features.shape
        size = _bucket(num_candidates)
        program = self._programs.get(("update", size, dim)) or self._compile_update(state, size, dim)
        numbers, floats = _packed(Context(features, mask, item), size, NUM_SCALARS)
        floats[:NUM_SCALARS] = action, *others
        with arrays.on_cpu():
            return program.call(state, numbers)

    def _compile_probs(self, state: Any, size: int, dim: int) -> Program:
        import jax

        def probs(state: Any, numbers: Array) -> Array:
            floats, context = _unpacked(numbers, size, dim)
            return self.policy.probs(state, _Given(floats), context)

        with arrays.on_cpu():
            rng, nothing = _Given(), np.zeros(size * (dim + 2), np.int64)
            jax.eval_shape(lambda state, numbers: self.policy.probs(state, rng, _unpacked(numbers, size, dim)[1]), state, nothing)
            compiled = jax.jit(probs).lower(state, np.zeros(rng.num_asked + len(nothing), np.int64)).compile()
        return self._programs.setdefault(("probs", size, dim), Program(compiled, rng.asks))

    def _compile_update(self, state: Any, size: int, dim: int) -> Program:
        import jax

        def update(state: Any, numbers: Array) -> Any:
            (action, *others), context = _unpacked(numbers, size, dim)
            return self.policy.update(state, Interaction(context, action.astype("int64"), *others))

        with arrays.on_cpu():
            lowered = jax.jit(update, donate_argnums=0).lower(state, np.zeros(NUM_SCALARS + size * (dim + 2), np.int64))
            before, after = (jax.tree.map(lambda leaf: f"{leaf.dtype}{list(leaf.shape)}", tree) for tree in (state, lowered.out_info))
            if before != after:
                raise InvalidValue(f"{self.policy!r}.update must keep the shapes and types of the state, {before}, got {after}.")
            compiled = lowered.compile()
        return self._programs.setdefault(("update", size, dim), Program(compiled, []))


def _bucket(num_candidates: int) -> int:
    return 1 << (num_candidates - 1).bit_length()


def _packed(context: Context, size: int, num_floats: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns what a program takes, with zeros for padding, and a view of it in which `num_floats` numbers are yet to be written."""
    features, mask, item = context
    num_candidates, dim = features.shape
    numbers = np.zeros(num_floats + size * (dim + 2), np.int64)  # of integers, since those are copied bit by bit
    floats = numbers.view(np.float64)
    floats[num_floats:].reshape(size, dim + 2)[:num_candidates, :dim] = features
    rows = numbers[num_floats:].reshape(size, dim + 2)
    rows[:num_candidates, dim] = item
    rows[:num_candidates, dim + 1] = mask
    return numbers, floats


def _unpacked(numbers: Array, size: int, dim: int) -> tuple[Array, Context]:
    import jax

    floats, rows = numbers[: -size * (dim + 2)], numbers[-size * (dim + 2) :].reshape(size, dim + 2)
    features = jax.lax.bitcast_convert_type(rows[:, :dim], "float64")
    return jax.lax.bitcast_convert_type(floats, "float64"), Context(features, rows[:, dim + 1] == 1, rows[:, dim])
