"""The bootstrap of a run of rows, compiled by Numba: the random bytes, counts and sums of `recsdk.ope.intervals.resampling`.

Sums are in single precision, as they are there; their order is free, see `recsdk.ope._fused`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

from recsdk.ope._fused import jit
from recsdk.ope.intervals.resampling import ROWS, THRESHOLDS, TINY
from recsdk.ope.tally import WEIGHT

TILE, TOGETHER = 1024, 4
"""Rows whose counts are drawn at once, and draws that are summed at once: so few that they stay in a core's nearest cache."""
GROUP = 32
"""Bytes that the generator gives at once, in four words."""
LOW, HIGH = np.uint64(0x7F7F7F7F7F7F7F7F), np.uint64(0x8080808080808080)
FIRST, *OTHERS = (np.uint64((128 - threshold % 128) * 0x0101010101010101) for threshold in THRESHOLDS)
LATER = tuple(OTHERS)
"""What is added to the lower seven bits of each byte of a word, so that the highest bit tells whether they reach the threshold's."""


def _product(_context: Any, _a: Any, _b: Any) -> Any:
    """Builds the upper and the lower 64 of the 128 bits of a product, by one instruction."""
    kind: Any = types.UniTuple(types.uint64, 2)  # type: ignore[no-untyped-call]

    def build(target: Any, builder: Any, _signature: Any, args: Any) -> Any:
        wide = ir.IntType(128)
        product = builder.mul(*(builder.zext(arg, wide) for arg in args))
        shifted = builder.lshr(product, ir.Constant(wide, 64))
        return target.make_tuple(builder, kind, [builder.trunc(half, ir.IntType(64)) for half in (shifted, product)])

    return kind(types.uint64, types.uint64), build


_wide: Any = intrinsic(_product)


@jit
def _random(words: np.ndarray, first: int, block: int, low: int, high: int) -> None:
    """Fills in words of NumPy's Philox, from number 4 `first` on, with the counter `block` << 128 and a key of two words."""
    for group in range(words.size // 4):
        a, b, c, d = np.uint64(first + group + 1), np.uint64(0), np.uint64(block), np.uint64(0)
        key, other = np.uint64(low), np.uint64(high)
        for _ in range(10):
            above_c, below_c = _wide(np.uint64(0xCA5A826395121157), c)
            above_a, below_a = _wide(np.uint64(0xD2E7470EE14C6C93), a)
            a, b, c, d = above_c ^ b ^ key, below_c, above_a ^ d ^ other, below_a
            key, other = key + np.uint64(0x9E3779B97F4A7C15), other + np.uint64(0xBB67AE8584CAA73B)
        words[4 * group], words[4 * group + 1], words[4 * group + 2], words[4 * group + 3] = a, b, c, d


@jit
def _count(words: np.ndarray, times: np.ndarray) -> None:
    """Turns random bytes into how often each row counts, as `THRESHOLDS` say, of which the first alone is below 128; a word at once."""
    for index in range(words.size):
        word = words[index]
        low = word & LOW
        count = (((low + FIRST) | word) & HIGH) >> np.uint64(7)
        for added in LATER:
            count += ((low + added) & word & HIGH) >> np.uint64(7)
        words[index] = count
    counts = words.view(np.uint8)
    for index in range(times.size):
        times[index] = np.float32(counts[index])


@jit
def _prepare(columns: np.ndarray, offset: int, parts: Any, left: np.ndarray, right: np.ndarray) -> Any:
    """Returns f32[C, ROWS], the columns to be drawn, scaled so that no product overflows; f64[C], their scale; f64[C], their sums."""
    (numerator, denominator, centre), size = parts, columns.shape[1]
    of_part, scaled, scale = np.empty((numerator.size, size)), np.empty((numerator.size, size), np.float32), np.empty(numerator.size)
    single, scales, sums = np.zeros((left.size + 1, ROWS), np.float32), np.empty(left.size), np.zeros(left.size)
    for part in range(numerator.size):
        values, below, largest = of_part[part], columns[denominator[part]], TINY
        for row in range(size):
            values[row] = below[row] if numerator[part] < 0 else columns[numerator[part], row] - centre[part] * below[row]
            largest = max(largest, abs(values[row]))
        scale[part], shrunk = largest, 1 / largest
        for row in range(size):
            scaled[part, row] = np.float32(values[row] * shrunk)
    for column in range(left.size):
        target, one = single[column, offset : offset + size], scaled[left[column]]
        first, total = of_part[left[column]], 0.0
        if right[column] < 0:
            scales[column] = scale[left[column]]
            for row in range(size):
                total += first[row]
                target[row] = one[row]
        else:
            second, other = of_part[right[column]], scaled[right[column]]
            scales[column] = scale[left[column]] * scale[right[column]]
            for row in range(size):
                total += first[row] * second[row]
            for row in range(size):
                target[row] = one[row] * other[row]
        sums[column] = total
    return single, scales, sums


@jit
def _draw(single: np.ndarray, offset: int, stop: int, block: int, key: Any, sums: np.ndarray) -> None:
    """Adds the sums of columns over some rows of a block under each draw's multiplicities."""
    words, times = np.empty(TILE // 8, np.uint64), np.zeros((TOGETHER, TILE), np.float32)
    for tile in range(offset // TILE * TILE, stop, TILE):
        for first in range(0, sums.shape[0], TOGETHER):
            num = min(TOGETHER, sums.shape[0] - first)
            for draw in range(num):
                _random(words, ((first + draw) * ROWS + tile) // GROUP, block, key[0], key[1])
                _count(words, times[draw])
            one, two, three, four = times[0], times[1], times[2], times[3]
            for column in range(0, sums.shape[1], 2):
                x, y = single[column, tile : tile + TILE], single[column + 1, tile : tile + TILE]
                a = b = c = d = e = f = g = h = np.float32(0)
                for row in range(TILE):
                    a += one[row] * x[row]
                    b += two[row] * x[row]
                    c += three[row] * x[row]
                    d += four[row] * x[row]
                    e += one[row] * y[row]
                    f += two[row] * y[row]
                    g += three[row] * y[row]
                    h += four[row] * y[row]
                for draw, of_x, of_y in ((0, a, e), (1, b, f), (2, c, g), (3, d, h)):
                    if draw < num:
                        sums[first + draw, column] += of_x
                        if column + 1 < sums.shape[1]:
                            sums[first + draw, column + 1] += of_y


@jit
def resample(columns: np.ndarray, start: int, stop: int, row: int, key: Any, plan: Any, total: np.ndarray, draws: np.ndarray) -> None:
    """Resamples rows `start` to `stop` of a run that begins with row `row` of the log; all are of one block of `ROWS`."""
    parts, left, right, number, shared = plan
    alike = 1
    for index in range(start, stop):
        if columns[WEIGHT, index] != 1:
            alike = 0
            break
    num, offset = number[alike], (row + start) % ROWS
    single, scales, sums = _prepare(columns[:, start:stop], offset, parts, left[alike, :num], right[alike, :num])
    drawn = np.zeros((draws.shape[0], num))
    _draw(single, offset, offset + stop - start, (row + start) // ROWS, key, drawn)
    for column in range(total.size):
        source = shared[alike, column]
        total[column] += sums[source]
        for draw in range(draws.shape[0]):
            draws[draw, column] += drawn[draw, source] * scales[source]
