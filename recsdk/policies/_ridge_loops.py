"""Loops compiled by Numba: whole rounds of the policies on ridge regression, and what they learn.

The policies' own code, `recsdk.explore` and `recsdk.base.decide` are the definition; a law holds these loops to them. They use one thread
and no BLAS, so their bits depend on the processor alone: `reassoc` and `contract` let a sum run in the processor's lanes, in an order that
is fixed when it is compiled.

All of them stand in one file: Numba's cache looks at the file of a function only, and would not notice a change in another.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from recsdk import fast
from recsdk.base import Decision, Interaction
from recsdk.explore import TIE
from recsdk.policies._rules import GREEDY, INVERSE_GAP, LEARNS, OPTIMISTIC, VOTES, Rule

compiled = fast.jit(nogil=True, error_model="numpy")
compiled_sums = fast.jit(nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
ALL, MATCHED = map(LEARNS.index, ("all", "matched"))


@compiled
def walk(
    rule: Rule, reach: float, learns: int, mean: np.ndarray, root: np.ndarray, total: float, log: Interaction, rng: Any, made: Decision
) -> tuple[int, float]:
    """Walks rounds: writes the decisions to `made`, and what is learned to `mean` and `root`.

    Args:
        rule: of the policy.
        reach: f64[], no width of a candidate of length 1 exceeds it; for optimistic rules.
        learns: what is learned, as its place in `LEARNS`.
        mean: f64[D], overwritten.
        root: f64[D, D], overwritten.
        total: f64[], sum of the weights learned.
        log: T rounds.
        rng: generator of NumPy, which gives the numbers that it would give to `decide`.
        made: T decisions, overwritten.

    Returns:
        How many rounds were walked, fewer than T where probabilities are none, as numbers overflowed; and the new total.
    """
    num_rounds, num_candidates, dim = log.context.features.shape
    scores, numbers, direction, gain = np.empty(num_candidates), np.empty(num_candidates), np.empty(dim), np.empty(dim)
    num_pairs = (rule.num_draws + 1) // 2
    noise, spread, draws = np.empty((num_pairs, dim)), np.empty((num_pairs, dim)), np.empty((num_candidates, 2 * num_pairs))
    for t in range(num_rounds):
        x, mask, probs, action = log.context.features[t], log.context.mask[t], made.probs[t], log.action[t]
        is_sound = _set_means(scores, x, mask, mean)
        if is_sound and rule.kind == OPTIMISTIC:
            is_sound = _set_bounds(scores, numbers, x, mask, root, rule.scale, reach, direction)
        if not is_sound:
            return t, total
        if rule.kind == VOTES:
            for m in range(num_pairs):
                for i in range(dim):
                    noise[m, i] = rng.standard_normal()
            _set_spread(spread, noise, root, rule.scale)
            _set_votes(probs, draws, scores, x, mask, spread, rule.num_draws)
        elif rule.kind in (OPTIMISTIC, GREEDY):
            _set_greedy(probs, scores, mask, rule.tries / (1 + total), rule.floor)
        elif rule.kind == INVERSE_GAP:
            _set_inverse_gap(probs, scores, mask, rule.scale, total)
        else:
            _set_softmax(probs, scores, rule.scale)
        chosen = _drawn(probs, rng)
        if chosen < 0:
            return t, total
        made.action[t], made.propensity[t] = chosen, probs[chosen]
        if learns == ALL or (learns == MATCHED and chosen == action):
            _learn(mean, root, x[action], log.reward[t], log.weight[t], direction, gain)
            total += log.weight[t]
    return num_rounds, total


@compiled
def learn(mean: np.ndarray, root: np.ndarray, total: float, x: np.ndarray, reward: np.ndarray, weight: np.ndarray) -> float:
    """Learns rounds in order, each as it would alone: writes what is learned to `mean` and `root`.

    Args:
        mean: f64[D], overwritten.
        root: f64[D, D], overwritten.
        total: f64[], sum of the weights learned.
        x: f64[T, D], phi of the chosen candidates.
        reward: f64[T].
        weight: f64[T].

    Returns:
        The new total.
    """
    direction, gain = np.empty(x.shape[1]), np.empty(x.shape[1])
    for t in range(x.shape[0]):
        _learn(mean, root, x[t], reward[t], weight[t], direction, gain)
        total += weight[t]
    return total


@compiled_sums
def _dot(a: np.ndarray, b: np.ndarray) -> float:
    total = 0.0
    for i in range(a.shape[0]):
        total += a[i] * b[i]
    return total


@compiled_sums
def _set_products(products: np.ndarray, rows: np.ndarray, vector: np.ndarray) -> None:
    """Sets `products` to the rows' products with a vector, four rows at a time."""
    num, dim = rows.shape
    for k in range(0, num - num % 4, 4):
        one, two, three, four = 0.0, 0.0, 0.0, 0.0
        for i in range(dim):
            one += rows[k, i] * vector[i]
            two += rows[k + 1, i] * vector[i]
            three += rows[k + 2, i] * vector[i]
            four += rows[k + 3, i] * vector[i]
        products[k], products[k + 1], products[k + 2], products[k + 3] = one, two, three, four
    for k in range(num - num % 4, num):
        products[k] = _dot(rows[k], vector)


