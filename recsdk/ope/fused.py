"""The sums of a run of rows by a kernel that reads them once, in place of `rounds`, the estimators, `tally` and `resample`.

NumPy stays the definition. The kernel only says that something is unusual about a run; then NumPy looks at it, and tells an error from
rounding that it corrects.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from recsdk import fast
from recsdk.base import Interaction
from recsdk.ope.blocks import Block
from recsdk.ope.calibration import NOT_TAKEN, NUM_BETS
from recsdk.ope.checked import Rounds
from recsdk.ope.intervals.resampling import ROWS, Resampled
from recsdk.ope.options import ESTIMATORS, Estimator
from recsdk.ope.tally import (
    DOUBLY,
    IMPORTANCE,
    LENGTH,
    MATCH,
    MATCHED_REWARD,
    MAX_PIECES,
    MODEL,
    NUM_COLUMNS,
    RESIDUAL,
    VALUE,
    WEIGHT,
    ItemSums,
    Pieces,
    Tally,
)

KERNELS = "recsdk.ope._fused"
PAYS = 3_000_000
"""Rows from which on it pays to import Numba and to load the kernels, where nothing has done so: 1.4 s beside .5 us a row."""
DRAWS = 50
"""Draws that cost as much as a row's other sums."""
FAR = 2**18
"""Catalogue slots that a run may be spread over."""
NUM_KINDS = NUM_COLUMNS + 5
KINDS: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "ips": ((VALUE,), (WEIGHT,)),
    "snips": ((VALUE,), (IMPORTANCE,)),
    "dm": ((MODEL,), (WEIGHT,)),
    "dr": ((DOUBLY,), (WEIGHT,)),
    "sndr": ((MODEL, RESIDUAL), (WEIGHT, IMPORTANCE)),
    "matched": ((MATCHED_REWARD,), (MATCH,)),
}
"""The columns that are an estimator's numerators, and its denominators: those of a tally, then w sum(pi q), w rho (r - q), both together,
and of the match m: w m, w m r."""


def starts(functions: Mapping[str, Estimator], num_draws: int) -> int | None:
    """Returns the number of rows after which the kernel takes over, at once where it is loaded; None if it cannot."""
    if not fast.enabled() or any(_name(function) is None for function in functions.values()):
        return None
    is_wanted = os.environ.get("RECSDK_FAST") == "1" or KERNELS in sys.modules
    return 0 if is_wanted else PAYS // (1 + num_draws // DRAWS)


def _name(function: Estimator) -> str | None:
    return next((name for name, known in ESTIMATORS.items() if known is function), None)


class Plan(NamedTuple):
    """What is drawn for the bootstrap, each thing once; twice: for rows of any weight, and for rows that all weigh 1.

    Attributes:
        parts: columns that numerators and denominators are, -1 for no numerator, and the ratios that residuals are taken from.
        left: i64[2, C], the parts whose products are drawn.
        right: i64[2, C], the same, -1 for a part itself.
        number: i64[2], how many are drawn.
        shared: i64[2, W], which of them each column of the estimators is.
        widths: how many columns each estimator has.
    """

    parts: tuple[np.ndarray, np.ndarray, np.ndarray]
    left: np.ndarray
    right: np.ndarray
    number: np.ndarray
    shared: np.ndarray
    widths: list[int]


def _plan(names: Sequence[str], centres: Sequence[np.ndarray]) -> Plan:
    parts: dict[tuple[int, int, float], int] = {(-1, WEIGHT, 0.0): 0}
    wanted: list[tuple[int, int]] = []
    widths = []
    for name, centre in zip(names, centres, strict=True):
        above, below = KINDS[name]
        residuals = zip(above, below, map(float, centre), strict=True)
        numbers = [parts.setdefault(part, len(parts)) for part in (*residuals, *((-1, kind, 0.0) for kind in below))]
        products = [(numbers[i], numbers[j]) for i, j in zip(*np.triu_indices(len(numbers)), strict=True)]
        wanted += [*((number, -1) for number in numbers), *products]
        widths.append(len(numbers) + len(products))
    drawn = [list(dict.fromkeys(wanted)), list(dict.fromkeys(map(_without_weight, wanted)))]
    sides = np.full((2, 2, len(drawn[0])), -1)
    for row, pairs in enumerate(drawn):
        sides[:, row, : len(pairs)] = np.array(pairs, np.int64).reshape(-1, 2).T
    shared = [[drawn[0].index(pair) for pair in wanted], [drawn[1].index(_without_weight(pair)) for pair in wanted]]
    above, below, of_parts = zip(*parts, strict=True)
    columns = np.array(above, np.int64), np.array(below, np.int64), np.array(of_parts, np.float64)
    return Plan(columns, sides[0], sides[1], np.array(list(map(len, drawn))), np.array(shared, np.int64).reshape(2, -1), widths)


