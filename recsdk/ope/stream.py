"""A log in pieces: sums that fit in memory whatever the log's length, and that add up over shards.

    parts = [accumulate(chunks_of(shard), target) for shard in shards]
    finish(functools.reduce(merge, parts))

However a log is cut into chunks, the answer is the same to the last bit: rows are regrouped into blocks of 8,192. Over shards it is
the same to 1e-12.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recsdk.base import Interaction
from recsdk.checks import require_integer
from recsdk.errors import EmptyLog, InvalidLog, InvalidValue, RecsdkError
from recsdk.ope._blocks import BLOCK, blocks, in_threads, take
from recsdk.ope.checked import Rounds, checked_rounds
from recsdk.ope.intervals.resampling import Resampled, resample
from recsdk.ope.intervals.resampling import merge as merge_draws
from recsdk.ope.options import Estimator, named
from recsdk.ope.tally import NUM_COLUMNS, TAIL, WEIGHT, Tally, add, length_of, tally
from recsdk.ope.terms import Terms

if TYPE_CHECKING:
    from recsdk.drivers.loop import Engine
    from recsdk.drivers.replay import LearnFrom

Answer = Callable[[int, Any], Rounds]
"""From the number of a block's first row and the block to what is checked of it, beside the target."""


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
        default_reward: of a decision of which nothing was heard.
        draws: of each estimator, sums under the bootstrap's multiplicities; none unless asked for.

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
    estimators: Sequence[str] | Mapping[str, Estimator] = ("ips", "snips"),
    q_hat: Any = None,
    num_draws: int = 0,
    default_reward: float = 0.0,
    first_row: int = 0,
    learn_from: LearnFrom = "none",
    state: Any = None,
    seed: int = 0,
    engine: Engine = "auto",
) -> Partial:
    """Walks over a log chunk by chunk, and keeps what an evaluation needs: a few megabytes.

    Args:
        chunks: the log, oldest first, as interactions with a leading T; or as `rounds`, which have the target in them.
        target: what `evaluate` takes; an array of probabilities has the rows of all chunks and may be a `numpy.memmap`. A function is
            given the `Context` of some rounds, with a leading T, and returns f64[T, K]. None for chunks that are `rounds`.
        estimators: names among `ESTIMATORS`, or functions by name whose terms depend on their own row alone.
        q_hat: an array or a function like `target`, of expected rewards.
        num_draws: of the bootstrap; 0 for none, then intervals are normal ones.
        default_reward: as in `diagnose`.
        first_row: number of the first row in the whole log, of a shard; keys the bootstrap, and says what is early and what late.
        learn_from: as in `evaluate`. A policy that learns sees this shard only.
        state: as in `evaluate`.
        seed: of a policy's draws, and of the bootstrap's.
        engine: as in `replay`.

    Raises:
        EmptyLog: no rows.
        InvalidLog, InvalidProbs, InvalidPropensity, InvalidScores: a row that cannot be used, by its number in the whole log.
        InvalidValue: an argument out of its range.

    Example:
        >>> from recsdk.datasets import log_from_frame
        >>> from recsdk.ope import finish
        >>> log = log_from_frame({"action": [0, 1], "reward": [1.0, 0.0], "propensity": [0.5, 0.5]})
        >>> partial = accumulate([log, log], lambda context: np.full(context.mask.shape, 0.5))
        >>> finish(partial, force=True).estimates["ips"].value
        0.5
    """
    require_integer("num_draws", num_draws, at_least=0)
    require_integer("first_row", first_row, at_least=0)
    answer = _answer(target, q_hat, first_row, _Walk(learn_from, state, seed, engine))
    functions, end = named(estimators), first_row

    def checked() -> Iterator[tuple[int, Callable[[], Rounds]]]:
        nonlocal end
        for row, block in blocks(chunks, first_row):  # type: ignore[type-var]  # all chunks are of one kind, or `answer` refuses them
            found = answer(row, block)
            end = row + len(found.action)
            yield row, functools.partial(_same, found)  # not in a thread: a policy's state goes from block to block

    total = fold(checked(), functions, num_draws=num_draws, seed=seed, default_reward=default_reward)
    for name, value in (("target", target), ("q_hat", q_hat)):
        if hasattr(value, "shape") and len(value) != end - first_row:
            raise InvalidLog(f"{name} must have a row for each of the log's {end - first_row}, got {len(value)}.")
    return total


