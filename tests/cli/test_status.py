"""`recsdk status` says what is in a folder, and each alarm is on when its cause is there, and only then."""

import json

import pytest

import recsdk
from recsdk import cli
from recsdk.live import health
from recsdk.policies.linear import EpsilonGreedy

ITEMS = [{"id": "tea"}, {"id": "ale"}, {"id": "milk"}, {"id": "juice"}]


def run(*arguments):
    with pytest.raises(SystemExit) as caught:
        cli.main(["status", *map(str, arguments)])
    return caught.value.code or 0


def lived(folder, *, num, answered, policy="uniform", floor=0.0, feedback=None, **given):
    """Makes a folder of `num` decisions, ten seconds apart, of which those are answered whose number `answered` takes."""
    now = [1_000_000.0]
    options = {"policy": policy, "floor": floor, "feedback": feedback, "clock": lambda: now[0]}
    with recsdk.Recommender.open(folder, items=ITEMS, **options, **given) as shop:
        for number in range(num):
            slate = shop.recommend({})
            if answered(number):
                if feedback is None:
                    shop.reward(slate.decision_id, 0.5 if number < 300 else 1.0)
                else:
                    shop.signal("click", decision_id=slate.decision_id, item=slate.ids[0])
            now[0] += 10.0


def facts_of(folder, capsys, *options):
    code = run(folder, "--json", *options)
    return code, json.loads(capsys.readouterr().out)


def test_a_folder_that_is_well_has_these_numbers_and_no_alarm(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(health, "LAST", 30)
    lived(tmp_path, num=400, answered=lambda number: number % 4 == 0)
    code, facts = facts_of(tmp_path, capsys)
    assert (code, facts["alarms"]) == (0, [])
    wanted = {"decisions": 400, "outcomes": 100, "settled": 400, "join_rate": 0.25, "default_share": None, "mean_reward_before": 0.5}
    wanted |= {
        "last_decision": 1_003_990.0,
        "last_reward": 1_003_960.0,
        "mean_reward_last": 0.5 + 25 / 60,
        "candidates": 4.0,
        "floor_share": None,
    }
    assert {name: facts[name] for name in wanted} == pytest.approx(wanted)
    assert facts["effective_items"] == pytest.approx(4.0)
    assert run(tmp_path) == 0
    assert "No alarm is on." in capsys.readouterr().out


def test_only_closed_windows_count_and_silence_is_a_default(tmp_path, capsys):
    lived(tmp_path, num=300, answered=lambda number: number % 3 == 0, feedback=recsdk.Feedback(window=995, signals={"click": 1}))
    code, facts = facts_of(tmp_path, capsys)
    assert (code, facts["alarms"]) == (0, [])
    assert facts["settled"] == facts["outcomes"] == 200
    assert facts["join_rate"] == pytest.approx(67 / 200)
    assert facts["default_share"] == pytest.approx(133 / 200)
    assert facts["mean_reward_last"] == pytest.approx(67 / 200)


def test_a_stream_of_rewards_that_stops_is_an_alarm(tmp_path, capsys):
    lived(tmp_path, num=200, answered=lambda number: number < 150 and number % 2 == 0)
    code, facts = facts_of(tmp_path, capsys)
    assert (code, facts["alarms"]) == (1, ["reward stream stalled: 51 decisions since the last reward; the alarm is on above 40"])
    assert run(tmp_path) == 1
    assert "ALARM reward stream stalled" in capsys.readouterr().out


def test_few_answers_are_an_alarm_below_the_rate_that_was_asked_for(tmp_path, capsys):
    lived(tmp_path, num=200, answered=lambda number: number % 20 == 0)
    assert facts_of(tmp_path, capsys)[0] == 0
    code, facts = facts_of(tmp_path, capsys, "--min-join-rate", "0.06")
    assert (code, facts["alarms"]) == (1, ["low join rate: 5.00% of 200 decisions were answered; the alarm is on below 6.00%"])


@pytest.mark.parametrize(("floor", "alarms", "effective"), [(0.0, 1, 1.0), (0.2, 0, 1.80)])
def test_a_policy_that_explores_no_more_is_an_alarm_unless_a_floor_explores(tmp_path, capsys, floor, alarms, effective):
    greedy = EpsilonGreedy(epsilon=0.0)
    lived(tmp_path, num=250, answered=lambda number: True, policy=greedy, floor=floor, scorers=["popularity"])
    code, facts = facts_of(tmp_path, capsys)
    assert (code, len(facts["alarms"])) == (alarms, alarms)
    assert facts["effective_items"] == pytest.approx(effective, abs=0.1)
    assert facts["floor_share"] is None if not floor else 0.05 < facts["floor_share"] < 0.3  # it is .15 on average
    assert all(alarm.startswith("exploration collapsed: 1.0") for alarm in facts["alarms"])


def test_the_arms_of_traffic_are_shown(tmp_path, capsys):
    lived(tmp_path, num=10, answered=lambda number: True, traffic=recsdk.Traffic(burn_in=4))
    _, facts = facts_of(tmp_path, capsys)
    assert facts["arm_burn-in"] == {"decisions": 4, "mean_reward": 0.5}
    assert facts["arm_policy"] == {"decisions": 6, "mean_reward": 0.5}


def test_a_wait_that_is_none_is_refused(tmp_path, capsys):
    lived(tmp_path, num=1, answered=lambda number: True)
    assert run(tmp_path, "--watch", "0") == 2
    assert "watch must be" in capsys.readouterr().err
    assert run(tmp_path, "--watch", "1", "--json") == 2
    assert "watch must be left out with --json" in capsys.readouterr().err
