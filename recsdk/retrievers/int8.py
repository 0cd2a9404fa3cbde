"""Exact retrieval that reads a byte for a number: bounds from bytes leave few items to score."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import attrs
import numpy as np

from recsdk import fast
from recsdk.arrays import largest, padded
from recsdk.base import Rng
from recsdk.retrievers.exact import Exact

FEW = 1 / 16
"""Share of the items that are scored one by one; of more, the product of the whole table is quicker."""
LEAST = 256
"""Items for each item asked for: of fewer, the product of the whole table is quicker."""
SUM = 2**31 - 1
"""Largest sum of a code's and a user's products."""


class Codes(NamedTuple):
    """A table of vectors with a copy in bytes: a vector is its code times its step, and a rest.

    Attributes:
        vectors: f32[N, dim], the catalogue's table; no copy.
        code: i8[C, dim], C >= N: rows behind the N-th are free. Of no rows without the extra `fast`.
        scale: f32[C], the step of each row.
        rest: no vector's rest is longer than so many of its steps.

    Example:
        >>> state = Int8().build(np.eye(3, dtype=np.float32))
        >>> len(state.vectors), len(state.code) in (0, 3)
        (3, True)
    """

    vectors: np.ndarray
    code: np.ndarray
    scale: np.ndarray
    rest: float


@attrs.frozen(kw_only=True)
class Int8:
    """Finds the items that `Exact` finds, in two thirds of its time at 100,000 items and little more than half at a million.

    Scores from bytes are off, but by no more than a bound that is known. So the bytes tell which items can be among the best; these few are
    scored in float64, each by itself: of equal ones those that were added first are found. `Exact` rounds to float32, by the place of a
    row: where scores are closer than that, it may find other items. It takes a quarter more memory, and searches as `Exact` does where that
    is quicker: below 256 items for each item asked for, where the bounds leave more than a sixteenth of the items, and without the extra
    `fast`.

    Example:
        >>> vectors = np.random.default_rng(0).standard_normal((2000, 8)).astype(np.float32)
        >>> user, allowed = vectors[6], np.arange(2000) % 2 == 0
        >>> asked = np.random.default_rng(0), user, allowed, 5
        >>> found = [retriever.search(retriever.build(vectors), *asked).tolist() for retriever in (Int8(), Exact())]
        >>> found[0] == found[1]
        True
    """

    uses_vectors: ClassVar[bool] = True

    def build(self, vectors: np.ndarray) -> Codes:
        """Returns the table with its copy in bytes."""
        num_rows = len(vectors) if fast.enabled() else 0
        code, scale = np.zeros((num_rows, vectors.shape[1]), np.int8), np.zeros(num_rows, np.float32)
        state = Codes(vectors, code, scale, 0.0)
        if not fast.enabled():
            return state
        user = np.zeros(vectors.shape[1], np.float32)
        self._bounds(state, user, np.zeros(0, bool))  # compiled here, as is the next: no request waits for them
        _kernels().scores(*map(fast.given, (np.zeros((0, len(user)), np.float32), np.zeros(0, np.int64), user)))
        return self._written(state, np.arange(num_rows))

    def add(self, state: Codes, slot: np.ndarray, vectors: np.ndarray) -> Codes:
        """Returns the table with its copy in bytes, which grows by a quarter where it is full. Consumes `state`."""
        if len(state.code) == 0:
            return self.build(vectors)
        state = state._replace(vectors=vectors)
        if len(vectors) > len(state.code):
            num_rows = len(vectors) + len(vectors) // 4
            state = state._replace(code=padded(state.code, num_rows), scale=padded(state.scale, num_rows))
        return self._written(state, slot)

    def search(self, state: Codes, rng: Rng, user: np.ndarray, allowed: np.ndarray, size: int) -> np.ndarray:
        """Returns i64[<= size], the allowed slots with the largest scores; none where `size` is below 1."""
        if size < 1:
            return np.zeros(0, np.int64)
        found = self._possible(state, user, allowed, size)
        if found is None:
            return Exact().search(state.vectors, rng, user, allowed, size)
        scores = _kernels().scores(*map(fast.given, (np.asarray(state.vectors, np.float32), found, np.asarray(user, np.float32))))
        return np.asarray(found[largest(scores, size)])

    def _possible(self, state: Codes, user: np.ndarray, allowed: np.ndarray, size: int) -> np.ndarray | None:
        """Returns the slots that can be among the best, in rising order; None where these are too many to be worth it."""
        if len(state.code) == 0 or len(allowed) < LEAST * size:
            return None
        highest, reached = self._bounds(state, user, allowed)
        least = np.partition(reached, len(reached) - size)[len(reached) - size]  # reached by `size` items, one in each of these blocks
        found = np.flatnonzero(highest >= least)
        return found if least > -np.inf and len(found) <= FEW * len(allowed) else None

    def _bounds(self, state: Codes, user: np.ndarray, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns f32[N], what no score exceeds, and f32[blocks], what the best of each block reaches, in steps of the user."""
        steps, width = _steps(user, state.rest)
        code, scale = (fast.given(array[: len(allowed)]) for array in (state.code, state.scale))
        answer: tuple[np.ndarray, np.ndarray] = _kernels().bounds(code, scale, fast.given(steps), np.float32(width), fast.given(allowed))
        return answer

    def _written(self, state: Codes, slot: np.ndarray) -> Codes:
        vectors = fast.given(np.asarray(state.vectors, np.float32))
        rest = _kernels().encode(vectors, fast.given(slot.astype(np.int64)), state.code, state.scale)
        return state._replace(rest=max(state.rest, rest))


def _steps(user: np.ndarray, rest: float) -> tuple[np.ndarray, float]:
    """Returns i16[dim], the user's vector in steps, and how far a score from bytes can be off, in steps of the user and of the item.

    With v = s (q + e), |e| <= rest, and u = t (p + f): v.u = s t (q.p + q.f + e.u / t), where |q| <= 127 sqrt(dim). Float32 rounds the
    score itself, as a sum of dim products, and the bounds.
    """
    dim, exact = len(user), user.astype(np.float64)
    most = min(2**15 - 1, SUM // (127 * max(dim, 1)))
    step = max(float(np.abs(exact).max(initial=0.0)) / most, 1e-30)
    steps = np.rint(exact / step)
    longest, length = 127 * np.sqrt(dim), float(np.linalg.norm(exact)) / step
    rounding = (dim + 16) * 2**-23 * (longest + rest) * (length + np.sqrt(dim))
    return steps.astype(np.int16), float(rest * length + longest * np.linalg.norm(exact / step - steps) + rounding)


def _kernels() -> Any:
    from recsdk.retrievers import _bytes

    return _bytes
