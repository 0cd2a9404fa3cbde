"""The service itself: the live loop writes its own log while it learns, and a second policy is evaluated from that alone."""

import numpy as np
import pytest

from recsdk.live.log import read_ledger
from tests.ope import real_loop
from tests.ope.coverage_world import covered

NAMES = ("ips, delta", "snips, delta", "dr, delta", "ips, clopper_pearson", "ips, confidence_sequence")


def test_the_log_holds_what_was_played_and_tells_the_second_policy_its_chances(tmp_path):
    real_loop.play(tmp_path / "one", 60, seed=1)
    real_loop.play(tmp_path / "two", 60, seed=1)
    log, again = (read_ledger(tmp_path / name) for name in ("one", "two"))
    assert (log.action.tolist(), log.reward.tolist()) == (again.action.tolist(), again.reward.tolist())
    rows = np.arange(60)
    segment = log.context.features[rows, 0, :12].argmax(1) // 4
    assert real_loop.target(log.context)[rows, log.action] == pytest.approx(real_loop.TARGET[segment, log.context.item[rows, log.action]])
    assert log.propensity.min() >= real_loop.FLOOR / 4 - 1e-12
    assert tuple(real_loop.estimates(log, real_loop.FLOOR)) == NAMES


def test_the_truth_is_what_the_second_policy_earns():
    rng = np.random.default_rng(0)
    segment = rng.choice(3, size=100_000, p=real_loop.SHARES)
    item = (real_loop.TARGET[segment].cumsum(1) < rng.random((100_000, 1))).sum(1)
    assert real_loop.CHANCES[segment, item].mean() == pytest.approx(real_loop.TRUTH, abs=0.002)
    assert real_loop.TARGET.sum(1) == pytest.approx(1)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_what_the_real_loop_logs_covers_the_truth_in_93_of_100_runs():
    runs = [real_loop.run(400, seed) for seed in range(400)]
    for name in NAMES:
        found = [run[name] for run in runs]
        print(f"\n{name:26} {covered(found, real_loop.TRUTH):.4f}", end="")
        assert name not in real_loop.CLAIMED or covered(found, real_loop.TRUTH) >= 0.93, name


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_without_a_floor_it_does_not():
    runs = [real_loop.run(400, seed, floor=0.0) for seed in range(50)]
    for name in ("ips, delta", "snips, delta", "dr, delta"):
        assert covered([run[name] for run in runs], real_loop.TRUTH) < 0.93, name
