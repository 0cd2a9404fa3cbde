"""Checks and sums of a run of rows, in one pass over the data, compiled by Numba.

`reassoc` lets a sum run in several lanes, and `contract` rounds a product and a sum at once: both make errors smaller, and one machine
gives the same bits each time. Nothing is supposed to be finite.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from recsdk import fast
from recsdk.ope.calibration import GROUP, LARGEST, NUM_BETS, STAKES
from recsdk.ope.intervals.resampling import ROWS
from recsdk.ope.tally import (
    DOUBLY,
    IMPORTANCE,
    LENGTH,
    MASS,
    MATCH,
    MATCHED_REWARD,
    MODEL,
    NUM_OFFERED,
    OFFERED,
    RESIDUAL,
    REWARD,
    UNIFORM,
    VALUE,
    WEIGHT,
)
from recsdk.rounding import EXACT

jit = fast.jit(nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})

WEIGHTED, MATCHED, DEFAULT, BELOW, TAIL, IMPORTANT, MATCHING = range(7)
"""Counts: rows of weight, of a target, of the default reward, that look like lower positions; in the tail; that are not 0 in a column."""
SPREAD, LEAST, CHANCE, UNLIKELY = range(4)
"""Numbers: the sum of w rho |r - default|, the least propensity, the target's largest probability, the uniform target's largest weight."""
TAKEN, SHARE = 3, 4
"""Rows of the sums by item, after those of `recsdk.ope.tally`."""
SHARES = np.concatenate([STAKES, -STAKES])
REST = 1 - SHARES
LANES = LENGTH // GROUP
MANTISSA, ONE, BIAS = 2**52 - 1, 1023 << 52, 1023
LN2 = float(np.log(2.0))


@jit
def one_list(mask: np.ndarray, item: np.ndarray) -> bool:
    """Tells whether all rows have the same candidates, ascending and without padding; `item` may have one row for all."""
    flat, codes = mask.ravel(), item.ravel()
    padding = False
    for index in range(flat.size):
        padding |= not flat[index]
    width, differ = mask.shape[1], np.int64(0)
    for index in range(width, codes.size):
        differ |= codes[index] ^ codes[index - width]
    for place in range(1, width):
        padding |= codes[place] <= codes[place - 1]
    return not padding and differ == 0


@jit
def places(mask: np.ndarray, item: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Returns the distinct slots, ascending, the place of each slot from the lowest on, and the lowest; none where they are far apart."""
    low, high = np.iinfo(np.int64).max, np.iinfo(np.int64).min
    for row in range(mask.shape[0]):
        for place in range(mask.shape[1]):
            if mask[row, place]:
                low, high = min(low, item[row, place]), max(high, item[row, place])
    if high < low or np.uint64(high) - np.uint64(low) >= np.uint64(most):
        return np.empty(0, np.int64), np.empty(0, np.int64), 0
    index = np.zeros(high - low + 1, np.int64)
    for row in range(mask.shape[0]):
        for place in range(mask.shape[1]):
            if mask[row, place]:
                index[item[row, place] - low] = 1
    slots, count = np.empty(index.sum(), np.int64), 0
    for place in range(index.size):
        if index[place]:
            slots[count], index[place] = low + place, count
            count += 1
    return slots, index, low


@jit
def _expected(probs: np.ndarray, q_hat: np.ndarray, row: int) -> tuple[float, float, float]:
    """Returns the sums of a row's probabilities, of their products with the model's answers, and of these."""
    total, expected, answers = 0.0, 0.0, 0.0
    for place in range(probs.shape[1]):
        total += probs[row, place]
        expected += probs[row, place] * q_hat[row, place]
        answers += q_hat[row, place]
    return total, expected, answers


