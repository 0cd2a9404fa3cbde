"""The Open Bandit samples against what obp 0.5.7 says of them, `reference/obd_small`."""

import json
from functools import partial

import numpy as np
import pytest

from recsdk import datasets, ope
from recsdk.datasets.open_bandit import read_raw
from tests.shared import shared

THEIRS = {
    "ipw": ope.ips,
    "ipw_clip5": partial(ope.ips, shrink=ope.Clip(limit=5)),
    "snipw": ope.snips,
    "dm": ope.dm,
    "dr": ope.dr,
    "dr_clip5": partial(ope.dr, shrink=ope.Clip(limit=5)),
    "sndr": ope.sndr,
    "switch_dr_tau5": partial(ope.dr, shrink=ope.Switch(threshold=5)),
    "dros_lambda5": partial(ope.dr, shrink=ope.Optimistic(strength=5)),
    "sgipw_0.01": partial(ope.ips, shrink=ope.SubGaussian(share=0.01)),
    "sgdr_0.01": partial(ope.dr, shrink=ope.SubGaussian(share=0.01)),
}
"""Ours for each of obp's estimators."""


def smoothed_ctr(item, position, click, num_items):
    """Returns f64[items, positions], the frozen reward model: (clicks + 200 ctr) / (n + 200)."""
    shown, clicks = np.zeros((2, num_items, 3))
    np.add.at(shown, (item, position), 1)
    np.add.at(clicks, (item, position), click)
    return (clicks + 200 * click.mean()) / (shown + 200)


def campaign_all(behaviour, policy):
    """Returns the log, positions, the target's probabilities, rewards expected, and what obp says of them."""
    golden = json.loads(shared("reference/obd_small/golden.json").read_text())[f"all:{behaviour}->{policy}"]
    target, q_hat = (
        np.loadtxt(shared(f"reference/obd_small/{name}.csv"), delimiter=",") for name in (f"target_all_{policy}", f"qhat_all_{behaviour}")
    )
    folder = shared("data/open-bandit-sample")
    log, position = datasets.read_open_bandit(
        folder / f"{behaviour}_all_log.csv.gz", folder / f"{behaviour}_all_item_context.csv.gz", num_hashed=0
    )
    return log, position, target, q_hat, golden


@pytest.mark.parametrize(("behaviour", "policy"), [("random", "bts"), ("bts", "random")])
def test_the_campaign_all_agrees_with_obp_in_both_directions(behaviour, policy):
    log, position, target, q_hat, golden = campaign_all(behaviour, policy)
    rounds = ope.rounds(log, target[:, position].T, q_hat=q_hat[:, position].T)
    assert THEIRS.keys() == golden["obp"].keys()
    for name, ours in THEIRS.items():
        assert ope.value(ours(rounds)) == pytest.approx(golden["obp"][name], rel=1e-9), name
    assert ope.delta(ope.ips(rounds)).stderr == pytest.approx(golden["ips_se"], rel=1e-9)
    assert ope.delta(ope.dr(rounds)).stderr == pytest.approx(golden["dr_se"], rel=1e-9)
    found = ope.diagnose(rounds)
    assert (found.max_weight, found.mean_weight, found.effective_size) == pytest.approx(
        (golden["w_max"], golden["w_mean"], golden["ess"]), rel=1e-9
    )
    assert np.allclose(q_hat, smoothed_ctr(log.action, position, log.reward, 80), rtol=1e-12)


def test_bts_over_random_earns_1198126_times_the_log_as_in_obps_readme():
    log, position = datasets.load_open_bandit("random", num_hashed=0)
    found = ope.value(ope.ips(ope.rounds(log, datasets.bernoulli_ts_probs(position))))
    assert found == pytest.approx(0.00455288, rel=1e-9)
    assert found / log.reward.mean() == pytest.approx(1.1981263157894735, rel=1e-9)


def test_the_campaign_men_bts_to_random_agrees_with_the_table():
    folder = shared("data/open-bandit-sample")
    log, position = datasets.read_open_bandit(folder / "bts_men_log.csv.gz", folder / "bts_men_item_context.csv.gz", num_hashed=0)
    q_hat = smoothed_ctr(log.action, position, log.reward, 34)[:, position].T
    rounds = ope.rounds(log, np.full(q_hat.shape, 1 / 34), q_hat=q_hat)
    expected = {
        "ipw": 0.00300863,
        "ipw_clip5": 0.00300863,
        "snipw": 0.00318942,
        "dm": 0.00677547,
        "dr": 0.00329308,
        "sndr": 0.00308382,
        "switch_dr_tau5": 0.00633621,
        "dros_lambda5": 0.00621644,
    }
    for name, value in expected.items():
        assert ope.value(THEIRS[name](rounds)) == pytest.approx(value, abs=6e-9), name
    found = ope.diagnose(rounds)
    assert (round(found.max_weight), round(found.effective_size)) == (178, 656)


@pytest.mark.parametrize("campaign", ["men"])
def test_a_random_log_is_worth_its_mean_to_the_policy_that_wrote_it(campaign):
    folder = shared("data/open-bandit-sample")
    raw = read_raw(folder / f"random_{campaign}_log.csv.gz", folder / f"random_{campaign}_item_context.csv.gz")
    assert np.unique(raw.propensity) == pytest.approx(1 / raw.affinity.shape[1], rel=1e-15)
    log, _ = datasets.read_open_bandit(
        folder / f"random_{campaign}_log.csv.gz", folder / f"random_{campaign}_item_context.csv.gz", num_hashed=0
    )
    uniform = np.full(raw.affinity.shape, 1 / raw.affinity.shape[1])
    for name in ("ips", "snips", "matched"):
        assert ope.value(ope.ESTIMATORS[name](ope.rounds(log, uniform))) == pytest.approx(raw.click.mean(), rel=1e-9)


def test_the_verdicts_on_the_shipped_logs():
    log, position = datasets.load_open_bandit("random", num_hashed=0)
    found = ope.evaluate(log, datasets.bernoulli_ts_probs(position), estimators=("ips",))
    assert found.verdict == "caution"
    (few,) = found.reasons  # nothing else is wrong with it
    assert few.startswith("rewards other than the default count as 4.7 equal ones, below 100: log about 200,000 more rounds")
    log, _ = datasets.load_open_bandit("bts", num_hashed=0)
    found = ope.evaluate(log, np.full((10_000, 80), 1 / 80), estimators=("ips",))
    assert found.verdict == "caution"
    assert found.reasons[0].startswith("effective size is 340.4 of 10000 rounds, below 1000")
