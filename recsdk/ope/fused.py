"""The sums of a run of rows by a kernel that reads them once, checks included: in place of `rounds`, estimators, `tally` and `resample`.

NumPy stays the definition. The kernel only says that something is unusual about a run; then NumPy looks at it, and tells an error from
rounding that it corrects.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from recsdk import fast
from recsdk.base import Interaction
from recsdk.ope.blocks import Block
from recsdk.ope.calibration import NOT_TAKEN, NUM_BETS
from recsdk.ope.checked import Rounds
from recsdk.ope.intervals.resampling import Resampled
from recsdk.ope.options import ESTIMATORS, Estimator
from recsdk.ope.tally import MAX_PIECES, NUM_COLUMNS, VALUE, WEIGHT, IMPORTANCE, ItemSums, Pieces, Tally
from recsdk.ope.terms import Terms

KERNELS = "recsdk.ope._fused"
PAYS = 3_000_000
"""Rows from which on it pays to import Numba and to load the kernels, where nothing has done so: 1.4 s beside .5 us a row."""
DRAWS = 50
"""Draws that cost as much as a row's other sums."""
FAR = 2**18
"""Catalogue slots that a run may be spread over."""
MODEL, RESIDUAL, DOUBLY, MATCH, MATCHED_REWARD = range(NUM_COLUMNS, NUM_COLUMNS + 5)
KINDS: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "ips": ((VALUE,), (WEIGHT,)),
    "snips": ((VALUE,), (IMPORTANCE,)),
    "dm": ((MODEL,), (WEIGHT,)),
    "dr": ((DOUBLY,), (WEIGHT,)),
    "sndr": ((MODEL, RESIDUAL), (WEIGHT, IMPORTANCE)),
    "matched": ((MATCHED_REWARD,), (MATCH,)),
}
"""The kernel's columns that are an estimator's numerators, and its denominators."""


