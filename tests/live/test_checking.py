"""`recsdk ledger check`: a sound ledger has nothing to tell, and each kind of damage is told."""

import json
import zlib

import numpy as np
import pytest

from recsdk.ledger import _head, heads
from recsdk.ledger._packing import pack, unpack
from recsdk.ledger.sqlite import Sqlite
from recsdk.live.checking import NUM_TOLD, check_ledger
from recsdk.live.honesty import Honesty
from recsdk.live.rewards import SETTLED, Feedback
from tests.live.shop import alter, crash, serve, small_recommender


@pytest.fixture
def folder(tmp_path):
    with small_recommender(tmp_path, policy="lin-ts") as shop:
        serve(shop, range(8))
        shop.remove_items(["news-0"])
    return tmp_path


def wrong(folder):
    """Returns the first problem of each check that found one."""
    return {finding.check: finding.problems[0] for finding in check_ledger(folder) if finding.num_problems}


def rewrite(folder, number, **changes):
    """Changes a decision, and gives it the checksum and all the hashes that fit: as a program with a defect would write it."""
    ledger = Sqlite().open(folder)
    record = list(ledger.decisions())[number]
    record = record._replace(**{name: change(getattr(record, name)) for name, change in changes.items()})
    arrays = [np.ascontiguousarray(a, k).tobytes() for a, k in zip(record[5:9], ("<i4", "<i4", "<f8", "<f4"), strict=True)]
    slots, action, probs, features = arrays
    values = (*record[:5], slots, action, probs, record.features.shape[1], features, record.user)
    crc32 = 0
    for value in values:
        crc32 = crc32 if value is None else zlib.crc32(value if isinstance(value, bytes) else str(value).encode(), crc32)
    packed = pack(slots, transposing=True), action, pack(probs), record.num_learned, crc32, number + 1
    assert unpack(packed[0]) == slots
    ledger._db.execute("UPDATE decisions SET slots=?, action=?, probs=?, num_learned=?, crc32=? WHERE number=?", packed)
    _head.chain_all(ledger._db)
    ledger.close()
    (folder / heads.HEAD).unlink()


def test_a_sound_ledger_has_nothing_to_tell_open_killed_or_closed(folder):
    assert wrong(folder) == {}
    shop = small_recommender(folder, policy="lin-ts")
    serve(shop, range(8, 10))
    assert wrong(folder) == {}
    crash(shop)
    findings = check_ledger(folder)
    assert [finding.num for finding in findings if finding.check in ("decisions", "rewards", "propensities")] == [10, 10, 20]


def test_a_changed_byte_is_told_and_nothing_is_made_of_what_cannot_be_read(folder):
    alter(folder, "UPDATE rewards SET value = 7 WHERE number = 3")
    findings = check_ledger(folder)
    assert [finding.check for finding in findings] == ["storage", "records"]
    assert "does not have the checksum it was written with" in wrong(folder)["records"]


def test_a_record_that_does_not_follow_the_one_before_is_told(folder):
    alter(folder, "UPDATE signals SET chain = zeroblob(16)")
    assert wrong(folder) == {}
    alter(folder, "UPDATE items SET chain = zeroblob(16) WHERE number = 2")
    assert wrong(folder) == {"storage": "the items do not follow each other"}


def half(probs):
    return probs / 2


def on_the_second(probs):
    return np.eye(probs.shape[1])[[1, 2]]


def tiny(probs):
    return np.where(probs == probs.max(axis=1, keepdims=True), 1 - (probs.shape[1] - 1) * 1e-9, 1e-9)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"probs": half}, "probabilities are not a distribution"),
        ({"probs": np.negative}, "probabilities are not a distribution"),
        ({"probs": on_the_second, "action": lambda _: np.array([3, 4])}, "an item is shown that had the probability 0"),
        ({"probs": tiny, "action": lambda _: np.array([0, 1])}, "where it could not be shown|less than its share of the floor"),
        ({"action": lambda action: action[[0, 0]]}, "an item is there twice"),
        ({"slots": lambda slots: slots[[0] * len(slots)]}, "an item is there twice"),
        ({"num_learned": lambda _: 99}, "99 rewards were learned, after 0 before it, of 8 in all"),
    ],
)
def test_a_decision_that_makes_no_sense_is_told(folder, changes, told):
    rewrite(folder, 2, **changes)
    problems = [text for finding in check_ledger(folder) if finding.check == "decisions" for text in finding.problems]
    assert any(told in text or any(part in text for part in told.split("|")) for text in problems)
    assert all(text.startswith("decision 'd") for text in problems)


def test_of_many_problems_a_few_are_told_and_all_are_counted(folder):
    for number in range(6):
        rewrite(folder, number, probs=half)
    (finding,) = (finding for finding in check_ledger(folder) if finding.check == "decisions")
    assert len(finding.problems) == NUM_TOLD < finding.num_problems
    assert finding.num_problems >= 6


def test_a_snapshot_ahead_of_the_rewards_is_told(folder):
    ledger = Sqlite().open(folder)
    header = json.loads(ledger.get("snapshot/header"))
    ledger.put("snapshot/header", json.dumps(header | {"num_learned": 9}).encode())
    ledger.close()
    assert wrong(folder) == {"snapshot": "the snapshot is ahead: of reward 9, where there are 8"}


def test_rewards_of_a_decision_whose_window_is_open_are_told(tmp_path):
    shop = small_recommender(tmp_path, feedback=Feedback(window=1.5))
    for number in range(4):
        shop.recommend({}, decision_id=f"d{number}")
    shop.settle()
    assert wrong(tmp_path) == {}
    shop._loop.ledger.put(SETTLED, json.dumps({"num_decisions": 0, "time": 0.0}).encode())
    assert "has rewards, and its window is open" in wrong(tmp_path)["settled"]
    crash(shop)


def test_a_slate_that_is_served_again_is_not_counted_as_a_draw(folder):
    honest = {finding.check: finding.num for finding in check_ledger(folder)}["propensities"]
    ledger = Sqlite().open(folder)
    record = next(ledger.decisions())
    ledger.add_decision(record._replace(decision_id="again", num_learned=8, marks=json.dumps({"repeats": record.decision_id})))
    ledger.close()
    assert {finding.check: finding.num for finding in check_ledger(folder)}["propensities"] == honest


def test_certain_draws_are_honest_and_impossible_ones_are_not():
    honesty = Honesty()
    for _ in range(50):
        honesty.add(np.array([1.0, 0.0]), 0, np.arange(2))
    assert honesty.lies() == []
    honesty.add(np.array([1.0, 0.0]), 1, np.arange(2))
    assert honesty.lies()
