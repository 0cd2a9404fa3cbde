import re
import subprocess
import sys

import numpy as np
import pytest
from recsdk_vw import VW, learner
from recsdk_vw.arguments import EXPLORATIONS
from recsdk_vw.options import ALLOWED
from recsdk_vw.rounds import DIM, RNG, all_probs, equal, fold, rounds

import recsdk
from recsdk.environments import LinearWorld
from recsdk.errors import InvalidValue

COIN = [name for name in EXPLORATIONS if name != "regcb"]
RATES = ["--coin", "--ftrl --ftrl_alpha 0.1", "--power_t 0.3 --initial_t 10", "--l1 1e-4 --l2 1e-4"]

EACH = {
    "coin": "--coin",
    "ftrl": "--ftrl",
    "ftrl_alpha": "--ftrl --ftrl_alpha 0.1",
    "ftrl_beta": "--ftrl --ftrl_beta 2",
    "power_t": "--power_t 0.3",
    "initial_t": "--initial_t 10",
    "initial_weight": "--initial_weight 0.1",
    "adaptive": "--adaptive",
    "adax": "--adax",
    "invariant": "--invariant --adaptive",
    "normalized": "--normalized --adaptive",
    "sgd": "--sgd --adaptive",
    "l1": "--l1 1e-3",
    "l2": "--l2=1e-3",
    "clip_p": "--clip_p 0.5",
    "hash": "--hash all",
    "noconstant": "--noconstant",
    "quadratic": "-q ii",
    "cubic": "--cubic ffi",
    "interactions": "--interactions fi",
    "ngram": "--ngram f2",
    "ignore": "--ignore i",
    "ignore_linear": "--ignore_linear f",
}


def test_each_allowed_option_is_tried():
    assert EACH.keys() == ALLOWED.keys()


@pytest.mark.parametrize("options", EACH.values())
def test_an_allowed_option_changes_what_is_learned_and_keeps_snapshots_exact(options, monkeypatch):
    monkeypatch.setattr(learner, "MAX_CHARACTERS", 1500)
    fields = {"exploration": "softmax", "cb_type": "dr", "bits": 8, "item_namespace": "i"}
    policy, log = VW(**fields, options=options), list(rounds(40))
    busy = policy.init(np.zeros(DIM))
    for one in log:
        policy.probs(busy, RNG, one.context)
        busy = policy.update(policy.loads(policy.dumps(busy)) if one is log[20] else busy, one)
    alone = all_probs(policy, fold(policy, log))
    assert equal(all_probs(policy, busy), alone)
    assert not equal(alone, all_probs(VW(**fields), fold(VW(**fields), log)))


def test_every_other_option_of_vowpal_wabbit_is_refused_by_name():
    command = [sys.executable, "-m", "vowpalwabbit", "--help"]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout  # noqa: S603
    names = set(re.findall(r"^ +(?:-\w, )?--(\w+)", told, re.MULTILINE))
    assert len(names) > 300
    assert ALLOWED.keys() <= names
    for name in names - ALLOWED.keys():
        with pytest.raises(InvalidValue, match=rf"VW.options must not set \['{name}'\]"):
            VW(exploration="softmax", options=f"--{name}")


@pytest.mark.parametrize("exploration", ["squarecb", "regcb"])
def test_clipped_importance_weights_are_refused_where_there_are_none(exploration):
    with pytest.raises(InvalidValue, match=r"must not set \['clip_p'\] with"):
        VW(exploration=exploration, options="--clip_p 0.1")


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
        ({"options": "--coin --power_t 0.3"}, r"must not set \['power_t'\] with coin, where it does nothing"),
        ({"options": "--coin --l1 0.1 --l2 0.1"}, r"must not set \['l1', 'l2'\] with coin"),
        ({"options": "--ftrl --initial_t 3"}, r"\['initial_t'\] with ftrl"),
        ({"options": "--ftrl_alpha 0.1"}, r"\['ftrl_alpha'\] with gradient descent"),
        ({"options": "--power_t"}, "--power_t a finite number, got None"),
        ({"options": "--l2 nan"}, "--l2 a finite number, got 'nan'"),
        ({"options": "--noconstant=true"}, "--noconstant no value, got 'true'"),
        ({"options": "--noconstant log.txt"}, "options and their values, got 'log.txt'"),
        ({"options": "-q fx"}, r"--quadratic letters among \['f'\], or ':' for any, got 'fx'"),
        ({"options": "--hash"}, "--hash a value, got None"),
        ({"options": "--power 0.3"}, r"must not set \['power'\].* Did you mean 'power_t'\? It takes \['adaptive'"),
        ({"options": "--noop --dump_json_weights_experimental weights.json"}, r"\['dump_json_weights_experimental', 'noop'\]"),
    ],
)
def test_rates_that_would_do_nothing_or_harm_are_refused(fields, match):
    with pytest.raises(InvalidValue, match=match):
        VW(**{"exploration": "softmax", **fields})
