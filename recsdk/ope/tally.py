"""Sums over rounds, also by item, that can be added: those of the blocks of a log, and those of shards."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from recsdk.ope.calibration import NOT_TAKEN, NUM_BETS, log_factors_by, total_log_factors
from recsdk.ope.checked import Rounds
from recsdk.ope.terms import Moments

LENGTH = 256
"""Rounds of the shortest piece of a log."""
MAX_PIECES = 64
TAIL = 4096
"""The largest importance weights that are kept: at least this many."""

NUM_COLUMNS = 5
WEIGHT, IMPORTANCE, UNIFORM, REWARD, VALUE = range(NUM_COLUMNS)
"""The first columns: w, w rho, w rho of a uniform target, w r, w rho r."""
MODEL, RESIDUAL, DOUBLY, MATCH, MATCHED_REWARD = range(NUM_COLUMNS, NUM_COLUMNS + 5)  # of a kernel, see `recsdk.ope.fused`


class Pieces(NamedTuple):
    """Sums over pieces of a log. All pieces have one length and begin at its multiples, so the sums do not depend on how the log is cut.

    Attributes:
        length: rounds of a piece, `LENGTH` times a power of 2.
        first: number of the first piece; it begins at row `first * length` of the log.
        sums: f64[P, C], of each column; P is at most `MAX_PIECES`.
        products: f64[P, C, C], of each product of two columns.
    """

    length: int
    first: int
    sums: np.ndarray
    products: np.ndarray


class Tally(NamedTuple):
    """Sums over a log and a target, enough for diagnostics, estimates and normal intervals.

    Attributes:
        num_rounds: rows.
        num_weighted: rows of positive weight.
        num_matched: rows whose action the target could have taken.
        num_default: rows whose reward is the default one.
        spread: sum of w rho |r - default|.
        is_whole: whether the target's whole distribution was known throughout.
        counts: i64[C], rows that are not 0, of the columns that ratios are divided by.
        pieces: sums of the columns.
        tail: f64[3, M], importance, weight and reward of the rounds with the largest importance, M at most twice `TAIL`.
        items: sums by item, in runs that get shorter, so that a block with new items need not be merged into all others at once.
        least_propensity: the smallest of a row of positive weight.
        largest_chance: the target's largest probability of any candidate, 1 where its whole distribution is not known.
        floor: the smallest product of the number of candidates and the propensity: the largest share of uniform exploration possible.
        bets: f64[2, NUM_BETS], logarithms of the fortunes of bets on the weights of the target, then of the uniform policy.
        num_rounded: rows in which rounding errors of given probabilities were corrected.
        num_below: rows that look like lower positions of a page: their candidates are those of the row before without its action.
    """

    num_rounds: int
    num_weighted: int
    num_matched: int
    num_default: int
    spread: float
    is_whole: bool
    counts: np.ndarray
    pieces: Pieces
    tail: np.ndarray
    items: tuple[ItemSums, ...]
    least_propensity: float
    largest_chance: float
    floor: float
    bets: np.ndarray
    num_rounded: int = 0
    num_below: int = 0


def tally(
    rounds: Rounds,
    columns: Sequence[np.ndarray] = (),
    *,
    divisors: Sequence[int] = (),
    first_row: int = 0,
    default_reward: float = 0.0,
    above: float = -np.inf,
    length: int = LENGTH,
) -> Tally:
    """Sums up one block.

    Args:
        rounds: from `rounds`.
        columns: f64[T] each, summed beside the first ones.
        divisors: numbers of the columns whose nonzero rows are counted, beside those of the weight.
        first_row: number of the block's first row in the log.
        default_reward: the reward of a decision of which nothing was heard.
        above: importance weights up to this one cannot be among the largest `TAIL` of the log.
        length: of the pieces that these will be added to.
    """
    importance = rounds.target / rounds.propensity
    all_columns = np.empty((NUM_COLUMNS + len(columns), len(importance)))
    all_columns[WEIGHT] = rounds.weight
    weighted = np.multiply(rounds.weight, importance, out=all_columns[IMPORTANCE])
    num_candidates = rounds.mask.shape[1] if rounds.mask.all() else rounds.mask.sum(1)
    np.divide(rounds.weight, rounds.propensity * num_candidates, out=all_columns[UNIFORM])
    np.multiply(rounds.weight, rounds.reward, out=all_columns[REWARD])
    np.multiply(weighted, rounds.reward, out=all_columns[VALUE])
    apart = rounds.reward - default_reward
    for row, column in enumerate(columns, start=NUM_COLUMNS):
        all_columns[row] = column
    counts = np.zeros(len(all_columns), np.int64)
    for row in (WEIGHT, *divisors):
        counts[row] = np.count_nonzero(all_columns[row])
    live = _live(rounds.weight)
    of_uniform = 1 / (rounds.propensity * num_candidates)
    large = np.flatnonzero(importance > above)
    large = large[rounds.weight[large] > 0]
    return Tally(
        num_rounds=len(importance),
        num_weighted=int(counts[WEIGHT]),
        num_matched=int(np.count_nonzero(rounds.target)),
        num_default=len(apart) - int(np.count_nonzero(apart)),
        spread=float(weighted @ abs(apart)),
        is_whole=rounds.probs is not None,
        counts=counts,
        pieces=_pieces(all_columns, first_row, length),
        tail=np.stack([importance[large], rounds.weight[large], rounds.reward[large]]),
        items=(item_sums(rounds),),
        least_propensity=float(rounds.propensity[live].min(initial=1.0)),
        largest_chance=1.0 if rounds.probs is None else float(rounds.probs.max()),
        floor=float(1 / of_uniform[live].max()) if counts[WEIGHT] else 1.0,
        bets=np.stack([total_log_factors(ratio[live]) for ratio in (importance, of_uniform)]),
        num_rounded=0 if rounds.rounded is None else int(np.count_nonzero(rounds.rounded)),
        num_below=_num_below(rounds),
    )


def add(a: Tally, b: Tally) -> Tally:
    """Returns the tally of two logs together, which have the same columns."""
    return Tally(
        a.num_rounds + b.num_rounds,
        a.num_weighted + b.num_weighted,
        a.num_matched + b.num_matched,
        a.num_default + b.num_default,
        a.spread + b.spread,
        a.is_whole and b.is_whole,
        a.counts + b.counts,
        _add_pieces(a.pieces, b.pieces),
        _largest(np.concatenate([a.tail, b.tail], axis=1)) if b.tail.size else a.tail,
        add_items(a.items, b.items),
        min(a.least_propensity, b.least_propensity),
        max(a.largest_chance, b.largest_chance),
        min(a.floor, b.floor),
        a.bets + b.bets,
        a.num_rounded + b.num_rounded,
        a.num_below + b.num_below,
    )


def moments(found: Tally, part: slice = slice(None)) -> Moments:
    """Returns the sums over all pieces, or over some."""
    return Moments(found.pieces.sums[part].sum(0), found.pieces.products[part].sum(0), found.counts)


def length_of(num_rounds: int) -> int:
    """Returns the length of the pieces of a log of `num_rounds` rounds; one that is added later may make them longer."""
    length = LENGTH
    while num_rounds > length * MAX_PIECES:
        length *= 2
    return length


def _live(weight: np.ndarray) -> Any:
    """Returns an index of the rows of positive weight; of all, one that copies nothing."""
    live = weight > 0
    return slice(None) if live.all() else live


def _num_below(rounds: Rounds) -> int:
    mask, item = rounds.mask, rounds.item
    if mask.all():
        return 0
    above, below, took = mask[:-1], mask[1:], rounds.action[:-1]
    rows = np.flatnonzero(~below[np.arange(len(took)), took] & (rounds.mask.sum(1)[1:] > 0))
    fewer = (above[rows] >= below[rows]).all(1) & ((item[1:][rows] == item[:-1][rows]) | ~above[rows]).all(1)
    return int(np.count_nonzero(fewer & (above[rows].sum(1) == below[rows].sum(1) + 1)))


def _pieces(columns: np.ndarray, first_row: int, length: int) -> Pieces:
    num_columns, size = columns.shape
    first, offset = divmod(first_row, length)
    num_pieces = -(-(offset + size) // length)
    if num_pieces > 1 and num_pieces * length != size:
        padded = np.zeros((num_columns, num_pieces * length))
        padded[:, offset : offset + size] = columns
        columns = padded
    cut = columns.reshape(num_columns, num_pieces, -1)
    by_piece = cut.transpose(1, 0, 2)
    return _shortened(Pieces(length, first, cut.sum(2).T, by_piece @ by_piece.transpose(0, 2, 1)))


def _add_pieces(a: Pieces, b: Pieces) -> Pieces:
    while a.length < b.length:
        a = _coarser(a)
    while b.length < a.length:
        b = _coarser(b)
    first, end = min(a.first, b.first), max(a.first + len(a.sums), b.first + len(b.sums))
    while end - first > MAX_PIECES:
        a, b = _coarser(a), _coarser(b)
        first, end = min(a.first, b.first), max(a.first + len(a.sums), b.first + len(b.sums))
    sums, products = (np.zeros((end - first, *field.shape[1:])) for field in a[2:])
    for part in (a, b):
        place = slice(part.first - first, part.first - first + len(part.sums))
        sums[place] += part.sums
        products[place] += part.products
    return Pieces(a.length, first, sums, products)


def _shortened(pieces: Pieces) -> Pieces:
    while len(pieces.sums) > MAX_PIECES:
        pieces = _coarser(pieces)
    return pieces


def _coarser(pieces: Pieces) -> Pieces:
    starts_odd, ends_odd = pieces.first % 2, (pieces.first + len(pieces.sums)) % 2
    sums, products = (
        np.concatenate([np.zeros((starts_odd, *field.shape[1:])), field, np.zeros((ends_odd, *field.shape[1:]))]) for field in pieces[2:]
    )
    return Pieces(2 * pieces.length, pieces.first // 2, sums[::2] + sums[1::2], products[::2] + products[1::2])


def _largest(rows: np.ndarray) -> np.ndarray:
    if rows.shape[1] <= 2 * TAIL:  # else each block would pay for the sorting
        return rows
    return rows[:, np.argpartition(rows[0], -TAIL)[-TAIL:]]


MASS, OFFERED, NUM_OFFERED, NUM_TAKEN, RATIO = range(5)
BETS = slice(5, 5 + NUM_BETS)


class ItemSums(NamedTuple):
    """Sums for each of N items.

    Attributes:
        slot: i64[N], ascending.
        sums: f64[N, 5 + NUM_BETS]: the target's mass and the rounds in which the item was a candidate, both by weight; these rounds and
            those that took it, counted without weights; and over the latter, the sums of 1 / propensity and of `log_factors` less
            `NOT_TAKEN`.
    """

    slot: np.ndarray
    sums: np.ndarray

    def log_wealth(self) -> np.ndarray:
        """Returns f64[N, NUM_BETS], the logarithm of each bet's fortune, for a target that always takes the item."""
        wealth: np.ndarray = self.sums[:, BETS] + self.sums[:, NUM_OFFERED, None] * NOT_TAKEN
        return wealth


