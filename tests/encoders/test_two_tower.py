"""TwoTower."""

import subprocess
import sys
from typing import NamedTuple

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsdk import states
from recsdk.base import Events, Native
from recsdk.data import concatenate_items, events_from_rows, items_from_rows, requests_table, take
from recsdk.encoders import _train
from recsdk.encoders._batches import batches
from recsdk.encoders.two_tower import TwoTower
from recsdk.errors import InvalidRequest, InvalidValue, MissingExtra


class World(NamedTuple):
    """Who would choose what.

    Attributes:
        log: choices drawn from the truth.
        requests: one row per user.
        truth: f64[users, items], log-odds of each choice.
    """

    log: Events
    requests: dict
    truth: np.ndarray


def choices(num_users=120, num_items=60, num_events=6000, skew=2.0, seed=0):
    """Draws choices in proportion to exp(3 * taste + skew * appeal); items come in six groups, of which a user likes one."""
    rng = np.random.default_rng(seed)
    group, liked = np.arange(num_items) % 6, np.arange(num_users) % 6
    appeal = rng.standard_normal(num_items)
    truth = 3.0 * (liked[:, None] == group) + skew * appeal
    items = items_from_rows([{"id": f"i{n}", "group": f"g{group[n]}", "price": float(n)} for n in range(num_items)])
    users = [{"user_id": f"u{n}", "age": float(n % 50), "tags": [f"t{liked[n]}", "all"]} for n in range(num_users)]
    user = rng.integers(num_users, size=num_events)
    cdf = np.exp(truth).cumsum(axis=1)
    item = (cdf[user] < rng.random((num_events, 1)) * cdf[user, -1:]).sum(axis=1)
    rows = [{"item": f"i{i}", "time": float(t), **users[u]} for t, (u, i) in enumerate(zip(user, item, strict=True))]
    return World(events_from_rows(items, rows), requests_table(users), truth)


def scores(encoder, state, world):
    """Returns f32[users, items], what the model says."""
    return encoder.encode_requests(state, world.requests) @ encoder.encode_items(state, world.log.items).T


def recall(scores, truth, size=5):
    """Returns the share of each user's best `size` items that the `size` highest scores find."""
    found, best = (np.argsort(-table, axis=1)[:, :size] for table in (scores, truth))
    return np.mean([len(np.intersect1d(a, b)) / size for a, b in zip(found, best, strict=True)])


ENCODER = TwoTower(dim=16, num_buckets=1024, hidden=(16,), batch_size=128, learning_rate=0.02, progress=False)
SMALL = TwoTower(dim=4, num_buckets=64, hidden=(), epochs=1, batch_size=16, progress=False)
WORLD = choices()
TINY = events_from_rows(
    items_from_rows([{"id": name} for name in "abc"]), [{"item": "abc"[n % 3], "time": float(n), "user": f"u{n % 4}"} for n in range(40)]
)


@pytest.fixture(scope="module")
def state():
    return ENCODER.fit(WORLD.log)


def written(state):
    return states.dumps(SMALL, state)


def head(log, size):
    requests = {name: column[:size] for name, column in log.requests.items()}
    return log._replace(requests=requests, item=log.item[:size], reward=log.reward[:size], time=log.time[:size])


def test_it_finds_what_users_like_far_better_than_popularity(state):
    popularity = np.bincount(WORLD.log.item, minlength=60) * np.ones((120, 1))
    assert recall(popularity, WORLD.truth) < 0.6
    assert recall(scores(ENCODER, state, WORLD), WORLD.truth) > 0.8


def test_a_new_user_and_a_new_item_are_known_by_their_features(state):
    new = items_from_rows([{"id": f"new{n}", "group": f"g{n}"} for n in range(6)])
    items = ENCODER.encode_items(state, new)
    users = ENCODER.encode_requests(state, requests_table([{"user_id": f"new{n}", "tags": [f"t{n}", "all"]} for n in range(6)]))
    assert (users @ items.T).argmax(axis=0).tolist() == list(range(6))


def test_scores_are_centred_with_a_spread_of_a_quarter(state):
    table = scores(ENCODER, state, WORLD)
    np.testing.assert_allclose(table.mean(axis=1), 0, atol=1e-5)
    assert 0.2 < table.std(axis=1).mean() < 0.3


def test_without_the_log_q_correction_popular_items_are_pushed_down(state, monkeypatch):
    def uncorrected(*args):
        return (batch._replace(log_count=np.full_like(batch.log_count, np.log(2 * 128 / 60))) for batch in batches(*args))

    monkeypatch.setattr(_train, "batches", uncorrected)
    biased = ENCODER.fit(WORLD.log)
    assert recall(scores(ENCODER, biased, WORLD), WORLD.truth) < recall(scores(ENCODER, state, WORLD), WORLD.truth) - 0.04


