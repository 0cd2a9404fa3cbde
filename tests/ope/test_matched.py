import numpy as np
import pytest

from recsdk import ope
from recsdk.errors import InsufficientOverlap, InvalidLog
from tests.ope.logs import log_of

RNG = np.random.default_rng(0)
ACTION = RNG.integers(4, size=1000)
REWARD = RNG.normal(size=1000)
LOG = log_of(ACTION, REWARD, np.full(1000, 0.25), num_candidates=4)


def test_a_deterministic_target_is_worth_the_mean_of_the_rounds_it_matches():
    wanted = RNG.integers(4, size=1000)
    found = ope.delta(ope.matched_mean(ope.rounds(LOG, np.eye(4)[wanted])))
    same = REWARD[wanted == ACTION]
    assert found.value == pytest.approx(same.mean(), rel=1e-12)
    assert found.stderr == pytest.approx(same.std(ddof=1) / np.sqrt(len(same)), rel=1e-12)


def test_a_replayed_target_is_worth_the_mean_of_the_rounds_it_drew():
    matched = RNG.random(1000) < 0.25
    found = ope.delta(ope.matched_mean(ope.rounds(LOG, np.full((1000, 4), 0.25), matched=matched)))
    assert found.value == pytest.approx(REWARD[matched].mean(), rel=1e-12)


def test_a_matched_round_counts_as_often_as_it_stands_for():
    matched, weight = RNG.random(1000) < 0.25, RNG.random(1000)
    found = ope.delta(ope.matched_mean(ope.rounds(LOG._replace(weight=weight), np.full((1000, 4), 0.25), matched=matched)))
    assert found.value == pytest.approx(np.average(REWARD[matched], weights=weight[matched]), rel=1e-12)


def test_on_a_uniform_log_it_agrees_with_snips():
    rounds = ope.rounds(LOG, RNG.dirichlet(np.ones(4), 1000))
    assert ope.delta(ope.matched_mean(rounds)) == pytest.approx(ope.delta(ope.snips(rounds)), rel=1e-12)


def test_uniform_means_over_the_candidates_of_the_round():
    mask = np.arange(4) < (2 + np.arange(1000) % 3)[:, None]
    log = log_of(np.zeros(1000, int), REWARD, 1 / mask.sum(1), mask=mask)
    assert ope.value(ope.matched_mean(ope.rounds(log, 1 / mask.sum(1)))) == pytest.approx(
        np.average(REWARD, weights=1 / mask.sum(1)), rel=1e-12
    )


def test_a_log_that_is_not_uniform_is_refused():
    skewed = LOG._replace(propensity=np.where(np.arange(1000) == 17, 0.3, 0.25))
    with pytest.raises(InvalidLog, match=r"propensity\[17\] must be 0.25, got 0.3. Use snips or dr."):
        ope.matched_mean(ope.rounds(skewed, np.full((1000, 4), 0.25)))


def test_no_match_is_refused():
    with pytest.raises(InsufficientOverlap, match="None of 1000 rounds"):
        ope.value(ope.matched_mean(ope.rounds(LOG, np.full((1000, 4), 0.25), matched=np.zeros(1000, np.bool_))))
