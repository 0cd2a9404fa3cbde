"""The trainer of sequence models, and of whatever else is a loss and a metric of a record of arrays. Importing this imports JAX."""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax  # type: ignore[import-untyped]  # its wheel has no type information

from recsdk.encoders import _sharding
from recsdk.errors import InvalidValue

BETA2 = 0.98
STEPS_PER_DISPATCH = 64
"""Most steps in one compiled call: between two calls the bar moves and an interruption is noticed."""


class Objective(Protocol):
    """A loss and a metric. It is hashable by value: equal objectives share one compiled program."""

    def loss(self, params: Any, batch: Any, key: jax.Array, *given: Any) -> jax.Array:
        """Returns f32[], the mean loss of a batch, to be minimised; with several devices, rows of zeros must count for nothing."""

    def metric(self, params: Any, cases: Any, *given: Any) -> jax.Array:
        """Returns f32[], the ranking metric of the validation cases, to be maximised."""


class Settings(NamedTuple):
    """Settings of the trainer.

    Attributes:
        epochs: at most.
        batch_size: rows per step, a multiple of `accumulate`; all rows where there are fewer.
        learning_rate: after the warm-up.
        warmup_steps: steps over which the learning rate rises from 0.
        weight_decay: of AdamW, for matrices of the layers and not for tables of vectors.
        clip_norm: the gradient is shortened to this length.
        patience: epochs without a better metric after which training stops.
        seed: of the order of rows and of dropout.
        progress: whether to show a bar on stderr; None where that is a terminal.
        label: what the bar says.
        accumulate: parts of equal size in which a step's rows go through the network, one after another. The loss is the mean over them.
        num_devices: that share each part of a step's rows, filled up with rows of zeros, and the rows of the parameters `table` and
            `output`, which must divide by it.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    warmup_steps: int
    weight_decay: float
    clip_norm: float
    patience: int
    seed: int
    progress: bool | None = None
    label: str = "training"
    accumulate: int = 1
    num_devices: int = 1


class TrainerState(NamedTuple):
    """All that training needs to go on after an epoch.

    Attributes:
        params: after the last epoch.
        moments: of the optimiser.
        best: the parameters of the best epoch.
        best_epoch: i64[], counted from 1; 0 before any.
        history: f64[epochs, 3]: mean loss, metric and seconds of each epoch so far.
    """

    params: Any
    moments: Any
    best: Any
    best_epoch: np.ndarray
    history: np.ndarray


def start(params: Any, settings: Settings) -> TrainerState:
    """Returns the state before the first epoch."""
    # AdamW begins at zeros; on the host, since several devices may hold what one cannot.
    moments = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), jax.eval_shape(_optimiser(settings).init, params))
    return TrainerState(params, moments, params, np.array(0), np.zeros((0, 3)))


def train(
    objective: Objective,
    state: TrainerState,
    rows: Any,
    cases: Any,
    settings: Settings,
    *,
    given: tuple[Any, ...] = (),
    after_epoch: Callable[[TrainerState], None] | None = None,
    num_empty: int = 0,
) -> TrainerState:
    """Trains until the metric has fallen for long, several steps per compiled call, on rows that lie on the device.

    The order of rows and the dropout of an epoch follow from the seed and the epoch's number. So training that was interrupted after
    an epoch goes on to the very parameters that it would have reached.

    Args:
        objective: the loss and the metric.
        state: from `start`, or of an interrupted training.
        rows: a record of arrays of N rows each, the training data.
        cases: a record of arrays, for `objective.metric`.
        settings: how to train.
        given: arrays that the loss and the metric take besides, each of them whole.
        after_epoch: called with the state after each epoch, such as to write a checkpoint.
        num_empty: of the rows, those at the end, which count for nothing: a part of a step that has no other is not in the mean loss.

    Returns:
        The state after the last epoch; what to use is its `best`.

    Raises:
        InvalidValue: no step of an epoch was finite, there are fewer devices, or `batch_size` is no multiple of `accumulate`.
    """
    if settings.batch_size % settings.accumulate:
        raise InvalidValue(f"batch_size must be a multiple of accumulate, {settings.accumulate}, got {settings.batch_size}.")
    num_rows = len(jax.tree.leaves(rows)[0])
    part = -(-min(settings.batch_size, num_rows) // settings.accumulate)
    calls = -(-num_rows // (part * settings.accumulate * STEPS_PER_DISPATCH))
    steps = -(-num_rows // (part * settings.accumulate * calls))
    num_filled = -part % settings.num_devices
    if num_filled:
        rows = jax.tree.map(lambda array: np.concatenate([array, np.zeros_like(array[:1])]), rows)
    # Optax and array-API code add numbers of different types and ranks: an application that forbids this must still be able to train.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        # Copies, since they are donated: what is put on a CPU may share NumPy's memory.
        parts = jax.tree.map(np.array, (state.params, state.moments, state.best))
        where, everywhere = None, None
        if settings.num_devices > 1:  # straight to where it lies: no device need hold a whole table
            where, everywhere = _sharding.shardings(parts, settings.num_devices), _sharding.everywhere(settings.num_devices)
        params, moments, best = jax.device_put(parts, where)
        state = state._replace(params=params, moments=moments, best=best)
        rows, cases, given = jax.device_put((rows, cases, given), everywhere)
        with _bar(settings, calls, num_rows - num_empty) as shown:
            while len(state.history) < settings.epochs and not _is_over(state, settings):
                epoch, begun, losses = len(state.history), time.perf_counter(), []
                order = np.random.default_rng([settings.seed, epoch]).permutation(num_rows)
                places = np.resize(order, (calls, steps, settings.accumulate, part)).astype(np.int32)
                places = np.pad(places, ((0, 0), (0, 0), (0, 0), (0, num_filled)), constant_values=num_rows)
                held = (places < num_rows - num_empty).any(axis=3).mean(axis=2).ravel()
                for call, batches in enumerate(places.reshape(calls, steps, -1)):
                    first = np.int32((epoch * calls + call) * steps)
                    params, moments, loss = _steps(objective, settings, state.params, state.moments, rows, batches, first, given)
                    state = state._replace(params=params, moments=moments)
                    losses.append(loss)
                    shown(epoch, call, state)
                metric = float(_metric(objective, state.params, cases, *given))
                state = _after(state, np.concatenate(jax.device_get(losses)), held, metric, time.perf_counter() - begun, settings)
                if after_epoch is not None:
                    after_epoch(jax.device_get(state))
    return jax.device_get(state)  # type: ignore[no-any-return]


def _is_over(state: TrainerState, settings: Settings) -> bool:
    return len(state.history) - int(state.best_epoch) >= settings.patience > 0 and int(state.best_epoch) > 0


def _after(state: TrainerState, losses: np.ndarray, held: np.ndarray, metric: float, seconds: float, settings: Settings) -> TrainerState:
    """Adds an epoch; `held` f64[S] is the share of each step's parts that hold anything: the loss of the others is 0."""
    finite = ~np.isnan(losses)
    if not held[finite].any():
        raise InvalidValue(f"learning_rate must be smaller: no step of an epoch was finite, got {settings.learning_rate}.")
    history = np.concatenate([state.history, [[losses[finite].sum() / held[finite].sum(), metric, seconds]]])
    # Of epochs that are alike the later is the better trained one: a small validation soon says 1, or always 0.
    if len(state.history) and not metric >= state.history[:, 1].max():
        return state._replace(history=history)
    return state._replace(best=jax.tree.map(jnp.copy, state.params), best_epoch=np.array(len(history)), history=history)


