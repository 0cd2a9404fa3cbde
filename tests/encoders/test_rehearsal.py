"""Going on with a new log without forgetting the old one."""

import numpy as np
import pytest

from recsdk.data import events_from_rows, items_from_rows
from recsdk.encoders import training
from recsdk.encoders.mf import MF
from recsdk.encoders.rehearsal import rehearse
from recsdk.errors import InvalidLog, InvalidRequest, InvalidValue
from recsdk.ranking import split_by_user

NUM = 12
OLD_ITEMS = items_from_rows([{"id": f"i{n}"} for n in range(NUM)])
ITEMS = items_from_rows([{"id": f"i{n}"} for n in reversed(range(2 * NUM))])  # other places than in the old catalogue
ENCODER = MF(dim=16, max_length=8, batch_size=16, epochs=25, learning_rate=0.03, warmup_steps=0, dropout=0.0, patience=0, progress=False)


def walks(items, first, user, time, step):
    """Users who go round twelve items, `step` places at a time."""
    return events_from_rows(
        items,
        [
            {"user_id": f"{user}{n}", "item": f"i{first + (n + step * place) % NUM}", "time": time + place}
            for n in range(60)
            for place in range(6)
        ],
    )


OLD = walks(OLD_ITEMS, 0, "a", 0.0, 1)
NEW = walks(ITEMS, NUM, "b", 100.0, 1)


def users(log):
    return set(log.requests["user_id"].tolist())


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0, 0), (0.3, 8, 28), (1.0, 60, 60)])
def test_a_share_of_the_old_users_is_added_whole(share, least, most):
    both = rehearse(OLD, NEW, share=share)
    kept = users(both) & users(OLD)
    assert least <= len(kept) <= most
    assert users(both) - kept == users(NEW)
    assert len(both.item) == 6 * len(kept) + len(NEW.item)
    assert (np.diff(both.time) >= 0).all()
    names = both.requests["user_id"]
    for user in kept:
        mine = both.items.ids[both.item[names == user]].tolist()
        assert mine == OLD.items.ids[OLD.item[OLD.requests["user_id"] == user]].tolist()


def test_a_larger_share_keeps_whom_a_smaller_one_kept_and_another_seed_draws_others():
    few, more, other = (users(rehearse(OLD, NEW, share=share, seed=seed)) for share, seed in ((0.2, 0), (0.5, 0), (0.2, 1)))
    assert few < more
    assert few != other


def test_of_who_was_split_off_to_train_on_the_share_is_rehearsed_too():
    train = split_by_user(OLD, validation=0.25, test=0.25, seed=3).train
    kept = users(rehearse(train, NEW, share=0.5, seed=3)) & users(train)
    assert 0.25 < len(kept) / len(users(train)) < 0.75


@pytest.mark.parametrize("requests", [{}, {"user_id": np.empty(0, object)}])
def test_an_old_log_without_events_adds_nothing(requests):
    nothing = np.empty(0)
    both = rehearse(OLD._replace(requests=requests, item=np.empty(0, np.int64), reward=nothing, time=nothing), NEW, share=1.0)
    assert both.item.tolist() == NEW.item.tolist()
    assert both.requests["user_id"].tolist() == NEW.requests["user_id"].tolist()


def test_users_that_are_numbers_are_rehearsed_but_not_a_missing_one():
    old = events_from_rows(OLD_ITEMS, [{"user": 7, "item": "i1", "time": 1.0}, {"item": "i2", "time": 2.0}])
    new = events_from_rows(ITEMS, [{"user": 8, "item": "i1", "time": 3.0}, {"item": "i2", "time": 4.0}])
    np.testing.assert_array_equal(rehearse(old, new, share=1.0, user="user").requests["user"], [7, 8, np.nan])


def test_the_history_of_a_user_of_both_logs_goes_on():
    later = events_from_rows(ITEMS, [{"user_id": "a7", "item": "i20", "time": 200.0}])
    both = rehearse(OLD, later, share=0.0)
    assert both.items.ids[both.item].tolist() == ["i7", "i8", "i9", "i10", "i11", "i0", "i20"]


