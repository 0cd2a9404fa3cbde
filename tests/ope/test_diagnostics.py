import math

import numpy as np
import pytest

from recsdk import ope
from recsdk.errors import InsufficientOverlap
from recsdk.ope.diagnostics import clipped, pareto_k
from recsdk.ope.tally import tally
from tests.ope.logs import log_of, random_log
from tests.shared import shared


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


@pytest.mark.parametrize(("size", "said"), [(9.96, "effective size is 9.96 of"), (9.7, "effective size is 9.7 of")])
def test_a_size_that_is_refused_is_not_printed_as_the_limit(size, said):
    verdict, reasons = judged(*random_log(0, size=5000, floor=0.5)[:2], effective_size=size)
    assert verdict == "refuse"
    assert said in " ".join(reasons)


def test_ten_equal_weights_are_ten_rounds_however_they_are_rounded():
    assert judged(*random_log(0, size=5000, floor=0.5)[:2], effective_size=10 - 2e-15).verdict != "refuse"


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
        ({"unsupported_mass": 0.0101}, "caution", "1.01% of what"),
        ({"unsupported_mass": 0.0099}, "trust", None),
        ({"unsupported_mass": 0.11}, "refuse", "11.0% of what"),
        ({"effective_size": 999.0}, "caution", "effective size is 999.0 of 5000 rounds, below 1000"),
        ({"effective_size": 9.0}, "refuse", "below 10"),
        ({"mean_weight_z": -4.1}, "refuse", "the log does not cover what the target policy does"),
        ({"mean_weight_z": 4.1}, "refuse", "so propensities are likely wrong"),
        ({"mean_weight_z": 3.9}, "trust", None),
        ({"max_weight": 501.0}, "caution", "one of them decides"),
        ({"effective_size": 0.0}, "refuse", "no round has an action"),
        ({"uniform_weight_z": 4.1}, "refuse", "mean weight of a uniform policy"),
        ({"uniform_weight_z": -4.1}, "caution", "mean weight of a uniform policy"),
        ({"item_weight_z": 4.6, "item": 7}, "refuse", "propensities of item 7 are likely wrong"),
        ({"item_weight_z": -4.6, "item": 7}, "caution", "item 7 was taken less often than its propensities say"),
        ({"item_weight_z": 4.4}, "trust", None),
        ({"effective_rewards": 0.0}, "refuse", "no reward that counts differs from the default"),
        ({"effective_rewards": 38.0}, "caution", "count as 38.0 equal ones, below 100: log about 8,200 more rounds"),
        ({"pareto_k": 0.71}, "caution", "Pareto k 0.71"),
        ({"pareto_k": 0.69}, "trust", None),
        ({"join_rate": 0.94}, "caution", "log has 94.0% of the decisions"),
        ({"weight_drift_z": -4.1}, "caution", "mean weight of the second half"),
        ({"value_drift_z": 4.1}, "caution", "value of the second half"),
        ({"reward_drift_z": 40.0}, "trust", None),
    ],
)
def test_each_threshold_has_its_reason(changes, verdict, reason):
    log, target, _ = random_log(0, size=5000, floor=0.5)
    found = judged(log, target, **changes)
    assert found.verdict == verdict
    assert not found.reasons if reason is None else reason in found.reasons[0]
    assert all(len(told.split(": ")[-1]) > 20 for told in found.reasons), "a reason without what to do"


def test_no_overlap_is_diagnosed_without_an_error():
    log = log_of([0, 0], [1, 1], [1, 1], num_candidates=2)
    found = ope.diagnose(ope.rounds(log, np.array([[0.0, 1.0]] * 2)))
    assert (found.num_matched, found.effective_size, found.mean_weight) == (0, 0.0, 0.0)
    assert found.mean_weight_z <= 0  # two rounds are no evidence
    assert ope.judge(found).verdict == "refuse"


def bandit_log(seed, size, probs, reward=None):
    """Returns a log of a logger that draws from one distribution, and the propensities' table."""
    rng = np.random.default_rng(seed)
    logging = np.tile(np.asarray(probs), (size, 1))
    action = rng.choice(len(probs), size, p=probs)
    return log_of(action, np.ones(size) if reward is None else reward(action), logging[np.arange(size), action], num_candidates=len(probs))


def test_swapped_propensities_of_two_items_show_though_the_target_takes_neither():
    probs = np.array([0.1, 0.2, 0.3, 0.4])
    log = bandit_log(0, 5000, probs)
    target = np.tile([0.0, 0.0, 0.5, 0.5], (5000, 1))
    assert judged(log, target).verdict == "trust"
    swapped = log._replace(propensity=probs[[1, 0, 2, 3]][log.action])
    found = ope.diagnose(ope.rounds(swapped, target))
    assert found.item in (0, 1)
    assert abs(found.mean_weight_z) < 4
    assert abs(found.item_weight_z) > 10
    assert ope.judge(found).verdict == "refuse"