def test_going_on_from_a_state_improves_it():
    once = ENCODER.fit(head(WORLD.log, 2100))
    more = ENCODER.fit(WORLD.log, state=once)
    assert recall(scores(ENCODER, more, WORLD), WORLD.truth) > recall(scores(ENCODER, once, WORLD), WORLD.truth) + 0.05


def test_going_on_needs_no_new_parameters_for_new_users_items_and_columns():
    state = SMALL.fit(TINY)
    items = concatenate_items(TINY.items, items_from_rows([{"id": "new", "colour": "red"}]))
    more = SMALL.fit(events_from_rows(items, [{"item": "new", "time": 0.0, "user": "new", "city": "x"}] * 20), state=state)
    assert more.item.table.shape == state.item.table.shape
    assert more.user.columns.name.tolist() == ["user", "city"]
    assert more.item.columns.name.tolist() == ["id", "colour"]
    assert not np.array_equal(SMALL.encode_items(more, items), SMALL.encode_items(state, items))


def test_going_on_leaves_the_old_state_as_it_was():
    state = SMALL.fit(TINY)
    before = written(state)
    assert written(SMALL.fit(TINY, state=state)) != before
    assert written(state) == before


def test_one_seed_gives_one_model_and_another_another():
    assert written(SMALL.fit(TINY, seed=3)) == written(SMALL.fit(TINY, seed=3))
    assert written(SMALL.fit(TINY, seed=3)) != written(SMALL.fit(TINY, seed=4))


def test_what_was_shown_often_without_reward_scores_low():
    items = items_from_rows([{"id": name} for name in "abcd"])
    shown = {"a": (100, 1000), "b": (100, 200), "c": (10, 1000), "d": (10, 200)}
    rows = [{"item": name, "time": 0.0, "reward": float(n < taken)} for name, (taken, times) in shown.items() for n in range(times)]
    encoder = attrs.evolve(SMALL, num_buckets=1024, epochs=40)
    state = encoder.fit(events_from_rows(items, rows))
    scores = encoder.encode_items(state, items) @ encoder.encode_requests(state, {})[0] / state.scale / encoder.temperature
    wanted = [np.log(taken) - 2180 / 2400 * np.log(times + 10) for taken, times in shown.values()]
    np.testing.assert_allclose(scores, wanted - np.mean(wanted), atol=0.2)


def test_a_larger_reward_counts_for_more():
    items = items_from_rows([{"id": "a"}, {"id": "b"}])
    log = events_from_rows(items, [{"item": "a", "time": 0.0, "reward": 5.0}, {"item": "b", "time": 0.0}] * 100)
    encoder = attrs.evolve(SMALL, epochs=40)
    state = encoder.fit(log)
    scores = encoder.encode_items(state, items) @ encoder.encode_requests(state, {})[0] / state.scale / encoder.temperature
    np.testing.assert_allclose(scores[0] - scores[1], np.log(5), atol=0.2)


@pytest.mark.parametrize("reward", [0.0, -1.0])
def test_a_log_without_a_reward_gives_the_untrained_model(reward):
    log = head(WORLD.log, 50)
    state = ENCODER.fit(log._replace(reward=np.full(50, reward)))
    np.testing.assert_array_equal(state.user.table, ENCODER.fit(head(WORLD.log, 0)).user.table)
    assert np.isfinite(scores(ENCODER, state, WORLD)).all()


def test_an_empty_log_gives_an_untrained_model_or_leaves_the_state(state):
    untrained = ENCODER.fit(events_from_rows(items_from_rows([]), []))
    assert ENCODER.encode_items(untrained, WORLD.log.items).shape == (60, 16)
    assert ENCODER.encode_requests(untrained, WORLD.requests).shape == (120, 16)
    assert ENCODER.fit(head(WORLD.log, 0), state=state) is state


def test_one_event_of_one_item_is_a_log():
    items = items_from_rows([{"id": "a"}])
    state = SMALL.fit(events_from_rows(items, [{"item": "a", "time": 0.0}]))
    assert np.isfinite(SMALL.encode_items(state, items)).all()


@given(st.sets(st.integers(0, 119), min_size=1), st.sets(st.integers(0, 59), min_size=1))
def test_a_row_alone_is_the_row_in_a_batch_to_the_last_bit(state, users, items):
    users, items = sorted(users), sorted(items)
    requests = {name: column[users] for name, column in WORLD.requests.items()}
    encoded, vectors = ENCODER.encode_requests(state, requests), ENCODER.encode_items(state, take(WORLD.log.items, items))
    np.testing.assert_array_equal(encoded, ENCODER.encode_requests(state, WORLD.requests)[users])
    np.testing.assert_array_equal(vectors, ENCODER.encode_items(state, WORLD.log.items)[items])
    assert encoded.dtype == vectors.dtype == np.float32


