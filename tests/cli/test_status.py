"""`recsdk status` says what is in a folder, and each alarm is on when its cause is there, and only then."""

import itertools
import json
import time
from collections import Counter

import numpy as np
import pytest

import recsdk
from recsdk import cli
from recsdk.errors import UnknownDecision
from recsdk.ledger.sqlite import Sqlite, SqliteLedger
from recsdk.live import alarms, deciding, health
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


def test_a_folder_is_read_once(tmp_path, capsys, monkeypatch):
    lived(tmp_path, num=5, answered=lambda number: True, feedback=recsdk.Feedback(window=15, signals={"click": 1}))
    calls = Counter()

    def counting(owner, name):
        method = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda self, *given: calls.update([name]) or method(self, *given))

    counting(Sqlite, "read")
    for name in ("events", "decisions", "rewards", "signals", "items", "outcomes"):
        counting(SqliteLedger, name)
    facts_of(tmp_path, capsys)
    assert calls == {"read": 1, "events": 1, "rewards": 1, "signals": 1}


@pytest.fixture
def drawn_alike(monkeypatch):
    """Every run of a test draws the same."""
    ids = itertools.count()
    monkeypatch.setattr("secrets.token_bytes", bytes)
    monkeypatch.setattr("secrets.token_hex", lambda size: f"{next(ids):0{2 * size}}")


@pytest.mark.usefixtures("drawn_alike")
@pytest.mark.parametrize(("drawn", "alarms"), [("as said", 0), ("never", 1), ("always", 1)])
def test_floor_items_that_are_drawn_more_or_less_often_than_logged_are_an_alarm(tmp_path, capsys, monkeypatch, drawn, alarms):
    def wrong(*given):
        found = honest(*given)
        probs = found.decision.probs
        least, most = np.flatnonzero(probs[0] == probs.min())[:1], probs.argmax(axis=1)
        return found._replace(decision=found.decision._replace(action=most if drawn == "never" else least))

    honest = deciding.draw
    if drawn != "as said":
        monkeypatch.setattr(deciding, "draw", wrong)
    greedy = EpsilonGreedy(epsilon=0.0)
    lived(tmp_path, num=400, answered=lambda number: True, policy=greedy, floor=0.4, scorers=["popularity"])
    found = [alarm for alarm in facts_of(tmp_path, capsys)[1]["alarms"] if alarm.startswith("floor hits")]
    assert len(found) == alarms


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_floor_hits_are_rarely_a_false_alarm():
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(20_000):
        expected = rng.choice([0.0, 0.01, 0.05, 0.3], size=500)
        found += bool(list(alarms.of_floor(list(zip(rng.random(500) < expected, expected, strict=True)))))
    print(f"floor hits: {found} false alarms of 20,000; below 1e-5 each are stated")
    assert found <= 2


@pytest.mark.parametrize(("ahead", "told"), [(3_600, ["clock far off: the last event is 3,"]), (200, [])])
def test_a_clock_that_is_ahead_of_this_machine_is_an_alarm(tmp_path, capsys, ahead, told):
    with recsdk.Recommender.open(tmp_path, items=ITEMS, clock=lambda: time.time() + ahead) as shop:
        shop.recommend({})
    code, facts = facts_of(tmp_path, capsys)
    assert (code, [alarm[: len("clock far off: the last event is 3,")] for alarm in facts["alarms"]]) == (len(told), told)


@pytest.mark.parametrize(("back", "told"), [(301.0, ["clock set back: a decision is 301 s older"]), (299.0, [])])
def test_a_clock_that_was_set_back_is_an_alarm_until_it_is_long_ago(tmp_path, capsys, monkeypatch, back, told):
    now = [1e6]
    with recsdk.Recommender.open(tmp_path, items=ITEMS, clock=lambda: now[0]) as shop:
        shop.recommend({})
        now[0] -= back
        for _ in range(30):
            shop.recommend({})
    assert [alarm[: len("clock set back: a decision is 301 s older")] for alarm in facts_of(tmp_path, capsys)[1]["alarms"]] == told
    monkeypatch.setattr(health, "LAST", 30)
    assert facts_of(tmp_path, capsys)[0] == 0


def age(request, items):
    return np.full(len(items.ids), request.features["age"])


@pytest.mark.parametrize("moved", [0, 30])
def test_a_feature_that_has_moved_is_an_alarm(tmp_path, capsys, moved):
    rng = np.random.default_rng(0)
    items = [{"id": f"i{number}", "price": float(number)} for number in range(100)]
    with recsdk.Recommender.open(tmp_path, items=items, scorers=[age], policy="uniform") as shop:
        for number in range(1_200):
            if number == 1_000:
                shop.add_items([{"id": f"j{slot}", "price": float(slot + 10 * moved)} for slot in range(100)])
            shown = shop.recommend({"age": int(rng.integers(30)) + moved * (number >= 1_000)}, candidates=["i1", "i2"])
            if number % 4 == 0:
                shop.reward(shown.decision_id, 1.0)
    code, facts = facts_of(tmp_path, capsys)
    assert set(facts["drift"]) == {"request.age", "item.price"}
    assert [alarm.split(" has ")[0] for alarm in facts["alarms"]] == ["feature drift: item.price", "feature drift: request.age"][:moved]
    assert code == bool(moved)


