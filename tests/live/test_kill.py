"""A real process, killed: what it acknowledged is kept, nothing counts twice, and the shop goes on exactly where it was."""

import random
import subprocess
import sys
import time

import numpy as np
import pytest

from recsdk.errors import LedgerLocked
from tests.live.process import NUM_STEPS, START, WINDOW, next_step, open_shop, open_waiting_shop, step, told
from tests.live.shop import catalogue, crash, forget_snapshots, request, state, tables
from tests.processes import ROOT

PROCESS = [sys.executable, "-m", "tests.live.process"]


def assert_kept(shop, folder):
    """Everything that was acknowledged is in the ledger as it was, and of the rest at most the last call."""
    acknowledged = told(folder)
    decisions = {words[1]: words[2:] for words in acknowledged if words[0] == "decision"}
    for number, (name, ids, propensities) in decisions.items():
        record = shop._loop.ledger.decision(f"d{number}")
        assert name == record.decision_id
        assert ids == shop.catalogue.items.ids[record.slots[record.action]].tolist()
        assert propensities == record.probs[np.arange(len(ids)), record.action].tolist()
    rewards = {words[1]: words[2] for words in acknowledged if words[0] == "rewards"}
    for number, values in rewards.items():
        assert {str(reward.position): reward.value for reward in shop._loop.ledger.rewards_of(f"d{number}")} == values
    names = [record.decision_id for record in shop._loop.ledger.decisions()]
    assert len(decisions) <= len(names) <= len(decisions) + 1
    rewarded = {reward.decision_id for reward, _ in shop._loop.ledger.outcomes()}
    assert len(rewards) <= len(rewarded) <= len(rewards) + 1
    held = {words[1]: words[0] for words in acknowledged if words[0] in ("added", "removed")}
    last = max((words[1] for words in acknowledged), default=0)
    for number, what in held.items():
        assert shop.catalogue.knows(f"new-{number}")
        if number < last - 1:  # else it may have been removed already
            assert (f"new-{number}" in shop.catalogue) == (what == "added")


def assert_exact(shop, folder):
    """The state is the fold over the whole ledger, with every reward once; with or without the snapshot."""
    assert shop.num_learned == len(tables(folder)["rewards"]) == len(list(shop._loop.ledger.outcomes()))
    learned, held = state(shop), catalogue(shop)
    assert shop.audit()
    crash(shop)
    forget_snapshots(folder)
    again = open_shop(folder)
    assert state(again) == learned
    assert catalogue(again) == held
    return again


def kill_at_random(folder, moments):
    """Serves in a process that is killed after each of `moments` seconds, and begun again where it was; returns what was found."""
    for seconds in moments:
        process = subprocess.Popen([*PROCESS, "serve", str(folder)], cwd=ROOT)  # noqa: S603 - our own code
        before = len(told(folder))
        deadline = time.monotonic() + 60
        while len(told(folder)) == before and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.005)
        with pytest.raises(LedgerLocked):
            open_shop(folder)
        time.sleep(seconds)
        process.kill()
        process.wait()
        shop = open_shop(folder)
        assert_kept(shop, folder)
        shop = assert_exact(shop, folder)
        last = next_step(folder)
        learned = state(shop)
        step(shop, last - 1, lambda *words: None)  # it was all acknowledged: repeating it changes nothing
        assert state(shop) == learned
        crash(shop)


def test_a_shop_that_is_killed_ten_times_loses_and_repeats_nothing(tmp_path):
    kill_at_random(tmp_path, [0.2 * random.Random(number).random() for number in range(10)])
    assert len(told(tmp_path)) > 20


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_shop_that_is_killed_sixty_times_loses_and_repeats_nothing(tmp_path):
    kill_at_random(tmp_path, [0.7 * random.Random(number).random() for number in range(60)])


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Folders of shops that were killed, one at each statement that it wrote."""
    folder = tmp_path_factory.mktemp("killed")
    subprocess.run([*PROCESS, "sweep", str(folder)], cwd=ROOT, check=True)  # noqa: S603 - our own code
    return folder


def test_killed_at_any_statement_a_shop_loses_and_repeats_nothing(killed):
    places = sorted(killed.iterdir())
    assert len(places) > 70
    begun = set()
    for folder in places:
        shop = open_shop(folder)
        assert len(shop.catalogue.items.ids) >= 4
        assert_kept(shop, folder)
        shop = assert_exact(shop, folder)
        begun.add(len(told(folder)))
        for number in range(next_step(folder), NUM_STEPS):
            step(shop, number, lambda *words: None)
        assert [record.decision_id for record in shop._loop.ledger.decisions()] == [f"d{number}" for number in range(NUM_STEPS)]
        assert shop.num_learned == sum(1 if number % 2 else 1 + number % 3 for number in range(NUM_STEPS))
        assert [name for name in shop.catalogue.items.ids if name.startswith("new-")] == ["new-1", "new-4"]
        assert len(shop.catalogue) == 4
        assert shop.audit()
        crash(shop)
    assert begun >= set(range(2 * NUM_STEPS + 3))


def test_killed_at_any_statement_while_windows_close_every_reward_comes_once(tmp_path):
    subprocess.run([*PROCESS, "settle", str(tmp_path)], cwd=ROOT, check=True)  # noqa: S603 - our own code
    earned, places = [(f"d{number}", position) for number in range(3) for position in range(2)], sorted(tmp_path.iterdir())
    begun = set()
    for folder in places:
        begun.add(len(tables(folder)["rewards"]))
        for _ in range(2):  # the second time nothing is left to settle
            shop = open_waiting_shop(folder, START + WINDOW + 1)
            shop.settle()
            rewards = {(reward.decision_id, reward.position): reward.value for reward in shop._loop.ledger.rewards()}
            assert rewards == {place: 1.0 if place == ("d1", 1) else -0.5 for place in earned}
            assert shop.num_learned == len(tables(folder)["rewards"]) == len(earned)
            assert shop.audit()
            learned = state(shop)
            crash(shop)
        forget_snapshots(folder)
        again = open_waiting_shop(folder, START + WINDOW + 1)
        assert state(again) == learned
        crash(again)
    assert len(places) > 20
    assert begun == {0, len(earned)}  # all of a settlement or nothing


def test_killed_in_the_middle_of_a_recovery_the_next_one_is_the_same(tmp_path, monkeypatch):
    shop = open_shop(tmp_path)
    for number in range(4):
        step(shop, number, lambda *words: None)
    learned = state(shop)
    crash(shop)
    forget_snapshots(tmp_path)
    script = f"""
import os, signal
from pathlib import Path
from tests.live.process import open_shop
from recsdk.live import learner
learner.BLOCK = 2
teach = learner.Learner._fold_scorers
def dying(self, lessons):
    if self.num_learned == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    teach(self, lessons)
learner.Learner._fold_scorers = dying
open_shop(Path({str(tmp_path)!r}))
"""
    for _ in range(2):
        assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9  # noqa: S603 - our own code
    shop = open_shop(tmp_path)
    assert state(shop) == learned
    assert shop.recommend(request(0), candidates=["news-0"]).ids == ("news-0",)
    shop.close()