def test_a_missing_column_is_missing_and_an_unknown_one_is_ignored(state):
    plain = ENCODER.encode_requests(state, requests_table([{"user_id": "u1"}]))
    same = ENCODER.encode_requests(state, requests_table([{"user_id": "u1", "age": None, "tags": None, "weather": "wet"}]))
    np.testing.assert_array_equal(plain, same)


def test_a_request_without_features_is_one_request(state):
    assert ENCODER.encode_requests(state, {}).shape == (1, 16)


def test_a_column_of_another_kind_is_refused(state):
    with pytest.raises(InvalidRequest, match="'age' must be a number, as at the fit, got a str"):
        ENCODER.encode_requests(state, requests_table([{"age": "3"}]))


def test_only_the_features_that_are_named_are_used():
    encoder = TwoTower(num_buckets=32, user_features=("age",), item_features=())
    state = encoder.fit(WORLD.log._replace(reward=np.zeros(6000)))
    assert state.user.columns.name.tolist() == ["age"]
    assert state.item.columns.name.tolist() == ["id"]


@pytest.mark.parametrize("field", ["user_features", "item_features", "text_features"])
def test_a_feature_that_the_log_lacks_is_refused(field):
    with pytest.raises(InvalidValue, match=rf"TwoTower\.{field} must name features of the log, got 'agee'"):
        TwoTower(**{field: ("agee",)}).fit(head(WORLD.log, 5))


def test_a_training_that_is_never_finite_is_refused(monkeypatch):
    monkeypatch.setattr(_train, "batches", lambda *args: (batch._replace(weight=batch.weight * np.nan) for batch in batches(*args)))
    with pytest.raises(InvalidValue, match=r"TwoTower\.learning_rate must be smaller"):
        SMALL.fit(TINY)


def test_without_jax_training_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "recsdk.encoders._train", None)
    monkeypatch.setitem(sys.modules, "jax", None)
    with pytest.raises(MissingExtra, match=r"pip install '\.\[deep\]'"):
        SMALL.fit(TINY)


def test_serving_and_an_empty_fit_do_not_import_jax():
    script = """
import sys, numpy as np
from recsdk.data import events_from_rows, items_from_rows
from recsdk.encoders.two_tower import TwoTower
from recsdk import states
encoder, items = TwoTower(num_buckets=16), items_from_rows([{"id": "a"}, {"id": "b"}])
state = encoder.fit(events_from_rows(items, []))
state = states.loads(encoder, state, states.dumps(encoder, state))
encoder.encode_items(state, items), encoder.encode_requests(state, {})
sys.exit(any(name in sys.modules for name in ("jax", "flax", "optax", "rich")))
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0  # noqa: S603 - our own interpreter


def test_what_is_written_reads_back_the_same(state):
    assert not isinstance(ENCODER, Native)
    read = states.loads(ENCODER, ENCODER.fit(head(WORLD.log, 0)), written(state))
    assert written(read) == written(state)
    np.testing.assert_array_equal(scores(ENCODER, read, WORLD), scores(ENCODER, state, WORLD))


@pytest.mark.parametrize("values", [[17, 4], [None, 4]])
def test_users_that_are_numbers_are_refused(values):
    rows = [{"item": "a", "time": 0.0, "user_id": value} for value in values]
    with pytest.raises(InvalidRequest, match="'user_id' says who the user is and must be a str, got"):
        SMALL.fit(events_from_rows(TINY.items, rows))


def test_users_may_be_missing():
    SMALL.fit(events_from_rows(TINY.items, [{"item": "a", "time": 0.0, "user_id": None}]))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"dim": 0}, "TwoTower.dim must be a whole number >= 2, got 0"),
        ({"num_buckets": 1}, "TwoTower.num_buckets must be a whole number >= 2"),
        ({"hidden": (0,)}, "TwoTower.hidden must be a tuple of whole numbers >= 1"),
        ({"hidden": [8]}, "TwoTower.hidden must be a tuple of whole numbers >= 1"),
        ({"temperature": 0}, "TwoTower.temperature must be a finite number > 0"),
        ({"user": 3}, "TwoTower.user must be the name of a request's feature, got 3"),
        ({"user_features": "age"}, "TwoTower.user_features must be a tuple of names, got 'age'"),
    ],
)
def test_options_out_of_range_are_refused(option, message):
    with pytest.raises(InvalidValue, match=message):
        TwoTower(**option)


def test_the_config_is_hashable_and_a_bar_is_no_part_of_it():
    assert hash(TwoTower(progress=True)) == hash(TwoTower())
    assert TwoTower(progress=True) == TwoTower()