def test_rounds_left_out_by_what_they_did_show_in_the_items():
    log = bandit_log(1, 5000, [0.25] * 4)
    kept = np.flatnonzero((log.action != 2) | (np.arange(5000) % 2 == 0))
    part = log_of(log.action[kept], log.reward[kept], log.propensity[kept], num_candidates=4)
    found = ope.diagnose(ope.rounds(part, np.tile([1.0, 0.0, 0.0, 0.0], (len(kept), 1))))
    assert abs(found.item_weight_z) > 4.5


def test_true_propensities_of_many_items_are_not_suspected():
    probs = np.random.default_rng(2).dirichlet(np.full(100, 0.5)) * 0.8 + 0.002
    worst = [ope.diagnose(ope.rounds(bandit_log(seed, 20_000, probs), np.tile(probs, (20_000, 1)))).item_weight_z for seed in range(10)]
    assert max(map(abs, worst)) < 4.5


def test_the_worst_item_is_told_by_its_slot_wherever_it_stands():
    rng = np.random.default_rng(3)
    item = np.array([rng.permutation([11, 7, 100_000_000, 5]) for _ in range(2000)])
    chosen = rng.choice([11, 7, 100_000_000, 5], 2000, p=[0.1, 0.2, 0.3, 0.4])
    action = (item == chosen[:, None]).argmax(1)
    true = np.select([chosen == 11, chosen == 7, chosen == 5], [0.1, 0.2, 0.4], 0.3)
    log = log_of(action, np.ones(2000), np.where(chosen == 7, 0.1, true), num_candidates=4, item=item)
    found = ope.diagnose(ope.rounds(log, np.full((2000, 4), 0.25)))
    assert found.item == 7
    assert found.item_weight_z > 4.5


def test_the_shipped_clicks_count_one_by_one():
    rounds = ope.rounds(log := bandit_log(4, 10_000, [0.5, 0.5], lambda action: np.arange(10_000) < 38), log.propensity)
    found = ope.diagnose(rounds)
    assert found.effective_rewards == pytest.approx(38)
    assert found.default_share == pytest.approx(0.9962)
    moved = ope.diagnose(rounds._replace(reward=rounds.reward - 1), default_reward=-1.0)
    assert moved.effective_rewards == pytest.approx(38)
    assert moved.default_share == found.default_share


def test_a_log_without_a_single_reward_is_refused():
    log = bandit_log(5, 5000, [0.5, 0.5], np.zeros_like)
    with pytest.raises(InsufficientOverlap, match="no reward that counts differs from the default"):
        ope.evaluate(log, np.full((5000, 2), 0.5), estimators=("ips",))


@pytest.mark.parametrize("k", [-0.3, 0.0, 0.3, 0.7, 1.2])
def test_the_shape_of_a_generalised_pareto_sample_is_found(k):
    uniform = np.random.default_rng(6).random((100, 1000))
    samples = (uniform**-k - 1) / k if k else -np.log(uniform)
    assert np.mean([pareto_k(sample) for sample in samples]) == pytest.approx(k, abs=0.03)


def test_a_tail_of_a_few_values_has_no_shape():
    log = bandit_log(7, 5000, [0.05, 0.15, 0.3, 0.5])
    assert math.isnan(ope.diagnose(ope.rounds(log, np.full((5000, 4), 0.25))).pareto_k)


def test_a_heavy_tail_is_a_reason_for_caution():
    rng = np.random.default_rng(8)
    chance = np.minimum(rng.random(20_000) ** 1.2 + 1e-5, 0.999)  # 1 / p has a tail of k = 1.2
    log = log_of(np.zeros(20_000, int), np.ones(20_000), chance, num_candidates=2)
    target = np.tile([1.0, 0.0], (20_000, 1))
    assert ope.diagnose(ope.rounds(log, target)).pareto_k == pytest.approx(1.2, abs=0.2)


def test_a_world_that_changes_shows_between_the_halves():
    size = 8000
    late = np.arange(size) >= size // 2
    log, target, _ = random_log(9, size=size, floor=0.3)
    same = ope.diagnose(ope.rounds(log, target))
    assert max(map(abs, (same.reward_drift_z, same.value_drift_z, same.weight_drift_z))) < 4
    better = ope.diagnose(ope.rounds(log._replace(reward=log.reward + late), target))
    assert min(better.reward_drift_z, better.value_drift_z) > 10
    wrong = ope.diagnose(ope.rounds(log._replace(propensity=np.where(late, 0.7, 1) * log.propensity), target))
    assert wrong.weight_drift_z > 4


