"""What a ledger was just told it does not ask its database for, and what it answers from memory is what the database has."""

import contextlib

import numpy as np
import pytest

import recsdk
from recsdk.errors import LedgerError
from recsdk.ledger import DecisionRecord, ItemRecord, RewardRecord, _recent
from recsdk.ledger.sqlite import Sqlite

ONE = np.ones((1, 2), np.float32)


def decision(name, parts="{}"):
    probs = np.array([[0.25, 0.75]])
    return DecisionRecord(name, 5.0, "{}", parts, 0, np.array([4, 7], np.int32), np.array([1], np.int32), probs, ONE, "ann", None)


def item(row):
    return ItemRecord(4, row, ONE[0], active=True)


def same(one, other):
    return all(np.array_equal(a, b) and getattr(a, "dtype", 0) == getattr(b, "dtype", 0) for a, b in zip(one, other, strict=True))


@pytest.fixture
def ledger(tmp_path):
    with contextlib.closing(Sqlite().open(tmp_path)) as opened:
        yield opened


def test_a_decision_and_its_reward_take_three_statements(tmp_path):
    with recsdk.Recommender.open(tmp_path, items=[{"id": "tea"}, {"id": "ice"}], policy="lin-ts") as shop:
        statements = []
        shop.reward(shop.recommend({}).decision_id, 1.0)
        shop._loop.ledger._db.set_trace_callback(statements.append)
        shop.reward(shop.recommend({}).decision_id, 1.0)
        shop._loop.ledger._db.set_trace_callback(None)
        assert [statement.split()[0] for statement in statements] == ["INSERT", "SELECT", "INSERT"]
        assert shop.audit()


def test_answers_from_memory_are_those_of_the_database(ledger, tmp_path):
    ledger.put_item(item("first"))
    ledger.add_decision(decision("a"))
    ledger.put_item(item("second"))
    ledger.add_decision(decision("b"))
    rewards = [RewardRecord("r", "a", 0, -0.0, 6), RewardRecord("s", "a", 0, 1.0, 7.0, replaces="r", void=True)]
    for reward in rewards:
        ledger.add_reward(reward)
    with contextlib.closing(Sqlite().read(tmp_path)) as read:
        for name in "ab":
            assert same(ledger.decision(name), read.decision(name))
            assert not ledger.decision(name).probs.flags.writeable
            assert ledger.rewards_of(name) == read.rewards_of(name)
            assert repr(ledger.rewards_of(name)) == repr(read.rewards_of(name))  # -0.0 too
            assert same(ledger.shown(name, 4), read.shown(name, 4))
        assert [ledger.shown(name, 4).row for name in "abab"] == ["first", "second"] * 2
    ledger.put_item(item("third"))
    ledger.add_decision(decision("c"))
    assert [ledger.shown(name, 4).row for name in "abc"] == ["first", "second", "third"]


def test_what_is_rolled_back_is_forgotten(ledger):
    ledger.add_decision(decision("a"))
    with contextlib.suppress(KeyError), ledger.transaction():
        ledger.put_item(item("never"))
        ledger.add_decision(decision("b", parts="new"))
        ledger.add_reward(RewardRecord("r", "a", 0, 1.0, 6.0))
        assert ledger.shown("b", 4).row == "never"
        raise KeyError
    assert ledger.decision("b") is None
    assert (ledger.rewards_of("a"), ledger.reward("r")) == ([], None)
    ledger.put_item(item("first"))
    ledger.add_decision(decision("b", parts="new"))
    assert (ledger.decision("b").parts, ledger.shown("b", 4).row) == ("new", "first")


def test_what_is_emptied_is_not_remembered(ledger):
    ledger.add_decision(decision("a"))
    with ledger.transaction():
        ledger.redact(["a"], drop=())
    ledger.scrub()
    assert ledger.decision("a") is None
    assert ledger.rewards_of("a") == []


def test_a_refused_record_changes_no_answer(ledger):
    ledger.add_decision(decision("a"))
    ledger.add_reward(RewardRecord("r", "a", 0, 1.0, 6.0))
    with pytest.raises(LedgerError):
        ledger.add_reward(RewardRecord("r", "a", 0, 0.0, 6.0))
    with pytest.raises(LedgerError):
        ledger.add_decision(decision("a", parts="other"))
    assert [reward.value for reward in ledger.rewards_of("a")] == [1.0]
    assert ledger.decision("a").parts == "{}"


def test_memory_is_bounded(ledger, monkeypatch):
    monkeypatch.setattr(_recent, "ROOM", 5_000)
    monkeypatch.setattr(_recent, "NUM_READ", 3)
    ledger.put_item(item("first"))
    for number in range(50):
        ledger.add_decision(decision(str(number)))
        ledger.add_reward(RewardRecord(f"r{number}", str(number), 0, float(number), 6.0))
    recent = ledger._recent
    assert 0 < len(recent._written) < 12
    assert recent._num_bytes == sum(kept.num_bytes for kept in recent._written.values()) <= 5_000
    assert len(recent._num_items) <= 3
    assert [(ledger.decision(str(number)).decision_id, ledger.rewards_of(str(number))[0].value) for number in (0, 25, 49)] == [
        ("0", 0.0), ("25", 25.0), ("49", 49.0),
    ]  # fmt: skip
    assert {ledger.shown(str(number), 4).row for number in range(50)} == {"first"}