@compiled_sums
def _set_direction(direction: np.ndarray, x: np.ndarray, root: np.ndarray) -> None:
    """Sets `direction` to root^T x, four rows of the root at a time."""
    dim = x.shape[0]
    direction[:] = 0.0
    for i in range(0, dim - dim % 4, 4):
        for j in range(dim):
            direction[j] += (x[i] * root[i, j] + x[i + 1] * root[i + 1, j]) + (x[i + 2] * root[i + 2, j] + x[i + 3] * root[i + 3, j])
    for i in range(dim - dim % 4, dim):
        for j in range(dim):
            direction[j] += x[i] * root[i, j]


@compiled
def _set_means(scores: np.ndarray, x: np.ndarray, mask: np.ndarray, mean: np.ndarray) -> bool:
    """Sets `scores` to estimates, -inf on padding; returns false where one overflows."""
    _set_products(scores, x, mean)
    overflow = 0.0
    for k in range(mask.shape[0]):
        overflow += 0.0 * scores[k]
        scores[k] = scores[k] if mask[k] else -np.inf
    return overflow == 0


@compiled_sums
def _set_squares(squares: np.ndarray, rows: np.ndarray) -> None:
    """Sets `squares` to the rows' squared lengths, four rows at a time."""
    num, dim = rows.shape
    for k in range(0, num - num % 4, 4):
        one, two, three, four = 0.0, 0.0, 0.0, 0.0
        for i in range(dim):
            one += rows[k, i] * rows[k, i]
            two += rows[k + 1, i] * rows[k + 1, i]
            three += rows[k + 2, i] * rows[k + 2, i]
            four += rows[k + 3, i] * rows[k + 3, i]
        squares[k], squares[k + 1], squares[k + 2], squares[k + 3] = one, two, three, four
    for k in range(num - num % 4, num):
        squares[k] = _dot(rows[k], rows[k])


@compiled
def _set_bounds(
    scores: np.ndarray, limits: np.ndarray, x: np.ndarray, mask: np.ndarray, root: np.ndarray, alpha: float, reach: float, room: np.ndarray
) -> bool:
    """Turns `scores` from estimates to upper confidence bounds, -inf for who cannot be among the best; returns false where they overflow.

    No width exceeds |x| `reach`: that limits each bound in O(D). The bound itself, O(D^2), is had of the candidate with the highest limit,
    and then of those whose limits reach the best bound so far, less what may tie.
    """
    _set_squares(limits, x)
    factor, first = alpha * reach, -1
    for k in range(mask.shape[0]):
        limits[k] = scores[k] + factor * math.sqrt(limits[k])
    for k in range(mask.shape[0]):
        if mask[k] and (first < 0 or limits[k] > limits[first]):
            first = k
    best = scores[first] + alpha * _width(x[first], root, room)
    scores[first] = best
    for k in range(mask.shape[0]):
        if mask[k] and k != first:
            if limits[k] < best - 2 * TIE * (1 + abs(best)):
                scores[k] = -np.inf
            else:
                scores[k] += alpha * _width(x[k], root, room)
                best = max(best, scores[k])
    return math.isfinite(best)


@compiled
def _width(x: np.ndarray, root: np.ndarray, room: np.ndarray) -> float:
    """Is `_ridge.widths` of one candidate."""
    _set_direction(room, x, root)
    return math.sqrt(_dot(room, room))


@compiled
def _set_greedy(probs: np.ndarray, scores: np.ndarray, mask: np.ndarray, tries: float, floor: float) -> None:
    """Is `explore.greedy` and `explore.mix` with a share of `tries` times the number of candidates, at least `floor`."""
    num, num_best, top = 0, 0, -np.inf
    for k in range(mask.shape[0]):
        num += mask[k]
        top = max(top, scores[k])
    least = top - TIE * (1 + abs(top))
    for k in range(mask.shape[0]):
        num_best += scores[k] >= least
    share = min(max(tries * num, floor), 1.0)
    for k in range(mask.shape[0]):
        probs[k] = (1 - share) * (scores[k] >= least) / num_best + share * mask[k] / num


@compiled
def thompson(
    mean: np.ndarray, root: np.ndarray, noise: np.ndarray, x: np.ndarray, mask: np.ndarray, scale: float, num_draws: int
) -> np.ndarray:
    """Is the `probs` of Thompson sampling, after its draw of `noise`, f64[ceil(M / 2), D]; NaN where a number is none."""
    (num_candidates, dim), num_pairs = x.shape, noise.shape[0]
    means, spread, probs = np.empty(num_candidates), np.empty((num_pairs, dim)), np.empty(num_candidates)
    _set_products(means, x, mean)
    _set_spread(spread, noise, root, scale)
    _set_votes(probs, np.empty((num_candidates, 2 * num_pairs)), means, x, mask, spread, num_draws)
    return probs


