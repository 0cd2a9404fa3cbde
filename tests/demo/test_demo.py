"""The demo, small: what it claims holds, and the page it writes needs nothing else."""

import numpy as np
import pytest

from recsdk.demo import LEARNER, run
from recsdk.demo.report import ESTIMATORS, tables
from recsdk.demo.world import EXAMINED, Shop


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo")
    return run(out, quick=True), (out / "report.html").read_text(encoding="utf-8")


def test_the_killed_loop_recovers_every_acknowledged_reward_and_the_same_state(demo):
    recovery = demo[0]["recovery"]
    assert recovery["recovered_rewards"] >= recovery["acknowledged_rewards"] > 0
    assert recovery["same_state"] is True


def test_the_learner_is_ahead_of_uniform_beyond_the_intervals(demo):
    loop = {row["policy"]: row for row in demo[0]["loop"]}
    assert loop[LEARNER]["low"] > loop["uniform"]["high"]


def test_every_policy_is_estimated_beside_its_truth_or_refused_with_a_reason(demo):
    for row in demo[0]["evaluation"]:
        assert 0 < row["truth"] < 1
        assert row["verdict"] == "trust" or row["reasons"]
        assert all(row[name]["low"] <= row[name]["value"] <= row[name]["high"] for name in ESTIMATORS)


def test_the_page_holds_its_plots_and_tables_and_asks_nothing_of_the_network(demo):
    _, page = demo
    assert page.count("<svg") == 3
    assert page.count("<table>") == 4
    assert "<script" not in page
    assert "src=" not in page


def test_no_two_policies_of_the_page_share_a_name(demo):
    names = [row["policy"] for part in ("loop", "evaluation") for row in demo[0][part]]
    assert len(set(names)) == len(names)


def test_the_tables_print(demo):
    *shown, verdicts = tables(demo[0])
    assert [table.row_count > 1 for table in shown] == [True] * 4
    assert verdicts.row_count >= 1


def test_the_shop_pays_on_average_what_it_calls_the_truth():
    shop = Shop(num_visits=4_000, num_history=1)
    for position in range(len(EXAMINED)):
        paid, true = [], []
        for visit in range(shop.num_visits):
            shown = [f"item-{(visit + offset) % shop.num_items}" for offset in range(len(EXAMINED))]
            paid.append(shop.rewards(visit, shown).get(shown[position], 0.0))
            true.append(shop.mean(visit, position)[(visit + position) % shop.num_items])
        error = np.std(np.subtract(paid, true)) / np.sqrt(shop.num_visits)
        assert abs(np.mean(paid) - np.mean(true)) < 4 * error