@jit
def _expected_masked(probs: np.ndarray, q_hat: np.ndarray, mask: np.ndarray, row: int) -> tuple[float, float, float]:
    """The same without padding; mass on padding counts as infinite."""
    total, expected, answers = 0.0, 0.0, 0.0
    for place in range(probs.shape[1]):
        if mask[row, place]:
            total += probs[row, place]
            expected += probs[row, place] * q_hat[row, place]
            answers += q_hat[row, place]
        elif probs[row, place] != 0:
            total += np.inf
    return total, expected, answers


@jit
def _bounds(values: np.ndarray) -> tuple[float, Any]:
    """Returns the largest of numbers that are at least 0, and whether they are; bits of such numbers have their order."""
    top, signs = np.int64(0), np.int64(0)
    bits = values.view(np.int64)
    for index in range(bits.size):
        top = max(top, bits[index])
        signs |= bits[index]
    found = np.empty(1, np.int64)
    found[0] = top
    return found.view(np.float64)[0], signs >= 0


@jit
def _normalise(mantissa: np.ndarray, exponent: np.ndarray) -> None:
    """Moves powers of two from products to exponents; a product of 0 stays."""
    bits = mantissa.view(np.int64)
    for index in range(bits.size):
        some = bits[index] != 0
        exponent[index] += ((bits[index] >> 52) - BIAS) if some else 0
        bits[index] = ((bits[index] & MANTISSA) | ONE) if some else 0


@jit
def _bet(ratio: np.ndarray, mantissa: np.ndarray, exponent: np.ndarray) -> None:
    """Multiplies each bet's fortune by what it wins on `LENGTH` ratios, in lanes of `GROUP` of them."""
    for bet in range(NUM_BETS):
        share, rest = SHARES[bet], REST[bet]
        for lane in range(LANES):
            product = 1.0
            for step in range(GROUP):
                product *= max(rest + share * ratio[step * LANES + lane], 0.0)
            mantissa[bet, lane] *= product
        _normalise(mantissa[bet], exponent[bet])


@jit
def _bet_together(r: np.ndarray, fortune: np.ndarray, exponent: np.ndarray) -> None:
    """Multiplies the fortunes of an item by what they win on `GROUP` ratios, and forgets these."""
    for bet in range(NUM_BETS):
        s, rest = SHARES[bet], REST[bet]
        a = max(rest + s * r[0], 0.0) * max(rest + s * r[1], 0.0) * max(rest + s * r[2], 0.0) * max(rest + s * r[3], 0.0)
        b = max(rest + s * r[4], 0.0) * max(rest + s * r[5], 0.0) * max(rest + s * r[6], 0.0) * max(rest + s * r[7], 0.0)
        c = max(rest + s * r[8], 0.0) * max(rest + s * r[9], 0.0) * max(rest + s * r[10], 0.0) * max(rest + s * r[11], 0.0)
        d = max(rest + s * r[12], 0.0) * max(rest + s * r[13], 0.0) * max(rest + s * r[14], 0.0) * max(rest + s * r[15], 0.0)
        fortune[bet] *= (a * b) * (c * d)
    _normalise(fortune, exponent)
    r[:] = 1.0


@jit
def _is_below(mask: np.ndarray, item: np.ndarray, action: np.ndarray, row: int) -> bool:
    """Tells whether a row's candidates are those of the row before without the one that it took."""
    if mask[row, action[row - 1]]:
        return False
    above, below = 0, 0
    for place in range(mask.shape[1]):
        above += mask[row - 1, place]
        below += mask[row, place]
        if mask[row, place] > mask[row - 1, place] or (mask[row - 1, place] and item[row, place] != item[row - 1, place]):
            return False
    return below > 0 and above == below + 1


