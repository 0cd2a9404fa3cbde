"""The live loop across endings of every kind: its state is a fold over the ledger, to the last bit."""

import shutil
import sqlite3
import subprocess
import sys
from typing import ClassVar

import attrs
import numpy as np
import pytest

import recsdk
from recsdk import errors
from recsdk.ledger._ledger import SqliteLedger
from recsdk.ledger._recent import Recent
from recsdk.ledger._schema import SCHEMA_VERSION
from recsdk.ledger.progress import Progress
from recsdk.ledger.sqlite import Sqlite
from recsdk.live.checking import check_ledger
from recsdk.live.rewards import Receipt
from tests.live.shop import (
    CATALOGUE,
    Centred,
    Clock,
    NativeTally,
    TopicTally,
    alter,
    catalogue,
    crash,
    forget_snapshots,
    open_recommender,
    request,
    serve,
    small_recommender,
    state,
    tables,
)
from tests.processes import ROOT, run_python

HISTORY = [{"item": row["id"], "time": number, "user_id": f"u{number % 7}"} for number, row in enumerate(CATALOGUE)]
ONLINE = {"scorers": ["popularity", "item-knn", TopicTally()], "history": HISTORY}


def decided(shop, name, number, time):
    """Returns a decision on three items that is not kept."""
    found = shop._loop.decider.candidates(name, recsdk.Request(request(number), time), None, [])
    return shop._loop.decider.decide(name, time, 3, found, "").record


def work(shop):
    """Decides and learns while items go, come back as others, and are added."""
    serve(shop, range(20))
    shop.remove_items(["news-0", "sport-1"])
    shop.add_items([{"id": "fresh", "topic": "film", "price": 3.0, "colour": "red"}])
    serve(shop, range(20, 40), size=3)
    shop.add_items([{"id": "news-0", "topic": "retro", "price": 9.0}])
    shop.remove_items(["fresh"])
    for number in range(5):  # of items that have gone or changed by now
        slate = shop.recommend(request(number), size=2, decision_id=f"d{number}")
        shop.reward(f"d{number}", 0.5, item=slate.ids[1])


def ended(folder, shop, how):
    crash(shop) if "killed" in how else shop.close()
    if "no snapshot" in how:
        forget_snapshots(folder)
    if "damaged" in how:
        alter(folder, "UPDATE blobs SET data = zeroblob(100) WHERE name = 'snapshot/policy'")
    if "half" in how:
        alter(folder, "DELETE FROM blobs WHERE name = 'snapshot/scorer2'")
    if "early" in how:
        alter(folder, "DELETE FROM rewards WHERE number > 40")


MIXED = recsdk.Mixture(policies=(NativeTally(), recsdk.LinUCB()), shares=(0.5, 0.5))


@pytest.mark.parametrize("policy", ["lin-ts", "lin-ucb", Centred(), NativeTally(), MIXED], ids=str)
@pytest.mark.parametrize("how", ["closed", "killed", "closed, no snapshot", "killed, no snapshot", "closed, damaged", "closed, half"])
def test_the_state_and_the_catalogue_are_the_same_after_opening_again(tmp_path, policy, how):
    options = {**ONLINE, "policy": policy, "snapshot_every": 17}
    shop = open_recommender(tmp_path, **options)
    work(shop)
    learned, held = state(shop), catalogue(shop)
    answers = [decided(shop, f"e{number}", number, 2e6).probs for number in range(5)]
    ended(tmp_path, shop, how)
    with open_recommender(tmp_path, **options) as shop:
        assert state(shop) == learned
        assert catalogue(shop) == held
        again = [decided(shop, f"e{number}", number, 2e6).probs for number in range(5)]
        np.testing.assert_array_equal(again, answers)
        serve(shop, range(40, 45))
        continued = state(shop)
    with open_recommender(tmp_path, **options) as shop:
        assert state(shop) == continued


def test_a_snapshot_ahead_of_the_ledger_is_not_used(tmp_path):
    shop = open_recommender(tmp_path, **ONLINE)
    work(shop)
    ended(tmp_path, shop, "closed, early")
    assert Sqlite().repair(tmp_path).rewards == 5
    with open_recommender(tmp_path, **ONLINE) as shop:
        assert shop.num_learned == 40
        assert shop.audit()


