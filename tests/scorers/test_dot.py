"""Dot."""

import numpy as np
import pytest

from recsdk.base import Request
from recsdk.encoders.frozen import Frozen
from recsdk.encoders.gru import GRU
from recsdk.errors import InvalidValue, UnknownPlugin
from recsdk.scorers.dot import Dot
from recsdk.testing import example_log
from recsdk.testing.events import request


def test_it_is_the_inner_product_of_its_encoders_vectors(tmp_path):
    path = str(tmp_path / "items.npz")
    np.savez(path, ids=[f"item-{n}" for n in range(12)], vectors=np.random.default_rng(0).standard_normal((12, 4)))
    encoder, log = Frozen(vectors=path, dim=4), example_log()
    scorer = Dot(encoder=encoder)
    state = scorer.fit(log)
    wanted = encoder.encode_requests(state, log.requests) @ encoder.encode_items(state, log.items).T
    for row in (0, 50, 150):
        np.testing.assert_allclose(scorer.score(state, request(log, row), log.items)[:, 0], wanted[row], atol=1e-6)
    assert scorer.score(state, Request({}, 0.0), log.items).shape == (12, 1)


def test_an_encoder_may_be_given_by_name():
    assert Dot(encoder="gru") == Dot(encoder=GRU())
    with pytest.raises(UnknownPlugin, match="Did you mean 'gru'"):
        Dot(encoder="grue")
    with pytest.raises(InvalidValue, match=r"Dot\.encoder must be one of the encoders, by name or as a config, got 3"):
        Dot(encoder=3)
    with pytest.raises(InvalidValue, match=r"Dot\.encoder must be one of the encoders"):
        Dot(encoder=GRU)
