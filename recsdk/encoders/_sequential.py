"""Common parts of the sequence encoders: the state, the fit, and serving on NumPy alone."""

from __future__ import annotations

import functools
from collections.abc import Hashable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from recsdk.base import Array, Events, Items, Table
from recsdk.data import take
from recsdk.encoders import _content, _fitting, _rows, _sequences
from recsdk.encoders._bags import columns_of
from recsdk.encoders._content import Fused, network
from recsdk.encoders._sequences import Histories
from recsdk.errors import InvalidValue
from recsdk.vocabulary import Numbered, numbers_of, vocabulary

SPREAD = 0.25
SMALLEST_SPREAD = 1e-6
SMALLEST_SQUARE = 1e-12
AT_ONCE = 64
"""Requests that are encoded together: more would not be quicker on a CPU, and need more memory."""


class SequenceState(NamedTuple):
    """A fitted sequence model. The score of an item for a user is (scale * user vector) . (item vector - centre).

    Attributes:
        vocabulary: the items that have a vector: a `Vocabulary`; or where `admit` says which, `Rows`.
        params: of the network, with the tables of vectors; or where `item_features` are read, `Fused`.
        centre: f32[dim], mean vector of the items at the fit.
        scale: f32[], for a standard deviation of 1/4 over the items.
        history: f64[epochs, 3], mean loss, validation NDCG@10 and seconds of each epoch of the last fit.
        best_epoch: i64[], the epoch whose parameters these are, counted from 1.

    Example:
        >>> from recsdk.encoders.sasrec import SASRec
        >>> SASRec(dim=8).init().vocabulary.ids.tolist()
        []
    """

    vocabulary: Any
    params: Any
    centre: np.ndarray
    scale: np.ndarray
    history: np.ndarray
    best_epoch: np.ndarray


class Shape(Protocol):
    """An architecture."""

    @property
    def dim(self) -> int: ...

    @property
    def max_length(self) -> int: ...

    def init(self, rng: np.random.Generator, num_rows: int) -> Any:
        """Returns parameters before training."""

    def new_rows(self, rng: np.random.Generator, num_rows: int) -> np.ndarray:
        """Returns vectors of items before training."""

    def forward(self, params: Any, tokens: Array, dropout: Any = None, dtype: Any = np.float32) -> Array:
        """Returns f32[B, T, D]."""


@runtime_checkable
class Ending(Protocol):
    """An architecture that tells the end of one history on NumPy with less work than `forward`."""

    def ending(self, params: Any, tokens: np.ndarray) -> np.ndarray:
        """Returns f32[D], the vector at the last of `tokens` i32[T]."""


@functools.cache
def _tells_endings(shape: Hashable) -> bool:
    """Tells whether an architecture has `ending`; asked once, since to ask a protocol takes as long as a layer."""
    return isinstance(shape, Ending)


def init(config: Any, seed: int = 0) -> SequenceState:
    """Returns the untrained state of a model that knows no item: random parameters."""
    rng = np.random.default_rng(seed)
    params = config.shape.init(rng, 1)
    if config.item_features:
        inward, outward = (config.shape.new_rows(rng, _content.WIDTH if len(part) else 0) for part in (params.table, params.output))
        params = Fused(params, columns_of([]), np.zeros(_content.NUM_BUCKETS, np.float32), inward, outward)
    zeros = np.zeros(config.shape.dim, np.float32)
    known: Numbered = _rows.no_rows() if config.admit else vocabulary([], np.zeros(0))
    return SequenceState(known, params, zeros, np.array(1, np.float32), np.zeros((0, 3)), np.array(0))


