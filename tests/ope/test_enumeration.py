"""Expectations taken over every log that a small world can write, in exact fractions."""

import itertools
import math
from fractions import Fraction
from functools import partial

import numpy as np
import pytest

from recsdk import ope
from tests.ope.logs import log_of

CONTEXT = [Fraction(1, 3), Fraction(2, 3)]
LOGGING = [[Fraction(1, 2), Fraction(1, 4), Fraction(1, 4)], [Fraction(1, 5), Fraction(3, 5), Fraction(1, 5)]]
TARGET = [[Fraction(1, 6), Fraction(1, 3), Fraction(1, 2)], [Fraction(2, 5), Fraction(1, 10), Fraction(1, 2)]]
MEAN = [[Fraction(1, 4), Fraction(1, 2), Fraction(3, 4)], [Fraction(1, 5), Fraction(9, 10), Fraction(1, 2)]]  # of a reward that is 0 or 1
VALUE = sum(CONTEXT[x] * TARGET[x][a] * MEAN[x][a] for x in range(2) for a in range(3))
OUTCOMES = list(itertools.product(range(2), range(3), range(2)))  # context, action, reward


def chance(outcome):
    x, a, r = outcome
    return CONTEXT[x] * LOGGING[x][a] * (MEAN[x][a] if r else 1 - MEAN[x][a])


def weight(outcome):
    x, a, _ = outcome
    return TARGET[x][a] / LOGGING[x][a]


def expectation(estimator, *, num_rounds, q_hat=None, power=1):
    total = 0.0
    for rows in itertools.product(OUTCOMES, repeat=num_rounds):
        x = [row[0] for row in rows]
        log = log_of([row[1] for row in rows], [row[2] for row in rows], [float(LOGGING[c][a]) for c, a, _ in rows], num_candidates=3)
        rounds = ope.rounds(log, np.array(TARGET, np.float64)[x], q_hat=None if q_hat is None else q_hat[x])
        total += float(math.prod(map(chance, rows))) * ope.value(estimator(rounds)) ** power
    return total


def test_the_world_is_worth_what_it_says():
    assert Fraction(427, 900) == VALUE


@pytest.mark.parametrize("num_rounds", [1, 2])
def test_ips_is_unbiased(num_rounds):
    assert expectation(ope.ips, num_rounds=num_rounds) == pytest.approx(float(VALUE), rel=1e-12)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("num_rounds", [1, 2])
def test_dr_is_unbiased_whatever_its_model_says(seed, num_rounds):
    q_hat = np.random.default_rng(seed).normal(scale=5, size=(2, 3))
    assert expectation(ope.dr, num_rounds=num_rounds, q_hat=q_hat) == pytest.approx(float(VALUE), rel=1e-11)


def test_dr_has_less_variance_than_ips_with_a_true_model():
    truth = np.array(MEAN, np.float64)
    by_ips = expectation(ope.ips, num_rounds=1, power=2) - float(VALUE) ** 2
    by_dr = expectation(ope.dr, num_rounds=1, q_hat=truth, power=2) - float(VALUE) ** 2
    assert by_dr < 0.7 * by_ips


def test_the_variance_of_ips_is_the_exact_fraction():
    exact = sum(chance(row) * (weight(row) * row[2]) ** 2 for row in OUTCOMES) - VALUE**2
    assert expectation(ope.ips, num_rounds=1, power=2) - float(VALUE) ** 2 == pytest.approx(float(exact), rel=1e-12)


def test_snips_is_biased_by_exactly_as_much_as_it_must_be():
    exact = Fraction(0)
    for first, second in itertools.product(OUTCOMES, repeat=2):
        total = weight(first) + weight(second)
        exact += chance(first) * chance(second) * (weight(first) * first[2] + weight(second) * second[2]) / total
    assert expectation(ope.snips, num_rounds=2) == pytest.approx(float(exact), rel=1e-12)
    assert abs(exact - VALUE) > Fraction(1, 1000)


