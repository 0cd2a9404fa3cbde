"""The state is made again from the folder alone: in other processes, with other numbers of threads, up to any reward."""

import json
import os
import subprocess
import sys

import pytest

from recsdk.errors import InvalidValue, LedgerError, LedgerMismatch
from recsdk.ledger.sqlite import Sqlite
from recsdk.live.learner import Learner
from recsdk.live.parts import built
from recsdk.live.reproduce import reproduce
from recsdk.policies.wrappers import WithFloor
from recsdk.scorers.recency import Recency
from tests.live.shop import crash, forget_snapshots, open_recommender, serve, state
from tests.processes import ROOT

PARTS = {"encoder": None, "scorers": ["popularity", Recency(half_life=60.0)], "policy": "lin-ts", "snapshot_every": 7}


def command(folder, *arguments, **environment):
    """Runs `recsdk reproduce` in a process of its own."""
    words = [sys.executable, "-m", "recsdk", "reproduce", str(folder), *arguments]
    return subprocess.run(words, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False)  # noqa: S603 - our own


@pytest.fixture
def folder(tmp_path):
    """The folder of a shop that was killed at the 12th reward, five after its last snapshot."""
    shop = open_recommender(tmp_path, **PARTS)
    serve(shop, range(12))
    crash(shop)
    return tmp_path


def test_other_processes_with_other_numbers_of_threads_print_the_same_hash(folder):
    found = reproduce(folder)
    assert (found.num_learned, found.snapshot, found.agreement) == (12, 7, "same")
    for threads in ("1", "8"):
        ended = command(folder, "--json", OMP_NUM_THREADS=threads, OPENBLAS_NUM_THREADS=threads)
        assert (ended.returncode, json.loads(ended.stdout)) == (0, found._asdict())


def test_a_shop_beside_it_goes_on_and_its_state_has_the_hash(folder):
    with open_recommender(folder, **PARTS) as shop:
        before = reproduce(folder)
        shop.snapshot()
        assert reproduce(folder) == before._replace(snapshot=12)
        serve(shop, range(12, 13))
        assert reproduce(folder, to=12) == before._replace(snapshot=12)
        assert reproduce(folder).state != before.state


def test_the_state_up_to_a_reward_is_that_of_the_shop_at_that_reward(tmp_path):
    shop = open_recommender(tmp_path, **PARTS)
    serve(shop, range(4))
    early = reproduce(tmp_path)
    serve(shop, range(4, 9))
    shop.close()
    assert reproduce(tmp_path, to=4) == early._replace(snapshot=None, agreement="no snapshot")
    with pytest.raises(InvalidValue, match="to must be at most 9, the number of rewards in the ledger, got 10"):
        reproduce(tmp_path, to=10)


def test_a_snapshot_that_is_not_the_fold_is_told_and_ends_with_1(folder, monkeypatch):
    shop = open_recommender(folder, **PARTS)
    shop._learner.state.mean[0] += 1e-9
    shop.close()
    assert reproduce(folder).agreement == "different"
    ended = command(folder)
    assert ended.returncode == 1
    assert "DIFFERENT" in ended.stdout


def test_a_snapshot_of_other_arithmetic_is_compared_within_rounding(folder):
    shop = open_recommender(folder, **PARTS)
    shop._learner.state.mean[0] += 1e-12
    shop.close()
    assert reproduce(folder).agreement == "different"
    ledger = Sqlite().open(folder)
    header = json.loads(ledger.get("snapshot/header"))
    ledger.put("snapshot/header", json.dumps(header | {"arithmetic": "elsewhere"}).encode())
    ledger.close()
    assert reproduce(folder).agreement == "within rounding"


def test_without_a_snapshot_the_last_decision_says_which_policy_learned(folder):
    before = reproduce(folder)
    forget_snapshots(folder)
    assert reproduce(folder) == before._replace(snapshot=None, agreement="no snapshot")


def test_an_encoder_and_scorers_that_are_no_plugins_are_given(tmp_path):
    shop = open_recommender(tmp_path, policy="lin-ucb")
    serve(shop, range(5))
    learned, scorers, encoder = state(shop), shop._evidence.scorers, shop._evidence.encoder
    shop.close()
    with pytest.raises(LedgerMismatch, match=r"TopicTally\(\) cannot be made from its name and settings, so give the part itself"):
        reproduce(tmp_path)
    assert reproduce(tmp_path, scorers=scorers, encoder=encoder).agreement == "same"
    with pytest.raises(LedgerMismatch, match="must be those that the folder was last opened with"):
        reproduce(tmp_path, scorers=[scorers[0], Recency(half_life=1.0), scorers[2]], encoder=encoder)
    with pytest.raises(LedgerMismatch, match="must be those that the folder was last opened with"):
        reproduce(tmp_path, scorers=scorers[:2], encoder=encoder)
    with open_recommender(tmp_path, policy="lin-ucb") as shop:
        assert state(shop) == learned


def test_it_folds_and_does_not_only_read_the_snapshot(folder, monkeypatch):
    learned = []
    monkeypatch.setattr(Learner, "learn", lambda self, record, reward: learned.append(reward.reward_id) or setattr(self, "num_learned", 12))
    reproduce(folder)
    assert len(learned) > 12


def test_only_installed_plugins_and_own_classes_are_built(folder):
    policy = built({"class": "recsdk.policies.wrappers:WithFloor", "name": None, "settings": {"policy": named("lin-ts"), "floor": 0.5}})
    assert policy == WithFloor(policy=policy.policy, floor=0.5)
    for where in ("os:system", "recsdk.cli:main", "recsdk.live.parts:built", f"{__name__}:TopicTally"):
        with pytest.raises(LedgerMismatch, match="give the part itself: it is no installed plugin"):
            built({"class": where, "name": None, "settings": {}})
    with pytest.raises(LedgerMismatch, match="wild"):
        built(named("lin-ts") | {"settings": {"wild": 1}})


def named(name):
    return {"class": "recsdk.policies.linear:LinTS", "name": name, "settings": {}}


def test_a_folder_without_a_ledger_is_told_in_one_line(tmp_path):
    with pytest.raises(LedgerError, match="There is no ledger"):
        reproduce(tmp_path)
    ended = command(tmp_path)
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
