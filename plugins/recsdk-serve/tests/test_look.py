"""How a recommender does, as the dashboard is told: what the folder says, and who reads it when."""

import json
import math
import os
import signal
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recsdk_serve import messages as m
from recsdk_serve.look import BETWEEN, BINOMIAL, FEWEST_OUTCOMES, ITEMS, STEPS, interval, look, reward_steps
from recsdk_serve.watch import Watch

import recsdk
from recsdk.errors import LedgerError
from recsdk.ledger import RewardRecord
from recsdk.ledger.stores import store

VALUES = st.lists(st.sampled_from([0.0, 0.5, 1.0]), max_size=3 * FEWEST_OUTCOMES)


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
    assert all(step.num >= FEWEST_OUTCOMES for step in steps) or len(steps) <= 1
    assert all(step.low is None or step.low - 1e-12 <= step.mean <= step.high + 1e-12 for step in steps)


def test_a_step_has_the_interval_of_its_mean():
    found = interval(15, 148, BINOMIAL)  # the example of Newcombe's paper, 15 of 148
    assert found == pytest.approx((0.0598, 0.1644), abs=1e-4)
    (step,) = reward_steps(rewards([1.0] * 15 + [0.0] * 133))
    assert (step.time, step.num, step.mean) == (147.0, 148, 15 / 148)
    assert (step.low, step.high) == pytest.approx(found)
    (other,) = reward_steps(rewards([5.0] * 15 + [3.0] * 133))
    assert (other.low, other.high) == pytest.approx([3 + 2 * end for end in found])


@pytest.mark.parametrize("num", [20, 100, 400])
def test_an_interval_of_clicks_keeps_its_level_at_every_rate(num):
    chances, worst = [math.comb(num, found) for found in range(num + 1)], 1.0
    ends = np.array([interval(found, num, BINOMIAL) for found in range(num + 1)])
    for rate in np.concatenate([np.geomspace(1e-4, 0.5, 400), 1 - np.geomspace(1e-4, 0.5, 100)]):
        held = np.nonzero((ends[:, 0] <= rate) & (rate <= ends[:, 1]))[0]
        worst = min(worst, sum(math.exp(math.log(chances[k]) + k * math.log(rate) + (num - k) * math.log1p(-rate)) for k in held))
    assert worst >= 0.945


def test_an_error_about_rewards_between_two_numbers_is_e_times_rarer():
    assert math.erfc(BETWEEN / 2**0.5) == pytest.approx(math.erfc(BINOMIAL / 2**0.5) / math.e, rel=1e-3)
    (step,) = reward_steps(rewards([0.0] * 10 + [0.5] * 4 + [1.0] * 6))
    assert (step.low, step.high) == interval(8, 20, BETWEEN)


DRAWN = {
    "clicks and half clicks": lambda rng, size: rng.choice([0.0, 0.5, 1.0], size, p=[0.95, 0.03, 0.02]),
    "rare sales": lambda rng, size: (rng.random(size) < 0.02) * rng.integers(1, 6, size) * 10.0,
    "times": lambda rng, size: np.minimum(rng.exponential(1.0, size), 8.0),
    "losses": lambda rng, size: -2.0 * (rng.random(size) < 0.01) - 1.0 * (rng.random(size) < 0.02),
}


@pytest.mark.parametrize("name", DRAWN)
def test_an_interval_of_other_rewards_keeps_its_level(name):
    rng = np.random.default_rng(0)
    mean = DRAWN[name](rng, 1_000_000).mean()
    found = [step for _ in range(20) for step in reward_steps(rewards(DRAWN[name](rng, 2_000).tolist()))]
    assert sum(step.low <= mean <= step.high for step in found) >= 0.95 * len(found) == 380


@pytest.mark.parametrize("values", [[1.0], [0.3], [0.3] * 50])
def test_where_an_interval_cannot_be_said_there_is_none(values):
    (step,) = reward_steps(rewards(values))
    assert (step.num, step.mean, step.low, step.high) == (len(values), pytest.approx(values[0]), None, None)


def test_where_nobody_clicked_somebody_may():
    (step,) = reward_steps(rewards([0.0] * 60))
    assert step.mean == step.low == 0.0 < 0.05 < step.high < 0.1


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


