"""Six rows whose answers are exact fractions, the same log in `reference/known_values/tiny_ope.json`."""

import json
import math
from fractions import Fraction
from functools import partial

import numpy as np
import pytest

from recsdk import ope
from recsdk.ope.checked import take
from tests.ope.logs import log_of
from tests.shared import shared

CONTEXT = [0, 0, 0, 1, 1, 1]
PROPENSITY = [Fraction(p) for p in ("1/2", "1/4", "1/4", "1/10", "4/5", "1/10")]
LOG = log_of([0, 1, 2, 0, 1, 2], [1, 0, 1, 0, 1, 0.5], [float(p) for p in PROPENSITY])
TARGET = np.array([[0.2, 0.3, 0.5], [0.6, 0.1, 0.3]])[CONTEXT]
Q_HAT = np.array([[0.8, 0.2, 0.6], [0.1, 0.9, 0.5]])[CONTEXT]
ROUNDS = ope.rounds(LOG, TARGET, q_hat=Q_HAT)


EXACT = {
    "ips": (ope.ips, Fraction(161, 240)),
    "snips": (ope.snips, Fraction(161, 509)),
    "dm": (ope.dm, Fraction(41, 100)),
    "dr": (ope.dr, Fraction(67, 160)),
    "sndr": (ope.sndr, Fraction(21079, 50900)),
    "ips, clip 2": (partial(ope.ips, shrink=ope.Clip(limit=2)), Fraction(47, 80)),
    "snips, clip 2": (partial(ope.snips, shrink=ope.Clip(limit=2)), Fraction(47, 103)),
    "dr, clip 2": (partial(ope.dr, shrink=ope.Clip(limit=2)), Fraction(233, 480)),
    "sndr, clip 2": (partial(ope.sndr, shrink=ope.Clip(limit=2)), Fraction(41, 100) + Fraction(181, 3090)),
    "switch-dr 2": (partial(ope.dr, shrink=ope.Switch(threshold=2)), Fraction(83, 160)),
    "dros 2": (partial(ope.dr, shrink=ope.Optimistic(strength=2)), Fraction(2914027, 6617700)),
}
"""Estimators, and what they say of the six rows."""


def running_values(policy):
    """Returns IPS after each row of Vowpal Wabbit's test 114, and what it prints, for one of two policies that always do the same."""
    lines = shared("reference/vw_tests/train-sets/cb_eval").read_text().splitlines()
    action, reward, propensity = zip(*(map(float, line.split()[0].split(":")) for line in lines), strict=True)
    always = np.tile(np.eye(2)[policy], (len(lines), 1))
    rounds = ope.rounds(log_of(np.array(action, int) - 1, reward, propensity, num_candidates=2), always)
    known = [float(line.split()[policy]) for line in shared("reference/vw_tests/pred-sets/ref/cb_eval.preds").read_text().splitlines()]
    return [ope.value(ope.ips(take(rounds, slice(end)))) for end in range(1, len(lines) + 1)], known


def joined_log():
    """Returns a log that a joiner wrote, the costs that it labels it with, and what it is worth."""
    expected = json.loads(shared("reference/rl_joiner/expected.json").read_text())
    lines = shared("reference/rl_joiner/average_reward_100_interactions.json").read_text().splitlines()
    events = [json.loads(line) for line in lines if line.strip()]
    action = [event["_labelIndex"] for event in events]
    reward = [np.mean([observed["v"] for observed in event["o"]]) for event in events]
    log = log_of(action, reward, [event["_label_probability"] for event in events], num_candidates=2)
    return log, [event["_label_cost"] for event in events], expected


@pytest.mark.parametrize(("estimator", "exact"), EXACT.values(), ids=EXACT)
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
    expected = {name: number["decimal"] for name, number in reference["expected"].items()}
    for name in ("ips", "snips", "dm", "dr", "sndr"):
        assert ope.value(getattr(ope, name)(ROUNDS)) == pytest.approx(expected[name], rel=1e-12)
    shrunk = {
        "ips_clip_2": ope.ips(ROUNDS, shrink=ope.Clip(limit=2)),
        "dr_clip_2": ope.dr(ROUNDS, shrink=ope.Clip(limit=2)),
        "switch_dr_2": ope.dr(ROUNDS, shrink=ope.Switch(threshold=2)),
        "dros_2": ope.dr(ROUNDS, shrink=ope.Optimistic(strength=2)),
    }
    for name, terms in shrunk.items():
        assert ope.value(terms) == pytest.approx(expected[name], rel=1e-12), name


def test_the_standard_error_of_sndr_is_the_delta_methods():
    weights = np.array([0.4, 1.2, 2, 6, 0.125, 3])
    expected, residual = (TARGET * Q_HAT).sum(1), LOG.reward - Q_HAT[np.arange(6), LOG.action]
    correction = (weights * residual).sum() / weights.sum()
    influence = expected - expected.mean() + weights * (residual - correction) / weights.mean()
    assert ope.delta(ope.sndr(ROUNDS)).stderr == pytest.approx(math.sqrt((influence**2).sum() / 5 / 6), rel=1e-12)


def test_the_running_value_is_that_of_vowpal_wabbits_test_114():
    for policy in (0, 1):
        running, known = running_values(policy)
        assert running == pytest.approx(known, abs=5e-7)


def test_a_joined_log_is_worth_what_the_joiner_says():
    log, cost, expected = joined_log()
    assert log.reward == pytest.approx(-np.array(cost), abs=1e-6)
    assert (len(log.action), log.reward.mean()) == pytest.approx((expected["events"], expected["mean_reward"]))
    for number in (1, 2):
        known, rounds = expected[f"always_action_{number}"], ope.rounds(log, np.tile(np.eye(2)[number - 1], (len(log.action), 1)))
        assert ope.value(ope.ips(rounds)) == pytest.approx(known["ips"], rel=1e-12)
        assert ope.value(ope.snips(rounds)) == pytest.approx(known["snips"], rel=1e-12)
        assert ope.diagnose(rounds).num_matched == known["matches"]
