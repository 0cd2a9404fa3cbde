import json

import numpy as np
import pytest
from recsdk_vw import VW
from recsdk_vw.rounds import DIM, RNG, ROWS, all_probs, equal, fold, interaction, rounds
from vowpalwabbit import Workspace

from recsdk.base import Context
from recsdk.errors import EmptyCandidates, InvalidContext, InvalidPropensity, InvalidReward, InvalidValue


@pytest.mark.parametrize(
    ("bad", "error", "match"),
    [
        (interaction(ROWS, reward=1.5), InvalidReward, r"reward must be in \[0.0, 1.0\].*1.5"),
        (interaction(ROWS, reward=-1e-9), InvalidReward, "reward"),
        (interaction(ROWS, reward=np.nan), InvalidReward, "nan"),
        (interaction(ROWS, propensity=0.0), InvalidPropensity, "propensity"),
        (interaction(ROWS, propensity=1e-60), InvalidPropensity, "propensity"),  # 0 in float32, where VW would skip it
        (interaction(ROWS, propensity=1.5), InvalidPropensity, "propensity"),
        (interaction(ROWS, propensity=np.nan), InvalidPropensity, "propensity"),
        (interaction(ROWS, weight=-1.0), InvalidValue, "weight"),
        (interaction(ROWS, weight=1e5), InvalidValue, "weight"),
        (interaction(ROWS, weight=np.nan), InvalidValue, "weight"),
        (interaction(ROWS, action=2), InvalidContext, "action"),
        (interaction(ROWS, action=-1), InvalidContext, "action"),
        (interaction([[1.0, np.nan, 3.0, 4.0]]), InvalidContext, r"features\[0, 1\] = nan"),
        (interaction([ROWS[0], [1e39, 0, 0, 0]]), InvalidContext, r"features\[1, 0\] = 1e\+39"),
        (interaction([[1.0, 2.0, 3.0]]), InvalidContext, "4 columns"),
    ],
)
def test_a_bad_interaction_is_refused_and_the_state_left_as_it_was(bad, error, match):
    policy = VW(exploration="squarecb")
    state = fold(policy, rounds(5))
    before, answers = policy.dumps(state), all_probs(policy, state)
    with pytest.raises(error, match=match):
        policy.update(state, bad)
    assert policy.dumps(state) == before
    assert equal(all_probs(policy, state), answers)


def test_a_context_of_padding_is_refused():
    policy = VW(exploration="epsilon")
    with pytest.raises(EmptyCandidates, match="only padding"):
        policy.probs(policy.init(np.zeros(DIM)), RNG, Context(np.zeros((2, DIM)), np.zeros(2, bool), np.arange(2)))


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"exploration": "greedy"}, r"VW.exploration must be one of \('epsilon'"),
        ({"exploration": "epsilon", "epsilon": 1.5}, "VW.epsilon .* <= 1"),
        ({"exploration": "epsilon", "gamma_scale": 3.0}, r"VW.gamma_scale does not go with .*\['epsilon'\]"),
        ({"exploration": "regcb", "epsilon": 0.1}, "VW.epsilon does not go with"),
        ({"exploration": "bag", "num_models": None}, "VW.num_models must be a number"),
        ({"exploration": "bag", "num_models": 0}, "VW.num_models"),
        ({"exploration": "squarecb", "cb_type": "dr"}, r"VW.cb_type .* \('mtr',\)"),
        ({"exploration": "cover", "cb_type": "dm"}, "VW.cb_type"),
        ({"exploration": "epsilon", "learning_rate": 0}, "VW.learning_rate"),
        ({"exploration": "epsilon", "bits": 40}, "VW.bits"),
        ({"exploration": "epsilon", "min_reward": 1.0}, "VW.min_reward must be below max_reward"),
        ({"exploration": "epsilon", "options": "--noconstant --epsilon 0.2"}, r"must not set \['epsilon'\]"),
        ({"exploration": "epsilon", "options": "--bag=3"}, r"must not set \['bag'\]"),
        ({"exploration": "epsilon", "options": "-b10"}, "bit_precision"),
        ({"exploration": "epsilon", "options": "-i model"}, "initial_regressor"),
        ({"exploration": "epsilon", "options": "--softmax"}, "softmax"),
        ({"exploration": "epsilon", "options": "--sgd"}, "--adaptive"),
        ({"exploration": "epsilon", "options": "'"}, "command line"),
        ({"exploration": "epsilon", "options": "--no_such_option 3"}, "no_such_option"),
    ],
)
def test_bad_fields_are_refused_at_construction(fields, match):
    with pytest.raises(InvalidValue, match=match):
        VW(**fields)


def learned_alone(cb_type, propensity, *, as_text):
    """Returns Vowpal Wabbit's weights, all together, after one round that it was given without this plugin."""
    label = {"_label_cost": -1, "_label_probability": propensity, "_label_Action": 1, "_labelIndex": 0, "a": [1, 2]}
    line = json.dumps({**label, "c": {"_multi": [{"f": {"x": 1}}, {"f": {"y": 1}}]}})
    workspace = Workspace(arg_list=["--cb_explore_adf", "--quiet", "--cb_type", cb_type, *([] if as_text else ["--dsjson"])])
    examples = workspace.parse([f"0:-1:{propensity} |f x", "|f y"] if as_text else line)
    workspace.learn(examples)
    workspace.finish_example(examples)
    total = sum(abs(workspace.get_weight(index)) for index in range(2**18))
    workspace.finish()
    return total


@pytest.mark.parametrize("as_text", [True, False])
@pytest.mark.parametrize(("cb_type", "is_learned"), [("mtr", False), ("dr", False), ("ips", True), ("dm", True)])
def test_vowpal_wabbit_alone_skips_a_probability_of_0_under_mtr_and_dr_and_learns_it_under_ips_and_dm(cb_type, is_learned, as_text):
    assert (learned_alone(cb_type, 0.0, as_text=as_text) > 0) is is_learned


@pytest.mark.parametrize("cb_type", ["mtr", "dr", "ips"])
def test_vowpal_wabbit_alone_takes_a_probability_of_1_5_for_1_in_text_and_for_1_5_in_json(cb_type):
    in_text, in_json = ([learned_alone(cb_type, propensity, as_text=as_text) for propensity in (1.0, 1.5)] for as_text in (True, False))
    assert in_text[0] == in_text[1]
    assert in_json[0] != in_json[1]