def fold(
    log: Iterable[tuple[int, Callable[[], Rounds]]],
    functions: Mapping[str, Estimator],
    *,
    num_draws: int = 0,
    seed: int = 0,
    default_reward: float = 0.0,
) -> Partial:
    """Sums up blocks, several at once: NumPy lets go of Python's lock while it computes.

    Args:
        log: of each block the number of its first row, and what gives its checked rounds.
        functions: estimators by name.
        num_draws: of the bootstrap.
        seed: of the bootstrap.
        default_reward: as in `diagnose`.

    Raises:
        EmptyLog: no blocks, or no row of positive weight.
        InvalidValue: an estimator whose terms depend on other rows of the block.
    """
    tasks = iter(log)
    first_row, first_block = next(tasks, (0, None))
    if first_block is None:
        raise EmptyLog("log must have at least one row, got none.")
    block = first_block()
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
            default_reward=default_reward,
            above=above,
            length=length_of(row - first_row),
        )
        draws = resample(list(terms.values()), num_draws=num_draws, seed=seed, first_row=row, centres=centres) if num_draws else ()
        return Partial(layout, sums, default_reward, tuple(draws))

    total = summed(first_row, block)

    def task(item: tuple[int, Callable[[], Rounds]]) -> Partial:
        kept = total.tally.tail[0]  # once so many are kept, only what is larger than the least of them counts
        return summed(item[0], item[1](), kept.min() if len(kept) >= TAIL else -np.inf)

    for part in in_threads(task, tasks):
        total = _sum(total, part)
    if not total.tally.num_weighted:
        raise EmptyLog(f"The log must have a row of positive weight, got {total.tally.num_rounds} rows of weight 0.")
    return total


def merge(a: Partial, b: Partial) -> Partial:
    """Returns what would have been kept of two shards in one.

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


class _Walk(NamedTuple):
    learn_from: LearnFrom
    state: Any
    seed: int
    engine: Engine


def _answer(target: Any, q_hat: Any, first_row: int, walk: _Walk) -> Answer:
    if target is None:
        return _given
    if is_policy(target):
        return _replayed(target, q_hat, first_row, walk)
    if walk.state is not None or walk.learn_from != "none":
        raise InvalidValue("state and learn_from are for a target that is a Policy; this one is given by its probabilities.")

    def answer(row: int, block: Interaction) -> Rounds:
        return _beside(row, block, _part_of(target, row - first_row, block), _part_of(q_hat, row - first_row, block))

    return answer


def is_policy(target: Any) -> bool:
    """Tells a policy from an array, a function and a column of a data frame, which may well have an `update`."""
    return hasattr(target, "update") and hasattr(target, "learns_from")


def _given(row: int, block: Any) -> Rounds:
    if not isinstance(block, Rounds):
        raise InvalidValue(f"chunks must be `rounds` where no target is given, got {type(block).__name__} from row {row} on.")
    return block


def _replayed(policy: Any, q_hat: Any, first_row: int, walk: _Walk) -> Answer:
    state = walk.state

    def answer(row: int, block: Interaction) -> Rounds:
        from recsdk.drivers.replay import replay  # it may load JAX, which probabilities do not need

        nonlocal state
        seed = int(np.random.SeedSequence([walk.seed, row // BLOCK]).generate_state(1)[0])
        played = replay(policy, block, learn_from=walk.learn_from, state=state, seed=seed, engine=walk.engine)
        state = played.state
        probs, matched = np.asarray(played.decision.probs), np.asarray(played.matched)
        return _beside(row, block, probs, _part_of(q_hat, row - first_row, block), matched)

    return answer


def _part_of(value: Any, start: int, block: Interaction) -> Any:
    if value is None:
        return None
    return value[start : start + len(block.action)] if hasattr(value, "shape") else value(block.context)


def _same(block: Rounds) -> Rounds:
    return block


def _beside(row: int, block: Interaction, target: Any, q_hat: Any, matched: Any = None) -> Rounds:
    try:
        return checked_rounds(block, target, q_hat=q_hat, matched=matched)
    except RecsdkError as error:
        raise type(error)(f"{error} Rows are counted from row {row} of the log.") from error


def _check_rowwise(block: Rounds, functions: Mapping[str, Estimator], terms: Mapping[str, Terms]) -> None:
    half = (len(block.action) + 1) // 2
    part = take(block, slice(half))
    for name, function in functions.items():
        if not all(np.allclose(field[:half], again, rtol=1e-9, atol=0) for field, again in zip(terms[name], function(part), strict=True)):
            raise InvalidValue(f"estimators must give each row its terms whatever the others are, but {name!r} does not: use `evaluate`.")


def _layout(terms: Mapping[str, Terms], weight: np.ndarray) -> dict[str, Layout]:
    """Gives each column of the estimators a number, behind those that a tally has anyway; many are divided by the weight itself."""
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
    """Takes residuals from other ratios: numerator - centre * denominator is linear in residual and denominator."""
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