@jit
def _rows(
    start: int, stop: int, at: int, log: Any, listed: Any, index: np.ndarray, low: int, spot: np.ndarray, limits: Any,
    columns: np.ndarray, ratios: np.ndarray, found: Any, items: Any,
) -> bool:  # fmt: skip
    """Checks some rows, at most `LENGTH`, and fills their columns and ratios; false where NumPy has to look at them."""
    action, reward, propensity, weight, mask, item, target, probs, q_hat, matched = log
    row_before, above, default = limits
    counts, numbers, tail = found
    by_item, waiting, num_waiting, wealth, exponents, owner = items
    is_whole, has_target, has_match = probs.shape[0] == len(action), target.size > 0, matched.size > 0
    least, most, spread, num_tail = numbers[LEAST], numbers[UNLIKELY], 0.0, counts[TAIL]
    num_weighted, num_matched, num_default, num_below, important, matching = 0, 0, 0, 0, 0, 0
    mass, offered, num_offered, taken, share_of = by_item[MASS], by_item[OFFERED], by_item[NUM_OFFERED], by_item[TAKEN], by_item[SHARE]
    answers = 0.0
    for row in range(start, stop):
        a, r, p, w = action[row], reward[row], propensity[row], weight[row]
        if not (0 <= a < mask.shape[1] and p > 0 and p <= 1 and w >= 0 and w < np.inf and abs(r) < np.inf):
            return False
        live, num_candidates = w > 0, mask.shape[1]
        if not listed:
            if not mask[row, a]:
                return False
            num_candidates = 0
            for k in range(mask.shape[1]):
                if mask[row, k]:
                    num_candidates += 1
                    slot = index[item[row, k] - low]
                    offered[slot] += w
                    num_offered[slot] += live
                    if is_whole:
                        mass[slot] += w * probs[row, k]
            if row > 0 and (row_before + row) % ROWS != 0:
                num_below += _is_below(mask, item, action, row)
        expected = 0.0
        if is_whole:
            if listed:
                total, expected, answered = _expected(probs, q_hat, row)
                for k in range(mask.shape[1]):
                    mass[k] += w * probs[row, k]
            else:
                total, expected, answered = _expected_masked(probs, q_hat, mask, row)
            answers += answered
            if not abs(total - 1) <= EXACT:
                return False
        chance = target[row] if has_target else probs[row, a]
        if not (chance >= 0 and chance <= 1 + EXACT):
            return False
        inverse = 1 / p
        rho, u = chance / p, 1 / (p * num_candidates)
        if not (rho <= LARGEST and inverse <= LARGEST):
            return False
        place = at + row - start
        columns[WEIGHT, place] = w
        columns[IMPORTANCE, place] = w * rho
        columns[UNIFORM, place] = w * u
        columns[REWARD, place] = w * r
        columns[VALUE, place] = w * rho * r
        if spot[0]:
            residual = r - q_hat[row, a]
            columns[MODEL, place] = w * expected
            columns[RESIDUAL, place] = w * rho * residual
            columns[DOUBLY, place] = w * (expected + rho * residual)
        if spot[1]:
            if not abs(p * num_candidates - 1) <= 1e-9:
                return False
            match = (1.0 if matched[row] else 0.0) if has_match else chance
            columns[MATCH, place] = w * match
            columns[MATCHED_REWARD, place] = w * match * r
            matching += w * match != 0
        num_weighted += live
        num_matched += chance != 0
        num_default += r == default
        important += w * rho != 0
        spread += w * rho * abs(r - default)
        ratios[0, row - start] = rho if live else 1.0
        ratios[1, row - start] = u if live else 1.0
        if live:
            least, most = min(least, p), max(most, u)
            if rho > above:
                tail[0, num_tail], tail[1, num_tail], tail[2, num_tail] = rho, w, r
                num_tail += 1
            slot = a if listed else index[item[row, a] - low]
            if owner[slot] < 0:
                owner[slot] = owner[-1]
                owner[-1] += 1
            own = owner[slot]
            share_of[slot] += inverse
            taken[slot] += 1
            waiting[own, num_waiting[own]] = inverse
            num_waiting[own] += 1
            if num_waiting[own] == GROUP:
                _bet_together(waiting[own], wealth[own], exponents[own])
                num_waiting[own] = 0
    counts[WEIGHTED] += num_weighted
    counts[MATCHED] += num_matched
    counts[DEFAULT] += num_default
    counts[BELOW] += num_below
    counts[IMPORTANT] += important
    counts[MATCHING] += matching
    counts[TAIL] = num_tail
    numbers[SPREAD] += spread
    numbers[LEAST], numbers[UNLIKELY] = least, most
    return abs(answers) < np.inf


