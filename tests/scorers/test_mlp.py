"""Rewards predicted from the vectors of an encoder."""

import sys
from typing import NamedTuple

import attrs
import numpy as np
import pytest

from recsdk import testing
from recsdk.base import Request
from recsdk.data import events_from_rows, items_from_rows, take
from recsdk.encoders.gru import GRU
from recsdk.errors import InvalidValue, MissingExtra
from recsdk.scorers.mlp import MLP, Mixed
from recsdk.testing import example_log


class Nothing(NamedTuple):
    """A state of nothing."""


@attrs.frozen
class Given:
    """An encoder that has nothing to learn: both vectors are read off the features and ids."""

    dim: int = 2

    def init(self):
        return Nothing()

    def fit(self, log, *, state=None, seed=0):
        return Nothing()

    def encode_requests(self, state, requests):
        ages = requests.get("age", np.zeros(1)).astype(float)
        return np.stack([np.nan_to_num(ages) / 20, np.ones(len(ages))], axis=1).astype(np.float32)

    def encode_items(self, state, items):
        place = np.array([len(name) * 7 + ord(name[-1]) for name in items.ids.tolist()]) % 10 / 10
        return np.stack([place, 1 - place], axis=1).astype(np.float32)


SCORER = MLP(encoder=Given(), learning_rate=0.01, epochs=200, patience=30)
ITEMS = items_from_rows([{"id": f"i{n}"} for n in range(10)])


def earned(product):
    """Rewards that are highest in the middle: no inner product ranks them."""
    return 20 + 10 * np.abs(product[:, 0] - product[:, 1])


def log():
    rng = np.random.default_rng(0)
    rows = [{"item": f"i{rng.integers(10)}", "age": float(20 * rng.random()), "time": float(time)} for time in range(1500)]
    events = events_from_rows(ITEMS, rows)
    return events._replace(reward=earned(products(events)))


def products(events):
    return Given().encode_requests(None, events.requests) * Given().encode_items(None, events.items)[events.item]


@pytest.fixture(scope="module")
def fitted():
    return SCORER.fit(log())


def test_it_predicts_a_reward_that_no_inner_product_ranks(fitted):
    user = {"age": 10.0}
    found = SCORER.score(fitted, Request(user, 0.0), ITEMS)[:, 0]
    wanted = earned(Given().encode_requests(None, {"age": np.array([10.0])}) * Given().encode_items(None, ITEMS))
    assert np.ptp(wanted) > 3
    np.testing.assert_allclose(found, wanted, atol=0.4)


def test_one_log_gives_one_model(fitted):
    for got, wanted in zip(SCORER.fit(log())[1:], fitted[1:], strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_rewards_that_are_all_alike_are_predicted_as_they_are():
    events = log()._replace(reward=np.full(1500, 3.5))
    found = SCORER.score(SCORER.fit(events), Request({"age": 3.0}, 0.0), ITEMS)
    assert found.tolist() == [[3.5]] * 10


@testing.parametrize_scorers(MLP(encoder=Given(), epochs=2), log=example_log())
def test_conforms(scorer, check):
    check(scorer)


def test_without_jax_the_error_says_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "recsdk.scorers._network", raising=False)
    monkeypatch.setitem(sys.modules, "jax", None)
    with pytest.raises(MissingExtra, match=r"mlp needs jax.*\[deep\]"):
        SCORER.fit(log())


def test_what_is_no_encoder_is_refused():
    with pytest.raises(InvalidValue, match=r"MLP\.encoder must be one of the encoders"):
        MLP(encoder=3)
    assert MLP(encoder=GRU(dim=8)).init().inward.shape == (8, 32)


@attrs.frozen
class Latest(Given):
    """An encoder that reads the number of the item that was taken last, and how many were."""

    def encode_requests(self, state, requests):
        taken = requests["history"].tolist()
        return np.array([[int(each[-1][1:]) if each else -1, len(each)] for each in taken], np.float32)


def test_an_events_history_is_what_its_user_took_at_earlier_times():
    rows = [("u", 0, 1), ("u", 0, 2), (None, 1, 3), ("v", 1, 4), ("u", 2, 5), ("u", 3, 6), ("v", 3, 7)]
    rewards = [1.0, 2.0, 1.0, 1.0, -1.0, 1.0, 1.0]
    events = events_from_rows(
        ITEMS,
        [
            {"user_id": user, "time": float(time), "item": f"i{item}", "reward": reward}
            for (user, time, item), reward in zip(rows, rewards, strict=True)
        ],
    )
    wanted = [[], [], [], [], ["i1", "i2"], ["i1", "i2"], ["i4"]]
    assert SCORER._with_histories(events)["history"].tolist() == wanted
    given = {**events.requests, "history": events.requests["user_id"]}
    assert SCORER._with_histories(events._replace(requests=given)) is given  # what the log tells is left as it is


def test_a_reward_that_depends_on_what_was_taken_last_is_learnt_from_a_log_without_histories():
    rng = np.random.default_rng(0)
    shown = rng.integers(10, size=(20, 60))
    rows = [
        {"user_id": f"u{user}", "time": float(60 * user + n), "item": f"i{item}", "reward": 20.0 + (before - 5) * (item - 5)}
        for user, line in enumerate(shown)
        for n, (before, item) in enumerate(zip([0, *line], line, strict=False))
    ]
    scorer = MLP(encoder=Latest(), learning_rate=0.01, epochs=100)
    state = scorer.fit(events_from_rows(ITEMS, rows))
    low, high = (scorer.score(state, Request({"history": ["i1"] * 20 + [last]}, 0.0), ITEMS)[:, 0] for last in ("i1", "i9"))
    assert np.ptp(high - low) > 10


def test_the_score_of_an_item_is_the_same_to_the_bit_alone_and_among_others():
    items, scorer = items_from_rows([{"id": f"i{n}"} for n in range(67)]), MLP(encoder=Wide(), num_hidden=33)
    rng = np.random.default_rng(0)
    shapes = (48, 33), 33, 33, ()
    state = Mixed(Nothing(), *(rng.standard_normal(shape).astype(np.float32) for shape in shapes))
    together = scorer.score(state, Request({}, 0.0), items)
    for part in (np.array([3]), np.array([66, 1]), np.arange(20)):
        np.testing.assert_array_equal(scorer.score(state, Request({}, 0.0), take(items, part)), together[part])


@attrs.frozen
class Wide(Given):
    """An encoder of random vectors."""

    dim: int = 48

    def encode_requests(self, state, requests):
        return np.ones((1, 48), np.float32)

    def encode_items(self, state, items):
        return np.stack([np.random.default_rng(slot).standard_normal(48, np.float32) for slot in items.slot])