def test_recovery_folds_only_what_came_after_the_snapshot(tmp_path, monkeypatch):
    shop = open_recommender(tmp_path, snapshot_every=10)
    serve(shop, range(25))
    crash(shop)
    folded = []
    fold = recsdk.live.learner.Learner._fold
    monkeypatch.setattr("recsdk.live.learner.Learner._fold", lambda self, lessons: (folded.extend(lessons), fold(self, lessons)))
    with open_recommender(tmp_path) as shop:
        assert len(folded) == 5
        assert shop.num_learned == 25


def test_recovering_twice_is_recovering_once(tmp_path):
    shop = open_recommender(tmp_path, **ONLINE)
    work(shop)
    crash(shop)
    states = []
    for _ in range(2):
        shop = open_recommender(tmp_path, **ONLINE)
        states.append((state(shop), catalogue(shop)))
        crash(shop)
    assert states[0] == states[1]


def test_another_policy_learns_from_the_whole_ledger_and_the_first_can_return(tmp_path):
    with open_recommender(tmp_path, policy="lin-ts", **ONLINE) as shop:
        work(shop)
        first = state(shop)
    with open_recommender(tmp_path, policy=recsdk.LinUCB(ridge=2.0), **ONLINE) as shop:
        other = state(shop)
        assert shop.audit()
    assert other[0] == first[0]
    assert other[1] != first[1]
    with open_recommender(tmp_path, policy="lin-ts", **ONLINE) as shop:
        assert state(shop) == first


def test_a_policy_that_learns_from_all_needs_a_ledger_that_kept_all(tmp_path):
    with open_recommender(tmp_path / "shown") as shop:
        serve(shop, range(3))
    with pytest.raises(errors.LedgerMismatch, match=r"Centred.* learns from all .* log_features must be 'all'"):
        open_recommender(tmp_path / "shown", policy=Centred())
    open_recommender(tmp_path / "shown").close()
    with open_recommender(tmp_path / "all", log_features="all") as shop:
        serve(shop, range(3))
    with open_recommender(tmp_path / "all", policy=Centred()) as shop:
        assert shop._loop.learner.state.seen == 3 * 12


def test_a_folder_is_open_once(tmp_path):
    with small_recommender(tmp_path):
        with pytest.raises(errors.LedgerLocked, match=r"open in this process: close that recommender first\. One process serves a folder"):
            small_recommender(tmp_path)
        script = f"from tests.live.shop import *; small_recommender({str(tmp_path)!r})"
        assert "LedgerLocked" in run_python("-c", script).stderr
    small_recommender(tmp_path).close()


HOLD = """
import signal, sys
from tests.live.shop import small_recommender
held = small_recommender(sys.argv[1])
print("open", flush=True)
signal.pause()
"""


