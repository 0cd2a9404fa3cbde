"""Decisions in another process: the same as the recommender's own to the last bit, counted once, and refused where they are not."""

import contextlib
import json
import shutil
import sqlite3
import threading
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import recsdk
from recsdk.encoders.frozen import Frozen
from recsdk.errors import (
    CheckpointCorrupt,
    CheckpointMismatch,
    DecisionConflict,
    EarlyDecision,
    ExpiredDecision,
    IgnoredInput,
    InvalidRequest,
    InvalidReward,
    InvalidValue,
    LedgerError,
    LedgerLocked,
    ModelRefused,
    RewardConflict,
    TooFewCandidates,
    Unknown,
    UnknownDecision,
    UnknownItem,
)
from recsdk.live import elsewhere, exported, local, marks, outbox
from recsdk.live.checking import check_ledger
from recsdk.live.local import LocalRecommender
from recsdk.live.reproduce import reproduce
from recsdk.live.skew import recompute
from recsdk.policies.linear import Boltzmann

pytestmark = pytest.mark.filterwarnings("ignore::recsdk.errors.IgnoredInput")
NOW = 2_000_000_000.0
ITEMS = [{"id": f"i{number}", "price": float(number), "kind": "ab"[number % 2], "added": NOW - 86_400.0 * number} for number in range(30)]
IDS = [row["id"] for row in ITEMS]


def opened(folder, **options):
    chosen = {"policy": "lin-ts", "scorers": ["popularity", "recency"], "reward_range": (0, 1), "log_features": "all"}
    return recsdk.Recommender.open(folder, items=ITEMS, **chosen | {"clock": lambda: NOW, "num_candidates": 12} | options)


def visits(shop, num=9):
    for number in range(num):
        slate = shop.recommend({"user_id": f"u{number % 5}", "price": float(number)}, size=2)
        shop.reward(slate.decision_id, float(number % 3 == 0), position=0)


@pytest.fixture
def shop(tmp_path):
    with opened(tmp_path / "shop") as found:
        visits(found)
        yield found


@pytest.fixture
def kiosk(shop):
    with LocalRecommender.load(shop.export(), clock=lambda: NOW) as found:
        yield found


def record(shop, name):
    return shop._loop.ledger.decision(name)


def state(shop):
    shop.snapshot()
    return shop._loop.ledger.get("snapshot/policy"), shop.num_learned


