"""The state is made again from the folder alone: in other processes, with other numbers of threads, up to any reward."""

import json
import os
import subprocess
import sys

import pytest

from recsdk import Trials
from recsdk.errors import InvalidValue, LedgerError, LedgerMismatch
from recsdk.ledger.sqlite import Sqlite
from recsdk.live.contest import Change
from recsdk.live.learner import Learner
from recsdk.live.parts import built
from recsdk.live.reproduce import reproduce
from recsdk.policies.wrappers import WithFloor
from recsdk.scorers.recency import Recency
from tests.live.shop import Centred, crash, forget_snapshots, open_recommender, serve, state
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
    shop._loop.learner.state.mean[0] += 1e-9
    shop.close()
    assert reproduce(folder).agreement == "different"
    ended = command(folder)
    assert ended.returncode == 1
    assert "DIFFERENT" in ended.stdout


def test_a_snapshot_of_other_arithmetic_is_compared_within_rounding(folder):
    shop = open_recommender(folder, **PARTS)
    shop._loop.learner.state.mean[0] += 1e-12
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
    learned, scorers, encoder = state(shop), shop._loop.evidence.scorers, shop._loop.evidence.encoder
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
    monkeypatch.setattr(Learner, "_fold", lambda self, lessons: learned.extend(lessons) or setattr(self, "num_learned", 12))
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


class TestChallengers:
    def open(self, folder, **challengers):
        trials = Trials(challengers=challengers or {"slow": "exp3", "bold": "lin-ucb"})
        return open_recommender(folder, **PARTS | {"scorers": [Recency(half_life=60.0)], "reward_range": (0, 1)}, trials=trials)

    def lived(self, folder, **challengers):
        with self.open(folder, **challengers) as shop:
            serve(shop, range(12))
            shop.correct("d3/0", 0.5)  # which not all can forget

    def test_the_policies_of_a_trial_are_made_and_folded_as_they_are_live(self, tmp_path):
        self.lived(tmp_path)
        assert reproduce(tmp_path).agreement == "same"
        assert (command(tmp_path).returncode, reproduce(tmp_path, to=6).agreement) == (0, "no snapshot")

    @pytest.mark.parametrize("change", ["champion", "challenger", "gains"])
    def test_a_snapshot_that_is_not_the_fold_of_them_all_is_told(self, tmp_path, change):
        self.lived(tmp_path)
        with self.open(tmp_path) as shop:
            entry = shop._loop.learner.contest.entries["bold"]
            if change == "champion":
                shop._loop.learner.state.mean[0] += 1e-9
            elif change == "challenger":
                entry.state.mean[0] += 1e-9
            else:
                entry.gains = entry.gains._replace(total=entry.gains.total + 0.5)
        assert reproduce(tmp_path).agreement == "different"

    def test_the_hash_is_of_the_challengers_too(self, tmp_path):
        self.lived(tmp_path)
        both = reproduce(tmp_path)
        self.open(tmp_path, bold="lin-ucb").close()
        one = reproduce(tmp_path)
        assert (one.agreement, one.num_learned) == ("same", both.num_learned)
        assert one.state != both.state

    def test_a_promoted_one_is_the_policy_and_the_one_before_learns_on(self, tmp_path):
        self.lived(tmp_path)
        with self.open(tmp_path) as shop:
            shop._loop.turns.alone(lambda: shop._loop.change(lambda: Change("promoted", "bold")))
            serve(shop, range(12, 20))
        found = reproduce(tmp_path)
        assert found.agreement == "same"
        assert "lin-ucb" in found.policy

    def test_one_that_is_no_plugin_is_to_be_given(self, tmp_path):
        self.lived(tmp_path, own=Centred(), slow="exp3")
        with pytest.raises(LedgerMismatch, match="cannot be made from its name and settings, so give the part itself"):
            reproduce(tmp_path)
        given = {"own": WithFloor(policy=Centred(), floor=0.05)}
        assert reproduce(tmp_path, challengers=given).agreement == "same"
        with pytest.raises(InvalidValue, match="names of policies of the folder, 'own', 'policy', 'slow', got 'mine'"):
            reproduce(tmp_path, challengers={"mine": Centred()})
        with pytest.raises(LedgerMismatch, match="'own' must be the policy of the folder's trial"):
            reproduce(tmp_path, challengers={"own": Centred()})