def test_a_killed_process_lets_go_of_the_folder(tmp_path):
    command = [sys.executable, "-c", HOLD, tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:  # noqa: S603 -- our own script
        assert process.stdout.readline() == "open\n"
        with pytest.raises(errors.LedgerLocked):
            small_recommender(tmp_path)
        process.kill()
    small_recommender(tmp_path).close()


FORK = """
import os, sys
from tests.live.shop import small_recommender
from recsdk.errors import LedgerError
shop = small_recommender(sys.argv[1])
shop.recommend({}, decision_id="d")
child = os.fork()
if child == 0:
    try:
        shop.reward("d", 1.0)
    except LedgerError as error:
        print(error, flush=True)
    shop.close()
    os._exit(0)
os.waitpid(child, 0)
print(shop.reward("d", 1.0), shop.num_learned, shop.audit())
shop.close()
"""


def test_a_forked_copy_can_neither_use_nor_close_a_recommender(tmp_path):
    assert run_python("-c", FORK, str(tmp_path)).stdout.splitlines() == [
        "This recommender was opened before a fork: open it afterwards, in the one process that is to use it.",
        "True 1 True",
    ]


@attrs.frozen(kw_only=True)
class Refusing(Centred):
    """Refuses or fails on the third reward, after it has already changed its state."""

    error: type = errors.InvalidReward
    learns_from: ClassVar[str] = "chosen"

    def update(self, state, interaction):
        if interaction.reward == 13.0:
            raise errors.InvalidReward("reward must be lucky, got 13.")
        state = super().update(state, interaction)
        if interaction.reward == 666.0:
            raise self.error("in the middle")
        return state


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("bad", [13.0, 666.0])
def test_a_policy_that_raises_in_the_middle_of_a_slate_leaves_nothing_behind(tmp_path, error, bad):
    if bad == 13.0:
        error = errors.InvalidReward
    with open_recommender(tmp_path, policy=Refusing(), **ONLINE) as shop:
        object.__setattr__(shop.policy.policy, "error", error)
        serve(shop, range(5))
        ids = shop.recommend(request(0), size=4, decision_id="d").ids
        before = tables(tmp_path), state(shop)
        with pytest.raises(error):
            shop.reward_slate("d", {ids[0]: 1.0, ids[2]: bad, ids[3]: 2.0})
        assert (tables(tmp_path), state(shop)) == before
        assert shop.reward_slate("d", {ids[0]: 1.0, ids[2]: 3.0, ids[3]: 2.0})
        assert shop.audit()


def test_a_refusal_of_the_first_reward_costs_no_recovery(tmp_path, monkeypatch):
    with open_recommender(tmp_path, policy=Refusing()) as shop:
        serve(shop, range(5))
        before = tables(tmp_path), state(shop)
        monkeypatch.setattr("recsdk.live.learner.Learner.recover", None)
        shop.recommend(request(0), decision_id="d")
        with pytest.raises(errors.InvalidReward, match="lucky"):
            shop.reward("d", 13.0)
        assert state(shop) == before[1]
        assert tables(tmp_path)["rewards"] == before[0]["rewards"]


@attrs.frozen(kw_only=True)
class Fickle(TopicTally):
    """Changes its state and then raises on one reward."""

    def update(self, state, request, item, reward):
        state = super().update(state, request, item, reward)
        if reward == 13.0:
            raise errors.InvalidRequest("I do not like it.")
        return state


def test_a_scorer_that_refuses_a_reward_leaves_nothing_behind(tmp_path):
    with open_recommender(tmp_path, scorers=["popularity", Fickle(), "recency"]) as shop:
        serve(shop, range(5))
        shop.recommend(request(0), decision_id="d")
        before = tables(tmp_path), state(shop)
        with pytest.raises(errors.InvalidRequest, match="do not like"):
            shop.reward("d", 13.0)
        assert (tables(tmp_path), state(shop)) == before
        assert shop.reward("d", 1.0)
        assert shop.audit()


class Failing:
    """A connection that fails at one statement, before or after it has taken effect."""

    def __init__(self, db, statement, when):
        self._db, self._statement, self._when = db, statement, when

    def __getattr__(self, name):
        return getattr(self._db, name)

    def execute(self, statement, *values):
        failing = statement.startswith(self._statement)
        if failing and self._when == "before":
            raise sqlite3.OperationalError("disk I/O error")
        result = self._db.execute(statement, *values)
        if failing:
            raise sqlite3.OperationalError("disk I/O error")
        return result


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("statement", ["BEGIN", "INSERT INTO rewards", "COMMIT"])
def test_when_the_ledger_fails_the_state_is_still_the_fold_over_it(tmp_path, statement, when):
    with open_recommender(tmp_path, **ONLINE) as shop:
        serve(shop, range(5))
        ids = shop.recommend(request(0), size=3, decision_id="d").ids
        before, real = state(shop), shop._loop.ledger._db
        shop._loop.ledger._db = Failing(real, statement, when)
        with pytest.raises(errors.LedgerError, match="disk I/O error"):
            shop.reward_slate("d", {ids[0]: 1.0, ids[1]: 2.0})
        shop._loop.ledger._db = real
        committed = (statement, when) == ("COMMIT", "after")
        assert (state(shop) == before) == (not committed)
        assert shop.audit()
        assert shop.reward_slate("d", {ids[0]: 1.0, ids[1]: 2.0}) == (not committed)  # the caller may simply repeat
        assert shop.num_learned == len(tables(tmp_path)["rewards"]) == 8
        assert shop.audit()


@pytest.mark.parametrize("when", ["before", "after"])
def test_when_a_reward_by_itself_cannot_be_written_the_state_is_still_the_fold_over_the_ledger(tmp_path, when):
    with open_recommender(tmp_path, **ONLINE) as shop:
        serve(shop, range(5))
        shop.recommend(request(0), decision_id="d")
        before, real = state(shop), shop._loop.ledger._db
        shop._loop.ledger._db = Failing(real, "INSERT INTO rewards", when)
        with pytest.raises(errors.LedgerError, match="disk I/O error"):
            shop.reward("d", 1.0)
        shop._loop.ledger._db = real
        assert (state(shop) == before) == (when == "before")
        assert shop.audit()
        assert shop.reward("d", 1.0) == (when == "before")
        assert shop.num_learned == len(tables(tmp_path)["rewards"]) == 6
        assert shop.audit()


STEPS = {"chained": (Progress, "chain"), "written": (SqliteLedger, "_write"), "kept": (Recent, "reward")}


@pytest.mark.parametrize("step", STEPS)
def test_a_reward_that_is_interrupted_after_any_step_is_there_or_not_and_is_learned_once(tmp_path, monkeypatch, step):
    owner, name = STEPS[step]
    call = getattr(owner, name)

    def interrupted(self, *arguments):
        call(self, *arguments)
        raise KeyboardInterrupt

    with open_recommender(tmp_path, **ONLINE) as shop:
        serve(shop, range(5))
        ids = shop.recommend(request(0), size=2, decision_id="d").ids
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, interrupted)
            with pytest.raises(KeyboardInterrupt):
                shop.reward("d", 1.0, item=ids[0])
        assert shop.num_learned == len(tables(tmp_path)["rewards"]) == 5 + (step != "chained")
        assert shop.reward("d", 1.0, item=ids[0]) == (step == "chained")
        with pytest.raises(errors.RewardConflict):
            shop.reward("d", 1.0, position="page")
        assert shop.correct("d/0", 0.0) == Receipt.TAKEN
        assert shop.audit()
        learned = state(shop)
    with open_recommender(tmp_path, **ONLINE) as again:
        assert state(again) == learned
        assert again.audit()
    assert not any(finding.num_problems for finding in check_ledger(tmp_path))


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("statement", ["INSERT INTO parts", "INSERT INTO decisions"])
def test_a_decision_that_could_not_be_written_is_the_same_when_it_is_repeated(tmp_path, statement, when):
    with open_recommender(tmp_path) as shop:
        real = shop._loop.ledger._db
        shop._loop.ledger._db = Failing(real, statement, when)
        with pytest.raises(errors.LedgerError, match="disk I/O error"):
            shop.recommend(request(0), size=3, decision_id="d")
        shop._loop.ledger._db = real
        wanted = decided(shop, "d", 0, 1e6)
        assert shop.recommend(request(0), size=3, decision_id="d").ids == tuple(shop.catalogue.items.ids[wanted.slots[wanted.action]])
        assert len(tables(tmp_path)["decisions"]) == 1