def _is_matrix(params: Any) -> Any:
    """Tells which arrays decay: those of layers. Decay would pull the vectors of rare items to 0."""
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: leaf.ndim == 2 and not any(getattr(key, "name", "") in ("table", "output", "position") for key in path), params
    )


def _optimiser(settings: Settings) -> Any:
    rate = optax.linear_schedule(0.0, settings.learning_rate, settings.warmup_steps) if settings.warmup_steps else settings.learning_rate
    adam = optax.adamw(rate, b2=BETA2, weight_decay=settings.weight_decay, mask=_is_matrix)
    return optax.chain(optax.clip_by_global_norm(settings.clip_norm), adam)


def _steps(
    objective: Objective, settings: Settings, params: Any, moments: Any, rows: Any, batches: np.ndarray, first: np.int32, given: Any
) -> Any:
    shared = settings._replace(
        epochs=0, patience=0, progress=None, label="", batch_size=0, seed=0
    )  # so that equal programs are compiled once
    return _compiled_steps(objective, shared, params, moments, rows, batches, first, np.uint32(settings.seed), given)


@functools.partial(jax.jit, static_argnums=(0, 1), donate_argnums=(2, 3))
def _compiled_steps(
    objective: Objective, settings: Settings, params: Any, moments: Any, rows: Any, batches: Any, first: Any, seed: Any, given: Any
) -> Any:
    optimiser, key = _optimiser(settings), jax.random.key(seed)

    def slope(params: Any, places: Any, key: Any) -> Any:
        return jax.value_and_grad(objective.loss)(params, jax.tree.map(lambda array: array[places], rows), key, *given)

    def slopes(params: Any, places: Any, key: Any) -> Any:
        """Returns the mean over the parts, one after another."""
        parts = places.reshape(settings.accumulate, -1), jax.random.split(key, settings.accumulate)
        nothing = jax.tree.map(jnp.zeros_like, (jnp.zeros(()), params))
        total, _ = jax.lax.scan(lambda sums, part: (jax.tree.map(jnp.add, sums, slope(params, *part)), None), nothing, parts)
        return jax.tree.map(lambda leaf: leaf / settings.accumulate, total)

    def step(carry: Any, now: Any) -> Any:
        params, moments = carry
        places, number = now
        loss, gradient = (slope if settings.accumulate == 1 else slopes)(params, places, jax.random.fold_in(key, number))
        updates, new_moments = optimiser.update(gradient, moments, params)
        # Clipping makes an update of 0 from a norm that overflows, so the norm is looked at as well.
        finite = jnp.isfinite(loss) & jnp.isfinite(sum(jnp.vdot(leaf, leaf) for leaf in jax.tree.leaves(gradient)))
        new = optax.apply_updates(params, updates), new_moments
        kept = jax.tree.map(lambda now, before: jnp.where(finite, now, before), new, carry)
        return _sharding.keep(kept, settings.num_devices), jnp.where(finite, loss, jnp.nan)

    numbers = first + jnp.arange(len(batches), dtype=jnp.int32)
    begun = _sharding.keep((params, moments), settings.num_devices)
    (params, moments), losses = jax.lax.scan(step, begun, (_sharding.spread(batches, settings.num_devices), numbers))
    return params, moments, losses


@functools.partial(jax.jit, static_argnums=0)
def _metric(objective: Objective, params: Any, cases: Any, *given: Any) -> Any:
    return objective.metric(params, cases, *given)


@contextmanager
def _bar(settings: Settings, calls: int, num_rows: int) -> Iterator[Callable[[int, int, TrainerState], None]]:
    """Shows a bar on stderr, where that is a terminal or `progress` says so."""
    if not (sys.stderr.isatty() if settings.progress is None else settings.progress):
        yield lambda epoch, call, state: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[told]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(settings.label, total=settings.epochs * calls, told="")

        def show(epoch: int, call: int, state: TrainerState) -> None:
            told = ""
            if len(state.history):
                loss, metric, seconds = state.history[-1]
                told = f"loss {loss:.3f}  metric {metric:.4f}  best {state.history[:, 1].max():.4f}  {num_rows / seconds:,.0f} rows/s"
            bar.update(task, completed=epoch * calls + call + 1, told=told)

        yield show
