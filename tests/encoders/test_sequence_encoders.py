"""What the sequence encoders beside SASRec and GRU compute and learn, in one small world of which each compiles one program."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recsdk import states, testing
from recsdk.data import events_from_rows, items_from_rows, requests_table
from recsdk.encoders._bidirectional import BidirectionalShape
from recsdk.encoders._convolutions import ConvolutionShape, _window
from recsdk.encoders._decoder import DecoderShape
from recsdk.encoders._factors import FactorShape
from recsdk.encoders._objective import NextItem
from recsdk.encoders._recurrent import RecurrentShape
from recsdk.encoders._transformer import TransformerShape
from recsdk.encoders.bert4rec import BERT4Rec
from recsdk.encoders.cnn import CNN
from recsdk.encoders.lstm import LSTM
from recsdk.encoders.mf import MF
from recsdk.encoders.on_device import OnDevice
from recsdk.encoders.seq2seq import Seq2Seq
from recsdk.errors import InvalidValue

NUM_ITEMS, LENGTH = 20, 6
TRAINING = {"dim": 16, "max_length": 8, "batch_size": 32, "learning_rate": 0.02, "warmup_steps": 5, "dropout": 0.0, "progress": False}
ENCODERS = {
    "lstm": LSTM(epochs=25, **TRAINING),
    "cnn": CNN(num_layers=1, epochs=25, **TRAINING),
    "mf": MF(recency_decay=0.5, epochs=25, **TRAINING),
    "seq2seq": Seq2Seq(num_layers=1, num_ahead=2, epochs=25, **TRAINING),
    "bert4rec": BERT4Rec(num_layers=1, epochs=80, patience=30, **TRAINING),
}
TRANSFORMER = TransformerShape(dim=8, num_layers=2, num_heads=2, max_length=6, activation="swiglu", is_tied=True)
CAUSAL = {
    "lstm": RecurrentShape(dim=8, num_layers=2, max_length=6, is_tied=True, cell="lstm"),
    "cnn": ConvolutionShape(dim=8, num_layers=2, window=3, max_length=6, is_tied=True),
    "seq2seq": DecoderShape(reader=ConvolutionShape(dim=8, num_layers=1, window=2, max_length=6, is_tied=True), num_ahead=3),
    "mf": FactorShape(dim=8, max_length=6, is_tied=False, recency_decay=0.5),
}
BOTH_WAYS = BidirectionalShape(transformer=TRANSFORMER, mask_share=0.4)
TOKENS = np.random.default_rng(1).integers(1, 20, size=(3, 6)).astype(np.int32)
TOKENS[:, 0] = 0


def after(item):
    return (item + 3) % NUM_ITEMS


def world():
    """Users who go on from each item to the one that follows it, from all items alike: popularity knows nothing."""
    rows = []
    for user in range(80):
        item, taken = user % NUM_ITEMS, []
        for time in range(LENGTH):
            rows.append({"user_id": f"u{user}", "item": f"i{item}", "time": float(time), "history": list(taken)})
            taken.append(f"i{item}")
            item = after(item)
    return events_from_rows(items_from_rows([{"id": f"i{n}"} for n in range(NUM_ITEMS)]), rows)


LOG = world()


def params_of(shape, seed=0):
    """Parameters of an untrained model, but with vectors and places large enough to matter."""
    rng = np.random.default_rng(seed)
    params = shape.init(rng, 20)
    large = {"table": params.table} | ({"position": params.position} if shape is BOTH_WAYS else {})
    return params._replace(**{name: rng.standard_normal(array.shape, np.float32) for name, array in large.items()})


@pytest.fixture(scope="module", params=ENCODERS)
def fitted(request):
    encoder = ENCODERS[request.param]
    return encoder, encoder.fit(LOG)


def test_it_learns_what_follows_where_popularity_knows_nothing(fitted):
    encoder, state = fitted
    taken = [[start, after(start), after(after(start))] for start in range(NUM_ITEMS)]
    requests = requests_table([{"history": [f"i{item}" for item in some]} for some in taken])
    scores = encoder.encode_requests(state, requests) @ encoder.encode_items(state, LOG.items).T
    np.put_along_axis(scores, np.array(taken), -np.inf, axis=1)
    assert (scores.argmax(axis=1) == [after(some[-1]) for some in taken]).mean() > 0.9


def test_on_a_device_and_read_back_the_vectors_are_the_same(fitted):
    encoder, state = fitted
    wanted = encoder.encode_requests(state, LOG.requests)
    read = states.loads(encoder, encoder.init(), states.dumps(encoder, state))
    np.testing.assert_array_equal(encoder.encode_requests(read, LOG.requests), wanted)
    found = OnDevice(encoder=encoder).encode_requests(state, LOG.requests)
    np.testing.assert_allclose(found, wanted, atol=1e-4 * np.abs(wanted).max())


@testing.parametrize_encoders(*ENCODERS.values(), log=LOG)
def test_conforms(encoder, check):
    check(encoder)


@pytest.mark.parametrize("name", CAUSAL)
def test_what_comes_later_does_not_reach_back(name):
    shape, changed = CAUSAL[name], TOKENS.copy()
    changed[:, 4:] = 3
    one, other = (shape.forward(params_of(shape), tokens) for tokens in (TOKENS, changed))
    np.testing.assert_allclose(one[:, :4], other[:, :4], atol=1e-6)
    assert np.abs(one[:, 4:] - other[:, 4:]).max() > 0.01


@pytest.mark.parametrize("shape", [*CAUSAL.values(), BOTH_WAYS], ids=[*CAUSAL, "bert4rec"])
def test_padding_behind_a_history_changes_nothing_and_the_order_of_the_past_does(shape):
    params, last = params_of(shape), 3
    padded = np.pad(TOKENS[:, :4], ((0, 0), (0, 2)))
    alone = shape.forward(params, TOKENS[:, :4])[:, last]
    np.testing.assert_allclose(shape.forward(params, padded)[:, last], alone, atol=1e-5)
    assert np.abs(shape.forward(params, TOKENS[:, [0, 2, 1, 3]])[:, last] - alone).max() > 1e-4


@pytest.mark.parametrize("shape", [*CAUSAL.values(), BOTH_WAYS], ids=[*CAUSAL, "bert4rec"])
def test_numpy_and_jax_compute_one_function(shape):
    params = params_of(shape)
    with jax.numpy_rank_promotion("raise"):
        on_jax = jax.jit(shape.forward)(jax.tree.map(jnp.asarray, params), jnp.asarray(TOKENS))
    np.testing.assert_allclose(shape.forward(params, TOKENS)[:, 5], on_jax[:, 5], atol=5e-5)


def logistic(value):
    return 1 / (1 + np.exp(-value))


def test_an_lstm_layer_is_that_of_the_equations():
    shape = CAUSAL["lstm"]
    params = params_of(shape)
    inputs = params.table[TOKENS[0]]
    for layer in params.layers:
        state = memory = np.zeros(8)
        found = []
        for now in inputs:
            put, forget, show, new = np.split(now @ layer.inward + layer.inward_bias + state @ layer.onward + layer.onward_bias, 4)
            memory = logistic(forget) * memory + logistic(put) * np.tanh(new)
            state = logistic(show) * np.tanh(memory)
            found.append(state)
        inputs = np.array(found)
    np.testing.assert_allclose(shape.forward(params, TOKENS[:1])[0], inputs @ params.last + params.last_bias, atol=1e-5)
    assert params.layers[0].inward_bias.tolist() == [0.0] * 8 + [1.0] * 8 + [0.0] * 16


def normed(hidden):
    centred = hidden - hidden.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-6)


def test_a_convolution_is_a_sum_over_the_places_of_its_window():
    shape = CAUSAL["cnn"]
    params = params_of(shape)
    hidden = params.table[TOKENS[0]]
    for gap, layer in zip((1, 2), params.layers, strict=True):
        before, found = normed(hidden), []
        for place in range(6):
            taps = [before[place - step * gap] if place >= step * gap else np.zeros(8) for step in range(3)]
            gate, value = np.split(np.concatenate(taps) @ layer.inward + layer.bias, 2)
            found.append(hidden[place] + (logistic(gate) * value) @ layer.outward)
        hidden = np.array(found)
    np.testing.assert_allclose(shape.forward(params, TOKENS[:1])[0], normed(hidden), atol=1e-5)


def test_a_window_reaches_no_further_than_the_sequence(monkeypatch):
    hidden, sizes = np.arange(24, dtype=np.float32).reshape(1, 6, 4), []
    zeros = np.zeros
    monkeypatch.setattr(np, "zeros", lambda shape, **kind: sizes.append(shape[1]) or zeros(shape, **kind))
    for gap in (1, 2, 4, 8, 4096):
        wanted = [hidden[0, place - step * gap] if place >= step * gap else [0] * 4 for place in range(6) for step in range(3)]
        np.testing.assert_array_equal(_window(hidden, 3, gap).reshape(-1, 4), wanted)
    assert max(sizes) == 6


def test_a_decoder_tells_item_after_item_from_what_was_read():
    shape = CAUSAL["seq2seq"]
    params = params_of(shape)
    read = shape.reader.forward(params, TOKENS[:1, :3])[0]
    next_item, after_it = np.array([[5, 6, 7]]), np.array([[1, 2, 3]])
    found = shape.ahead(params, TOKENS[:1, :3], [next_item, after_it], None, np.float32)
    for place in range(3):
        state = read[place]
        for step, before in enumerate((0, next_item[0, place], after_it[0, place])):
            given = np.split(params.table[before] @ params.cell.inward + params.cell.inward_bias, 3)
            kept = np.split(state @ params.cell.onward + params.cell.onward_bias, 3)
            update, reset = logistic(given[0] + kept[0]), logistic(given[1] + kept[1])
            state = update * state + (1 - update) * np.tanh(given[2] + reset * kept[2])
            np.testing.assert_allclose(found[step][0, place], state @ params.last + params.last_bias, atol=1e-5)
    np.testing.assert_array_equal(shape.forward(params, TOKENS[:1, :3]), found[0])


def test_a_decoder_is_asked_for_the_next_items_of_each_place_as_far_as_the_sequence_goes():
    objective = NextItem(
        shape=CAUSAL["seq2seq"], loss_name="softmax", num_negatives=1, is_cosine=False, temperature=1.0, dropout=0.0, dtype="float32"
    )
    params = params_of(CAUSAL["seq2seq"])
    hidden, targets, there = jax.jit(objective._ahead)(params, np.array([[0, 5, 6, 7, 0]]), jax.random.key(0))
    assert targets.tolist() == [[5, 6, 7, 0, 6, 7, 0, 0, 7, 0, 0, 0]]
    assert there.tolist() == [[True, True, True, False, True, True, False, False, True, False, False, False]]
    following = [np.array([[5, 6, 7, 0]]), np.array([[6, 7, 0, 0]])]
    wanted = CAUSAL["seq2seq"].ahead(params, np.array([[0, 5, 6, 7]]), following, None, np.float32)
    np.testing.assert_allclose(hidden, np.concatenate(wanted, axis=1), atol=5e-5)


def test_a_factorised_user_is_the_decayed_sum_of_what_was_taken():
    params = params_of(CAUSAL["mf"])
    one, two, three = params.table[TOKENS[0, 1:4]]
    found = CAUSAL["mf"].forward(params, TOKENS[:1])[0]
    np.testing.assert_allclose(found[0], params.table[0])
    np.testing.assert_allclose(found[3], params.table[0] + (three + two / 2 + one / 4) / np.sqrt(1 + 1 / 4 + 1 / 16), rtol=1e-5)


def test_bert4rec_guesses_from_both_sides_and_always_the_last():
    params, items = params_of(BOTH_WAYS), TOKENS[:, 1:]
    there = np.ones(items.shape, bool)
    holed = items.copy()
    holed[:, 2] = 0
    later = holed.copy()
    later[:, 4] = 3
    one, other = (BOTH_WAYS.fill(params, some, there, None, np.float32) for some in (holed, later))
    assert np.abs(one[:, 2] - other[:, 2]).max() > 1e-4  # what comes later does tell
    objective = NextItem(
        shape=BOTH_WAYS, loss_name="softmax", num_negatives=1, is_cosine=False, temperature=1.0, dropout=0.0, dtype="float32"
    )
    padded = jnp.asarray(np.pad(items[:, :4], ((0, 0), (0, 2))))
    asked = [np.asarray(objective._left_out(params, padded, jax.random.key(seed))[2]) for seed in range(3)]
    assert all(some[:, 3].all() and not some[:, 4:].any() for some in asked)
    assert not np.array_equal(asked[0], asked[1])


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: BERT4Rec(num_heads=3), r"BERT4Rec\.num_heads must divide dim, 64, got 3"),
        (lambda: BERT4Rec(mask_share=1.5), r"BERT4Rec\.mask_share must be a finite number >= 0 and <= 1, got 1\.5"),
        (lambda: Seq2Seq(num_ahead=0), r"Seq2Seq\.num_ahead must be a whole number >= 1, got 0"),
        (lambda: CNN(window=1), r"CNN\.window must be a whole number >= 2, got 1"),
        (lambda: MF(recency_decay=0.0), r"MF\.recency_decay must be a finite number > 0"),
        (lambda: LSTM(output="both"), r"LSTM\.output must be one of"),
    ],
)
def test_options_out_of_range_are_refused(made, message):
    with pytest.raises(InvalidValue, match=message):
        made()
