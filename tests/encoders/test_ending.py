"""The vector at the end of a history, by the arithmetic that this place needs, is the one that the whole network gives there."""

import attrs
import numpy as np
import pytest

from recsdk.arrays import tree_map
from recsdk.data import requests_table
from recsdk.encoders._bidirectional import BidirectionalShape
from recsdk.encoders._transformer import TransformerShape
from recsdk.encoders.bert4rec import BERT4Rec
from recsdk.encoders.sasrec import SASRec
from recsdk.testing import example_log
from recsdk.vocabulary import vocabulary

SHAPE = TransformerShape(dim=12, num_layers=2, num_heads=3, max_length=9, activation="swiglu", is_tied=True)


def trained(shape, seed=0):
    """Returns parameters in which every part counts."""
    rng = np.random.default_rng(seed)
    return tree_map(lambda array: (array * 10 + 0.3 * rng.standard_normal(array.shape)).astype(np.float32), shape.init(rng, 20))


@pytest.mark.parametrize("num_layers", [1, 2, 3])
@pytest.mark.parametrize("activation", ["swiglu", "relu"])
@pytest.mark.parametrize("both_ways", [False, True], ids=["causal", "both ways"])
def test_the_end_is_what_the_whole_network_gives_there(num_layers, activation, both_ways):
    shape = attrs.evolve(SHAPE, num_layers=num_layers, activation=activation)
    shape = BidirectionalShape(transformer=shape, mask_share=0.2) if both_ways else shape
    params = trained(shape)
    for length in (1, 2, 9):
        tokens = np.random.default_rng(length).integers(1, 20, (1, length)).astype(np.int32)
        tokens[0, 0] = 0
        before = tree_map(np.copy, params)
        whole = shape.forward(params, tokens)[0, -1]
        np.testing.assert_allclose(shape.ending(params, tokens[0]), whole, rtol=1e-4, atol=1e-5 * np.abs(whole).max())
        tree_map(np.testing.assert_array_equal, params, before)


@pytest.mark.parametrize("encoder", [SASRec(dim=8, similarity="cosine"), BERT4Rec(dim=8)], ids=["sasrec", "bert4rec"])
def test_a_vector_does_not_depend_on_the_other_histories(encoder):
    items = example_log().items
    state = encoder.init()._replace(vocabulary=vocabulary(items.ids, np.arange(1, 1 + len(items.ids))), params=trained(encoder.shape))
    ids = items.ids.tolist()
    histories = [ids[:1], [], ids[3:8]]
    together = encoder.encode_requests(state, requests_table([{"history": history} for history in histories]))
    alone = [encoder.encode_requests(state, requests_table([{"history": history}]))[0] for history in histories]
    np.testing.assert_array_equal(together, alone)