def test_too_few_rounds_have_no_halves():
    log, target, _ = random_log(10, size=700)
    assert math.isnan(ope.diagnose(ope.rounds(log, target)).reward_drift_z)


def test_the_join_rate_is_what_is_left_of_the_decisions():
    log, target, _ = random_log(11, size=700)
    assert ope.diagnose(ope.rounds(log, target), num_decisions=1000).join_rate == pytest.approx(0.7)


def test_clipping_the_largest_weights_is_clipped_ips():
    log, target, _ = random_log(12, size=5000)
    rounds = ope.rounds(log, target)
    importance = ope.importance(rounds)
    table = clipped(tally(rounds))
    assert [row.num_clipped for row in table] == [0, 1, 10, 100]
    for clip, num_clipped, value in table:
        assert value == pytest.approx((np.minimum(importance, clip) * log.reward).mean(), rel=1e-12)
        assert (importance > clip).sum() == num_clipped


def test_the_open_bandit_logs_are_not_suspected():
    from recsdk import datasets

    folder = shared("data/open-bandit-sample")
    for log_name in ("random_all", "bts_all", "random_men", "bts_men"):
        log, _ = datasets.read_open_bandit(folder / f"{log_name}_log.csv.gz", folder / f"{log_name}_item_context.csv.gz", num_hashed=0)
        found = ope.diagnose(ope.rounds(log, log.propensity))
        assert abs(found.item_weight_z) < 4.5
        assert abs(found.uniform_weight_z) < 4
        assert not math.isnan(found.reward_drift_z)


def test_each_false_propensity_that_a_service_may_log_is_flagged():
    # reliability: 200,000 decisions, K = 10, softmax and a floor of 10 %. Counts of items see none but the last.
    rng = np.random.default_rng(13)
    size = 200_000
    scores = np.exp(2 * rng.normal(size=(size, 10)))
    before = scores / scores.sum(1, keepdims=True)
    logging = 0.9 * before + 0.01
    action = (logging.cumsum(1) < rng.random((size, 1))).sum(1).clip(max=9)
    rows = np.arange(size)
    true = logging[rows, action]
    uniform = np.full((size, 10), 0.1)
    reward = rng.random(size)

    def verdict(propensity):
        return ope.judge(ope.diagnose(ope.rounds(log_of(action, reward, propensity, num_candidates=10), uniform))).verdict

    assert verdict(true) == "trust"
    false = {
        "before the floor": before[rows, action],
        "rounded": np.maximum(true.round(2), 0.01),
        "of two items swapped": logging[rows, np.where(action < 2, 1 - action, action)],
        "of the likeliest item": logging.max(1),
    }
    for name, propensity in false.items():
        assert verdict(propensity) == "refuse", name


def test_propensities_given_for_the_targets_and_the_targets_for_them_show():
    log, target, _ = random_log(14, size=5000, floor=0.2)
    chosen = target[np.arange(5000), log.action]
    found = ope.diagnose(ope.rounds(log._replace(propensity=chosen), log.propensity))
    assert abs(found.mean_weight_z) > 4


def test_an_item_that_chance_has_taken_too_rarely_is_not_suspected():
    # 42 times of 71 expected: -3.4 standard errors, by the variance of those 42 alone -4.6.
    action = np.ones(7100, int)
    action[:42] = 0
    log = log_of(action, np.ones(7100), np.where(action == 0, 0.01, 0.99), num_candidates=2)
    found = ope.diagnose(ope.rounds(log, np.tile([0.01, 0.99], (7100, 1))))
    assert abs(found.item_weight_z) < 2


def test_items_that_were_hardly_ever_taken_are_not_tested():
    log = log_of(np.arange(290) % 10, np.ones(290), np.full(290, 0.3), num_candidates=10)
    found = ope.diagnose(ope.rounds(log, np.full((290, 10), 0.1)))
    assert found.item == -1
    assert math.isnan(found.item_weight_z)


def test_drift_is_the_difference_of_the_halves_in_standard_errors():
    log, target, _ = random_log(15, size=4096)
    first, second = log.reward[:2048], log.reward[2048:]
    z = (second.mean() - first.mean()) / math.hypot(first.std() / math.sqrt(2048), second.std() / math.sqrt(2048))
    assert ope.diagnose(ope.rounds(log, target)).reward_drift_z == pytest.approx(z, rel=1e-3)


def test_propensities_of_seven_decimals_are_not_called_wrong():
    rng = np.random.default_rng(0)
    log = log_of(rng.integers(3, size=600), rng.random(600), np.full(600, 0.3333333), num_candidates=3)
    assert ope.diagnose(ope.rounds(log, np.full((600, 3), 1 / 3))).mean_weight_z == 0
