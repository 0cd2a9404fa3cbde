"""From histories to a trained sequence model: what is held out, what is trained on, and how."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from recsdk.arrays import leaves, require_jax
from recsdk.encoders import _rows, _sequences
from recsdk.encoders._content import network
from recsdk.encoders._sequences import Histories
from recsdk.encoders.checkpoint import read, read_header, write
from recsdk.errors import CheckpointMismatch, InvalidValue, MissingExtra, install

MOST_SEEN = 2**31
"""Cases of the validation times rows of the tables: a byte for each says what a user has, 2 GiB."""


def objective(config: Any, num_rows: int = 0) -> Any:
    """Returns what to train; only the first rows of the tables count, or where `num_rows` is 0, all. Imports JAX."""
    try:
        jax = require_jax()
        from recsdk.encoders._objective import NextItem
    except ModuleNotFoundError as error:
        raise MissingExtra(f"Training {type(config).__name__} needs {error.name}, which is not installed: {install('deep')}.") from error
    is_fast = jax.default_backend() in ("gpu", "tpu")
    return NextItem(
        shape=config.shape,
        loss_name=config.loss,
        num_negatives=config.num_negatives,
        is_cosine=config.similarity == "cosine",
        temperature=config.temperature,
        dropout=config.dropout,
        num_rows=num_rows,
        id_dropout=config.id_dropout if config.item_features else 0.0,
        dtype={"auto": "bfloat16" if is_fast else "float32"}.get(config.precision, config.precision),
    )


def trained(config: Any, state: Any, histories: Histories, seed: int, told: np.ndarray | None = None) -> Any:
    """Returns the `SequenceState` after training; the tables lie on several devices where the settings say so.

    Args:
        config: the encoder.
        state: the `SequenceState` before.
        histories: to train on.
        seed: of the training.
        told: f32[R, F], the features of each row's item, where the parameters are `Fused`; else None.
    """
    num_rows = len(network(state.params).table)
    wanted = objective(config, num_rows if num_rows % config.devices else 0)
    from recsdk.encoders import _sharding
    from recsdk.encoders.training import Settings, TrainerState, start, train

    _sharding.mesh(config.devices)  # before there are rows for so many
    held = _held(histories, config.num_validation, seed)
    rows = _sequences.windows(histories, held, config.shape.max_length, config.max_windows)
    there, num_empty = None, 0
    if config.admit:
        num_empty = _rows.filled(len(rows)) - len(rows)
        rows = np.pad(rows, ((0, num_empty), (0, 0)))  # of nothing, which counts for nothing
        there = np.isin(np.arange(num_rows), state.vocabulary.number)
    cases = _validation(config, histories, held, num_rows + -num_rows % config.devices)
    settings = Settings(
        epochs=config.epochs,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        warmup_steps=config.warmup_steps,
        weight_decay=config.weight_decay,
        clip_norm=config.clip_norm,
        patience=config.patience,
        seed=seed,
        progress=config.progress,
        label=f"training {type(config).__name__}",
        accumulate=config.accumulate,
        num_devices=config.devices,
    )
    params = state.params._replace(columns=None, rarity=None) if told is not None else state.params
    begun, after_epoch = start(params, settings), None
    if config.checkpoint is not None:
        origin = _origin(config, state, [rows, *cases._replace(seen=cases.seen[:, :num_rows]), *([] if told is None else [told])], seed)
        begun = _resumed(config.checkpoint, begun, origin)

        def after_epoch(now: TrainerState) -> None:
            write(config.checkpoint, _sharding.cut(now, num_rows), {"origin": origin})

    given = () if told is None and there is None else tuple(_filled(each, -num_rows % config.devices) for each in (told, there))
    begun = _sharding.filled(begun, config.devices)
    done = train(wanted, begun, rows, cases, settings, given=given, after_epoch=after_epoch, num_empty=num_empty)
    best = _sharding.cut(done.best, num_rows)
    if told is not None:
        best = best._replace(columns=state.params.columns, rarity=state.params.rarity)
    return state._replace(params=best, history=done.history, best_epoch=done.best_epoch)


def _filled(array: np.ndarray | None, more: int) -> np.ndarray | None:
    """Adds rows of zeros."""
    return None if array is None else np.concatenate([array, np.zeros((more, *array.shape[1:]), array.dtype)])


def _origin(config: Any, state: Any, given: list[np.ndarray], seed: int) -> str:
    """Returns a digest of all that a training's result follows from; `given` are what is trained on, the cases and the features."""
    digest = hashlib.blake2b(f"{config!r} {seed}".encode(), digest_size=16)
    for array in map(np.asarray, (*given, *leaves(state))):
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _resumed(path: str, begun: Any, origin: str) -> Any:
    """Returns the state of an interrupted training, or where there is no file, `begun`."""
    if not Path(path).exists():
        return begun
    found = read_header(path).get("origin")
    if found != origin:
        raise CheckpointMismatch(
            f"checkpoint must be of this training, of the same settings, seed and log; {path!r} is of another: remove it, or name another."
        )
    return read(path, begun)


def _held(histories: Histories, most: int, seed: int) -> np.ndarray:
    """Chooses the users whose last item validates: at most half of those who took two; but one where there is only one."""
    able = np.flatnonzero(np.diff(histories.start) >= 2)
    held = np.zeros(len(histories.start) - 1, bool)
    held[np.random.default_rng(seed).permutation(able)[: min(most, max(len(able) // 2, 1))]] = True
    return held


def _validation(config: Any, histories: Histories, held: np.ndarray, num_rows: int) -> Any:
    from recsdk.encoders._objective import CASES_AT_ONCE, Validation

    users = np.flatnonzero(held)
    parts = [histories.row[histories.start[user] : histories.start[user + 1]] for user in users]
    if not parts:  # nobody took two items: any case will do, and every epoch is as good as the next
        parts = [np.array([1])]
    size = min(CASES_AT_ONCE, len(parts))
    num = -(-len(parts) // size) * size
    tokens, last = _sequences.padded([part[:-1] for part in parts], config.shape.max_length)
    if config.admit:
        num = _rows.filled(len(parts))
        tokens = np.pad(tokens, ((0, 0), (0, config.shape.max_length - tokens.shape[1])))
    if num * num_rows > MOST_SEEN:
        wanted = 1 << max((MOST_SEEN // num_rows).bit_length() - 1, 0)
        raise InvalidValue(
            f"{type(config).__name__}.num_validation must be at most {wanted:,} where the tables have {num_rows:,} rows,"
            f" got {config.num_validation:,}."
        )
    seen = np.zeros((num, num_rows), bool)
    for row, part in zip(seen, parts, strict=False):
        row[part[:-1]] = True
        row[part[-1]] = False

    def filled(array: np.ndarray) -> np.ndarray:
        return np.concatenate([array, np.zeros((num - len(array), *array.shape[1:]), array.dtype)])

    target = np.array([part[-1] for part in parts], np.int32)
    weight = np.full(len(parts), len(users) > 0, np.float32)
    return Validation(filled(tokens), filled(last.astype(np.int32)), filled(target), seen, filled(np.maximum(weight, np.float32(1e-6))))
