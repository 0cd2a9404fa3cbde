"""Observers are told what the loop has done, and cannot stop it."""

import logging

import pytest

import recsdk
from recsdk.errors import InvalidReward, InvalidValue
from recsdk.live.observe import Corrected, CountObserver, Decided, LogObserver, Recovered, Rewarded, Snapshotted
from tests.live.shop import crash, request, small_recommender, tables


def lived(folder, observer):
    with small_recommender(folder, observer=observer, snapshot_every=2) as shop:
        slate = shop.recommend(request(3), size=2, decision_id="a")
        shop.reward("a", 1.0, item=slate.ids[0])
        shop.reward("a", 1.0, item=slate.ids[0])
        with pytest.raises(InvalidReward):
            shop.reward("a", float("nan"), item=slate.ids[1])
        shop.reward("a", 0.5, item=slate.ids[1])
        return shop.num_observer_errors


def test_every_decision_reward_snapshot_and_recovery_is_told_once_after_it_happened(tmp_path):
    told = []
    lived(tmp_path, lambda notice: told.append((notice, {name: len(rows) for name, rows in tables(tmp_path).items()})))
    kinds = [type(notice) for notice, _ in told]
    assert kinds == [Recovered, Decided, Rewarded, Rewarded, Snapshotted, Rewarded, Snapshotted]
    notices = [notice for notice, _ in told]
    assert notices[1][:4] == ("a", "u3", 12, 2)
    assert [notice[1:] for notice in notices if isinstance(notice, Rewarded)] == [(1, 1.0, "u3"), (0, 0, "u3"), (1, 0.5, "u3")]
    assert [notice.num_learned for notice in notices if isinstance(notice, Snapshotted)] == [2, 2]
    assert told[1][1]["decisions"] == told[2][1]["rewards"] == 1
    assert all(0 <= notice.seconds < 60 for notice in notices if not isinstance(notice, Rewarded))


def test_what_a_window_learns_and_what_is_corrected_is_told_with_its_user(tmp_path):
    told, now = [], [1e9]
    feedback = recsdk.Feedback(window=10, signals={"click": 1})
    with recsdk.Recommender.open(
        tmp_path, items=[{"id": "tea"}], policy="uniform", feedback=feedback, clock=lambda: now[0], observer=told.append
    ) as shop:
        shop.recommend({}, user="ann", decision_id="a")
        shop.signal("click", decision_id="a", signal_id="click-1")
        now[0] += 11
        shop.settle()
        shop.correct("click-1", 0.0)
    assert [notice for notice in told if isinstance(notice, Rewarded | Corrected)] == [
        Rewarded("a", 1, 1.0, "ann"),
        Corrected("click-1", "taken", 1, "ann"),
    ]


def test_a_recovery_is_told_with_what_was_learned(tmp_path):
    shop = small_recommender(tmp_path)
    shop.reward(shop.recommend({}).decision_id, 1.0)
    crash(shop)
    told = []
    small_recommender(tmp_path, observer=told.append).close()
    assert [notice.num_learned for notice in told] == [1, 1]


def test_an_observer_that_fails_is_counted_and_logged_and_changes_nothing(tmp_path, caplog):
    def failing(notice):
        raise KeyError(notice)

    assert lived(tmp_path / "failing", failing) == 6
    assert lived(tmp_path / "without", None) == 0
    ended = [{name: len(rows) for name, rows in tables(tmp_path / folder).items()} for folder in ("failing", "without")]
    assert ended[0] == ended[1]
    assert sum("The observer" in record.message for record in caplog.records) == 7


def test_records_are_logged_by_kind(tmp_path, caplog):
    with caplog.at_level(logging.DEBUG, "recsdk"):
        lived(tmp_path, LogObserver())
    levels = [(record.levelname, record.message.partition(":")[0]) for record in caplog.records]
    assert levels[:3] == [("INFO", "recovered"), ("DEBUG", "decided"), ("DEBUG", "rewarded")]
    assert "user='u3'" in caplog.text


def test_records_are_counted_by_kind(tmp_path):
    observer = CountObserver()
    lived(tmp_path, observer)
    assert observer.counts == {"recovered": 1, "decided": 1, "rewarded": 3, "snapshotted": 2}
    assert (observer.sums["rewarded.num_new"], observer.sums["rewarded.total"]) == (2, 1.5)


def test_what_cannot_be_called_is_refused(tmp_path):
    with pytest.raises(InvalidValue, match="observer must be a function of one record"):
        small_recommender(tmp_path, observer="log")
