"""A forgotten user leaves no byte, no share in what was learned, and a ledger that still holds together."""

import sqlite3
import subprocess
import sys

import numpy as np
import polars
import pytest

import recsdk
from recsdk import Feedback, Receipt, arrays
from recsdk.errors import InvalidRequest, InvalidValue, LedgerError, RewardConflict, UnknownDecision
from recsdk.ledger.sqlite import Sqlite, SqliteLedger
from recsdk.live import learner as learning
from recsdk.live.checking import check_ledger
from recsdk.live.log import count_decisions, read_ledger
from tests.ledger.memory import Memory
from tests.live.shop import CATALOGUE, Hashing, TopicTally, catalogue, crash, forget_snapshots, open_recommender, state

SECRETS = (b"zebulon", b"nickname-zeb", b"lives-in-ur")
"""The user's key, an id that the application made of it, and a feature."""


def at_home(request, candidates):
    """A scorer that reads the features."""
    home = len(request.features["home"]) + request.features["age"]
    return [float((home + len(item_id)) % 3) for item_id in candidates.ids]


OPTIONS = {"encoder": None, "scorers": [at_home], "log_features": "all", "snapshot_every": 7}


def visit(shop, number, user):
    """Recommends to a user, and rewards twice of three times."""
    features = {"user_id": user, "home": "lives-in-ur" if user == "zebulon" else "lives-elsewhere", "age": number % 5}
    name = f"nickname-zeb-{number}" if user == "zebulon" else f"d{number}"
    slate = shop.recommend(features, size=2, candidates=[row["id"] for row in CATALOGUE[:5]], decision_id=name)
    if number % 3:
        shop.reward(name, number % 4 / 3, item=slate.ids[0])


def user_of(number):
    return "zebulon" if number % 4 == 1 else f"u{number % 7}"


def lived(folder, numbers, **options):
    """Opens a shop in which every fourth visit is of the user to be forgotten."""
    shop = open_recommender(folder, **{**OPTIONS, **options})
    if isinstance(shop._loop.ledger, SqliteLedger):
        shop._loop.ledger._db.execute("PRAGMA secure_delete=OFF")  # some builds of SQLite have it on, and would help
    for number in numbers:
        visit(shop, number, user_of(number))
    return shop


def left_in(folder):
    """Returns which of the secrets is in which file."""
    return [(path.name, secret) for path in folder.rglob("*") if path.is_file() for secret in SECRETS if secret in path.read_bytes()]


PARTS = {
    "linear": {"policy": "lin-ts"},
    "deep": {"policy": "wide-deep"},
    "online scorers": {"policy": "lin-ucb", "scorers": [at_home, "popularity", "item-knn", TopicTally()]},
    "challengers": {"policy": "lin-ucb", "reward_range": (0, 1), "trials": recsdk.Trials(challengers={"bold": "lin-ts"})},
}


@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS)
def test_no_byte_is_left_and_the_state_is_the_fold_of_the_others(tmp_path, parts):
    shop = lived(tmp_path / "shop", range(40), **parts)
    assert {secret for _, secret in left_in(tmp_path)} == set(SECRETS)
    done = shop.forget("zebulon")
    assert done._replace(seconds=0.0) == (10, 0, 7, 0, "folded", 0.0, 0, 0)
    assert left_in(tmp_path) == []
    assert shop.audit()
    learned, held = state(shop), catalogue(shop)
    crash(shop)
    for _ in range(2):
        with open_recommender(tmp_path / "shop", **{**OPTIONS, **parts}) as again:
            assert state(again) == learned
            assert catalogue(again) == held
            assert again.audit()
        forget_snapshots(tmp_path / "shop")
    assert left_in(tmp_path) == []
    assert [finding for finding in check_ledger(tmp_path / "shop") if finding.num_problems] == []


def test_the_others_have_learned_what_they_would_have_without_the_user(tmp_path, monkeypatch):
    monkeypatch.setattr("secrets.token_bytes", lambda size: b"s" * size)
    shop = lived(tmp_path / "with", range(40), policy="uniform")
    shop.forget("zebulon")
    others = open_recommender(tmp_path / "without", **OPTIONS, policy="uniform")
    for number in range(40):
        if user_of(number) != "zebulon":
            visit(others, number, user_of(number))
    shop.close()
    others.close()
    logs = [read_ledger(tmp_path / name) for name in ("with", "without")]
    assert all(np.array_equal(one, other) for one, other in zip(*map(arrays.leaves, logs), strict=True))
    assert count_decisions(tmp_path / "with") == count_decisions(tmp_path / "without") == 30