@pytest.fixture(scope="module", params=["lin-ts", "neighbours"])
def pair(request, tmp_path_factory):
    """A recommender and another process of it: one that samples its candidates, and one with an encoder whose policy gives odds."""
    folder, options = tmp_path_factory.mktemp("pair"), {}
    if request.param == "neighbours":
        rng = np.random.default_rng(0)
        np.savez(folder / "items.npz", ids=IDS, vectors=rng.normal(size=(len(IDS), 4)))
        options = {"encoder": Frozen(vectors=str(folder / "items.npz"), dim=4), "policy": Boltzmann(), "floor": 0.0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shop = opened(folder / "shop", **options)
        visits(shop)
        shop.remove_items(["i3"])
        shop.change_items([{"id": "i4", "price": 400.0}])
    with shop, LocalRecommender.load(shop.export(), clock=lambda: NOW) as kiosk:
        yield shop, kiosk


ids = st.sampled_from([item for item in IDS if item != "i3"])
asking = st.fixed_dictionaries(
    {"request": st.dictionaries(st.sampled_from(["price", "kind"]), st.one_of(st.floats(-1e6, 1e6), st.sampled_from(["a", "b"])))},
    optional={
        "size": st.integers(1, 5),
        "at_most": st.booleans(),
        "user": st.sampled_from(["ann", "bob"]),
        "candidates": st.lists(ids, min_size=5, max_size=9, unique=True),
        "pinned": st.dictionaries(st.just(0), ids),
        "promoted": st.just({0: ["i1", "i2"]}),
    },
).filter(lambda asked: not (asked.get("pinned") and asked.get("promoted")))
NUMBERS = iter(range(10**9))


@settings(max_examples=25, deadline=None)
@given(asking)
def test_another_process_decides_as_the_recommender_to_the_last_bit(pair, asked):
    shop, kiosk = pair
    name = f"same-{next(NUMBERS)}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IgnoredInput)
        here, there = shop.recommend(**asked, decision_id=name), kiosk.recommend(**asked, decision_id=name)
    assert here == there
    (one,) = [found for found in kiosk.batch().decisions if found.decision_id == name]
    assert one.digest == local.digest(record(shop, name))
    kiosk._outbox.sent([call.number for call in kiosk._outbox.waiting(10, 10**6)])


@settings(max_examples=10, deadline=None)
@given(asking)
def test_what_the_recommender_writes_is_what_it_would_have_decided_itself(pair, asked):
    shop, kiosk = pair
    name = f"taken-{next(NUMBERS)}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IgnoredInput)
        slate = kiosk.recommend(**asked, decision_id=name)
        assert kiosk.send(shop) == (1, 0, ())
        assert shop.recommend(**asked, decision_id=name) == slate  # the same name is the same decision
    written, parts = record(shop, name), json.loads(shop._loop.decider._parts)
    assert json.loads(written.parts) == parts
    assert (written.time, written.num_learned) == (NOW, shop.num_learned)
    assert marks.read(written).local == kiosk.name


def test_what_was_decided_elsewhere_is_learned_recovered_evaluated_and_checked(tmp_path, shop, kiosk):
    before = shop.num_learned
    shown = [kiosk.recommend({"user_id": "ann", "price": float(number)}, size=2) for number in range(10)]
    visits(shop, 10)  # it learns on meanwhile
    for number, slate in enumerate(shown):
        assert kiosk.reward(slate.decision_id, float(number % 2), position=0)
    shop.swap(scorers=["popularity"])  # and another model serves
    assert kiosk.send(shop) == (20, 0, ())
    assert (shop.num_learned, kiosk.num_waiting, shop.audit()) == (before + 20, 0, True)
    kept = state(shop)
    shop.close()
    with opened(tmp_path / "shop", scorers=["popularity"]) as again:
        assert state(again) == kept
        assert again.audit()
    assert reproduce(tmp_path / "shop").agreement == "same"
    log = recsdk.read_ledger(tmp_path / "shop")
    assert log.propensity[-10:].tolist() == [slate.propensities[0] for slate in shown]
    assert [found.told for found in check_ledger(tmp_path / "shop") if found.num_problems] == []


def test_decisions_of_another_process_can_be_made_again_from_the_log_alone(tmp_path, shop, kiosk):
    for number in range(10):
        kiosk.recommend({"price": float(number)}, size=3)
    visits(shop, 10)
    kiosk.send(shop)
    shop.close()
    assert recompute(tmp_path / "shop", share=1.0) == (29, {}, 0)


def test_decisions_about_items_that_have_changed_before_they_came_give_no_false_alarm(tmp_path):
    with (
        opened(tmp_path / "shop", scorers=["recency", "content"]) as shop,
        LocalRecommender.load(shop.export(), clock=lambda: NOW) as kiosk,
    ):
        few, many = IDS[:5], IDS[5:15]
        for number in range(4):
            kiosk.recommend({"price": 1.0}, candidates=few, decision_id=f"few-{number}")
            kiosk.recommend({"price": 1.0}, candidates=many, decision_id=f"many-{number}")
        shop.change_items([{"id": "i3", "price": 999.0, "kind": "b", "added": NOW - 5.0}])
        kiosk.send(shop)
        visits(shop, 5)
    assert recompute(tmp_path / "shop", share=1.0) == (9, {}, 4)


def test_decisions_of_another_process_are_forgotten_as_all_are(tmp_path, shop, kiosk):
    for number in range(4):
        kiosk.reward(kiosk.recommend({"user_id": f"v{number % 2}"}).decision_id, 1.0)
    visits(shop, 5)
    kiosk.send(shop)
    assert shop.forget("v0").num_decisions == 2
    assert shop.audit()
    shop.close()
    assert [found.told for found in check_ledger(tmp_path / "shop") if found.num_problems] == []


def test_challengers_are_judged_by_what_another_process_has_decided(tmp_path):
    options = {"trials": recsdk.Trials(challengers={"bold": "lin-ucb"})}
    with opened(tmp_path / "shop", **options) as shop:
        visits(shop)
        with LocalRecommender.load(shop.export(), clock=lambda: NOW) as kiosk:
            for number in range(6):
                kiosk.reward(kiosk.recommend({}).decision_id, float(number % 2))
            visits(shop, 5)
            kiosk.send(shop)
        standings = shop.standings()
        assert (standings[0].num_rounds, shop.audit()) == (20, True)
    with opened(tmp_path / "shop", **options) as again:
        assert (again.standings(), again.audit()) == (standings, True)


def away(shop, kiosk, times):
    """Lets another process decide at some times, as its clock says."""
    for number, time in enumerate(times):
        kiosk._clock = lambda time=time: time
        kiosk.recommend({}, decision_id=f"d{number}")


def test_a_time_from_before_the_export_is_refused_here_and_there(monkeypatch, shop, kiosk):
    for time in (-1e300, 0.0, NOW - 61.0):
        kiosk._clock = lambda time=time: time
        with pytest.raises(InvalidValue, match=f"clock must be at least {NOW}"):
            kiosk.recommend({})
    assert kiosk.num_waiting == 0
    monkeypatch.setattr(exported, "require_after", lambda *_: None)  # as another program may
    away(shop, kiosk, [-1e300, 0.0, NOW - 61.0, NOW - 59.0])
    monkeypatch.undo()
    sent = kiosk.send(shop)
    assert [(call.decision_id, type(error)) for call, error in sent.refused] == [(f"d{number}", InvalidValue) for number in range(3)]
    assert all(str(error).startswith(f"time must be at least {NOW}") for _, error in sent.refused)
    assert (sent.num_new, kiosk.num_waiting) == (1, 0)


def test_a_decision_that_is_too_early_waits_with_its_rewards_and_stops_no_other(monkeypatch, tmp_path):
    times = [NOW]
    with opened(tmp_path / "shop", clock=lambda: times[0]) as shop, LocalRecommender.load(shop.export()) as kiosk:
        monkeypatch.setattr(local, "AT_ONCE", 1)
        away(shop, kiosk, [NOW + 3_600.0, NOW + 59.0, NOW])
        for number in range(3):
            kiosk.reward(f"d{number}", 1.0)
        sent = kiosk.send(shop)
        assert sent.num_new == 4
        assert [(call.decision_id, type(error)) for call, error in sent.refused] == [("d0", EarlyDecision), ("d0", UnknownDecision)]
        assert str(sent.refused[0][1]).startswith(f"time must be at most {NOW}")
        assert (record(shop, "d0"), kiosk.num_waiting) == (None, 2)
        times[0] += 3_600.0
        assert (kiosk.send(shop), kiosk.num_waiting) == ((2, 0, ()), 0)


def test_the_same_state_is_the_same_export_at_any_time(tmp_path):
    times = [NOW]
    with opened(tmp_path / "shop", clock=lambda: times[0]) as shop:
        data = shop.export()
        times[0] += 9.0
        assert shop.export() == data
        visits(shop, 1)
        assert shop.export() != data


def test_what_was_taken_is_known_though_its_export_is_kept_no_more(shop, kiosk):
    slate = kiosk.recommend({"user_id": "ann"}, size=2)
    kiosk.reward(slate.decision_id, 1.0, position=0)
    shop.take(kiosk.batch().decisions)  # and the answer is lost
    for _ in range(exported.KEPT):
        visits(shop, 1)
        shop.export()
    assert not exported.is_kept(shop._loop.ledger, kiosk.name)
    other = kiosk.batch().decisions[0]
    (conflict,) = shop.take([other._replace(digest="0")])
    assert isinstance(conflict, DecisionConflict)
    assert kiosk.send(shop) == (1, 1, ())


def test_a_refusal_tells_no_digest_that_would_be_taken(shop, kiosk):
    kiosk.recommend({}, decision_id="d1")
    (one,) = kiosk.batch().decisions
    (error,) = shop.take([one._replace(digest="0" * 32)])
    assert one.digest not in str(error)
    (error,) = shop.take([one._replace(arguments={**one.arguments, "deferred": True})])
    assert isinstance(error, InvalidRequest)
    assert shop.take([one]) == [True]


WRONG = [{"export": ["a"]}, {"export": 3}, {"digest": None}, {"time": "x"}, {"arguments": None}, {"arguments": {"request": {}, 3: 1}}]
WRONG += [
    {"arguments": ["request"]},
    {"decision_id": 3},
    {"arguments": {"request": {}, "size": "2"}},
    {"arguments": {"request": {}, "seen": 3}},
]


@pytest.mark.parametrize("wrong", WRONG)
def test_a_field_of_another_type_is_refused_and_the_rest_is_taken(shop, kiosk, wrong):
    for name in ("first", "wrong", "last"):
        kiosk.recommend({}, decision_id=name)
    first, middle, last = kiosk.batch().decisions
    answers = shop.take([first, middle._replace(**wrong), last])
    assert (answers[0], answers[2]) == (True, True)
    assert isinstance(answers[1], InvalidValue)


LARGE = [{"user": "u" * 1_025}, {"request": {"x" * 1_025: 1}}, {"request": {"x": "x" * 4_097}}, {"request": {"x": ["x" * 4_097]}}]
LARGE += [{"request": {str(number): 1 for number in range(4_097)}}, {"seen": [f"{number:060}" for number in range(4_000)]}]


@pytest.mark.parametrize("asked", LARGE)
def test_what_the_service_could_not_read_is_refused_before_the_draw(kiosk, asked):
    with pytest.raises(InvalidRequest, match="so that the service can read it"):
        kiosk.recommend(**{"request": {}} | asked)
    assert kiosk.num_waiting == 0


def test_of_a_user_who_is_forgotten_nothing_waits_and_no_byte_is_left(tmp_path, shop):
    path = tmp_path / "outbox.db"
    with LocalRecommender.load(shop.export(), outbox=path, clock=lambda: NOW) as kiosk:
        assert path.stat().st_mode & 0o777 == 0o600
        sent = kiosk.recommend({"user_id": "ann-smith", "likes": "ann-smith's tea"}, decision_id="sent")
        kiosk.send(shop)
        assert kiosk.recommend({"user_id": "ann-smith", "likes": "ann-smith's tea"}, decision_id="sent") == sent
        with pytest.raises(DecisionConflict):
            kiosk.recommend({"user_id": "bob"}, decision_id="sent")
        for number in range(40):
            kiosk.recommend({}, user="ann-smith", decision_id=f"d{number}")
        kiosk.recommend({"user_id": "bob"}, decision_id="bob's")
        kiosk.reward("d3", 1.0)
        kiosk.reward("bob's", 1.0)
        kiosk.reward("sent", 1.0)
        assert (kiosk.forget("ann-smith"), kiosk.forget("ann-smith"), kiosk.num_waiting) == (41, 0, 3)
        assert not [file for file in tmp_path.glob("outbox.db*") if b"ann-smith" in file.read_bytes()]
        with pytest.raises(UnknownDecision):
            kiosk.reward("d3", 1.0)
        assert kiosk.send(shop) == (3, 0, ())


class Failing:
    """A database of which the first commit fails."""

    def __init__(self, db):
        self._db, self._fails = db, True

    def __getattr__(self, name):
        return getattr(self._db, name)

    def execute(self, statement, *values):
        if statement == "COMMIT" and self._fails:
            self._fails = False
            raise sqlite3.OperationalError("disk I/O error")
        return self._db.execute(statement, *values)


def test_a_commit_that_fails_leaves_the_outbox_as_it_was(shop, kiosk):
    kiosk.recommend({}, decision_id="d1")
    kiosk._outbox._db = Failing(kiosk._outbox._db)
    with pytest.raises(LedgerError, match="disk"):
        kiosk.send(shop)
    assert not kiosk._outbox._db.in_transaction
    assert (kiosk.num_waiting, kiosk.send(shop), kiosk.num_waiting) == (1, (0, 1, ()), 0)


def during(monkeypatch, work):
    """Does something in another thread, once, while an export is checked."""
    checked, todo = exported.opened, [work]

    def opened_slowly(data):
        if todo:
            thread = threading.Thread(target=todo.pop())
            thread.start()
            thread.join(20)
            assert not thread.is_alive()
        return checked(data)

    monkeypatch.setattr(exported, "opened", opened_slowly)


def test_others_decide_while_an_export_is_checked(monkeypatch, shop):
    during(monkeypatch, lambda: visits(shop, 1))
    before = shop.num_learned
    assert exported.is_kept(shop._loop.ledger, exported.name(shop.export()))
    assert shop.num_learned == before + 1


def test_an_export_that_knows_a_user_who_is_forgotten_meanwhile_is_made_anew(monkeypatch, shop):
    during(monkeypatch, lambda: shop.forget("u1"))
    data = shop.export()
    assert list(exported.kept(shop._loop.ledger)) == [exported.name(data)]
    assert shop.export() == data  # of the same state
    with LocalRecommender.load(data, clock=lambda: NOW) as kiosk:
        kiosk.recommend({}, decision_id="d1")
        assert kiosk.send(shop) == (1, 0, ())
        assert json.loads(record(shop, "d1").parts) == json.loads(shop._loop.decider._parts)


def changed(one, what):
    other = {
        "digest": one._replace(digest="0" * 32),
        "id": one._replace(decision_id="chosen by luck"),
        "request": one._replace(arguments={**one.arguments, "size": 3}),
        "candidates": one._replace(arguments={**one.arguments, "candidates": IDS[:5]}),
        "time": one._replace(time=one.time - 10 * 86_400),
        "future": one._replace(time=NOW + 10 * 86_400),
        "no time": one._replace(time=float("nan")),
        "export": one._replace(export="0" * 32),
        "no export": one._replace(export="index"),
        "argument": one._replace(arguments={**one.arguments, "floor": 0}),
        "no request": one._replace(arguments={}),
        "a request of another kind": one._replace(arguments={"request": []}),
    }
    return other[what]


LIES = {"digest": InvalidValue, "id": InvalidValue, "request": InvalidValue, "candidates": InvalidValue, "time": InvalidValue}
LIES |= {
    "future": InvalidValue,
    "no time": InvalidValue,
    "export": Unknown,
    "no export": Unknown,
    "argument": InvalidRequest,
    "no request": InvalidRequest,
}
LIES |= {"a request of another kind": InvalidRequest}


def test_what_the_recommender_would_not_have_decided_is_refused_and_the_rest_is_taken(shop, kiosk):
    for number, (what, wrong) in enumerate(LIES.items()):
        names = [f"{name}-{number}" for name in ("first", "lie", "last")]
        for name in names:
            kiosk.recommend({"user_id": "ann"}, size=2, decision_id=name)
        first, lie, last = kiosk.batch().decisions[-3:]
        lie = changed(lie, what)
        answers = shop.take([first, lie, last])
        assert (what, answers[0], answers[2]) == (what, True, True)
        assert isinstance(answers[1], wrong), what
        assert [record(shop, name) is None for name in (names[0], lie.decision_id, names[2])] == [False, True, False]
    assert shop.audit()


def test_a_call_whose_answer_was_lost_is_sent_again_and_counts_once(shop, kiosk):
    slate = kiosk.recommend({"user_id": "ann"})
    kiosk.reward(slate.decision_id, 1.0)
    batch, before = kiosk.batch(), shop.num_learned
    assert shop.take(batch.decisions) == [True]
    assert shop.reward(slate.decision_id, 1.0, position=0)
    assert kiosk.batch() == batch  # nobody has heard of it
    assert kiosk.send(shop) == (0, 2, ())
    assert (shop.num_learned, kiosk.batch(), kiosk.send(shop)) == (before + 1, None, (0, 0, ()))


def test_a_name_that_another_decision_has_is_a_conflict(shop, kiosk):
    shop.recommend({}, decision_id="visit-1")  # the same item by the same distribution, and yet decided twice
    kiosk.recommend({}, decision_id="visit-1")
    ((call, error),) = kiosk.send(shop).refused
    assert (call.decision_id, type(error)) == ("visit-1", DecisionConflict)
    assert marks.read(record(shop, "visit-1")).local == ""


def test_many_threads_that_send_the_same_count_it_once(shop, kiosk):
    for number in range(20):
        kiosk.recommend({"price": float(number)}, decision_id=f"d{number}")
    decisions, answers = kiosk.batch().decisions, []
    threads = [threading.Thread(target=lambda: answers.append(shop.take(decisions))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [sum(column) for column in zip(*answers, strict=True)] == [1] * 20


def test_an_answer_that_is_an_error_of_the_recommender_lets_the_call_wait(shop, kiosk):
    kiosk.recommend({}, decision_id="a")
    kiosk.recommend({}, decision_id="b")
    with pytest.raises(LedgerError, match="disk"):
        kiosk.done(kiosk.batch(), [LedgerError("the disk is full"), True])
    assert [one.decision_id for one in kiosk.batch().decisions] == ["a"]
    assert kiosk.send(shop).num_new == 1


def test_what_waits_is_in_the_file_when_recommend_returns(tmp_path, shop):
    data, path = shop.export(), tmp_path / "outbox.db"
    with LocalRecommender.load(data, outbox=path, clock=lambda: NOW) as kiosk:
        slate = kiosk.recommend({"user_id": "ann"}, size=2, pinned={1: "i5"}, promoted={0: ["i1", "i2"]})
        kiosk.reward(slate.decision_id, 1.0, item="i5", reward_id="order-1")
        batch = kiosk.batch()
        for file in tmp_path.glob("outbox.db*"):  # as a process that is killed now leaves them
            shutil.copy(file, tmp_path / file.name.replace("outbox", "killed"))
        with pytest.raises(LedgerLocked, match="open in another process"):
            LocalRecommender.load(data, outbox=path)
    with LocalRecommender.load(data, outbox=tmp_path / "killed.db") as again:
        assert (again.num_waiting, again.batch()) == (2, batch)
        assert again.send(shop) == (2, 0, ())
    (tmp_path / "text.db").write_text("this is no outbox" * 100)
    with pytest.raises(LedgerError, match="must be an outbox"):
        LocalRecommender.load(data, outbox=tmp_path / "text.db")


def test_a_newer_export_goes_on_with_the_same_outbox(tmp_path, shop):
    path = tmp_path / "outbox.db"
    with LocalRecommender.load(shop.export(), outbox=path, clock=lambda: NOW) as kiosk:
        slate = kiosk.recommend({}, decision_id="old")
    visits(shop, 5)
    with LocalRecommender.load(shop.export(), outbox=path, clock=lambda: NOW) as kiosk:
        assert kiosk.recommend({}, decision_id="old") == slate
        kiosk.recommend({}, decision_id="new")
        kiosk.reward("old", 1.0)
        assert kiosk.send(shop) == (3, 0, ())
    assert record(shop, "new").num_learned == record(shop, "old").num_learned + 5


def test_a_name_gives_the_same_slate_again_and_no_other(shop):
    times = iter(range(10))
    with LocalRecommender.load(shop.export(), clock=lambda: NOW + next(times)) as kiosk:
        slate = kiosk.recommend({"user_id": "ann"}, size=2, decision_id="visit-1")
        assert kiosk.recommend({"user_id": "ann"}, size=2, decision_id="visit-1") == slate
        with pytest.raises(DecisionConflict, match="visit-1"):
            kiosk.recommend({"user_id": "ann"}, size=3, decision_id="visit-1")
        assert kiosk.send(shop) == (1, 0, ())
        assert kiosk.recommend({"user_id": "ann"}, size=2, decision_id="visit-1") == slate  # remembered
        assert kiosk.num_waiting == 0


def test_what_recommend_refuses_another_process_refuses_and_nothing_waits(kiosk):
    for wrong, asked in ((TooFewCandidates, {"size": 31}), (UnknownItem, {"pinned": {0: "x"}}), (InvalidRequest, {"user": ""})):
        with pytest.raises(wrong):
            kiosk.recommend({}, **asked)
    assert kiosk.recommend({}, at_most=True, seen=IDS).ids == ()
    assert kiosk.num_waiting == 0


def test_a_reward_is_refused_as_the_recommender_would(kiosk):
    slate = kiosk.recommend({}, size=2, decision_id="visit-1")
    for wrong, arguments in (
        (UnknownDecision, ("other", 1.0)),
        (UnknownDecision, (None, 1.0)),
        (UnknownItem, ("visit-1", 1.0)),
        (InvalidReward, ("visit-1", 2.0)),
        (InvalidReward, ("visit-1", float("nan"))),
    ):
        with pytest.raises(wrong):
            kiosk.reward(*arguments)
    with pytest.raises(InvalidValue, match="position"):
        kiosk.reward("visit-1", 1.0, position=2)
    assert kiosk.num_waiting == 1
    assert kiosk.reward("visit-1", 1.0, item=slate.ids[1])
    assert not kiosk.reward("visit-1", 1.0, position=1)
    for again in ({"position": 1, "value": 0.5}, {"position": 1, "reward_id": "other"}, {"position": "page"}):
        with pytest.raises(RewardConflict):
            kiosk.reward("visit-1", again.pop("value", 1.0), **again)
    assert kiosk.num_waiting == 2


def test_no_more_waits_than_may(shop):
    with LocalRecommender.load(shop.export(), most_waiting=2, clock=lambda: NOW) as kiosk:
        kiosk.recommend({}, decision_id="a")
        kiosk.reward("a", 1.0)
        with pytest.raises(LedgerError, match="2 calls wait in the outbox memory, and no more may"):
            kiosk.recommend({})
        kiosk.send(shop)
        kiosk.recommend({})


def test_a_batch_fits_a_request_and_many_are_sent_one_after_the_other(monkeypatch, shop, kiosk):
    monkeypatch.setattr(local, "SIZE", 2_000)
    for number in range(20):
        kiosk.recommend({"text": "x" * 300, "n": number}, decision_id=f"d{number}")
    kiosk.recommend({"text": "x" * 3_000}, decision_id="long")
    kiosk.reward("d3", 1.0)
    assert 1 < len(kiosk.batch().decisions) < 6
    assert kiosk.send(shop) == (22, 0, ())


def test_what_was_sent_is_remembered_for_a_while(monkeypatch, shop, kiosk):
    monkeypatch.setattr(outbox, "REMEMBERED", 3)
    for number in range(9):
        kiosk.recommend({}, decision_id=f"d{number}")
        kiosk.send(shop)
    assert [kiosk._outbox.find("decision", f"d{number}") is not None for number in range(9)] == [False] * 6 + [True] * 3


def test_the_last_exports_are_kept_and_decisions_by_older_ones_refused(tmp_path, shop):
    assert shop.export() == shop.export()  # the same again is the same one, and takes no other's place
    with contextlib.ExitStack() as stack:
        kiosks = []
        for number in range(exported.KEPT + 1):
            kiosks.append(stack.enter_context(LocalRecommender.load(shop.export(), clock=lambda: NOW)))
            kiosks[-1].recommend({}, decision_id=f"d{number}")
            visits(shop, 1)
        ((_, error),) = kiosks[0].send(shop).refused
        assert isinstance(error, Unknown)
        assert [kiosk.send(shop).num_new for kiosk in kiosks[1:-1]] == [1] * (exported.KEPT - 1)
        shop.close()
        with opened(tmp_path / "shop") as again:
            assert kiosks[-1].send(again).num_new == 1


@pytest.mark.parametrize("keep", [1, 6])
def test_as_many_exports_are_kept_as_asked_for_in_as_many_places(shop, keep):
    names = []
    for _ in range(9):
        visits(shop, 1)
        names.append(exported.name(shop.export(keep=keep)))
    ledger = shop._loop.ledger
    assert list(exported.kept(ledger)) == names[-keep:]
    assert [exported.name(exported.read(ledger, name)) for name in names[-keep:]] == names[-keep:]
    assert len([name for name in ledger.names() if name.startswith("export/") and ledger.get(name)]) == keep + 1
    assert len([name for name in ledger.names() if name.startswith("export/")]) <= keep + 2
    with pytest.raises(InvalidValue, match="keep"):
        shop.export(keep=0)


def test_once_a_user_is_forgotten_nothing_is_left_of_exports_that_had_learned_of_them(tmp_path, shop, kiosk):
    kiosk.recommend({"user_id": "u1"}, decision_id="d1")
    shop.forget("u1")
    ((_, error),) = kiosk.send(shop).refused
    assert isinstance(error, Unknown)
    assert not shop._loop.exports._open
    shop.close()
    data = b"".join(path.read_bytes() for path in (tmp_path / "shop").rglob("*") if path.is_file())
    assert kiosk.name.encode() not in data


def test_a_user_who_is_forgotten_while_a_batch_is_made_again_gets_no_decision(monkeypatch, shop, kiosk):
    kiosk.recommend({"user_id": "u1"}, decision_id="d1")
    made = elsewhere._made

    def slow(loop, one):
        found = made(loop, one)
        shop.forget("u1")
        return found

    monkeypatch.setattr(elsewhere, "_made", slow)
    (answer,) = shop.take(kiosk.batch().decisions)
    assert isinstance(answer, Unknown)
    assert record(shop, "d1") is None


def test_a_decision_that_was_dropped_does_not_come_back(tmp_path):
    times = [NOW]
    with opened(tmp_path / "shop", clock=lambda: times[0]) as shop, LocalRecommender.load(shop.export(), clock=lambda: NOW) as kiosk:
        kiosk.recommend({}, decision_id="d1")
        batch = kiosk.batch()
        shop.take(batch.decisions)
        times[0] += 60
        assert shop.drop(days=0).num_decisions == 1
        (answer,) = shop.take(batch.decisions)
        assert isinstance(answer, ExpiredDecision)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"reward_range": None, "feedback": recsdk.Feedback(window=60)}, "without a feedback"),
        ({"rules": [lambda request, items: items.features["price"] > 3]}, "without rules"),
        ({"traffic": recsdk.Traffic(sticky=60)}, "without sticky slates"),
        ({"traffic": recsdk.Traffic(holdout=0.5)}, "or a holdout"),
        ({"traffic": recsdk.Traffic(burn_in=9)}, "after its burn-in"),
        ({"trials": recsdk.Trials(challengers={"bold": "lin-ucb"})}, "without a challenger that decides a share"),
    ],
)
def test_a_recommender_of_which_another_process_would_not_know_enough_is_not_exported(tmp_path, options, told):
    with opened(tmp_path / "shop", **options) as shop:
        if "trials" in options:
            shop.export()
            shop.ramp("bold", 0.5)
        with pytest.raises(InvalidValue, match=told):
            shop.export()