def fit(config: Any, log: Events, *, state: SequenceState | None = None, seed: int = 0) -> SequenceState:
    """Trains from scratch, or on from `state`; items keep their rows, new ones get rows of their own.

    Raises:
        CheckpointMismatch: the file `checkpoint` is of another training.
        CheckpointCorrupt: it is damaged.
        InvalidLog: the log has no column `user`.
        InvalidRequest: users that are no str, or an item's feature that holds another kind of value than in `state`.
        InvalidValue: no step of an epoch was finite, JAX has fewer devices, `batch_size` is no multiple of `accumulate`, `item_features`
            name what items do not have, the catalogue is too large for them or for `num_validation`, or `state` is of a fit with `admit`
            or `item_features` and this is one without, or the other way round.
        MissingExtra: JAX or Optax is not installed.
    """
    goes_on = state is not None
    state = init(config, seed) if state is None else _fitting_to(config, state)
    before, num_rows = state.vocabulary, len(network(state.params).table)
    known: Numbered
    if config.admit:
        known = _rows.learn(before, log, config.admit, config.expire)
        num_rows = max(num_rows, _rows.filled(int(known.number.max(initial=0)) + 1))
        reused = _rows.fresh(before, known)
    else:
        known = _sequences.learn(before, log.items)
        num_rows, reused = len(known.ids) + 1, np.zeros(0, np.int64)
    histories, state = _sequences.from_log(known, log, config.user), state._replace(vocabulary=known)
    if config.item_features:
        state = _fitted_to_content(config, state, log.items, histories, seed, num_rows, reused)
    else:
        state = state._replace(params=_renewed(config.shape, _grown(config.shape, state.params, num_rows, seed), reused, seed))
        if len(histories.row):
            state = _fitting.trained(config, state, histories, seed)
    return _calibrated(config, state, histories) if len(histories.row) or not goes_on else state


def _fitting_to(config: Any, state: SequenceState) -> SequenceState:
    """Returns a state that these settings can go on with."""
    name, has_rows, is_fused = type(config).__name__, isinstance(state.vocabulary, _rows.Rows), isinstance(state.params, Fused)
    if has_rows != bool(config.admit):
        raise InvalidValue(f"{name}.admit must be {'at least 1' if has_rows else 0}, as in the fit of `state`, got {config.admit}.")
    if is_fused != bool(config.item_features):
        wanted = "names of features" if is_fused else "()"
        raise InvalidValue(f"{name}.item_features must be {wanted}, as in the fit of `state`, got {config.item_features!r}.")
    return state


def encode_items(config: Any, state: SequenceState, items: Items) -> Array:
    """Returns f32[N, dim]; for an item that no fit has seen what its features say, or without any, zeros: the average item.

    Raises:
        InvalidRequest: a feature that holds another kind of value than at the fit.
    """
    rows = numbers_of(state.vocabulary, items.ids.tolist(), missing=_sequences.BEGIN)
    vectors = _item_vectors(config, state)[rows]
    new = np.flatnonzero(rows == _sequences.BEGIN)
    if not config.item_features or not len(state.params.columns.name):
        return np.where((rows == _sequences.BEGIN)[:, None], np.float32(0), vectors - state.centre)
    if len(new):
        told = _content.offered(state.params, take(items, new))
        vectors[new] = _unit(told) if config.similarity == "cosine" else told
    return vectors - state.centre


def encode_requests(config: Any, state: SequenceState, requests: Table) -> Array:
    """Returns f32[B, dim]; items of a history that are not known are passed over.

    Raises:
        InvalidRequest: a history that is no list of str.
    """
    size = next((len(column) for column in requests.values()), 1)
    found = _sequences.from_requests(state.vocabulary, requests, config.history, size)
    return _encoded(config, network(state.params), found) * state.scale


def _fitted_to_content(
    config: Any, state: SequenceState, items: Items, histories: Histories, seed: int, num_rows: int, reused: np.ndarray
) -> SequenceState:
    """Trains vectors of ids and what features add to them, apart; an id that is new adds nothing at first."""
    if num_rows > _content.MOST_ROWS:
        raise InvalidValue(
            f"{type(config).__name__}.item_features must be () where the tables have more than {_content.MOST_ROWS:,} rows,"
            f" got {config.item_features!r} and {num_rows:,} rows; `admit` gives rows to fewer items."
        )
    params = _content.learn(state.params, items, config.item_features, config.text_features)
    told = np.zeros((num_rows, _content.WIDTH), np.float32)
    told[numbers_of(state.vocabulary, items.ids.tolist(), missing=_sequences.BEGIN)] = _content.features(params, items)
    told[_sequences.BEGIN] = 0  # and with it those that have no row
    before = len(params.network.table)
    ids = _content.parted(params, told[:before])
    new = np.zeros((num_rows - before, config.shape.dim), np.float32)
    output = np.concatenate([ids.output, new]) if len(ids.output) else ids.output
    table = np.concatenate([ids.table, new])
    table[reused] = 0
    if len(output):
        output[reused] = 0
    state = state._replace(params=params._replace(network=ids._replace(table=table, output=output)))
    if len(histories.row):
        state = _fitting.trained(config, state, histories, seed, told)
    return state._replace(params=state.params._replace(network=_content.fused(state.params, told)))