@pytest.mark.parametrize("floor", [0.0, 0.05])
def test_a_sum_is_taken_out_of_a_linear_state_without_the_rest_of_the_log(tmp_path, monkeypatch, floor):
    options = {"policy": "lin-ts", "floor": floor}
    folded, subtracted = (lived(tmp_path / name, range(60), **options) for name in ("folded", "subtracted"))
    assert folded.forget("zebulon").state == "folded"
    monkeypatch.setattr(learning, "QUICK", 0)
    monkeypatch.setattr(SqliteLedger, "outcomes", lambda self, start=0: iter(()))  # it does not look
    assert subtracted.forget("zebulon").state == "subtracted"
    monkeypatch.undo()
    assert left_in(tmp_path) == []
    for number in range(60, 70):
        visit(subtracted, number, "ann")
    assert subtracted.audit()
    learned = state(subtracted)
    crash(subtracted)
    forget_snapshots(tmp_path / "subtracted")
    with open_recommender(tmp_path / "subtracted", **{**OPTIONS, **options}) as again:
        assert state(again) == learned  # to the last bit, from the state after the subtraction on
        assert again.audit()


def test_the_subtracted_state_is_that_of_the_fold_up_to_rounding(tmp_path, monkeypatch):
    monkeypatch.setattr("secrets.token_bytes", lambda size: b"s" * size)
    found = []
    for quick in (0, 10_000):
        monkeypatch.setattr(learning, "QUICK", quick)
        with lived(tmp_path / str(quick), range(60), policy="lin-ucb") as shop:
            shop.forget("zebulon")
            found.append(shop.policy.weigh(shop._loop.learner.state, 1.0))  # a belief has many square roots
    assert all(np.allclose(one, other, rtol=0, atol=1e-9) for one, other in zip(*map(arrays.leaves, found), strict=True))


def test_a_state_from_which_another_share_was_subtracted_fails_the_audit(tmp_path, monkeypatch):
    monkeypatch.setattr(learning, "QUICK", 0)
    shop = lived(tmp_path, range(60), policy="lin-ts")
    share = learning.Learner.share
    monkeypatch.setattr(learning.Learner, "share", lambda self, outcomes: share(self, outcomes[:-1]))
    shop.forget("zebulon")
    assert not shop.audit()
    crash(shop)


def test_a_base_stays_when_a_user_without_rewards_is_forgotten(tmp_path, monkeypatch):
    monkeypatch.setattr(learning, "QUICK", 0)
    with lived(tmp_path, range(60), policy="lin-ts") as shop:
        assert shop.forget("zebulon").state == "subtracted"
        visit(shop, 60, "silent")
        assert shop.forget("silent")[:3] == (1, 0, 0)
        assert shop.forget("nobody").state == "nothing"
        assert shop.audit()
        before = state(shop)
    forget_snapshots(tmp_path)
    with open_recommender(tmp_path, **OPTIONS, policy="lin-ts") as shop:
        assert state(shop) == before


def test_with_another_policy_the_base_is_left_aside(tmp_path, monkeypatch):
    monkeypatch.setattr(learning, "QUICK", 0)
    shop = lived(tmp_path, range(40), policy="lin-ts")
    shop.forget("zebulon")
    shop.forget("u2")  # the second state takes the place of the first
    assert shop.audit()
    shop.close()
    for policy in ("lin-ucb", "lin-ts"):
        with open_recommender(tmp_path, **OPTIONS, policy=policy) as again:
            assert again.audit()


def test_open_windows_waiting_signals_and_corrections_go_too(tmp_path):
    now = 1_700_000_000.0
    feedback = Feedback(window=60, start=-30, signals={"click": 1.0}, late=1.0)
    options = {**OPTIONS, "policy": "lin-ts", "feedback": feedback, "clock": lambda: now}
    shop, slates = open_recommender(tmp_path, **options), []
    for number, user in enumerate(["zebulon", "ann", "zebulon", "ann"]):
        now += 10
        slate = shop.recommend(
            {"user_id": user, "home": "", "age": 1}, size=2, decision_id=f"nickname-zeb-{number}" if user == "zebulon" else f"d{number}"
        )
        slates += slate.ids
        shop.signal("click", decision_id=slate.decision_id, item=slate.ids[0], signal_id=f"{slate.decision_id}-click")
        if number == 1:
            now += 61
    shop.correct("nickname-zeb-0-click", 0.5)  # the window of the first has closed
    hidden = next(row["id"] for row in CATALOGUE if row["id"] not in slates)
    assert shop.signal("click", user="zebulon", item=hidden) == "early"
    assert len(left_in(tmp_path)) > 0
    done = shop.forget("zebulon")
    assert done[:4] == (2, 2 + 1, 2 + 1, 1)
    assert left_in(tmp_path) == []
    now += 61
    shop.settle()
    assert {reward.decision_id for reward, record in shop._loop.ledger.outcomes() if len(record.action)} == {"d1", "d3"}
    assert shop.audit()
    shop.close()
    assert [finding for finding in check_ledger(tmp_path) if finding.num_problems] == []


