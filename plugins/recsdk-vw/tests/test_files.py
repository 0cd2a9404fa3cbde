import numpy as np
import pytest
from recsdk_vw import VW, drive, learner, replay_log, save_model, write_log
from recsdk_vw.arguments import EXPLORATIONS
from recsdk_vw.rounds import all_probs, equal, fold, make_log, rounds

import recsdk
from recsdk import ope
from recsdk.arrays import stack_rounds
from recsdk.base import Context
from recsdk.errors import EmptyLog, InvalidLog, InvalidValue


def fields(exploration):
    return {"exploration": exploration, **({"num_rounds": 30} if exploration == "first" else {})}


CASES = [
    (exploration, cb_type, max_characters)
    for exploration, known in EXPLORATIONS.items()
    for cb_type, max_characters in (("mtr", learner.MAX_CHARACTERS), ("mtr", 8000), ("dr", 8000))
    if cb_type in known.cb_types
]


@pytest.mark.parametrize(("exploration", "cb_type", "max_characters"), CASES)
def test_the_driver_and_its_cache_give_what_event_by_event_gives(exploration, cb_type, max_characters, tmp_path, monkeypatch):
    monkeypatch.setattr(learner, "MAX_CHARACTERS", max_characters)
    policy, log = VW(**fields(exploration), cb_type=cb_type, seed=3, options="-q ff", bits=12), make_log()
    expected = recsdk.replay(policy, log)
    write_log(policy, log, tmp_path / "log")
    assert (len(list(tmp_path.glob("log/*.dsjson"))) > 1) is (max_characters == 8000)
    driven, cached = replay_log(policy, tmp_path / "log"), replay_log(policy, tmp_path / "log")
    for result in (driven, cached):
        np.testing.assert_allclose(result.probs, expected.decision.probs, atol=3e-6)
        assert equal(all_probs(policy, result.state), all_probs(policy, expected.state))
    on = [fold(policy, rounds(30, seed=7), state) for state in (driven.state, expected.state)]
    assert equal(all_probs(policy, on[0]), all_probs(policy, on[1]))


def test_a_policy_that_begins_from_a_model_replays_from_there(tmp_path):
    save_model(fold(VW(exploration="bag"), rounds(30, seed=5)), tmp_path / "model")
    policy, log = VW(exploration="bag", initial_regressor=tmp_path / "model"), make_log()
    write_log(policy, log, tmp_path / "log")
    result, expected = replay_log(policy, tmp_path / "log"), recsdk.replay(policy, log)
    np.testing.assert_allclose(result.probs, expected.decision.probs, atol=3e-6)
    assert equal(all_probs(policy, result.state), all_probs(policy, expected.state))


def test_the_loss_is_that_of_vowpal_wabbit_and_of_inverse_propensities(tmp_path):
    policy, log = VW(exploration="softmax"), make_log()._replace(weight=np.ones(80))
    write_log(policy, log, tmp_path / "log")
    result = replay_log(policy, tmp_path / "log")
    value = ope.evaluate(log, result.probs, estimators=("ips",), force=True).estimates["ips"].value
    assert result.average_loss == pytest.approx(-value)
    report = drive(f"--cb_explore_adf --softmax --lambda 1 --dsjson -d {tmp_path / 'log' / '0000.dsjson'}")
    assert report.average_loss == pytest.approx(result.average_loss, abs=1e-5)


def test_many_policies_replay_one_file(tmp_path):
    log = make_log()
    write_log(VW(exploration="epsilon"), log, tmp_path / "log")
    options = ("", "--coin", "--ngram f2", "--noconstant", "--hash all")  # and before all of them another number of bits
    for policy in (VW(exploration="softmax", bits=10), *(VW(exploration="softmax", options=words) for words in options)):
        expected = recsdk.replay(policy, log)
        np.testing.assert_allclose(replay_log(policy, tmp_path / "log").probs, expected.decision.probs, atol=3e-6)


@pytest.mark.parametrize(
    ("other", "match"),
    [
        (VW(exploration="squarecb"), "has_propensities"),
        (VW(exploration="rnd"), "asks"),
        (VW(exploration="epsilon", item_namespace="a"), "layout"),
        (VW(exploration="epsilon", max_reward=0.5), r"range of rewards that holds the log's, \[0.0, 1.0\]"),
    ],
)
def test_a_policy_that_would_have_written_another_file_is_refused(other, match, tmp_path):
    write_log(VW(exploration="epsilon"), make_log(20), tmp_path / "log")
    with pytest.raises(InvalidValue, match=match):
        replay_log(other, tmp_path / "log")


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        (lambda log: log._replace(reward=np.where(np.arange(20) == 7, 2.0, log.reward)), InvalidLog, "row 7: reward must be in"),
        (lambda log: log._replace(weight=np.zeros(20)), InvalidLog, "above 0 in one row"),
        (lambda log: log._replace(propensity=np.full(20, 1e-60)), InvalidLog, "row 0: propensity"),
        (
            lambda log: stack_rounds(rounds(2))._replace(context=Context(*(array[:0] for array in log.context))),
            EmptyLog,
            "at least one row",
        ),
    ],
)
def test_a_bad_log_is_refused_and_nothing_is_left_behind(change, error, match, tmp_path):
    with pytest.raises(error, match=match):
        write_log(VW(exploration="epsilon"), change(make_log(20)), tmp_path / "log")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_there_is_not_written_over(tmp_path):
    with pytest.raises(InvalidValue, match="folder must be new"):
        write_log(VW(exploration="epsilon"), make_log(20), tmp_path)


@pytest.mark.parametrize("damage", ["form.json", "rounds.npz", "0000.dsjson"])
@pytest.mark.parametrize("exploration", EXPLORATIONS)
def test_a_folder_that_has_lost_something_is_refused(exploration, damage, tmp_path):
    policy = VW(**fields(exploration))
    write_log(policy, make_log(20), tmp_path / "log")
    broken = tmp_path / "log" / damage
    if damage == "0000.dsjson":
        broken.write_text("\n".join(broken.read_text().splitlines()[:-1]) + "\n")
    else:
        broken.unlink()
    with pytest.raises(InvalidLog, match="folder must"):
        replay_log(policy, tmp_path / "log")
