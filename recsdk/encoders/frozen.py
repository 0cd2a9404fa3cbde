"""Vectors made elsewhere, by id."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import attrs
import numpy as np

from recsdk.base import Array, Events, Items, Table
from recsdk.checks import integer, number
from recsdk.encoders import _sequences
from recsdk.encoders._sequential import AT_ONCE, SMALLEST_SPREAD, SPREAD, _unit
from recsdk.errors import InvalidLog, InvalidValue
from recsdk.validators import choice, feature_name, file_name
from recsdk.vocabulary import Vocabulary, numbers_of, vocabulary


class Vectors(NamedTuple):
    """N vectors by id.

    Attributes:
        rows: the row of each id, from 1 on.
        table: f32[N + 1, dim]; row 0 is zeros, for what is not known.
    """

    rows: Vocabulary
    table: np.ndarray


class FrozenState(NamedTuple):
    """What `Frozen` has read. The score of an item for a user is (scale * user vector) . (item vector - centre).

    Attributes:
        items: their vectors.
        users: their vectors; none where there is no file of them.
        centre: f32[dim], mean vector of the catalogue's items.
        scale: f32[], for a standard deviation of 1/4 over the items.

    Example:
        >>> Frozen(vectors="items.npz", dim=3).init().centre.tolist()
        [0.0, 0.0, 0.0]
    """

    items: Vectors
    users: Vectors
    centre: np.ndarray
    scale: np.ndarray


@attrs.frozen(kw_only=True)
class Frozen:
    """Serves vectors that were made elsewhere: of a text or image model, or of another program's factorisation.

    A file gives each item's vector by its id. A user is the mean of what the request's list feature `history` names, the latest item with
    weight 1, the one before with `recency_decay`, and so on; or where there is a file of `users` and the request's `user` is in it, that
    vector. Of an item or a user who is not in a file nothing is known: it is the average item, and all items score alike.

    Nothing is trained: `fit` reads the files, and a recommender's folder keeps the vectors in itself from then on, also those of items
    that join the catalogue later. For newer vectors write another file, and `swap` to it: a folder knows the encoder by the file's name.
    Scores are scaled as those of `TwoTower`.

    A file is `.npz` with the arrays `ids`, text, and `vectors`, [N, dim]; or rows, `.jsonl` or `.parquet`, of an `id` and a `vector`.

    Attributes:
        vectors: file of the items' vectors.
        dim: their width.
        users: file of users' vectors, in the same space; None for none.
        similarity: "cosine" brings all vectors to length 1, as vectors of texts and images want it; "dot" leaves them as they are, as
            factorisations want it.
        recency_decay: how much less each earlier item of the history counts.
        user: the request's feature that says who the user is, a str.
        history: the request's list feature of item ids.

    Example:
        >>> import numpy as np
        >>> from recsdk.data import events_from_rows, items_from_rows, requests_table
        >>> np.savez("items.npz", ids=["tea", "mug", "saw"], vectors=[[1.0, 0.1], [0.9, 0.2], [0.0, 1.0]])
        >>> items = items_from_rows([{"id": "tea"}, {"id": "mug"}, {"id": "saw"}])
        >>> encoder = Frozen(vectors="items.npz", dim=2)
        >>> state = encoder.fit(events_from_rows(items, []))
        >>> user = encoder.encode_requests(state, requests_table([{"history": ["tea"]}]))
        >>> items.ids[np.argsort(-(user @ encoder.encode_items(state, items).T)[0])].tolist()
        ['tea', 'mug', 'saw']
    """

    vectors: str = attrs.field(validator=file_name)
    dim: int = attrs.field(validator=integer(at_least=1))
    users: str | None = attrs.field(default=None, validator=attrs.validators.optional(file_name))
    similarity: str = attrs.field(default="cosine", validator=choice("cosine", "dot"))
    recency_decay: float = attrs.field(default=0.8, validator=number(above=0, at_most=1))
    user: str = attrs.field(default="user_id", validator=feature_name)
    history: str = attrs.field(default="history", validator=feature_name)

    def init(self) -> FrozenState:
        """Returns the state before anything was read: nothing is known of any item."""
        nothing = Vectors(vocabulary([], np.zeros(0)), np.zeros((1, self.dim), np.float32))
        return FrozenState(nothing, nothing, np.zeros(self.dim, np.float32), np.array(1, np.float32))

    def fit(self, log: Events, *, state: FrozenState | None = None, seed: int = 0) -> FrozenState:
        """Reads the files. The log gives the scale: the catalogue, and the histories of some users.

        Raises:
            FileNotFoundError: a file is not there.
            InvalidLog: a file cannot be read, or holds something else.
            InvalidValue: vectors of another width than `dim`.
        """
        del state, seed
        state = self.init()._replace(items=self._read(self.vectors))
        state = state if self.users is None else state._replace(users=self._read(self.users))
        vectors = state.items.table[numbers_of(state.items.rows, log.items.ids.tolist(), missing=0)]
        vectors = vectors[vectors.any(axis=1)]
        if len(vectors) < 2:
            return state
        spread = (self._some_users(state, log, vectors) @ vectors.T).std(axis=1).mean()
        scale = SPREAD / spread if spread > SMALLEST_SPREAD else 1.0
        return state._replace(centre=vectors.mean(axis=0), scale=np.array(scale, np.float32))

    def encode_requests(self, state: FrozenState, requests: Table) -> Array:
        """Returns f32[B, dim]; zeros for a user of whom nothing is known.

        Raises:
            InvalidRequest: a history that is no list of str.
        """
        size = next((len(column) for column in requests.values()), 1)
        found = self._means(state, _sequences.from_requests(state.items.rows, requests, self.history, size))
        column = requests.get(self.user)
        if column is not None and len(state.users.table) > 1:
            names = [name if isinstance(name, str) else "" for name in column.tolist()]
            rows = numbers_of(state.users.rows, names, missing=0)
            found = np.where(rows[:, None] > 0, state.users.table[rows], found)
        return found * state.scale

    def encode_items(self, state: FrozenState, items: Items) -> Array:
        """Returns f32[N, dim]; zeros, the average item, for an item that is not in the file."""
        rows = numbers_of(state.items.rows, items.ids.tolist(), missing=0)
        return np.where(rows[:, None] > 0, state.items.table[rows] - state.centre, np.float32(0))

    def _means(self, state: FrozenState, histories: list[np.ndarray]) -> np.ndarray:
        found = np.zeros((len(histories), self.dim), np.float32)
        for mean, rows in zip(found, histories, strict=True):
            weights = (self.recency_decay ** np.arange(len(rows))[::-1]).astype(np.float32)
            # Summed along the first axis, one after the other: the same whatever else is encoded.
            mean += (state.items.table[rows] * weights[:, None]).sum(axis=0) / np.float32(max(weights.sum(), 1))
        return _unit(found) if self.similarity == "cosine" else found

    def _some_users(self, state: FrozenState, log: Events, vectors: np.ndarray) -> np.ndarray:
        """Returns vectors of users such as will be served: given ones, those of histories in the log, or of users of one item each."""
        if len(state.users.table) > 1:
            return state.users.table[1 : AT_ONCE + 1]
        rows = _sequences.from_log(state.items.rows, log, self.user) if self.user in log.requests else None
        lists = [] if rows is None else [rows.row[begin:end] for begin, end in zip(rows.start[:-1], rows.start[1:], strict=True)][:AT_ONCE]
        users = self._means(state, [part[part > 0] for part in lists])
        users = users[users.any(axis=1)]
        return users if len(users) else vectors[:AT_ONCE]

    def _read(self, path: str) -> Vectors:
        ids, vectors = _of_arrays(path) if Path(path).suffix == ".npz" else _of_rows(path)
        if vectors.ndim != 2 or vectors.shape[1] != self.dim:
            raise InvalidValue(f"Frozen.dim must be the width of the vectors in {path}, which are {list(vectors.shape)}, got {self.dim}.")
        bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        if len(bad):
            raise InvalidLog(f"{path}: the vector of {ids[bad[0]]!r} must be finite, got {vectors[bad[0]]}.")
        if len(set(ids)) < len(ids):
            raise InvalidLog(f"{path}: each id must be there once, got {Counter(ids).most_common(1)[0][0]!r} twice.")
        table = np.concatenate([np.zeros((1, self.dim), np.float32), _unit(vectors) if self.similarity == "cosine" else vectors])
        return Vectors(vocabulary(ids, 1 + np.arange(len(ids))), table)


def _of_arrays(path: str) -> tuple[list[str], np.ndarray]:
    with open(path, "rb") as opened:  # NumPy leaves a file open that is no archive
        try:
            with np.load(opened, allow_pickle=False) as file:
                ids, vectors = file["ids"], file["vectors"]
        except Exception as error:  # a damaged file makes NumPy and zlib fail in any way
            told = f"{type(error).__name__}: {error}"
            raise InvalidLog(f"{path} must be .npz with the arrays 'ids', text, and 'vectors', got {told}.") from error
    if ids.dtype.kind != "U" or ids.ndim != 1 or vectors.dtype.kind not in "fiu" or len(vectors) != len(ids):
        told = f"{ids.dtype}{list(ids.shape)} and {vectors.dtype}{list(vectors.shape)}"
        raise InvalidLog(f"{path}: 'ids' must be text, and 'vectors' numbers with a row for each, got {told}.")
    return ids.tolist(), vectors.astype(np.float32)


def _of_rows(path: str) -> tuple[list[str], np.ndarray]:
    from recsdk.datasets.interactions import rows

    ids: list[str] = []
    vectors: list[list[float]] = []
    for line, row in enumerate(rows(Path(path)), start=1):
        name, vector = row.get("id"), row.get("vector")
        is_vector = isinstance(vector, list) and all(type(value) in (int, float) for value in vector)
        if not isinstance(name, str) or not is_vector or (vectors and len(row["vector"]) != len(vectors[0])):
            wanted = "an 'id', a str, and a 'vector', a list of numbers as long as the others"
            raise InvalidLog(f"{path}, line {line}: a row must have {wanted}, got {row!r:.200}.")
        ids.append(name)
        vectors.append(row["vector"])
    return ids, np.array(vectors, np.float32).reshape(len(ids), -1)