def item_sums(rounds: Rounds) -> ItemSums:
    """Sums up one block."""
    mask, item, weight = rounds.mask, rounds.item, rounds.weight
    first = item[0]
    if mask.all() and (first[1:] > first[:-1]).all() and _is_same(item):  # one list of candidates throughout
        slot, place = first, rounds.action
        mass = np.zeros(len(slot)) if rounds.probs is None else weight @ rounds.probs
        offered, num_offered = (np.full(len(slot), column.sum()) for column in (weight, weight > 0))
    else:
        slot, place_of_all = _codes(item[mask])
        places = np.zeros(item.shape, np.int64)
        places[mask] = place_of_all
        place = places[np.arange(len(weight)), rounds.action]
        all_weights, all_live = (np.broadcast_to(column[:, None], mask.shape)[mask] for column in (weight, weight > 0))
        offered, num_offered = (np.bincount(place_of_all, column, len(slot)) for column in (all_weights, all_live))
        mass = np.zeros(len(slot)) if rounds.probs is None else np.bincount(place_of_all, all_weights * rounds.probs[mask], len(slot))
    live = _live(weight)
    ratio, place = 1 / rounds.propensity[live], place[live]
    taken, shares = (np.bincount(place, column, len(slot)) for column in (None, ratio))
    bets = log_factors_by(place, ratio, len(slot)) - taken * NOT_TAKEN[:, None]
    return ItemSums(slot, np.stack([mass, offered, num_offered, taken, shares, *bets], axis=1))


