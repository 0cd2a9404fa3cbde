import numpy as np
import pytest
from recsdk_vw import VW, learner
from recsdk_vw.arguments import EXPLORATIONS
from vw_rounds import DIM, RNG, all_probs, equal, fold, rounds

import recsdk
from recsdk.environments import LinearWorld
from recsdk.errors import InvalidValue

COIN = [name for name in EXPLORATIONS if name != "regcb"]
RATES = ["--coin", "--ftrl --ftrl_alpha 0.1", "--power_t 0.3 --initial_t 10", "--l1 1e-4 --l2 1e-4"]


@pytest.mark.parametrize("options", RATES)
@pytest.mark.parametrize("exploration", COIN)
def test_with_other_learning_rates_too_snapshots_are_exact_and_predicting_changes_nothing(exploration, options, monkeypatch):
    monkeypatch.setattr(learner, "MAX_CHARACTERS", 1500)
    cb_type = "dr" if "dr" in EXPLORATIONS[exploration].cb_types else "mtr"
    policy = VW(exploration=exploration, cb_type=cb_type, options=options, bits=8)
    log = list(rounds(40))
    busy = policy.init(np.zeros(DIM))
    for one in log:
        for _ in range(2):
            policy.probs(busy, RNG, one.context)
        busy = policy.update(policy.loads(policy.dumps(busy)) if one is log[20] else busy, one)
    assert equal(all_probs(policy, busy), all_probs(policy, fold(policy, log)))


@pytest.mark.parametrize("options", RATES)
def test_each_rate_is_one_of_its_own(options):
    plain, other = VW(exploration="softmax"), VW(exploration="softmax", options=options)
    assert not equal(all_probs(plain, fold(plain, rounds(40))), all_probs(other, fold(other, rounds(40))))


@pytest.mark.parametrize("exploration", COIN)
def test_it_learns_with_coin_betting(exploration):
    world = LinearWorld(num_candidates=8, dim=6)
    hotter = {"inverse_temperature": 20.0} if exploration == "softmax" else {}
    policy = VW(exploration=exploration, options="--coin", min_reward=-2, max_reward=2, **hotter)
    regret = recsdk.simulate(policy, world, 500, seed=1).regret[250:].sum()
    uniform = recsdk.simulate(recsdk.Uniform(), world, 500, seed=1, engine="numpy").regret[250:].sum()
    assert regret < 0.35 * uniform


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"options": "--coin", "learning_rate": 0.1}, "VW.learning_rate does nothing beside --coin"),
        ({"options": "--ftrl", "learning_rate": 0.1}, "VW.learning_rate does nothing"),
        ({"options": "--coin", "exploration": "regcb"}, "--coin or --ftrl with regcb"),
        ({"options": "--coin --ftrl"}, "one of"),
        ({"options": "--pistol"}, r"must not set \['pistol'\]"),  # it learns while it predicts
        ({"options": "--ksvm"}, "ksvm"),
    ],
)
def test_rates_that_would_do_nothing_or_harm_are_refused(fields, match):
    with pytest.raises(InvalidValue, match=match):
        VW(**{"exploration": "softmax", **fields})
