"""Six rows whose answers are exact fractions, the same log in `reference/known_values/tiny_ope.json`."""

import json
import math
from fractions import Fraction

import numpy as np
import pytest
from ope.logs import log_of
from shared import shared

from recsdk import ope

CONTEXT = [0, 0, 0, 1, 1, 1]
PROPENSITY = [Fraction(p) for p in ("1/2", "1/4", "1/4", "1/10", "4/5", "1/10")]
LOG = log_of([0, 1, 2, 0, 1, 2], [1, 0, 1, 0, 1, 0.5], [float(p) for p in PROPENSITY])
TARGET = np.array([[0.2, 0.3, 0.5], [0.6, 0.1, 0.3]])[CONTEXT]
Q_HAT = np.array([[0.8, 0.2, 0.6], [0.1, 0.9, 0.5]])[CONTEXT]
ROUNDS = ope.rounds(LOG, TARGET, q_hat=Q_HAT)


@pytest.mark.parametrize(
    ("estimator", "exact"),
    [
        (ope.ips, Fraction(161, 240)),
        (ope.snips, Fraction(161, 509)),
        (ope.dm, Fraction(41, 100)),
        (ope.dr, Fraction(67, 160)),
    ],
)
def test_the_value_is_the_exact_fraction(estimator, exact):
    assert ope.value(estimator(ROUNDS)) == pytest.approx(float(exact), rel=1e-12)


def test_the_standard_error_of_ips_and_dr_is_that_of_a_mean_of_terms():
    weights = np.array([0.4, 1.2, 2, 6, 0.125, 3])
    rows = np.arange(6)
    corrections = (TARGET * Q_HAT).sum(1) + weights * (LOG.reward - Q_HAT[rows, LOG.action])
    for estimator, terms in ((ope.ips, weights * LOG.reward), (ope.dr, corrections)):
        assert ope.delta(estimator(ROUNDS)).stderr == pytest.approx(np.std(terms, ddof=1) / math.sqrt(6), rel=1e-12)


def test_the_standard_error_of_snips_is_the_delta_methods():
    # residuals w (r - 161/509) of the six rows, squared, over the square of the mean weight 509/240
    weights = [Fraction(w) for w in ("2/5", "6/5", "2", "6", "1/8", "3")]
    rewards = [Fraction(r) for r in ("1", "0", "1", "0", "1", "1/2")]
    squares = sum((w * (r - Fraction(161, 509))) ** 2 for w, r in zip(weights, rewards, strict=True))
    variance = squares / 5 / 6 / Fraction(509, 240) ** 2
    assert ope.delta(ope.snips(ROUNDS)).stderr == pytest.approx(math.sqrt(variance), rel=1e-12)


def test_the_diagnostics_are_exact():
    found = ope.diagnose(ROUNDS)
    assert found.effective_size == pytest.approx(259081 / 80985, rel=1e-12)
    assert found.max_weight == pytest.approx(6, rel=1e-12)
    assert found.mean_weight == pytest.approx(509 / 240, rel=1e-12)
    assert (found.num_rounds, found.num_matched, found.unsupported_mass) == (6, 6, 0.0)


def test_this_file_restates_the_reference():
    reference = json.loads(shared("reference/known_values/tiny_ope.json").read_text())
    rows = reference["rows"]
    assert [row["context"] for row in rows] == CONTEXT
    assert [row["action"] for row in rows] == LOG.action.tolist()
    assert [float(Fraction(row["reward"])) for row in rows] == LOG.reward.tolist()
    assert [Fraction(row["p_log"]) for row in rows] == PROPENSITY
    for name, array in (("target", TARGET), ("q_hat", Q_HAT)):
        assert [[float(Fraction(p)) for p in reference[name][str(c)]] for c in CONTEXT] == array.tolist()
    for name in ("ips", "snips", "dm", "dr"):
        assert ope.value(ope.ESTIMATORS[name](ROUNDS)) == pytest.approx(reference["expected"][name]["decimal"], rel=1e-12)