def test_the_variance_of_dr_is_that_of_the_formula():
    # Dudik et al. 2011: contexts, noise and the model's error each have their part.
    q_hat = np.random.default_rng(0).normal(size=(2, 3))
    values = [sum(TARGET[x][a] * MEAN[x][a] for a in range(3)) for x in range(2)]
    exact = float(sum(CONTEXT[x] * (values[x] - VALUE) ** 2 for x in range(2)))
    for x in range(2):
        ratio, mean = np.array(TARGET[x], float) / np.array(LOGGING[x], float), np.array(MEAN[x], float)
        chances, error = np.array(LOGGING[x], float), ratio * (q_hat[x] - mean)
        exact += float(CONTEXT[x]) * ((chances * ratio**2 * mean * (1 - mean)).sum() + (chances * error**2).sum() - (chances @ error) ** 2)
    assert expectation(ope.dr, num_rounds=1, q_hat=q_hat, power=2) - float(VALUE) ** 2 == pytest.approx(exact, rel=1e-12)


def test_sndr_is_biased_by_exactly_as_much_as_it_must_be():
    q_hat = [[Fraction(1, 5), Fraction(2, 5), Fraction(4, 5)], [Fraction(1, 2), Fraction(1, 2), Fraction(0)]]
    expected = [sum(TARGET[x][a] * q_hat[x][a] for a in range(3)) for x in range(2)]
    exact = Fraction(0)
    for rows in itertools.product(OUTCOMES, repeat=2):
        errors = [r - q_hat[x][a] for x, a, r in rows]
        correction = sum(weight(row) * error for row, error in zip(rows, errors, strict=True)) / sum(map(weight, rows))
        exact += math.prod(map(chance, rows)) * (sum(expected[row[0]] for row in rows) / 2 + correction)
    assert expectation(ope.sndr, num_rounds=2, q_hat=np.array(q_hat, float)) == pytest.approx(float(exact), rel=1e-12)
    assert abs(exact - VALUE) > Fraction(1, 1000)


SHRUNK = [
    (ope.Clip(limit=1.5), lambda rho: min(rho, Fraction(3, 2))),
    (ope.Switch(threshold=1.5), lambda rho: rho if rho <= Fraction(3, 2) else 0),
    (ope.Optimistic(strength=3.0), lambda rho: 3 * rho / (rho**2 + 3)),
    (ope.SubGaussian(share=0.25), lambda rho: rho / (Fraction(3, 4) + rho / 4)),
]


@pytest.mark.parametrize(("shrink", "exactly"), SHRUNK, ids=[type(shrink).__name__ for shrink, _ in SHRUNK])
def test_shrinking_is_biased_by_exactly_what_it_takes_away(shrink, exactly):
    exact = sum(chance(row) * exactly(weight(row)) * row[2] for row in OUTCOMES)
    assert expectation(partial(ope.ips, shrink=shrink), num_rounds=1) == pytest.approx(float(exact), rel=1e-12)
    assert exact < VALUE - Fraction(1, 100)
    q_hat = np.array(MEAN, float)  # where the model is right there is nothing to take away
    assert expectation(partial(ope.dr, shrink=shrink), num_rounds=1, q_hat=q_hat) == pytest.approx(float(VALUE), rel=1e-12)
    squares = sum(chance(row) * (exactly(weight(row)) * row[2]) ** 2 for row in OUTCOMES)
    assert squares - exact**2 < sum(chance(row) * (weight(row) * row[2]) ** 2 for row in OUTCOMES) - VALUE**2


def test_dm_is_what_the_model_says_and_nothing_else():
    q_hat = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    expected = sum(float(CONTEXT[x] * TARGET[x][a]) * q_hat[x, a] for x in range(2) for a in range(3))
    assert expectation(ope.dm, num_rounds=2, q_hat=q_hat) == pytest.approx(expected, rel=1e-12)
