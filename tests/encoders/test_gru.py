"""GRU."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recsdk.encoders._recurrent import RecurrentShape
from recsdk.encoders.gru import GRU
from recsdk.encoders.on_device import OnDevice
from recsdk.errors import InvalidValue
from recsdk.ranking import by_encoder, rank_evaluate
from tests.encoders.test_sasrec import LOG, SPLIT

SHAPE = RecurrentShape(dim=8, num_layers=2, max_length=6, is_tied=True)
PARAMS = SHAPE.init(np.random.default_rng(0), 20)
TOKENS = np.random.default_rng(1).integers(0, 20, size=(3, 6)).astype(np.int32)


def test_it_learns_the_order():
    encoder = GRU(dim=16, max_length=8, epochs=15, batch_size=64, learning_rate=0.02, warmup_steps=10, patience=4, progress=False)
    state = encoder.fit(SPLIT.refit)
    assert rank_evaluate(by_encoder(encoder, state), SPLIT.test, mask_history=False).ndcg.value > 0.5
    wanted = encoder.encode_requests(state, SPLIT.test.requests)
    found = OnDevice(encoder=encoder).encode_requests(state, SPLIT.test.requests)
    np.testing.assert_allclose(found, wanted, atol=1e-4 * np.abs(wanted).max())
    assert encoder.encode_items(state, LOG.items).shape == (60, 16)


def test_numpy_and_jax_compute_one_function():
    with jax.numpy_rank_promotion("raise"):
        on_jax = SHAPE.forward(jax.tree.map(jnp.asarray, PARAMS), jnp.asarray(TOKENS))
    np.testing.assert_allclose(SHAPE.forward(PARAMS, TOKENS), on_jax, atol=2e-5)


def by_hand(layer, inputs):
    """The equations of the paper, one unit at a time."""
    state, found = np.zeros(8), []
    for now in inputs:
        one, two = now @ layer.inward + layer.inward_bias, state @ layer.onward + layer.onward_bias
        update, reset = (1 / (1 + np.exp(-(one[part] + two[part]))) for part in (slice(0, 8), slice(8, 16)))
        state = update * state + (1 - update) * np.tanh(one[16:] + reset * two[16:])
        found.append(state)
    return np.array(found)


def test_a_layer_is_that_of_the_equations():
    hidden = PARAMS.table[TOKENS[0]]
    for layer in PARAMS.layers:
        hidden = by_hand(layer, hidden)
    np.testing.assert_allclose(SHAPE.forward(PARAMS, TOKENS[:1])[0], hidden @ PARAMS.last + PARAMS.last_bias, atol=1e-5)


def test_what_comes_later_does_not_reach_back():
    changed = TOKENS.copy()
    changed[:, 4:] = 3
    one, other = SHAPE.forward(PARAMS, TOKENS), SHAPE.forward(PARAMS, changed)
    np.testing.assert_allclose(one[:, :4], other[:, :4], atol=1e-6)


def test_options_out_of_range_are_refused():
    with pytest.raises(InvalidValue, match=r"GRU\.output must be one of"):
        GRU(output="both")
