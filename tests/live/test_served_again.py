"""Slates that are served again leave evaluations unbiased: in a world whose values are known, where success makes users come back."""

import warnings
from typing import NamedTuple

import numpy as np
import pytest

import recsdk
from recsdk.errors import UnfitDecisions
from tests.ledger.memory import Memory
from tests.live.shop import Clock
from tests.ope.real_loop import CHANCES, NUM_ITEMS, NUM_SEGMENTS, SHARES, TRUTH, Cells, target

NUM_DRAWS = 40
TRAFFIC = [
    recsdk.Traffic(sticky=1e4),
    recsdk.Traffic(sticky=1e4, burn_in=10, holdout=0.3, holdout_by="decision"),
    recsdk.Traffic(sticky=1e4, holdout=0.5),
]


class Found(NamedTuple):
    ips: float
    dr: float
    naive: float


def q_hat(context):
    """Returns expected rewards that are wrong."""
    return np.full(context.mask.shape, 0.6)


def played(seed):
    """Serves visitors who come back after a success, and evaluates the log that this leaves."""
    rng, folder = np.random.default_rng(seed), f"served-{seed}"
    with recsdk.Recommender.open(
        folder,
        items=[{"id": f"item-{number}", "number": float(number)} for number in range(NUM_ITEMS)],
        scorers=[Cells()],
        policy="lin-ts",
        floor=0.3,
        log_features="all",
        traffic=TRAFFIC[seed % 3],
        ledger=Memory(),
        clock=Clock(),
    ) as shop:
        shown = []
        for number in range(NUM_DRAWS):
            segment = int(rng.choice(NUM_SEGMENTS, p=SHARES))
            asked = {"user": f"u{number}", "pinned": {0: "item-1"} if number % 5 == 0 else None}
            slate = shop.recommend({"segment": float(segment)}, decision_id=f"visit-{number}", **asked)
            reward = float(rng.random() < CHANCES[segment, int(slate.ids[0][-1])])
            shop.reward(slate.decision_id, reward)
            shown.append((slate, segment, reward))
            for again in range(3 * int(reward)):
                assert shop.recommend({"segment": float(segment)}, decision_id=f"visit-{number}-{again}", **asked).repeats
    log = recsdk.read_ledger(folder, ledger=Memory())
    estimates = recsdk.ope.evaluate(log, target, q_hat=q_hat, estimators=("ips", "dr"), force=True).estimates
    weights = target(log.context)[np.arange(len(log.action)), log.action] / log.propensity
    again = 1 + 3 * log.reward
    return Found(estimates["ips"].value, estimates["dr"].value, float((again * weights * log.reward).sum() / again.sum()))


@pytest.fixture(scope="module", params=[45, pytest.param(400, marks=pytest.mark.slow)])
def runs(request):
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", UnfitDecisions)
        salts = np.random.default_rng(0)
        patch.setattr("secrets.token_bytes", salts.bytes)
        return Found(*np.transpose([played(seed) for seed in range(request.param)]))


def z(values):
    return (values.mean() - TRUTH) / (values.std(ddof=1) / np.sqrt(len(values)))


@pytest.mark.parametrize("estimator", ["ips", "dr"])
def test_slates_that_are_served_again_leave_an_estimate_unbiased(runs, estimator):
    assert abs(z(getattr(runs, estimator))) < 4


def test_counting_them_as_draws_would_not(runs):
    assert z(runs.naive) > 8
