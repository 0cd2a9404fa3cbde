"""Evaluation of a log in chunks: sums that fit in memory however long the log is, and that can be added over shards.

    parts = [accumulate(chunks_of(shard), target) for shard in shards]
    finish(functools.reduce(merge, parts))

The answer is the same to the last bit however a log is cut into chunks: rows are regrouped into blocks of 8,192. Over shards it is
the same within 1e-12.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recsdk.base import Interaction
from recsdk.checks import require_integer
from recsdk.errors import EmptyLog, InvalidLog, InvalidValue
from recsdk.ope import fused
from recsdk.ope.blocks import Block, Walk, beside, in_threads
from recsdk.ope.checked import Rounds, take
from recsdk.ope.intervals.resampling import Resampled, resample
from recsdk.ope.intervals.resampling import merge as merge_draws
from recsdk.ope.options import ESTIMATORS, Estimator, Options, changed, named
from recsdk.ope.tally import NUM_COLUMNS, TAIL, WEIGHT, Tally, add, length_of, tally
from recsdk.ope.terms import Terms

if TYPE_CHECKING:
    from recsdk.drivers.replay import Engine, LearnFrom


class Layout(NamedTuple):
    """Numbers of the J columns that an estimate is made of.

    Attributes:
        numerators: J of them.
        denominators: J of them.
    """

    numerators: tuple[int, ...]
    denominators: tuple[int, ...]


class Partial(NamedTuple):
    """Sums over a log, or a shard of it, for one target.

    Attributes:
        layout: which columns of the tally are an estimator's numerators and denominators, by name.
        tally: sums, largest weights, and sums by item.
        default_reward: reward of a decision without feedback.
        draws: for each estimator, the sums over the bootstrap's resampled logs; empty without a bootstrap.

    Example:
        >>> from recsdk.datasets import log_from_frame
        >>> log = log_from_frame({"action": [0, 1], "reward": [1.0, 0.0], "propensity": [0.5, 0.5]})
        >>> list(accumulate([log], np.full((2, 2), 0.5)).layout)
        ['ips', 'snips']
    """

    layout: dict[str, Layout]
    tally: Tally
    default_reward: float
    draws: tuple[Resampled, ...]


def accumulate(
    chunks: Iterable[Interaction] | Iterable[Rounds],
    target: Any = None,
    *,
    q_hat: Any = None,
    first_row: int = 0,
    learn_from: LearnFrom = "none",
    state: Any = None,
    engine: Engine = "auto",
    options: Options | None = None,
    **changes: Any,
) -> Partial:
    """Reads a log chunk by chunk, and keeps the sums that an evaluation needs: a few megabytes.

    Args:
        chunks: the log, oldest first, as interactions with a leading T; or as `rounds`, which have the target in them.
        target: as in `evaluate`. An array of probabilities has the rows of all chunks and may be a `numpy.memmap`. A function is called
            with the `Context` of some rounds, with a leading T, and returns f64[T, K]. None for chunks that are `rounds`.
        q_hat: expected rewards, as an array or a function like `target`.
        first_row: number of the first row in the whole log, for a shard. It selects the random numbers of the bootstrap, and orders
            the shards in time.
        learn_from: as in `evaluate`. A policy that learns sees this shard only.
        state: as in `evaluate`.
        engine: as in `replay`. "auto" goes by the rows read so far: a long log begins on NumPy, and goes on where `replay` would walk it.
        options: see `Options`. `estimators`, by default "ips" and "snips", `interval`, `num_draws`, `default_reward` and `seed` count here;
            the others in `finish`.
        changes: fields of `Options`, as keywords: `num_draws=200`.

    Raises:
        EmptyLog: no rows.
        InvalidLog, InvalidProbs, InvalidPropensity, InvalidScores: a row that cannot be used, by its number in the whole log.
        InvalidValue: an argument out of its range, an interval that needs the whole log at once, or an estimator whose terms depend on
            other rows.

    Example:
        >>> from recsdk.datasets import log_from_frame
        >>> from recsdk.ope import finish
        >>> log = log_from_frame({"action": [0, 1], "reward": [1.0, 0.0], "propensity": [0.5, 0.5]})
        >>> partial = accumulate([log, log], lambda context: np.full(context.mask.shape, 0.5))
        >>> finish(partial, force=True).estimates["ips"].value
        0.5
    """
    require_integer("first_row", first_row, at_least=0)
    asked = changed(options, changes)
    if not asked.in_blocks:
        raise InvalidValue(f"interval must be 'delta' or 'bootstrap' for a log in chunks, got {asked.interval!r}: use `evaluate`.")
    functions, end = named(asked.estimators or ("ips", "snips")), first_row

    def counted() -> Iterator[Block]:
        nonlocal end
        runs_from = fused.starts(functions, asked.bootstrap_draws)
        walk = Walk(learn_from, state, asked.seed, engine)
        for block in beside(chunks, target, q_hat, walk, first_row=first_row, runs_from=runs_from):
            end = block.row + block.num_rounds
            yield block

    total = fold(counted(), functions, asked)
    for name, value in (("target", target), ("q_hat", q_hat)):
        if hasattr(value, "shape") and len(value) != end - first_row:
            raise InvalidLog(f"{name} must have a row for each of the log's {end - first_row}, got {len(value)}.")
    return total


def fold(log: Iterable[Block], functions: Mapping[str, Estimator], asked: Options) -> Partial:
    """Sums up blocks, several at once: NumPy lets go of Python's lock while it computes.

    Args:
        log: from `beside`.
        functions: estimators by name; none for diagnostics alone.
        asked: the options, of which the number of draws, the seed and the default reward count.

    Raises:
        EmptyLog: no blocks, or no row of positive weight.
        InvalidValue: an estimator whose terms depend on other rows of the block.
    """
    num_draws = asked.bootstrap_draws if functions else 0
    tasks = iter(log)
    first = next(tasks, None)
    if first is None:
        raise EmptyLog("log must have at least one row, got none.")
    block = first.rounds()
    terms = {name: function(block) for name, function in functions.items()}
    _check_rowwise(block, functions, terms)
    layout, centres = _layout(terms, block.weight), [_centre(each) for each in terms.values()]

    def summed(row: int, block: Rounds, above: float = -np.inf) -> Partial:
        terms = {name: function(block) for name, function in functions.items()}
        places = itertools.chain.from_iterable((*each.numerators, *each.denominators) for each in layout.values())
        columns = itertools.chain.from_iterable((*each.numerator.T, *each.denominator.T) for each in terms.values())
        sums = tally(
            block,
            [column for place, column in zip(places, columns, strict=True) if place >= NUM_COLUMNS],
            divisors=sorted({place for each in layout.values() for place in each.denominators}),
            first_row=row,
            default_reward=asked.default_reward,
            above=above,
            length=length_of(row - first.row),
        )
        draws = resample(list(terms.values()), num_draws=num_draws, seed=asked.seed, first_row=row, centres=centres) if num_draws else ()
        return Partial(layout, sums, asked.default_reward, tuple(draws))

    @functools.cache
    def kernel() -> fused.Kernel:
        return fused.Kernel(functions, layout, centres, num_draws=num_draws, seed=asked.seed, default_reward=asked.default_reward)

    def by_kernel(rounds: Rounds | None, row: int, above: float) -> Partial | None:
        found = None if rounds is None else kernel()(rounds, row, above=above, length=length_of(row - first.row))
        return None if found is None else Partial(layout, found.tally, asked.default_reward, found.draws)

    def task(block: Block) -> Partial:
        kept = total.tally.tail[0]  # once so many are kept, only what is larger than the least of them counts
        above = kept.min() if len(kept) >= TAIL else -np.inf
        if not block.is_run:
            return summed(block.row, block.rounds(), above)
        if (found := by_kernel(fused.unchecked(block), block.row, above)) is not None:
            return found
        checked = ((part.row, part.rounds()) for part in block.parts())
        return functools.reduce(_sum, (by_kernel(rounds, row, above) or summed(row, rounds, above) for row, rounds in checked))

    total = summed(first.row, block)
    for part in in_threads(task, tasks):
        total = _sum(total, part)
    if not total.tally.num_weighted:
        raise EmptyLog(f"The log must have a row of positive weight, got {total.tally.num_rounds} rows of weight 0.")
    return total


def merge(a: Partial, b: Partial) -> Partial:
    """Returns the sums over two shards of a log.

    Raises:
        InvalidValue: shards of other estimators, or with another number of draws.

    Example:
        >>> from recsdk.datasets import log_from_frame
        >>> log = log_from_frame({"action": [0, 1], "reward": [1.0, 0.0], "propensity": [0.5, 0.5]})
        >>> parts = [accumulate([log], np.full((2, 2), 0.5)) for _ in range(2)]
        >>> merge(*parts).tally.num_rounds
        4
    """
    sizes = [{len(draws.draws) for draws in part.draws} for part in (a, b)]
    if a.layout != b.layout or sizes[0] != sizes[1] or a.default_reward != b.default_reward:
        raise InvalidValue(
            f"parts must have the same estimators, number of draws and default reward, got {list(a.layout)}, {sizes[0]}, "
            f"{a.default_reward} and {list(b.layout)}, {sizes[1]}, {b.default_reward}."
        )
    return _sum(a, b._replace(draws=tuple(_recentred(theirs, ours.centre) for ours, theirs in zip(a.draws, b.draws, strict=True))))


def _check_rowwise(block: Rounds, functions: Mapping[str, Estimator], terms: Mapping[str, Terms]) -> None:
    half = (len(block.action) + 1) // 2
    part = take(block, slice(half))
    for name, function in functions.items():
        if function not in ESTIMATORS.values() and not all(
            np.allclose(field[:half], again, rtol=1e-9, atol=0) for field, again in zip(terms[name], function(part), strict=True)
        ):
            raise InvalidValue(f"estimators must give each row its terms whatever the others are, but {name!r} does not: use `evaluate`.")


def _layout(terms: Mapping[str, Terms], weight: np.ndarray) -> dict[str, Layout]:
    """Numbers the columns of the estimators, after those of every tally. A denominator that is the weight itself needs no own column."""
    layout, last = {}, NUM_COLUMNS
    for name, each in terms.items():
        width = each.numerator.shape[1]
        below = []
        numerators, last = tuple(range(last, last + width)), last + width
        for column in each.denominator.T:
            if _is(column, weight):
                below.append(WEIGHT)
            else:
                below.append(last)
                last += 1
        layout[name] = Layout(numerators, tuple(below))
    return layout


def _is(a: np.ndarray, b: np.ndarray) -> bool:
    """Tells whether two arrays are views of the same memory, element by element."""
    one, other = a.__array_interface__, b.__array_interface__
    return one["data"][0] == other["data"][0] and (a.shape, a.strides, a.dtype) == (b.shape, b.strides, b.dtype)


def _centre(terms: Terms) -> np.ndarray:
    below = terms.denominator.sum(0)
    centre: np.ndarray = np.divide(terms.numerator.sum(0), below, where=below > 0, out=np.zeros_like(below))
    return centre


def _recentred(draws: Resampled, centre: np.ndarray) -> Resampled:
    """Changes the ratios that residuals are taken from: numerator - centre * denominator is linear in residual and denominator."""
    shift, width = draws.centre - centre, 2 * len(centre)
    left, right = np.triu_indices(width)
    turn = np.eye(width)
    turn[: len(centre), len(centre) :] = np.diag(shift)

    def turned(sums: np.ndarray) -> np.ndarray:
        products = np.empty((*sums.shape[:-1], width, width))
        products[..., left, right] = products[..., right, left] = sums[..., width:]
        return np.concatenate([sums[..., :width] @ turn.T, (turn @ products @ turn.T)[..., left, right]], axis=-1)

    return Resampled(centre, draws.counts, turned(draws.total), turned(draws.draws))


def _sum(a: Partial, b: Partial) -> Partial:
    return Partial(a.layout, add(a.tally, b.tally), a.default_reward, tuple(map(merge_draws, a.draws, b.draws)))