def cheap(request, items):
    return -items.features["price"][:, None]


def test_parts_that_another_process_could_not_make_are_not_exported(tmp_path):
    with opened(tmp_path / "shop", scorers=[cheap]) as shop:
        with pytest.raises(ModelRefused, match="ive the part itself"):
            shop.export()
        assert exported.kept(shop._loop.ledger) == {}


def test_a_file_that_is_no_export_or_damaged_is_refused(shop):
    data, rng = shop.export(), np.random.default_rng(0)
    with LocalRecommender.load(data) as kiosk:
        name = kiosk.name
    for wrong in (b"", b"PK", data[: len(data) // 2], json.dumps({}).encode()):
        with pytest.raises(CheckpointCorrupt):
            LocalRecommender.load(wrong)
    for place in rng.integers(0, len(data), 12).tolist():
        other = bytearray(data)
        other[place] ^= 1 << int(rng.integers(8))
        try:
            with LocalRecommender.load(bytes(other)) as kiosk:  # a byte between the members
                assert kiosk.name != name
        except CheckpointCorrupt:
            pass


def test_what_the_recommender_itself_cannot_make_again_any_more_is_refused(monkeypatch, tmp_path):
    with opened(tmp_path / "shop", reward_range=None) as shop, LocalRecommender.load(shop.export(), clock=lambda: NOW) as kiosk:
        kiosk.recommend({}, decision_id="d1")
        decisions = kiosk.batch().decisions
        with monkeypatch.context() as other:
            other.setattr(exported, "arithmetic", lambda policy: "00000000")  # it has moved to another kind of processor
            (answer,) = shop.take(decisions)
    assert isinstance(answer, InvalidValue)
    assert "rounds otherwise" in str(answer)
    with opened(tmp_path / "shop", reward_range=None, feedback=recsdk.Feedback(window=60)) as again:
        (answer,) = again.take(decisions)
        assert isinstance(answer, InvalidValue)
        assert "feedback" in str(answer)
        assert record(again, "d1") is None


def test_a_process_that_rounds_otherwise_is_told_so(monkeypatch, shop):
    data = shop.export()
    monkeypatch.setattr(exported, "arithmetic", lambda policy: "00000000")
    with pytest.raises(CheckpointMismatch, match="rounds otherwise"):
        LocalRecommender.load(data)