@compiled
def _set_spread(spread: np.ndarray, noise: np.ndarray, root: np.ndarray, scale: float) -> None:
    """Sets each row of `spread` to a draw of the weights, less their mean."""
    column = np.empty(noise.shape[0])
    for i in range(root.shape[0]):
        _set_products(column, noise, root[i])
        for m in range(noise.shape[0]):
            spread[m, i] = scale * column[m]


@compiled
def _set_votes(
    probs: np.ndarray, draws: np.ndarray, means: np.ndarray, x: np.ndarray, mask: np.ndarray, spread: np.ndarray, num_draws: int
) -> None:
    """Is `explore.votes` of draws in pairs, means + x spread and means - x spread; NaN where a number is none."""
    num_candidates, num_pairs = mask.shape[0], spread.shape[0]
    column, tops, num_best, is_none = np.empty(num_pairs), np.full(num_draws, -np.inf), np.zeros(num_draws), 0.0
    for k in range(num_candidates):
        if mask[k]:
            _set_products(column, spread, x[k])
            for m in range(num_pairs):
                draws[k, m], draws[k, num_pairs + m] = means[k] + column[m], means[k] - column[m]
                is_none += 0.0 if column[m] == column[m] else np.nan
            is_none += 0.0 if means[k] == means[k] else np.nan
            for m in range(num_draws):
                tops[m] = max(tops[m], draws[k, m])
    for m in range(num_draws):
        tops[m] -= TIE * (1 + abs(tops[m]))
        is_none += 0.0 * tops[m]
    for k in range(num_candidates):
        if mask[k]:
            for m in range(num_draws):
                num_best[m] += draws[k, m] >= tops[m]
    for m in range(num_draws):
        num_best[m] = 1 / num_best[m] / num_draws
    for k in range(num_candidates):
        votes = is_none
        if mask[k]:
            for m in range(num_draws):
                votes += num_best[m] if draws[k, m] >= tops[m] else 0.0
        probs[k] = votes


@compiled
def _set_softmax(probs: np.ndarray, scores: np.ndarray, temperature: float) -> None:
    """Is `explore.softmax`."""
    top, total = -np.inf, 0.0
    for k in range(scores.shape[0]):
        top = max(top, scores[k] / temperature)
    for k in range(scores.shape[0]):
        probs[k] = math.exp(scores[k] / temperature - top)
        total += probs[k]
    for k in range(scores.shape[0]):
        probs[k] /= total


@compiled
def _set_inverse_gap(probs: np.ndarray, scores: np.ndarray, mask: np.ndarray, scale: float, total: float) -> None:
    """Is `explore.inverse_gap` with gamma = scale sqrt(K total)."""
    num, num_best, top = 0, 0, -np.inf
    for k in range(mask.shape[0]):
        num += mask[k]
        top = max(top, scores[k])
    gamma, least, rest = scale * math.sqrt(num * total), top - TIE * (1 + abs(top)), 1.0
    for k in range(mask.shape[0]):
        is_best = scores[k] >= least
        num_best += is_best
        probs[k] = 1 / (num + gamma * (top - scores[k])) if mask[k] and not is_best else 0.0
        rest -= probs[k]
    for k in range(mask.shape[0]):
        if scores[k] >= least:
            probs[k] = rest / num_best


@compiled
def _drawn(probs: np.ndarray, rng: Any) -> int:
    """Returns what `base.decide` draws from `probs`, or -1 where it refuses them; caps them at 1, as it does."""
    total = 0.0
    for k in range(probs.shape[0]):
        if not probs[k] >= 0:
            return -1
        total += probs[k]
    if not abs(total - 1) <= 1e-9:
        return -1
    wanted, reached = rng.random() * total, 0.0
    for k in range(probs.shape[0]):
        reached += probs[k]
        if reached > wanted:
            probs[k] = min(probs[k], 1.0)
            return k
    return -1


@compiled
def _learn(
    mean: np.ndarray, root: np.ndarray, x: np.ndarray, reward: float, weight: float, direction: np.ndarray, gain: np.ndarray
) -> None:
    """Is `_ridge.condition`."""
    _set_direction(direction, x, root)
    _set_products(gain, root, direction)
    shrink = 1 / (1 + weight * _dot(direction, direction))
    pull, step = weight * (reward - _dot(x, mean)) * shrink, weight * shrink / (1 + math.sqrt(shrink))
    for i in range(x.shape[0]):
        mean[i] += pull * gain[i]
        scaled = step * gain[i]
        for j in range(x.shape[0]):
            root[i, j] -= scaled * direction[j]
