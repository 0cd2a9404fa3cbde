"""Rewards predicted from the vectors of an encoder."""

import sys
from typing import NamedTuple

import attrs
import numpy as np
import pytest

from recsdk import testing
from recsdk.base import Request
from recsdk.data import events_from_rows, items_from_rows
from recsdk.encoders.gru import GRU
from recsdk.errors import InvalidValue, MissingExtra
from recsdk.scorers.mlp import MLP
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