def _grown(shape: Shape, params: Any, num_rows: int, seed: int) -> Any:
    """Adds rows for new items; the others stay as they are."""
    missing = num_rows - len(params.table)
    if missing <= 0:
        return params
    rng = np.random.default_rng([seed, num_rows])
    table = np.concatenate([params.table, shape.new_rows(rng, missing)])
    output = np.concatenate([params.output, shape.new_rows(rng, missing)]) if len(params.output) else params.output
    return params._replace(table=table, output=output)


def _renewed(shape: Shape, params: Any, rows: np.ndarray, seed: int) -> Any:
    """Gives rows that have another item now vectors as before training."""
    if not len(rows):
        return params
    rng, table, output = np.random.default_rng([seed, len(rows), *rows.tolist()]), params.table.copy(), params.output.copy()
    table[rows] = shape.new_rows(rng, len(rows))
    if len(output):
        output[rows] = shape.new_rows(rng, len(rows))
    return params._replace(table=table, output=output)


def _calibrated(config: Any, state: SequenceState, histories: Histories) -> SequenceState:
    """Centres the items and scales the users, so that a user's scores have mean 0 and, on average, a standard deviation of 1/4."""
    vectors = _item_vectors(config, state)
    vectors = vectors[np.sort(state.vocabulary.number)] if config.admit else vectors[1:]
    num_users = len(histories.start) - 1
    if len(vectors) < 2:
        return state
    places = np.unique(np.linspace(0, num_users - 1, min(num_users, AT_ONCE)).astype(np.int64))
    some = [histories.row[histories.start[user] : histories.start[user + 1]] for user in places]
    users = _encoded(config, network(state.params), some or [np.zeros(0, np.int64)])
    spread = (users @ vectors.T).std(axis=1).mean()
    scale = SPREAD / spread if spread > SMALLEST_SPREAD else state.scale
    return state._replace(centre=vectors.mean(axis=0), scale=np.array(scale, np.float32))


def _item_vectors(config: Any, state: SequenceState) -> np.ndarray:
    params = network(state.params)
    table: np.ndarray = params.output if len(params.output) else params.table
    return _unit(table) if config.similarity == "cosine" else table


def _encoded(config: Any, params: Any, histories: list[np.ndarray]) -> np.ndarray:
    """Returns f32[B, D]; a history's vector does not depend on the others, but for rounding."""
    shape: Any = config.shape
    found = np.zeros((len(histories), shape.dim), np.float32)
    if _tells_endings(shape):
        for row, history in enumerate(histories):
            found[row] = shape.ending(params, _sequences.padded([history], shape.max_length)[0][0])
        return _unit(found) if config.similarity == "cosine" else found
    order = sorted(range(len(histories)), key=lambda place: len(histories[place]))  # alike lengths together: little padding
    for first in range(0, len(order), AT_ONCE):
        part = order[first : first + AT_ONCE]
        tokens, last = _sequences.padded([histories[place] for place in part], shape.max_length)
        found[part] = shape.forward(params, tokens)[np.arange(len(part)), last]
    return _unit(found) if config.similarity == "cosine" else found


def _unit(vectors: np.ndarray) -> np.ndarray:
    unit: np.ndarray = vectors / np.sqrt((vectors * vectors).sum(axis=1, keepdims=True) + np.float32(SMALLEST_SQUARE))
    return unit