def _is_same(item: np.ndarray) -> bool:
    """Tells whether all rows are equal."""
    if item.strides[0] == 0:
        return True
    flat, size = item.ravel(), item.shape[1]
    return bool((flat[size:] == flat[:-size]).all())


def _codes(slot: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the distinct slots, ascending, and the index of each slot among them."""
    low, high = slot.min(), slot.max()
    if high - low > 8 * len(slot):
        known, place = np.unique(slot, return_inverse=True)
        return known, place
    seen = np.zeros(high - low + 1, np.bool_)
    seen[slot - low] = True
    return np.flatnonzero(seen) + low, (seen.cumsum() - 1)[slot - low]


def all_items(runs: tuple[ItemSums, ...]) -> ItemSums:
    """Returns the sums of all items in one run."""
    return functools.reduce(_union, runs[::-1])


def add_items(a: tuple[ItemSums, ...], b: tuple[ItemSums, ...]) -> tuple[ItemSums, ...]:
    """Adds the sums of two logs, as runs of which each is more than twice as long as the next."""
    runs = list(a)
    for run in b:
        while runs and len(runs[-1].slot) <= 2 * len(run.slot):
            run = _union(runs.pop(), run)
        runs.append(run)
    return tuple(runs)


def _union(a: ItemSums, b: ItemSums) -> ItemSums:
    if np.array_equal(a.slot, b.slot):
        return ItemSums(a.slot, a.sums + b.sums)
    slot = np.concatenate([a.slot, b.slot])
    order = slot.argsort(kind="stable")  # quick on what is two sorted runs
    slot, sums = slot[order], np.concatenate([a.sums, b.sums])[order]
    twice = np.flatnonzero(slot[1:] == slot[:-1])  # no slot is there three times
    sums[twice] += sums[twice + 1]
    kept = np.ones(len(slot), np.bool_)
    kept[twice + 1] = False
    return ItemSums(slot[kept], sums[kept])