@pytest.mark.parametrize("statement", ["BEGIN", "INSERT INTO items", "COMMIT"])
def test_when_the_ledger_fails_the_catalogue_stays_as_it_was(tmp_path, statement):
    with open_recommender(tmp_path) as shop:
        held, rows, real = catalogue(shop), tables(tmp_path)["items"], shop._loop.ledger._db
        for call in (lambda: shop.add_items([{"id": "x"}, {"id": "y"}]), lambda: shop.remove_items(["news-0"])):
            shop._loop.ledger._db = Failing(real, statement, "before")
            with pytest.raises(errors.LedgerError, match="disk I/O error"):
                call()
            shop._loop.ledger._db = real
            assert catalogue(shop) == held
            assert tables(tmp_path)["items"] == rows
            assert "x" not in shop.catalogue
        shop.add_items([{"id": "x"}])
        assert shop.catalogue.slots(["x"]).tolist() == [12]


def test_a_ledger_that_stays_broken_closes_the_recommender(tmp_path):
    shop = open_recommender(tmp_path)
    serve(shop, range(5))
    shop.recommend(request(0), decision_id="d")
    learned = state(shop)
    shop._loop.ledger._db = Failing(shop._loop.ledger._db, "", "before")
    shop._loop.learner.learn = None  # so that the state has to be recovered, which the ledger cannot do
    shop._loop.learner.num_learned += 1
    with pytest.raises(errors.LedgerError):
        shop._loop._mend(is_ahead=True)
    with pytest.raises(errors.LedgerError, match="closed"):
        shop.recommend({})
    with open_recommender(tmp_path) as shop:
        assert state(shop) == learned