def starts(functions: Mapping[str, Estimator], num_draws: int) -> int | None:
    """Returns the number of rows after which the kernel takes over, at once where it is loaded; None if it cannot."""
    if not fast.enabled() or any(_name(function) is None for function in functions.values()):
        return None
    return 0 if KERNELS in sys.modules else PAYS // (1 + num_draws // DRAWS)


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
        keys = [*zip(above, below, map(float, centre), strict=True), *((-1, kind, 0.0) for kind in below)]
        numbers = [parts.setdefault(key, len(parts)) for key in keys]
        pairs = [(numbers[i], numbers[j]) for i, j in zip(*np.triu_indices(len(numbers)), strict=True)]
        columns = [*((number, -1) for number in numbers), *pairs]
        wanted += columns
        widths.append(len(columns))
    plans = []
    for alike in (False, True):
        drawn: dict[tuple[int, int], int] = {}
        keys = [_without_weight(pair) if alike else pair for pair in wanted]
        plans.append(([drawn.setdefault(key, len(drawn)) for key in keys], list(drawn)))
    size = max((len(drawn) for _, drawn in plans), default=0)
    sides = np.full((2, 2, size), -1)
    for row, (_, drawn) in enumerate(plans):
        sides[:, row, : len(drawn)] = np.array(drawn, np.int64).reshape(-1, 2).T
    fields = [np.array(field, kind) for field, kind in zip(zip(*parts, strict=True), (np.int64, np.int64, np.float64), strict=True)]
    shared = np.array([places for places, _ in plans], np.int64).reshape(2, -1)
    return Plan((fields[0], fields[1], fields[2]), sides[0], sides[1], np.array([len(drawn) for _, drawn in plans]), shared, widths)


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
        self, functions: Mapping[str, Estimator], layout: Mapping[str, Any], centres: Sequence[np.ndarray], num_draws: int, seed: int, default_reward: float
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
        self.key = (np.uint64(seed & (2**64 - 1)), np.uint64(seed >> 64 & (2**64 - 1)))

    def __call__(self, rounds: Rounds, row: int, *, above: float = -np.inf, length: int) -> Sums | None:
        """Adds up a run of rows, which must not begin in the log before row `row`; None where NumPy has to look at them.

        Args:
            rounds: not necessarily checked, but of the right types and shapes.
            row: number of the first row in the log.
            above: importance weights up to this one are not among the largest of the log.
            length: of the pieces that these will be added to.
        """
        from recsdk.ope import _fused

        size, is_whole = len(rounds.action), rounds.probs is not None
        nothing, none = np.empty((0, 0)), np.empty(0)
        mask = np.ascontiguousarray(rounds.mask)
        item = rounds.item[:1] if size > 1 and rounds.item.strides[0] == 0 else rounds.item
        listed = bool(_fused.one_list(mask, np.ascontiguousarray(item)))
        item = np.ascontiguousarray(rounds.item[:1] if listed else rounds.item)
        slots, index, low = (item[0], np.empty(0, np.int64), 0) if listed else _fused.places(mask, item, FAR)
        if not len(slots):
            return None
        probs = np.ascontiguousarray(rounds.probs) if is_whole else nothing
        columns = (*rounds[:4], mask, item, none if is_whole else rounds.target, probs)
        q_hat = probs if rounds.q_hat is None else np.ascontiguousarray(rounds.q_hat)
        log = (*columns, q_hat, np.empty(0, np.bool_) if rounds.matched is None else rounds.matched)
        while (row + size - 1) // length - row // length >= MAX_PIECES:
            length *= 2
        num_pieces, num = (row + size - 1) // length - row // length + 1, len(self.chosen)
        found = (
            np.zeros(7, np.int64), np.array([0.0, 1.0, 0.0, 0.0]), np.empty((3, size)), np.zeros((num_pieces, num)),
            np.zeros((num_pieces, num, num)), np.zeros((2, NUM_BETS)), np.zeros((5, len(slots))), np.zeros((len(slots), NUM_BETS)),
            np.zeros(sum(self.plan.widths)), np.zeros((self.num_draws, sum(self.plan.widths))),
        )  # fmt: skip
        plan = self.plan[:5]
        if not _fused.run(log, listed, index, low, row, (above, self.default_reward, length), self.chosen, self.key, plan, found):
            return None
        return self._answer(rounds, found, slots, row // length, length)

    def _answer(self, rounds: Rounds, found: Any, slots: np.ndarray, first: int, length: int) -> Sums:
        counts, numbers, tail, sums, products, bets, by_item, item_bets, total, draws = found
        weighted, matched, default, below, num_tail, important, matching = counts.tolist()
        spread, least, chance, unlikely = numbers.tolist()
        all_counts = np.zeros(self.num_columns, np.int64)
        for place, kind in (self.divisors | {WEIGHT: WEIGHT}).items():
            all_counts[place] = {WEIGHT: weighted, IMPORTANCE: important, MATCH: matching}[kind]
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
        splits = np.cumsum(self.plan.widths)[:-1]
        of_draws = zip(self.names, self.centres, np.split(total, splits), np.split(draws, splits, axis=1), strict=True) if self.num_draws else ()
        nonzero = {WEIGHT: weighted, IMPORTANCE: important, MATCH: matching}
        drawn = (Resampled(centre, np.array([nonzero[kind] for kind in KINDS[name][1]]), *fields) for name, centre, *fields in of_draws)
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
    kinds = [(mask, "?", mask.shape), (item, "i8", mask.shape), (log.action, "i8", (size,)), *((column, "f8", (size,)) for column in columns[1:])]
    if block.matched is not None:
        kinds.append((block.matched, "?", (size,)))
    if any(array.dtype != np.dtype(kind) or array.shape != shape for array, kind, shape in kinds):
        return None
    tables = [(block.probs, block.probs.ndim == 1)] + [(block.q_hat, False)] * (block.q_hat is not None)
    if any(table.dtype not in ("f8", "f4") or table.shape != ((size,) if is_flat else mask.shape) for table, is_flat in tables):
        return None
    if features.dtype != np.float64 or features.shape[:-1] != mask.shape or not _is_finite(features):
        return None
    probs, q_hat = (None if table is None else np.asarray(table, np.float64) for table in (block.probs, block.q_hat))
    chance, whole = (probs, None) if probs.ndim == 1 else (None, probs)
    return Rounds(*columns, mask, item, chance, whole, q_hat, block.matched)


def _is_finite(features: np.ndarray) -> bool:
    with np.errstate(invalid="ignore", over="ignore"):
        return bool(np.isfinite(features.sum()))  # NaN and inf survive a sum
