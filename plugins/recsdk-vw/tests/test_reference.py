import json
import shlex

import numpy as np
import pytest
from recsdk_vw import VW, drive, read_dsjson

import recsdk

GOOD_LOSSES = [39, 40, 41, 72, 82, 91, 114, 119, *range(126, 130), 136, 137, 140, 144, 146, 156, 167, 198, 209, 231, 232, 235, 699]
FUZZ = {72: 1e-3}  # .508079 for .508142, within what Vowpal Wabbit's suite allows itself


@pytest.fixture
def run(commands, reference, tmp_path):
    """A function that runs one of Vowpal Wabbit's tests, in its own words but for the places of its files."""

    def driven(number):
        words = shlex.split(commands[number]["command"])
        for index in range(1, len(words)):
            if words[index - 1] == "-d":
                words[index] = str(reference(f"vw_tests/{words[index]}"))
            elif words[index - 1] in ("-p", "-f"):
                words[index] = str(tmp_path / words[index])
        return drive(words)

    return driven


@pytest.mark.parametrize("number", GOOD_LOSSES)
def test_vowpal_wabbits_own_tests_report_their_published_losses(number, commands, run):
    expected, report = commands[number], run(number)
    assert report.average_loss == pytest.approx(float(expected["average_loss"]), rel=FUZZ.get(number), abs=1e-5)
    assert report.num_examples == int(expected["examples"])


def test_a_row_that_was_certain_to_be_lost_is_refused_as_in_test_700(run):
    report = run(700)
    assert (report.average_loss, report.num_examples) == (None, 0)
    assert "pdrop==1" in report.messages[0]


def test_a_row_that_was_lost_nine_times_in_ten_weighs_ten_as_in_test_699(run, reference):
    assert run(699).weight == pytest.approx(9.999998, abs=1e-6)  # in float32
    log = read_dsjson(reference("vw_tests/train-sets/cb_simple_pdrop.json")).log
    assert log.weight == pytest.approx([10.0], rel=1e-12)


def test_the_running_values_of_test_114_are_the_published_ones_and_those_of_inverse_propensities(run, reference, tmp_path):
    run(114)
    published = reference("vw_tests/pred-sets/ref/cb_eval.preds").read_text()
    assert (tmp_path / "cb_eval.preds").read_text() == published
    shown = np.array([0, 1] * 4)  # eight rounds by turns; the second action costs 1, and policy k always shows action k
    cost, propensity = shown.astype(float), 0.5
    matched = shown[:, None] == [0, 1]
    running = (matched * cost[:, None] / propensity).cumsum(axis=0) / np.arange(1, 9)[:, None]
    np.testing.assert_allclose(running, np.loadtxt(published.splitlines()), atol=1e-6)


def as_dsjson(text):
    """Turns one decision of Vowpal Wabbit's CCB text, with one feature and at most one label a line, into decision-service JSON."""
    shared, candidates, slots, outcomes = [], [], [], []
    for line in text.splitlines():
        head, features = line.split("|")
        namespace, name, value = features.replace(":", " ").split()
        node = {namespace: {name: float(value)}}
        kind, *label = head.split()[1:]
        {"shared": shared, "action": candidates, "slot": slots}[kind].append(node)
        if label:
            action, cost, probability = label[0].split(":")
            outcomes.append({"_label_cost": float(cost), "_a": [int(action)], "_p": [float(probability)]})
    return json.dumps({"c": {**shared[0], "_multi": candidates, "_slots": slots}, "_outcomes": outcomes})


@pytest.mark.parametrize(("number", "num_slots"), [(231, 1), (232, 2)])
def test_a_slate_decided_slot_by_slot_has_the_losses_of_vowpal_wabbits_conditional_bandit(number, num_slots, commands, reference, tmp_path):
    path = tmp_path / "slate.dsjson"
    path.write_text(as_dsjson(reference("vw_tests/train-sets/ccb_losses.txt").read_text().strip()))
    log = read_dsjson(path).log
    assert log.context.mask.tolist() == [[True, True, True], [True, True, False]]
    policy = VW(exploration="epsilon", epsilon=0.0, cb_type="ips", max_reward=3.0)
    probs = recsdk.replay(policy, log).decision.probs
    losses = -log.reward * probs[[0, 1], log.action] / log.propensity
    assert losses[:num_slots].sum() == pytest.approx(float(commands[number]["average_loss"]))
