"""Calls that come from a stream: what they do, and how far it was read, is one transaction, and a call that is refused harms no other."""

import json
import shutil
import threading

import pytest

import recsdk
from recsdk.errors import InvalidAnswer, InvalidReward, InvalidValue, LedgerError, UnknownDecision, UnknownItem
from recsdk.live.feeding import CALLS, Call, Fed
from recsdk.live.reproduce import reproduce
from tests.live.shop import state, tables

pytestmark = pytest.mark.filterwarnings("ignore::recsdk.errors.IgnoredInput")
NOW = 2_000_000_000.0
ITEMS = [{"id": f"i{number}", "price": float(number)} for number in range(8)]
FEEDBACK = recsdk.Feedback(window=60, start=-30, signals={"click": 1, "buy": 1e10}, late=0.5)


class Clock:
    now = NOW

    def __call__(self):
        return self.now


def opened(folder, **options):
    options = {"items": ITEMS, "policy": "lin-ts", "scorers": ["recency", "popularity"], "clock": lambda: 9e9, **options}
    return recsdk.Recommender.open(folder, **options)


def place(answers):
    return Fed(str(len(answers)).encode(), b"out")


def decide(number, time=0.0, **more):
    return Call("recommend", {"request": {"user_id": f"u{number % 3}"}, "decision_id": f"d{number}", **more}, NOW + time)


def reward(number, value=1.0, time=0.0, **more):
    return Call("reward", {"decision_id": f"d{number}", "value": value, **more}, NOW + time)


def signal(number, name="click", time=0.0, **more):
    return Call("signal", {"name": name, "decision_id": f"d{number}", **more}, NOW + time)