def test_a_forgotten_decision_is_unknown_and_its_name_is_free(tmp_path):
    with lived(tmp_path, range(8), policy="lin-ts") as shop:
        shop.forget("zebulon")
        with pytest.raises(recsdk.errors.UnknownDecision):
            shop.reward("nickname-zeb-1", 1.0, item="news-0")
        assert list(shop._loop.ledger.decisions_of("zebulon")) == []
        visit(shop, 1, "zebulon")  # comes again
        assert len(list(shop._loop.ledger.decisions_of("zebulon"))) == 1
        assert shop.audit()
        again = shop.forget("zebulon")
        assert again.num_decisions == again.num_rewards == 1
        assert shop.forget("nobody").state == "nothing"


def test_while_a_reader_holds_the_old_files_it_is_told_and_done_later(tmp_path):
    with lived(tmp_path, range(20), policy="lin-ts") as shop:
        reading = Sqlite().read(tmp_path)
        with pytest.raises(LedgerError, match="A reader has the ledger open as it was"):
            shop.forget("zebulon")
        assert shop.audit()
        assert list(shop._loop.ledger.decisions_of("zebulon")) == []
        reading.close()
        assert shop.forget("zebulon").num_decisions == 0
        assert left_in(tmp_path) == []


def test_killed_before_the_files_are_scrubbed_the_next_opening_does_so(tmp_path):
    shop = lived(tmp_path / "shop", range(20), policy="lin-ts")
    crash(shop)
    script = f"""
import os, signal
from pathlib import Path
from recsdk.ledger.sqlite import SqliteLedger
from tests.live.shop import open_recommender
from tests.live.test_forgetting import OPTIONS
SqliteLedger.scrub = lambda self: os.kill(os.getpid(), signal.SIGKILL)
open_recommender(Path({str(tmp_path / "shop")!r}), **OPTIONS, policy="lin-ts").forget("zebulon")
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9  # noqa: S603 - our own code
    assert left_in(tmp_path) != []
    with open_recommender(tmp_path / "shop", **OPTIONS, policy="lin-ts") as again:
        assert again.audit()
        assert left_in(tmp_path) == []
        assert list(again._loop.ledger.decisions_of("zebulon")) == []


def test_a_failure_in_the_middle_leaves_everything_as_it_was(tmp_path, monkeypatch):
    shop = lived(tmp_path, range(20), policy="lin-ts")
    learned = state(shop)

    def failing(self):
        raise MemoryError

    monkeypatch.setattr(learning.Learner, "keep", failing)
    with pytest.raises(MemoryError):
        shop.forget("zebulon")
    monkeypatch.undo()
    assert state(shop) == learned
    assert len(list(shop._loop.ledger.decisions_of("zebulon"))) == 5
    assert shop.audit()
    shop.close()


def test_an_emptied_record_that_is_damaged_is_noticed(tmp_path):
    with lived(tmp_path, range(8), policy="lin-ts") as shop:
        shop.forget("zebulon")
    db = sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)
    db.execute("UPDATE decisions SET time = time + 1 WHERE forgotten IS NOT NULL")
    db.close()
    (finding,) = (finding for finding in check_ledger(tmp_path) if finding.check == "records")
    assert "checksum" in finding.problems[0]


@pytest.mark.parametrize("user", ["", None, 1.5, True])
def test_what_is_no_key_of_a_user_is_refused(tmp_path, user):
    with lived(tmp_path, range(2), policy="lin-ts") as shop, pytest.raises(InvalidRequest, match="user must be the user's key"):
        shop.forget(user)


def test_a_ledger_that_cannot_be_emptied_is_refused(tmp_path):
    with lived(tmp_path, range(2), policy="lin-ts", ledger=Memory()) as shop, pytest.raises(InvalidValue, match="offers `redact`"):
        shop.forget("zebulon")


def test_decisions_that_were_moved_into_segments_are_forgotten_there_too(tmp_path):
    shop = lived(tmp_path / "shop", range(40), policy="lin-ts")
    learned, log = shop.num_learned, [record.decision_id for record in shop._loop.ledger.decisions() if record.user != "zebulon"]
    shop.close()
    assert Sqlite().compact(tmp_path / "shop", before=1e12, limit=30) == 30
    with open_recommender(tmp_path / "shop", **OPTIONS, policy="lin-ts") as shop:
        assert shop.forget("zebulon").num_decisions == 10
        assert left_in(tmp_path) == []
        for path in (tmp_path / "shop" / "segments").iterdir():  # its bytes are deflated
            assert not polars.read_parquet(path).filter(polars.col("decision_id").str.contains("zeb")).height
        held = list(shop._loop.ledger.decisions())
        assert [record.decision_id for record in held if len(record.action)] == log
        assert all(b"zebulon" not in str(record).encode() for record in held)
        assert shop.audit()
        assert shop.num_learned == learned
        assert shop.forget("zebulon").num_decisions == 0
    assert [finding for finding in check_ledger(tmp_path / "shop") if finding.num_problems] == []


def test_what_was_emptied_before_it_was_moved_into_segments_stays(tmp_path):
    with lived(tmp_path, range(40), policy="lin-ts") as shop:
        shop.forget("zebulon")
        log = list(map(str, shop._loop.ledger.decisions()))
    assert Sqlite().compact(tmp_path, before=1e12, limit=30) == 30
    with open_recommender(tmp_path, **OPTIONS, policy="lin-ts") as shop:
        assert list(map(str, shop._loop.ledger.decisions())) == log
        assert shop.forget("u0").num_decisions == 5
        left = list(shop._loop.ledger.decisions())
        assert [len(record.action) for record in left].count(0) == 15
        assert shop.audit()
    assert [finding for finding in check_ledger(tmp_path) if finding.num_problems] == []


def test_corrections_of_a_user_are_forgotten_after_a_swap_beside_challengers(tmp_path):
    trials = recsdk.Trials(challengers={"fading": recsdk.Discounted(policy=recsdk.LinTS(), discount=0.9)})
    with lived(tmp_path, range(8), policy="lin-ucb", reward_range=(0, 1), trials=trials, encoder=Hashing()) as shop:
        shop.correct(next(shop._loop.ledger.rewards()).reward_id, 0.5)
        shop.swap(encoder=Hashing(dim=4), history=[{"item": "news-0", "time": 1.0, "reward": 1.0}])
        assert shop.forget("zebulon").num_decisions == 2
        assert shop.audit()
        shop.swap(scorers=["recency"])
        assert shop.audit()


@pytest.mark.parametrize("feedback", [None, Feedback(window=60, signals={"click": 1}, per="page")])
def test_what_is_left_of_a_forgotten_user_is_unknown_and_takes_no_more(tmp_path, feedback):
    now = [1e6]
    with open_recommender(tmp_path, **OPTIONS | {"feedback": feedback, "policy": "lin-ts", "clock": lambda: now[0]}) as shop:
        shown = shop.recommend({"user_id": "ann", "home": "ur", "age": 1}, size=2)
        if feedback is None:
            shop.reward(shown.decision_id, 1.0, position=0)
        else:
            shop.signal("click", decision_id=shown.decision_id)
            now[0] += 100
            shop.settle()
        shop.forget("ann")
        (decision,), (reward,), before = shop._loop.ledger.decisions(), shop._loop.ledger.rewards(), state(shop)
        name = decision.decision_id
        assert name.startswith("forgotten-")
        assert {shop.correct(reward.reward_id, 1.0), shop.shown(name), shop.not_shown(name)} == {Receipt.UNKNOWN}
        for signal in shop._loop.ledger.signals():
            assert shop.correct(signal.signal_id, 1.0) == Receipt.UNKNOWN
        if feedback is None:
            for position in (0, "page"):
                with pytest.raises(UnknownDecision, match="No decision 'forgotten-"):
                    shop.reward(name, 1.0, position=position)
        else:
            assert shop.signal("click", decision_id=name) == Receipt.UNKNOWN
            for signal in shop._loop.ledger.signals():
                with pytest.raises(RewardConflict, match="was used before"):
                    shop.signal("click", user="bob", item=CATALOGUE[0]["id"], signal_id=signal.signal_id)
        assert (list(shop._loop.ledger.rewards()), state(shop), shop.audit()) == ([reward], before, True)