@jit
def _gram(columns: np.ndarray, chosen: np.ndarray, start: int, stop: int, sums: np.ndarray, products: np.ndarray) -> None:
    """Adds the sums of the chosen columns over some rows, and those of the products of two of them."""
    for i in range(chosen.size):
        left = columns[chosen[i], start:stop]
        total = 0.0
        for row in range(left.size):
            total += left[row]
        sums[i] += total
        for j in range(i, chosen.size):
            right = columns[chosen[j], start:stop]
            total = 0.0
            for row in range(left.size):
                total += left[row] * right[row]
            products[i, j] += total


@jit
def run(
    log: Any, listed: bool, index: np.ndarray, low: int, row: int, limits: Any, chosen: np.ndarray, columns: np.ndarray, found: Any
) -> bool:
    """Checks a run of rows and adds up all its sums; false, with sums of no use, where NumPy has to look at them."""
    above, default, length = limits
    counts, numbers, tail, sums, products, bets, by_item, item_bets = found
    size, num_slots = log[0].size, by_item.shape[1]
    ratios = np.ones((2, LENGTH))
    mantissa, exponent = np.ones((2, NUM_BETS, LANES)), np.zeros((2, NUM_BETS, LANES), np.int64)
    most = min(size, num_slots)
    wealth, exponents, owner = np.ones((most, NUM_BETS)), np.zeros((most, NUM_BETS), np.int64), np.full(num_slots + 1, -1)
    waiting, num_waiting, owner[-1] = np.ones((most, GROUP)), np.zeros(most, np.uint64), 0
    spot = np.zeros(2, np.bool_)
    for kind in chosen:
        spot[0] |= kind in (MODEL, RESIDUAL, DOUBLY)
        spot[1] |= kind in (MATCH, MATCHED_REWARD)
    kept, start = columns.shape[1] >= size, 0
    while start < size:
        stop = min(size, start + LENGTH - (row + start) % LENGTH)
        at = start if kept else 0
        ratios[:] = 1.0
        items = (by_item, waiting, num_waiting, wealth, exponents, owner)
        if not _rows(
            start, stop, at, log, listed, index, low, spot, (row, above, default), columns, ratios, (counts, numbers, tail), items
        ):
            return False
        if log[7].shape[0] == size:
            top, good = _bounds(log[7][start:stop].ravel())
            if not good:
                return False
            numbers[CHANCE] = max(numbers[CHANCE], top)
        piece = (row + start) // length - row // length
        _gram(columns, chosen, at, at + stop - start, sums[piece], products[piece])
        for kind in range(2):
            _bet(ratios[kind], mantissa[kind], exponent[kind])
        start = stop
    for kind in range(2):
        for bet in range(NUM_BETS):
            for lane in range(LANES):
                bets[kind, bet] += np.log(mantissa[kind, bet, lane]) + exponent[kind, bet, lane] * LN2
    for slot in range(num_slots):
        if owner[slot] >= 0:
            _bet_together(waiting[owner[slot]], wealth[owner[slot]], exponents[owner[slot]])
            for bet in range(NUM_BETS):
                item_bets[slot, bet] = np.log(wealth[owner[slot], bet]) + exponents[owner[slot], bet] * LN2
    if listed:
        weight = 0.0
        for each in range(size):
            weight += log[3][each]
        by_item[OFFERED] = weight
        by_item[NUM_OFFERED] = counts[WEIGHTED]
    return True
