"""How a recommender does, as the dashboard is told: what the folder says, and who reads it when."""

import json
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recsdk_serve import messages as m
from recsdk_serve.look import FEWEST, ITEMS, STEPS, look, reward_steps
from recsdk_serve.watch import Watch

import recsdk
from recsdk.errors import LedgerError
from recsdk.ledger import RewardRecord
from recsdk.ledger.stores import store

VALUES = st.lists(st.sampled_from([0.0, 0.5, 1.0]), max_size=5 * FEWEST)


def rewards(values):
    return [RewardRecord(f"r{number}", f"d{number}", 0, value, time=float(number)) for number, value in enumerate(values)]


@given(VALUES)
@settings(max_examples=50, deadline=None)
def test_the_steps_of_a_curve_have_each_outcome_once_and_in_order(values):
    steps = reward_steps(rewards(values))
    assert sum(step.num for step in steps) == len(values)
    assert sum(step.num * step.mean for step in steps) == pytest.approx(sum(values))
    assert [step.time for step in steps] == sorted({step.time for step in steps})
    assert len(steps) <= STEPS
    assert all(step.num >= FEWEST for step in steps) or len(steps) <= 1
    assert all(step.low <= step.mean <= step.high for step in steps)


def test_a_step_has_the_interval_of_its_mean():
    (step,) = reward_steps(rewards([0.0, 1.0] * 8))
    assert (step.time, step.num, step.mean) == (15.0, 16, 0.5)
    assert step.high - step.mean == pytest.approx(1.96 * (4 / 15) ** 0.5 / 4, rel=1e-4)
    assert step.high - step.mean == pytest.approx(step.mean - step.low)


def test_a_reward_counts_as_it_was_corrected_and_not_where_it_was_taken_back_or_is_an_older_ones():
    first, second = rewards([0.0, 1.0])
    corrected = first._replace(reward_id="c", value=0.5, time=9.0, replaces="r0")
    void = second._replace(reward_id="v", time=9.0, replaces="r1", void=True)
    older = first._replace(reward_id="o", decision_id="before", value=1.0, replaces="earlier")
    (step,) = reward_steps([first, second, corrected, void, older])
    assert (step.time, step.num, step.mean) == (0.0, 1, 0.5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A shop that has shown each of 12 items, and one of them far more often."""
    place = tmp_path_factory.mktemp("look") / "shop"
    items = [{"id": f"item-{number}"} for number in range(12)]
    with recsdk.Recommender.open(place, items=items, policy="lin-ts", reward_range=(0, 1)) as shop:
        for number in range(60):
            chosen = shop.recommend({}, candidates=["item-0", f"item-{number % 12}"] if number % 12 else ["item-0"])
            if number % 3:
                shop.reward(chosen.decision_id, 1.0)
    return place


def looked(place):
    stored = store(place).read(place)
    try:
        return look(stored), list(stored.decisions())
    finally:
        stored.close()


def test_a_look_says_what_the_folder_holds(folder):
    found, records = looked(folder)
    assert (found.health.decisions, found.health.outcomes, found.health.mean_reward_last) == (60, 40, 1.0)
    assert found.health.join_rate == pytest.approx(2 / 3)
    assert sum(step.num for step in found.choices) == 60
    assert [step.time for step in found.choices] == [records[19].time, records[39].time, records[59].time]
    drawn = [step.floor_share for step in found.choices]
    assert all(0 <= share <= 1 for share in drawn)
    assert all(1 <= step.effective_items <= step.candidates == 2 for step in found.choices)


def test_shares_are_of_what_was_shown_the_most_first_and_all_others_together(folder):
    found, records = looked(folder)
    shown = [int(slot) for record in records for slot in record.slots[record.action]]
    named = [each for each in found.items if each.id is not None]
    assert len(named) == min(ITEMS, len(set(shown)))
    for each in named:
        assert each.share == shown.count(int(each.id.removeprefix("item-"))) / 60
    assert [each.share for each in named] == sorted((each.share for each in named), reverse=True)
    assert sum(each.share for each in found.items) == pytest.approx(1)


def test_an_empty_folder_can_be_looked_at(tmp_path):
    recsdk.Recommender.open(tmp_path / "shop", items=[{"id": "tea"}]).close()
    found, _ = looked(tmp_path / "shop")
    assert (found.rewards, found.choices, found.items) == ([], [], [])


def seen(number):
    health = dict.fromkeys(m.Health.__struct_fields__) | {"decisions": number, "outcomes": 0, "settled": 0}
    health |= {"alarms": [], "failed": {}, "drift": {}, "events": {}}
    return m.Look(time=0.0, health=m.Health(**health), rewards=[], choices=[], items=[], seconds=0.0)


def test_a_look_is_kept_for_a_while_and_not_beyond_a_user_who_is_forgotten(tmp_path, monkeypatch):
    looks = iter(range(100))
    monkeypatch.setattr(Watch, "_looked", lambda self: seen(next(looks)))
    watch = Watch(tmp_path)
    assert [watch.look().health.decisions for _ in range(3)] == [0, 0, 0]
    with watch.away():
        pass
    assert [watch.look().health.decisions for _ in range(3)] == [1, 1, 1]
    monkeypatch.setattr("recsdk_serve.watch.LEAST", 0.0)
    with watch.away():
        pass
    assert [watch.look().health.decisions for _ in range(3)] == [2, 3, 4]


def test_nobody_is_forgotten_while_the_folder_is_looked_at(tmp_path, monkeypatch):
    going, done, order = threading.Event(), threading.Event(), []

    def looked(self):
        going.set()
        done.wait(10)
        order.append("looked")
        return seen(0)

    monkeypatch.setattr(Watch, "_looked", looked)
    watch = Watch(tmp_path)
    thread = threading.Thread(target=watch.look)
    thread.start()
    going.wait(10)
    threading.Timer(0.05, done.set).start()
    with watch.away():
        order.append("forgotten")
    thread.join()
    assert order == ["looked", "forgotten"]


def test_a_process_that_was_killed_is_told_of_and_started_again_and_ends_with_the_service(folder):
    watch = Watch(folder)
    try:
        assert watch.look().health.decisions == 60
        first = watch._child
        first.kill()
        first.wait()
        with watch.away():
            pass
        with pytest.raises(LedgerError, match="could not be looked at"):
            watch.look()
        assert watch.look().health.decisions == 60
        second = watch._child
    finally:
        watch.end()
    assert second.poll() is not None
    with watch.away():
        pass
    with pytest.raises(LedgerError, match="about to stop"):
        watch.look()


def test_the_status_says_how_the_service_does(client):
    client.post("/v1/decide:batch", json={"requests": [{"user": "ann", "decision_id": f"d{number}"} for number in range(25)]})
    client.post("/v1/reward", json={"decision_id": "d0", "value": 1.0})
    found = client.get("/v1/status").json()
    assert (found["look"]["health"]["decisions"], found["models"]["num_learned"], found["challengers"]) == (25, 1, [])
    assert set(found) == set(m.Status.__struct_fields__)
    assert "ann" not in json.dumps(found)
    assert client.post("/v1/forget", json={"user": "ann"}).status_code == 200  # the look has closed the folder
    before = time.monotonic()
    assert client.get("/v1/status").json()["look"]["health"]["outcomes"] == 0
    assert time.monotonic() - before < 60