def _without_weight(pair: tuple[int, int]) -> tuple[int, int]:
    """Returns what a product is where the weight, part 0, is 1."""
    return (pair[1], -1) if pair[0] == 0 and pair[1] >= 0 else (pair[0], -1) if pair[1] == 0 else pair


class Sums(NamedTuple):
    """What the kernel adds up."""

    tally: Tally
    draws: tuple[Resampled, ...]


class Kernel:
    """The sums of estimators by name over a run of rows.

    Args:
        functions: estimators by name, of which `starts` says that it can.
        layout: which columns of the tally are an estimator's numerators and denominators, by name.
        centres: ratios near those of the whole log, for each estimate.
        num_draws: of the bootstrap.
        seed: of the draws.
        default_reward: reward of a decision without feedback.
    """

    def __init__(
        self,
        functions: Mapping[str, Estimator],
        layout: Mapping[str, Any],
        centres: Sequence[np.ndarray],
        *,
        num_draws: int,
        seed: int,
        default_reward: float,
    ) -> None:
        """Plans which columns are summed."""
        names = [str(_name(function)) for function in functions.values()]
        kinds = dict(enumerate(range(NUM_COLUMNS)))
        for name, places in zip(names, layout.values(), strict=True):
            kinds |= dict(zip((*places.numerators, *places.denominators), (*KINDS[name][0], *KINDS[name][1]), strict=True))
        by_place = [kinds[place] for place in sorted(kinds)]
        self.chosen, self.places = np.unique(by_place, return_inverse=True)
        self.divisors = {place: kinds[place] for each in layout.values() for place in each.denominators}
        self.num_columns, self.default_reward = len(by_place), float(default_reward)
        self.names, self.centres, self.num_draws = names, list(centres), num_draws
        self.plan = _plan(names if num_draws else (), self.centres if num_draws else ())
        self.key = tuple(np.uint64(int(seed) >> shift & (2**64 - 1)) for shift in (0, 64))
        self.is_modelled = bool({MODEL, RESIDUAL, DOUBLY} & set(self.chosen.tolist()))

    def __call__(self, rounds: Rounds, row: int, *, above: float = -np.inf, length: int) -> Sums | None:
        """Adds up a run of rows, which must not begin in the log before row `row`; None where NumPy has to look at them.

        Args:
            rounds: not necessarily checked, but of the right types and shapes.
            row: number of the first row in the log.
            above: importance weights up to this one are not among the largest of the log.
            length: of the pieces that these will be added to.
        """
        from recsdk.ope import _drawn, _fused

        if self.is_modelled and (rounds.probs is None or rounds.q_hat is None):
            return None
        size = len(rounds.action)
        mask, item = fast.given(rounds.mask), fast.given(rounds.item[:1] if size > 1 and rounds.item.strides[0] == 0 else rounds.item)
        listed = bool(_fused.one_list(mask, item))
        item = item if listed else fast.given(rounds.item)
        slots, index, low = (item[0], np.empty(0, np.int64), 0) if listed else _fused.places(mask, item, FAR)
        if not len(slots):
            return None
        probs = fast.given(np.empty((0, 0)) if rounds.probs is None else rounds.probs)
        q_hat = probs if rounds.q_hat is None else fast.given(rounds.q_hat)
        target = fast.given(rounds.target if rounds.target.ndim == 1 else np.empty(0))
        columns = (*map(fast.given, rounds[:4]), mask, item, target, probs, q_hat)
        log = (*columns, fast.given(np.empty(0, np.bool_) if rounds.matched is None else rounds.matched))
        while (row + size - 1) // length - row // length >= MAX_PIECES:
            length *= 2
        num_pieces, num = (row + size - 1) // length - row // length + 1, len(self.chosen)
        found = (
            np.zeros(7, np.int64), np.array([0.0, 1.0, 0.0, 0.0]), np.empty((3, size)), np.zeros((num_pieces, num)),
            np.zeros((num_pieces, num, num)), np.zeros((2, NUM_BETS)), np.zeros((5, len(slots))), np.zeros((len(slots), NUM_BETS)),
        )  # fmt: skip
        width = sum(self.plan.widths)
        kept, total, draws = np.empty((NUM_KINDS, size if self.num_draws else LENGTH)), np.zeros(width), np.zeros((self.num_draws, width))
        if not _fused.run(log, listed, index, low, row, (above, self.default_reward, length), self.chosen, kept, found):
            return None
        start = 0
        while self.num_draws and start < size:
            stop = min(start + ROWS - (row + start) % ROWS, size)
            _drawn.resample(kept, start, stop, row, self.key, self.plan[:5], total, draws)
            start = stop
        return self._answer(rounds, (*found, total, draws), slots, row // length, length)

    def _answer(self, rounds: Rounds, found: Any, slots: np.ndarray, first: int, length: int) -> Sums:
        counts, numbers, tail, sums, products, bets, by_item, item_bets, total, draws = found
        weighted, matched, default, below, num_tail, important, matching = counts.tolist()
        spread, least, chance, unlikely = numbers.tolist()
        all_counts = np.zeros(self.num_columns, np.int64)
        not_zero = {WEIGHT: weighted, IMPORTANCE: important, MATCH: matching}
        for place, kind in (self.divisors | {WEIGHT: WEIGHT}).items():
            all_counts[place] = not_zero[kind]
        products = np.triu(products) + np.triu(products, 1).transpose(0, 2, 1)
        pieces = Pieces(length, first, sums[:, self.places], products[:, self.places[:, None], self.places])
        items = ItemSums(slots.copy(), np.concatenate([by_item, item_bets.T - by_item[3] * NOT_TAKEN[:, None]]).T)
        whole = rounds.probs is not None
        tally = Tally(
            num_rounds=len(rounds.action), num_weighted=weighted, num_matched=matched, num_default=default, spread=spread, is_whole=whole,
            counts=all_counts, pieces=pieces, tail=tail[:, :num_tail].copy(), items=(items,), least_propensity=least,
            largest_chance=chance if whole else 1.0, floor=1 / unlikely if weighted else 1.0, bets=bets,
            num_rounded=0 if rounds.rounded is None else int(np.count_nonzero(rounds.rounded)), num_below=below,
        )  # fmt: skip
        if not self.num_draws:
            return Sums(tally, ())
        splits = np.cumsum(self.plan.widths)[:-1]
        parts = zip(self.names, self.centres, np.split(total, splits), np.split(draws, splits, axis=1), strict=True)
        drawn = (Resampled(centre, np.array([not_zero[kind] for kind in KINDS[name][1]]), *sums) for name, centre, *sums in parts)
        return Sums(tally, tuple(drawn))


def unchecked(block: Block) -> Rounds | None:
    """Returns a block as rounds that only have the right types and shapes, and finite features; None where they have not."""
    if isinstance(block.given, Rounds):
        return block.given
    log: Interaction = block.given
    (features, mask, item), *columns = log
    arrays = (features, mask, item, *columns, *(value for value in (block.probs, block.q_hat, block.matched) if value is not None))
    if any(type(array) not in (np.ndarray, np.memmap) for array in arrays) or mask.ndim != 2 or not mask.size:
        return None
    size = len(mask)
    kinds = [
        (mask, "?", mask.shape),
        (item, "i8", mask.shape),
        (log.action, "i8", (size,)),
        *((column, "f8", (size,)) for column in columns[1:]),
    ]
    if block.matched is not None:
        kinds.append((block.matched, "?", (size,)))
    if any(array.dtype != np.dtype(kind) or array.shape != shape for array, kind, shape in kinds):
        return None
    if any(table is not None and table.dtype not in ("f8", "f4") for table in (block.probs, block.q_hat)):
        return None
    if block.probs.shape not in ((size,), mask.shape) or (block.q_hat is not None and block.q_hat.shape != mask.shape):
        return None
    if features.dtype != np.float64 or features.shape[:-1] != mask.shape or not _is_finite(features):
        return None
    probs, q_hat = np.asarray(block.probs, np.float64), None if block.q_hat is None else np.asarray(block.q_hat, np.float64)
    whole = probs if probs.ndim == 2 else None
    return Rounds(log.action, log.reward, log.propensity, log.weight, mask, item, probs, whole, q_hat, block.matched)


def _is_finite(features: np.ndarray) -> bool:
    with np.errstate(invalid="ignore", over="ignore"):
        return bool(np.isfinite(features.sum()))  # NaN and inf survive a sum