def test_columns_and_rewards_are_joined():
    old = events_from_rows(OLD_ITEMS, [{"user_id": "u", "item": "i1", "time": 1.0, "reward": 0.5, "age": 3.0}, {"item": "i2", "time": 2.0}])
    new = events_from_rows(ITEMS, [{"user_id": "v", "item": "i1", "time": 0.0, "device": "phone"}])
    both = rehearse(old, new, share=1.0)
    assert both.requests["user_id"].tolist() == ["v", "u"]  # by time, and without the event of nobody
    assert both.requests["device"].tolist() == ["phone", None]
    np.testing.assert_array_equal(both.requests["age"], [np.nan, 3.0])
    assert both.reward.tolist() == [1.0, 0.5]
    assert both.items is ITEMS


@pytest.mark.parametrize(
    ("old", "new", "options", "error", "message"),
    [
        (OLD, NEW, {"share": 1.5}, InvalidValue, r"share must be a finite number >= 0 and <= 1, got 1\.5"),
        (OLD, NEW, {"user": "user"}, InvalidLog, r"old\.requests must have a column 'user' .* Did you mean 'user_id'"),
        (NEW, OLD, {"share": 1.0}, InvalidLog, r"new\.items must have every item of the old events, lacks 'i12'"),
        (OLD, NEW._replace(requests={}), {}, InvalidLog, r"new\.requests must have a column 'user_id'"),
        (
            OLD._replace(requests={**OLD.requests, "age": np.ones(len(OLD.item))}),
            NEW._replace(requests={**NEW.requests, "age": np.full(len(NEW.item), "old", object)}),
            {},
            InvalidRequest,
            "'age' must hold one kind of value",
        ),
    ],
)
def test_what_does_not_fit_is_refused(old, new, options, error, message):
    with pytest.raises(error, match=message):
        rehearse(old, new, **options)


def right(state, first, items):
    """Share of the items after which the next one of twelve is ranked first among these, given the last two."""
    ids = np.array([f"i{first + n}" for n in range(NUM)], object)
    places = np.array([items.ids.tolist().index(name) for name in ids])
    histories = np.empty(NUM, object)
    histories[:] = [[ids[(n - 1) % NUM], ids[n]] for n in range(NUM)]
    scores = ENCODER.encode_requests(state, {"history": histories}) @ ENCODER.encode_items(state, items)[places].T
    for n in range(NUM):
        scores[n, [n, (n - 1) % NUM]] = -np.inf
    return (scores.argmax(axis=1) == (np.arange(NUM) + 1) % NUM).mean()


@pytest.fixture(scope="module")
def fitted():
    return ENCODER.fit(OLD)


def test_rehearsal_keeps_what_going_on_alone_forgets(fitted):
    """The new users walk the old items backwards, and new ones forwards."""
    new = events_from_rows(
        ITEMS,
        [
            {"user_id": f"{kind}{n}", "item": f"i{first + (n + step * place) % NUM}", "time": 100.0 + place}
            for kind, first, step in (("b", NUM, 1), ("c", 0, 5))
            for n in range(60)
            for place in range(6)
        ],
    )
    alone, rehearsed = (ENCODER.fit(log, state=fitted) for log in (new, rehearse(OLD, new, share=1.0)))
    assert right(fitted, 0, OLD_ITEMS) > 0.9
    assert right(alone, NUM, ITEMS) > 0.9
    assert right(rehearsed, NUM, ITEMS) > 0.9
    assert right(alone, 0, ITEMS) < 0.3
    assert right(rehearsed, 0, ITEMS) > 0.6


class Begun(Exception):
    """Training is about to begin."""


def test_going_on_begins_at_the_values_that_old_items_have(fitted, monkeypatch):
    def stop(params, settings):
        raise Begun(params)

    monkeypatch.setattr(training, "start", stop)
    with pytest.raises(Begun) as caught:
        ENCODER.fit(rehearse(OLD, NEW), state=fitted)
    (params,) = caught.value.args
    for name in ("table", "output"):
        rows = getattr(params, name)
        np.testing.assert_array_equal(rows[: NUM + 1], getattr(fitted.params, name))
        assert rows.shape == (2 * NUM + 1, 16)
        assert np.abs(rows[NUM + 1 :]).min(axis=1).all()