@pytest.mark.parametrize("statement", ["BEGIN", "INSERT OR REPLACE INTO blobs", "COMMIT"])
def test_a_snapshot_that_could_not_be_written_leaves_the_one_before(tmp_path, statement):
    shop = open_recommender(tmp_path, **ONLINE)
    serve(shop, range(5))
    shop.snapshot()
    serve(shop, range(5, 9))
    learned, blobs, real = state(shop), tables(tmp_path)["blobs"], shop._loop.ledger._db
    shop._loop.ledger._db = Failing(real, statement, "before")
    with pytest.raises(errors.LedgerError, match="disk I/O error"):
        shop.snapshot()
    shop._loop.ledger._db = real
    assert tables(tmp_path)["blobs"] == blobs
    crash(shop)
    with open_recommender(tmp_path, **ONLINE) as shop:
        assert state(shop) == learned


@pytest.mark.parametrize("statement", ["PRAGMA journal_mode", "BEGIN", "INSERT OR REPLACE INTO blobs", "INSERT INTO items", "COMMIT"])
def test_a_folder_that_was_made_half_way_opens_as_a_new_one(tmp_path, monkeypatch, statement):
    real = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path, **options: Failing(real(path, **options), statement, "before"))
    with pytest.raises(errors.LedgerError, match="disk I/O error"):
        open_recommender(tmp_path, **ONLINE)
    monkeypatch.undo()
    reordered = {**ONLINE, "items": CATALOGUE[::-1]}
    with open_recommender(tmp_path, **reordered) as shop, open_recommender(tmp_path / "new", **reordered) as other:
        assert len(shop.catalogue) == 12
        assert state(shop) == state(other)  # what was fitted half way, to other slots, is forgotten
        work(shop)
        assert shop.audit()


def test_native_states_are_freed(tmp_path):
    NativeTally.open_states.clear()
    shop = open_recommender(tmp_path, policy=NativeTally(), snapshot_every=3)
    serve(shop, range(10))
    shop._loop.learner.recover()
    assert len(NativeTally.open_states) == 1
    shop.close()
    assert NativeTally.open_states == []
    alter(tmp_path, "DELETE FROM blobs WHERE name = 'snapshot/scorer2'")
    with open_recommender(tmp_path, policy=NativeTally()):
        assert len(NativeTally.open_states) == 1
    assert NativeTally.open_states == []


def test_a_copied_folder_goes_on_by_itself_with_the_same_answers(tmp_path):
    with open_recommender(tmp_path / "one", **ONLINE) as shop:
        work(shop)
    shutil.copytree(tmp_path / "one", tmp_path / "other")
    slates = []
    for name in ("one", "other"):
        with open_recommender(tmp_path / name, clock=Clock(3e6), **ONLINE) as shop:
            slates.append(serve(shop, range(100, 110), size=3))
    assert slates[0] == slates[1]


def test_a_ledger_of_a_later_version_is_refused(tmp_path):
    small_recommender(tmp_path).close()
    alter(tmp_path, f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    with pytest.raises(errors.LedgerMismatch, match=f"version {SCHEMA_VERSION + 1}, this recsdk reads versions up to {SCHEMA_VERSION}"):
        small_recommender(tmp_path)
    alter(tmp_path, f"PRAGMA user_version={SCHEMA_VERSION}")
    small_recommender(tmp_path, ledger=Sqlite(durability="power-loss")).close()