REWARDS = [
    *(decide(number, number, size=1 + number % 3) for number in range(9)),
    reward(0, time=10),
    reward(0, time=11),
    Call("reward_slate", {"decision_id": "d1", "values": {}, "others": 0.5}, NOW + 12),
    Call("correct", {"event_id": "d0/0", "value": 0.25}, NOW + 13),
    Call("correct", {"event_id": "d0/0", "value": None}, NOW + 14),
    Call("not_shown", {"decision_id": "d1"}, NOW + 15),
    decide(9, 16, deferred=True),
    Call("shown", {"decision_id": "d9"}, NOW + 17),
    *(reward(number, number / 9, 18 + number) for number in (3, 6, 9)),
    decide(0, 40),
    Call("remove_items", {"ids": ["i2", "i3"]}, NOW + 41),
]
SIGNALS = [
    signal(2, time=-20),  # before its decision
    *(decide(number, 10 * number) for number in range(12)),
    *(signal(number, time=118 - number) for number in range(12)),
    signal(11, "buy", 119),
    signal(11, time=119),
    Call("correct", {"event_id": "d2/0/click", "value": 3.0}, NOW + 130),
    signal(77, time=140),
    Call("not_shown", {"decision_id": "d1"}, NOW + 145),
    Call("add_items", {"rows": [{"id": "new", "price": 1.0}]}, NOW + 150),
]
CHANGES = [*SIGNALS[:-1], Call("change_items", {"rows": [{"id": "i1", "price": 9.0}]}, NOW + 150)]
KINDS = {
    "rewards": (REWARDS, {}),
    "signals": (SIGNALS, {"feedback": FEEDBACK, "remember": 3}),
    "a policy that cannot forget": (CHANGES, {"feedback": FEEDBACK, "policy": "bag"}),
    "a burn-in, and slates that stay": (SIGNALS, {"feedback": FEEDBACK, "traffic": recsdk.Traffic(sticky=15, burn_in=4)}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_fed_is_what_the_calls_do_one_by_one(tmp_path, kind):
    calls, options = KINDS[kind]
    opened(tmp_path / "one", **options).close()
    shutil.copytree(tmp_path / "one", tmp_path / "fed")
    found = []
    for folder in ("one", "fed"):
        clock, told = Clock(), []
        clock_of = clock if folder == "one" else lambda: NOW - 1e6  # the calls bring their time
        with opened(tmp_path / folder, snapshot_every=5, clock=clock_of, observer=told.append, **options) as shop:
            if folder == "one":
                answers = []
                for call in calls:
                    clock.now = call.time
                    answers.append(getattr(shop, call.method)(**call.arguments))
            else:
                answers = [answer for block in (calls[:7], calls[7:]) for answer in shop.feed("s", block, place)]
            assert shop.audit()
            kinds = [type(notice).__name__ for notice in told]
            found.append(
                (answers, state(shop), sorted(kind for kind in kinds if kind not in ("Recovered", "Snapshotted")), len(shop.catalogue))
            )
    assert found[0] == found[1]
    assert {call.method for call in (*REWARDS, *SIGNALS, *CHANGES)} == set(CALLS)
    one, fed = (tables(tmp_path / folder) for folder in ("one", "fed"))
    for table in ("decisions", "signals", "rewards"):
        assert one[table] == fed[table], table


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_rolled_back_never_was(tmp_path, kind):
    calls, options = KINDS[kind]
    opened(tmp_path / "one", **options).close()
    shutil.copytree(tmp_path / "one", tmp_path / "twice")

    def broken(answers):
        assert len(answers) == len(calls)
        raise MemoryError

    found = []
    for folder in ("one", "twice"):
        with opened(tmp_path / folder, **options) as shop:
            if folder == "twice":
                before = state(shop), tables(tmp_path / folder)
                with pytest.raises(MemoryError):
                    shop.feed("s", calls, broken)
                assert (state(shop), tables(tmp_path / folder)) == before
                assert shop.fed("s") is None
            answers = shop.feed("s", calls, place)
            assert shop.fed("s") == Fed(str(len(calls)).encode(), b"out")
            assert shop.audit()
            found.append((answers, state(shop)))
    assert found[0] == found[1]


def test_a_place_that_cannot_be_written_takes_all_back(tmp_path, monkeypatch):
    with opened(tmp_path) as shop:
        put = type(shop._loop.ledger).put

        def failing(self, name, data):
            if name == "outbox/s":
                raise OSError("no room")
            put(self, name, data)

        with monkeypatch.context() as patch:
            patch.setattr(type(shop._loop.ledger), "put", failing)
            with pytest.raises(OSError, match="no room"):
                shop.feed("s", [decide(0), reward(0)], place)
        assert shop.num_learned == 0
        assert shop.fed("s") is None
        assert shop._loop.ledger.decision("d0") is None


def test_a_call_that_is_refused_is_an_error_in_its_place_and_the_others_count(tmp_path):
    calls = [reward(5), decide(0), reward(0, float("nan")), decide(0, size=2), reward(0, item="i99"), reward(0), reward(0, 2.0), reward(0)]
    with opened(tmp_path) as shop:
        answers = shop.feed("s", calls, place)
        kinds = [type(answer).__name__ for answer in answers]
        assert kinds == [
            "UnknownDecision",
            "Slate",
            "InvalidReward",
            "DecisionConflict",
            "UnknownItem",
            "bool",
            "RewardConflict",
            "bool",
        ]
        assert answers[5:] == [True, answers[6], False]
        assert shop.num_learned == 1
        assert shop.audit()


def test_a_call_that_had_written_when_it_was_refused_leaves_nothing(tmp_path, monkeypatch):
    with opened(tmp_path / "without") as without, opened(tmp_path / "with") as shop:
        without._loop.decider._salt = shop._loop.decider._salt
        learn, made = type(shop._loop.learner).learn, []

        def refusing(self, record, given):
            made.append(given.reward_id)
            if given.reward_id == "d1/1":
                raise InvalidReward("not this one")
            learn(self, record, given)

        monkeypatch.setattr(type(shop._loop.learner), "learn", refusing)
        slate = Call("reward_slate", {"decision_id": "d1", "values": {}, "others": 0.5}, NOW)
        answers = shop.feed("s", [decide(0), reward(0), decide(1, size=3), slate, decide(2), reward(2)], place)
        assert made == ["d0/0", "d1/0", "d1/1", "d0/0", "d2/0"]
        assert isinstance(answers[3], InvalidReward)
        answers.pop(3)
        assert without.feed("s", [decide(0), reward(0), decide(1, size=3), decide(2), reward(2)], place) == answers
        assert state(shop) == state(without)
        assert [record.reward_id for record in shop._loop.ledger.rewards()] == ["d0/0", "d2/0"]


def test_what_a_part_does_wrong_stops_the_block(tmp_path, monkeypatch):
    with opened(tmp_path, fallback=None) as shop:
        shop.feed("s", [decide(0)], place)

        def broken(*_):
            raise InvalidAnswer("no distribution")

        monkeypatch.setattr(type(shop.policy), "decide", broken, raising=False)
        monkeypatch.setattr(type(shop.policy), "probs", broken, raising=False)
        with pytest.raises(InvalidAnswer):
            shop.feed("s", [reward(0), decide(1)], place)
        assert shop.num_learned == 0
        assert shop.fed("s").position == b"1"


def test_windows_that_cannot_be_closed_stop_the_block(tmp_path, monkeypatch):
    with opened(tmp_path, feedback=FEEDBACK) as shop:
        shop.feed("s", [decide(0), signal(0)], place)

        def broken(*_):
            raise ValueError("it does not learn")

        with monkeypatch.context() as patch:
            patch.setattr(type(shop._loop.learner), "learn", broken)
            with pytest.raises(ValueError, match="does not learn"):
                shop.feed("s", [decide(1, time=100)], place)
        assert shop.fed("s").position == b"2"
        shop.feed("s", [decide(1, time=100)], place)
        assert shop.num_learned == 1
        assert shop.audit()


def test_only_calls_of_a_stream_can_be_fed_and_changes_of_the_catalogue_come_last(tmp_path):
    with opened(tmp_path) as shop:
        with pytest.raises(InvalidValue, match="method must be one of"):
            shop.feed("s", [Call("forget", {"user": "u1"}, NOW)], place)
        with pytest.raises(InvalidValue, match="remove_items must be the last"):
            shop.feed("s", [Call("remove_items", {"ids": ["i0"]}, NOW), decide(0)], place)
        (answer,) = shop.feed("s", [Call("remove_items", {"ids": ["i77"]}, NOW)], place)
        assert isinstance(answer, UnknownItem)
        assert len(shop.catalogue) == len(ITEMS)


def test_other_threads_are_served_meanwhile(tmp_path):
    with opened(tmp_path) as shop:
        errors, done = [], threading.Event()

        def others():
            number = 0
            try:
                while not done.is_set():
                    slate = shop.recommend({"user_id": "other"}, decision_id=f"o{number}")
                    shop.reward(slate.decision_id, 1.0)
                    if number % 5 == 0:
                        shop.add_items([{"id": f"n{number}", "price": 1.0}])
                    number += 1
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=others)
        thread.start()
        for block in range(6):
            shop.feed("s", [call for number in range(20) for call in (decide(20 * block + number), reward(20 * block + number))], place)
        done.set()
        thread.join()
        assert errors == []
        assert shop.audit()
        assert sum(record.decision_id[0] == "d" for record in shop._loop.ledger.rewards()) == 120


def broken_snapshot():
    raise OSError("no room")


ADD = Call("add_items", {"rows": [{"id": "new", "price": 1.0}]}, NOW)


def slots(shop):
    """Returns the items by slot, as the ledger has them and as the catalogue has them."""
    return (
        [json.loads(record.row)["id"] for record in shop._loop.ledger.items()],
        shop.catalogue.items.ids.tolist(),
    )


def test_a_snapshot_that_fails_takes_nothing_back_and_keeps_nothing_from_what_comes_after(tmp_path, monkeypatch, caplog):
    told = []
    with opened(tmp_path, snapshot_every=1, observer=told.append) as shop:
        with monkeypatch.context() as patch:
            patch.setattr(shop._loop, "snapshot", broken_snapshot)
            answers = shop.feed("s", [decide(0), reward(0), decide(1), reward(1), ADD], place)
        assert [type(answer).__name__ for answer in answers] == ["Slate", "bool", "Slate", "bool", "NoneType"]
        assert [type(notice).__name__ for notice in told].count("Rewarded") == 2
        assert caplog.text.count("OSError: no room") == 2
        assert shop.fed("s").position == b"5"
        assert "new" in shop.catalogue
        shop.add_items([{"id": "newer", "price": 2.0}])
        ledger, catalogue = slots(shop)
        assert ledger == catalogue
        assert catalogue[-2:] == ["new", "newer"]
    with opened(tmp_path) as shop:
        assert shop.num_learned == 2
        assert shop.audit()


def test_nobody_has_a_turn_between_what_is_durable_and_a_catalogue_that_has_it(tmp_path, monkeypatch):
    with opened(tmp_path) as shop:
        hold, threads, found = type(shop.catalogue).hold, [], []

        def slow(self, change):
            if not threads:
                threads.append(threading.Thread(target=lambda: shop.add_items([{"id": "other", "price": 2.0}])))
                threads.append(threading.Thread(target=lambda: found.append(shop.recommend({}, size=1).decision_id)))
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join(timeout=0.5)
                assert found == []
            hold(self, change)

        with monkeypatch.context() as patch:
            patch.setattr(type(shop.catalogue), "hold", slow)
            shop.feed("s", [decide(0), ADD], place)
            for thread in threads:
                thread.join()
        ledger, catalogue = slots(shop)
        assert ledger == catalogue
        assert set(catalogue[-2:]) == {"new", "other"}
        assert len(found) == 1
    assert reproduce(tmp_path).agreement == "same"


@pytest.mark.parametrize("is_fed", [True, False])
def test_a_catalogue_that_cannot_take_what_is_durable_closes_the_folder(tmp_path, monkeypatch, is_fed):
    def broken(*_):
        raise MemoryError("the index is full")

    with opened(tmp_path) as shop, monkeypatch.context() as patch:
        patch.setattr(type(shop.catalogue), "hold", broken)
        if is_fed:
            assert shop.feed("s", [ADD], place) == [None]
        else:
            with pytest.raises(MemoryError):
                shop.add_items([{"id": "new", "price": 1.0}])
        with pytest.raises(LedgerError, match="closed"):
            shop.add_items([{"id": "other", "price": 1.0}])
    with opened(tmp_path) as shop:
        assert "new" in shop.catalogue
        assert "other" not in shop.catalogue


@pytest.mark.parametrize(
    "call",
    [
        Call("correct", {"event_id": "d0/0/click", "value": 3.0}, NOW + 100),
        Call("shown", {"decision_id": "d0"}, NOW + 100),
        Call("not_shown", {"decision_id": "d0"}, NOW + 100),
        signal(0, time=100),
        decide(1, time=100),
    ],
    ids=lambda call: call.method,
)
def test_no_call_is_refused_because_of_windows_that_cannot_be_closed(tmp_path, monkeypatch, call):
    with opened(tmp_path, feedback=FEEDBACK) as shop:
        shop.feed("s", [decide(0), signal(0)], place)

        def broken(*_):
            raise InvalidReward("it does not learn")

        with monkeypatch.context() as patch:
            patch.setattr(type(shop._loop.learner), "learn", broken)
            with pytest.raises(InvalidReward, match="does not learn"):
                shop.feed("s", [call], place)
        assert shop.fed("s").position == b"2"
        (answer,) = shop.feed("s", [call], place)
        assert not isinstance(answer, Exception)
        assert shop.num_learned >= 1
        assert shop.audit()


def test_requests_that_are_refused_are_answers_and_nothing_is_done_again(tmp_path, monkeypatch):
    refused = [decide(20, size=99), decide(21, candidates=["i99"]), decide(22, seen=[item["id"] for item in ITEMS])]
    calls = [call for number in range(5) for call in (decide(number), *refused, reward(number))]
    with opened(tmp_path) as shop:
        assert not shop._loop.evidence.is_shared
        learn, made = type(shop._loop.learner).learn, []

        def counted(self, record, given):
            made.append(given.reward_id)
            learn(self, record, given)

        monkeypatch.setattr(type(shop._loop.learner), "learn", counted)
        answers = shop.feed("s", calls, place)
        assert made == [f"d{number}/0" for number in range(5)]
        assert [type(answer).__name__ for answer in answers[1:4]] == ["TooFewCandidates", "UnknownItem", "EmptyCandidates"]
        assert shop.audit()


def test_a_place_is_told_with_its_own_outbox(tmp_path, monkeypatch):
    with opened(tmp_path) as shop:
        shop.feed("s", [], lambda _: Fed(b"1", b"1"))
        get = type(shop._loop.ledger).get
        other = threading.Thread(target=lambda: shop.feed("s", [], lambda _: Fed(b"2", b"2")))

        def slow(self, name):
            found = get(self, name)
            if name == "fed/s" and other.ident is None:
                other.start()
            elif name == "outbox/s":
                other.join(timeout=0.3)
                found = get(self, name)
            return found

        with monkeypatch.context() as patch:
            patch.setattr(type(shop._loop.ledger), "get", slow)
            assert shop.fed("s") == Fed(b"1", b"1")
        other.join()
        assert shop.fed("s") == Fed(b"2", b"2")


def test_streams_are_kept_apart_and_reopened(tmp_path):
    with opened(tmp_path) as shop:
        shop.feed("one", [decide(0)], place)
        shop.feed("two", [], place)
    with opened(tmp_path) as shop:
        assert shop.fed("one").position == b"1"
        assert shop.fed("two") == Fed(b"0", b"out")
        assert shop.fed("three") is None


def test_a_user_who_is_forgotten_is_in_no_outbox(tmp_path):
    with opened(tmp_path) as shop:
        shop.feed("s", [decide(0)], lambda answers: Fed(b"1", b"of secret-user"))
        shop.forget("u0")
        assert shop.fed("s") == Fed(b"1", b"")
    assert all(b"secret-user" not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_a_refused_call_is_told_with_its_kind(tmp_path):
    with opened(tmp_path) as shop:
        (answer,) = shop.feed("s", [reward(3)], place)
        assert isinstance(answer, UnknownDecision)
        assert "'d3'" in str(answer)
