import math

import numpy as np
import pytest
from ope.logs import log_of, random_log

from recsdk import ope
from recsdk.errors import InsufficientOverlap


def judged(log, target, **changes):
    found = ope.diagnose(ope.rounds(log, target))
    return ope.judge(found._replace(**changes))


def test_a_log_that_covers_its_target_is_trusted():
    log, target, _ = random_log(0, size=5000, floor=0.5)
    assert judged(log, target) == ("trust", ())


def test_a_log_is_trusted_about_its_own_policy():
    log, _, _ = random_log(1)
    found = ope.diagnose(ope.rounds(log, log.propensity))
    assert found.mean_weight_z == 0.0
    assert found.effective_size == pytest.approx(2000)


def test_a_log_like_open_bandits_women_bts_to_random_is_refused():
    # 10,000 rounds, largest weight 21,740, mean weight 3.13, effective size 2.1: IPS said .0074, DR said -.0018.
    weights = np.full(10_000, (31_300 - 21_740) / 9_999)
    weights[0] = 21_740
    propensity = np.full(10_000, 1 / 46) / weights
    log = log_of(np.arange(10_000) % 46, np.zeros(10_000), propensity, num_candidates=46)
    target = np.full((10_000, 46), 1 / 46)
    found = ope.diagnose(ope.rounds(log, target))
    assert found.mean_weight == pytest.approx(3.13)
    assert found.effective_size == pytest.approx(2.1, abs=0.05)
    assert abs(found.mean_weight_z) < 4  # so that the effective size alone must refuse it
    with pytest.raises(InsufficientOverlap, match=r"effective size is 2.1 of 10000 rounds, below 10"):
        ope.evaluate(log, target)


def test_mass_on_actions_never_logged_is_seen_though_the_effective_size_is_large():
    log, target, _ = random_log(2, size=5000, floor=0.5)
    kept = log.action != 3
    part = log_of(log.action[kept], log.reward[kept], log.propensity[kept], num_candidates=4)
    found = ope.diagnose(ope.rounds(part, target[kept]))
    assert found.unsupported_mass == pytest.approx(target[kept, 3].mean())
    assert found.effective_size > 1000
    judgement = ope.judge(found)
    assert judgement.verdict == "refuse"
    assert "items that the log never took" in judgement.reasons[0]


def test_an_item_counts_as_logged_at_whatever_index_it_stood():
    log = log_of([0, 1], [1, 1], [0.5, 0.5], num_candidates=2, item=[[7, 8], [9, 7]])
    assert ope.diagnose(ope.rounds(log, np.array([[1.0, 0.0], [0.0, 1.0]]))).unsupported_mass == 0.0
    assert ope.diagnose(ope.rounds(log, np.array([[0.25, 0.75], [1.0, 0.0]]))).unsupported_mass == pytest.approx(0.875)


def test_a_round_of_weight_zero_logs_no_item():
    log = log_of([0, 1], [1, 1], [0.5, 0.5], weight=[1, 0])
    assert ope.diagnose(ope.rounds(log, np.full((2, 2), 0.5))).unsupported_mass == pytest.approx(0.5)


@pytest.mark.parametrize("mutant", ["swapped", "rounded", "of the target"])
def test_false_propensities_show_in_the_mean_weight(mutant):
    rng = np.random.default_rng(3)
    logging = np.tile(rng.dirichlet(np.full(10, 0.5), 20) * 0.9 + 0.01, (5000, 1))
    action = (logging.cumsum(1) < rng.random((len(logging), 1))).sum(1).clip(max=9)
    true = logging[np.arange(len(logging)), action]
    target = np.full((len(logging), 10), 0.1)
    assert ope.judge(ope.diagnose(ope.rounds(log_of(action, true, true, num_candidates=10), target))).verdict != "refuse"
    false = {
        "swapped": logging[np.arange(len(logging)), np.where(action < 2, 1 - action, action)],
        "rounded": np.maximum(true.round(2), 0.01),
        "of the target": np.full(len(logging), 0.3),
    }[mutant]
    found = ope.diagnose(ope.rounds(log_of(action, true, false, num_candidates=10), target))
    assert abs(found.mean_weight_z) > 4
    assert "propensities are likely wrong" in " ".join(ope.judge(found).reasons)


def test_unknown_mass_is_a_reason_for_caution():
    log, target, _ = random_log(4, size=5000, floor=0.5)
    chosen = target[np.arange(len(target)), log.action]
    found = ope.diagnose(ope.rounds(log, chosen))
    assert math.isnan(found.unsupported_mass)
    verdict, (reason,) = ope.judge(found)
    assert verdict == "caution"
    assert "is unknown" in reason


@pytest.mark.parametrize(
    ("changes", "verdict", "reason"),
    [
        ({"unsupported_mass": 0.0101}, "caution", "1.0% of what"),
        ({"unsupported_mass": 0.0099}, "trust", None),
        ({"unsupported_mass": 0.11}, "refuse", "11.0% of what"),
        ({"effective_size": 999.0}, "caution", "effective size is 999.0 of 5000 rounds, below 1000"),
        ({"effective_size": 9.0}, "refuse", "below 10"),
        ({"mean_weight_z": -4.1}, "refuse", "-4.1 standard errors off 1"),
        ({"mean_weight_z": 3.9}, "trust", None),
        ({"max_weight": 501.0}, "caution", "one of them decides"),
        ({"effective_size": 0.0}, "refuse", "no round has an action"),
    ],
)
def test_each_threshold_has_its_reason(changes, verdict, reason):
    log, target, _ = random_log(0, size=5000, floor=0.5)
    found = judged(log, target, **changes)
    assert found.verdict == verdict
    assert not found.reasons if reason is None else reason in found.reasons[0]


def test_no_overlap_is_diagnosed_without_an_error():
    log = log_of([0, 0], [1, 1], [1, 1], num_candidates=2)
    found = ope.diagnose(ope.rounds(log, np.array([[0.0, 1.0]] * 2)))
    assert (found.num_matched, found.effective_size, found.mean_weight) == (0, 0.0, 0.0)
    assert found.mean_weight_z == -math.inf
    assert ope.judge(found).verdict == "refuse"
