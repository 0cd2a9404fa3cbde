"""What intervals need and the standard library lacks: quantiles of the beta and F distributions."""

from __future__ import annotations

import math

SMALLEST = 1e-300  # stands for a 0 that is divided by


def beta_quantile(share: float, a: float, b: float) -> float:
    """Returns x with P(Beta(a, b) <= x) = share, for `a` and `b` > 0."""
    low, high = 0.0, 1.0
    while high - low > 1e-15 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if _beta_cdf(middle, a, b) < share else (low, middle)
    return high


def f_quantile(share: float, denominator: float) -> float:
    """Returns x with P(F(1, denominator) <= x) = share: the square of Student's two-sided quantile."""
    part = beta_quantile(share, 0.5, denominator / 2)
    return denominator * part / (1 - part)


def _beta_cdf(x: float, a: float, b: float) -> float:
    if x > (a + 1) / (a + b + 2):  # beyond the mode the fraction of the other tail converges quicker
        return 1 - _beta_cdf(1 - x, b, a)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(log_front) / a / _beta_fraction(x, a, b)


def _beta_fraction(x: float, a: float, b: float) -> float:
    """The continued fraction 1 + d1 / (1 + d2 / (1 + ...)) of NIST's Handbook, 8.17.22, by Lentz's method."""
    fraction = upper = 1.0
    lower = 0.0
    step = 0
    while True:
        step += 1
        half = step // 2
        if step % 2:
            term = -(a + half) * (a + b + half) * x / ((a + 2 * half) * (a + 2 * half + 1))
        else:
            term = half * (b - half) * x / ((a + 2 * half - 1) * (a + 2 * half))
        lower = 1 / (1 + term * lower or SMALLEST)
        upper = 1 + term / upper or SMALLEST
        fraction *= upper * lower
        if abs(upper * lower - 1) < 1e-15:
            return fraction