class TestEvents:
    """What became of rewards and signals, which the process counts: nothing of it is in the folder's records."""

    def alarms(self, folder, capsys):
        facts = facts_of(folder, capsys)[1]
        return [alarm for alarm in facts["alarms"] if "events" in alarm], facts["events"]

    @pytest.mark.parametrize(("unknown", "on"), [(5, False), (6, True)])
    def test_unknown_ids_of_rewards(self, tmp_path, capsys, unknown, on):
        with recsdk.Recommender.open(tmp_path, items=ITEMS) as shop:
            for _ in range(100):
                shop.reward(shop.recommend({}).decision_id, 1.0)
            for _ in range(unknown):
                with pytest.raises(UnknownDecision):
                    shop.reward("nobody made it", 1.0)
        told, counts = self.alarms(tmp_path, capsys)
        assert counts == {"taken": 100, "unknown": unknown, "ahead": 0}
        text = "unknown ids: 5.7% of the last 106 events were about no decision; the alarm is on above 5%"
        assert told == ([text] if on else [])

    @pytest.mark.parametrize(("repeats", "on"), [(50, False), (51, True)])
    def test_duplicates_and_unknown_ids_of_signals(self, tmp_path, capsys, repeats, on):
        feedback = recsdk.Feedback(window=600, signals={"click": 1})
        with recsdk.Recommender.open(tmp_path, items=ITEMS, feedback=feedback) as shop:
            for number in range(50):
                shop.signal("click", decision_id=shop.recommend({}, decision_id=f"d{number}").decision_id)
            for number in range(repeats):
                shop.signal("click", decision_id=f"d{min(number, 49)}")
        told, counts = self.alarms(tmp_path, capsys)
        assert counts == {"taken": 50, "duplicate": repeats, "ahead": 0}
        assert told == (["duplicates: 50.5% of the last 101 events had been told before; the alarm is on above 50%"] if on else [])

    @pytest.mark.parametrize(("seconds", "on"), [(299, False), (301, True)])
    def test_signals_from_the_future(self, tmp_path, capsys, seconds, on):
        feedback, now = recsdk.Feedback(window=600, signals={"click": 1}), 1e6
        with recsdk.Recommender.open(tmp_path, items=ITEMS, feedback=feedback, clock=lambda: now) as shop:
            for number in range(100):
                shown = shop.recommend({})
                shop.signal("click", decision_id=shown.decision_id, time=now + seconds * (number > 97))
        told, counts = self.alarms(tmp_path, capsys)
        assert counts == {"taken": 100, "ahead": 2 * on}
        assert told == [] if not on else told[0].startswith("clock far off: 2.0% of the last 100 events happened over 300 s in the future")

    def test_the_last_1_000_of_the_last_opening_that_had_any_count(self, tmp_path, capsys):
        with recsdk.Recommender.open(tmp_path, items=ITEMS) as shop:
            shop.reward(shop.recommend({}, decision_id="d").decision_id, 1.0)
            for _ in range(1_000):
                shop.reward("d", 1.0)
        assert self.alarms(tmp_path, capsys)[1] == {"duplicate": 1_000, "ahead": 0}
        recsdk.Recommender.open(tmp_path).close()
        assert self.alarms(tmp_path, capsys)[1] == {"duplicate": 1_000, "ahead": 0}
        with recsdk.Recommender.open(tmp_path) as shop:
            shop.reward(shop.recommend({}).decision_id, 1.0)
        assert self.alarms(tmp_path, capsys) == ([], {"taken": 1, "ahead": 0})


@pytest.mark.usefixtures("drawn_alike")
@pytest.mark.parametrize("tampered", [False, True])
def test_decisions_that_come_out_otherwise_are_an_alarm_where_it_is_asked_for(tmp_path, capsys, tampered):
    lived(tmp_path, num=300, answered=lambda number: number < 2, policy="lin-ts")
    if tampered:
        ledger = Sqlite().open(tmp_path)
        ledger.put("salt", b"another secret")
        ledger.close()
    code, facts = facts_of(tmp_path, capsys, "--recompute")
    found = facts["recomputed"]
    assert code == 1  # rewards have stopped
    assert found["same"] + found["different"] > 0
    assert found["left_out"] == 0
    told = [alarm for alarm in facts["alarms"] if alarm.startswith("train/serve skew")]
    assert (found["different"] > 0) == bool(told) == tampered
    assert run(tmp_path, "--recompute", "--watch", "1") == 2