def test_what_is_shown_leaves_out_what_nobody_saw_and_what_was_served_again(tmp_path):
    place, items = tmp_path / "shop", [{"id": name} for name in ("tea", "coffee", "juice")]
    with recsdk.Recommender.open(place, items=items, policy="lin-ts", reward_range=(0, 1)) as shop:
        for _ in range(5):
            shop.recommend({}, candidates=["tea"], deferred=True)  # never shown
        shop.not_shown(shop.recommend({}, candidates=["tea"]).decision_id)
        shop.shown(shop.recommend({}, candidates=["coffee"], deferred=True).decision_id)
        for _ in range(3):
            shop.recommend({}, candidates=["juice"])
    found, _ = looked(place)
    assert {each.id: each.share for each in found.items} == {"coffee": 0.25, "juice": 0.75}
    assert sum(step.num for step in found.choices) == 10  # all were drawn


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


class Reading:
    """Output of a process; `reads` is set once somebody waits for it."""

    def __init__(self, output):
        self._output, self.reads = output, threading.Event()

    def __getattr__(self, name):
        return getattr(self._output, name)

    def readline(self):
        self.reads.set()
        return self._output.readline()


@pytest.fixture
def stuck(folder):
    """A look that does not come back: its process is stopped."""
    watch, failed = Watch(folder), []
    watch.look()
    watch._until, child = 0.0, watch._child
    child.stdout = Reading(child.stdout)
    os.kill(child.pid, signal.SIGSTOP)

    def looking():
        with pytest.raises(LedgerError) as caught:
            watch.look()
        failed.append(str(caught.value))

    thread = threading.Thread(target=looking, daemon=True)
    thread.start()
    assert child.stdout.reads.wait(30)
    yield watch, thread, failed
    os.kill(child.pid, signal.SIGKILL) if child.poll() is None else None
    watch.end()


posix = pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="stops a process")


@posix
def test_a_look_that_hangs_keeps_nobody_from_being_forgotten(stuck):
    watch, thread, failed = stuck
    forgotten = threading.Event()

    def forget():
        with watch.away():
            forgotten.set()

    threading.Thread(target=forget, daemon=True).start()
    assert forgotten.wait(30)
    thread.join(30)
    assert len(failed) == 1
    assert watch.look().health.decisions == 60


@posix
def test_a_look_that_hangs_ends_with_the_service(stuck):
    watch, thread, failed = stuck
    ending = threading.Thread(target=watch.end, daemon=True)
    ending.start()
    for each in (ending, thread):
        each.join(30)
        assert not each.is_alive()
    assert failed == ["The service is about to stop."]


@posix
def test_a_look_that_hangs_is_given_up_in_time(folder, monkeypatch):
    watch = Watch(folder)
    watch.look()
    monkeypatch.setattr("recsdk_serve.watch.LONGEST", 0.2)
    watch._until, child = 0.0, watch._child
    os.kill(child.pid, signal.SIGSTOP)
    try:
        with pytest.raises(LedgerError, match=r"within 0\.2 s"):
            watch.look()
        assert child.poll() is not None
    finally:
        watch.end()


@pytest.mark.parametrize("ends", [True, False])
def test_a_process_that_is_started_while_somebody_waits_for_its_end_does_not_look(folder, monkeypatch, ends):
    watch, started = Watch(folder), []

    def popen(command, **options):
        watch._ended, watch._is_away = ends, not ends  # by another thread, which sees no child
        started.append(Child())
        return started[0]

    monkeypatch.setattr("subprocess.Popen", popen)
    with pytest.raises(LedgerError, match="about to stop" if ends else "being forgotten"):
        watch.look()
    assert len(started) == 1


class Child:
    """A process that must not be asked."""

    def kill(self):
        """Ends it."""

    def communicate(self):
        """Collects it."""


def test_the_process_that_looks_imports_nothing_from_the_current_folder(folder, tmp_path, monkeypatch):
    (tmp_path / "msgspec.py").write_text("raise SystemExit('of the current folder')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each])
    watch = Watch(folder)
    try:
        assert watch.look().health.decisions == 60
    finally:
        watch.end()


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
