"""What sequence encoders make of items' features."""

import attrs
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsdk import states, testing
from recsdk.data import concatenate_items, events_from_rows, items_from_rows, requests_table, take
from recsdk.encoders import _content
from recsdk.encoders._bags import columns_of
from recsdk.encoders._content import Fused
from recsdk.encoders._factors import FactorShape
from recsdk.encoders._objective import NextItem
from recsdk.encoders.bert4rec import BERT4Rec
from recsdk.encoders.checkpoint import load, save
from recsdk.encoders.mf import MF
from recsdk.encoders.on_device import OnDevice
from recsdk.encoders.saved import Saved
from recsdk.errors import CheckpointMismatch, InvalidRequest, InvalidValue

SETTINGS = settings(deadline=None, max_examples=20)
NUM_KINDS = 8
ENCODER = MF(
    dim=16,
    max_length=8,
    batch_size=32,
    learning_rate=0.02,
    warmup_steps=5,
    dropout=0.0,
    epochs=12,
    item_features=("kind", "words", "size"),
    text_features=("words",),
    progress=False,
)
ITEMS = items_from_rows(
    [{"id": f"i{n}", "kind": f"k{n % NUM_KINDS}", "words": f"the one of w{n % NUM_KINDS}", "size": float(n % 3)} for n in range(64)]
)
WARM, COLD = take(ITEMS, slice(0, 48)), take(ITEMS, slice(48, 64))


def world():
    """Users who take items of one kind, in any order."""
    rng, rows = np.random.default_rng(0), []
    for user in range(120):
        for time in range(5):
            item = f"i{rng.integers(6) * NUM_KINDS + user % NUM_KINDS}"
            rows.append({"user_id": f"u{user}", "item": item, "time": float(time), "history": [item]})
    return events_from_rows(WARM, rows)


LOG = world()
REQUESTS = requests_table([{"history": [f"i{kind}", f"i{kind + NUM_KINDS}"]} for kind in range(NUM_KINDS)])


@pytest.fixture(scope="module")
def state():
    return ENCODER.fit(LOG)


def test_an_item_that_no_fit_has_seen_is_near_those_that_say_the_same(state):
    scores = ENCODER.encode_requests(state, REQUESTS) @ ENCODER.encode_items(state, COLD).T
    own = np.arange(len(COLD.ids))[None] % NUM_KINDS == np.arange(NUM_KINDS)[:, None]
    assert scores[own].min() > scores[~own].max()
    blind = attrs.evolve(ENCODER, item_features=(), text_features=())
    assert not blind.encode_items(blind.init(), COLD).any()


def test_each_new_item_has_the_same_vector_whatever_stands_beside_it(state):
    together = ENCODER.encode_items(state, ITEMS)
    alone = [ENCODER.encode_items(state, take(ITEMS, slice(n, n + 1)))[0] for n in range(len(ITEMS.ids))]
    np.testing.assert_array_equal(together, alone)


def test_read_back_from_a_folder_or_a_file_and_on_a_device_it_is_the_same(state, tmp_path):
    users, items = ENCODER.encode_requests(state, REQUESTS), ENCODER.encode_items(state, ITEMS)
    save(tmp_path / "model", ENCODER, state)
    saved = Saved(path=str(tmp_path / "model"))
    read = states.loads(ENCODER, ENCODER.init(), states.dumps(ENCODER, state))
    for encoder, other in ((ENCODER, read), (ENCODER, load(tmp_path / "model", ENCODER)), (saved, saved.fit(LOG))):
        np.testing.assert_array_equal(encoder.encode_requests(other, REQUESTS), users)
        np.testing.assert_array_equal(encoder.encode_items(other, ITEMS), items)
    np.testing.assert_allclose(OnDevice(encoder=ENCODER).encode_requests(state, REQUESTS), users, atol=1e-5)
    load(tmp_path / "model", attrs.evolve(ENCODER, id_dropout=0.9))
    with pytest.raises(CheckpointMismatch, match="text_features"):
        load(tmp_path / "model", attrs.evolve(ENCODER, text_features=()))


def test_going_on_keeps_vectors_and_learns_new_words_and_features(state):
    new = items_from_rows([{"id": "new", "kind": "k9", "words": "unheard", "colour": "red"}])
    encoder = attrs.evolve(ENCODER, item_features=(*ENCODER.item_features, "colour"), epochs=1)
    empty = events_from_rows(concatenate_items(ITEMS, new), [])
    more = encoder.fit(empty, state=state)
    rows = len(state.params.network.table)
    np.testing.assert_allclose(more.params.network.table[:rows], state.params.network.table, atol=1e-6)
    np.testing.assert_allclose(more.params.network.output[:rows], state.params.network.output, atol=1e-6)
    known = state.params.rarity > 0
    np.testing.assert_array_equal(more.params.rarity[known], state.params.rarity[known])
    assert (more.params.rarity > 0).sum() == known.sum() + 4  # k9, unheard, red, and no colour
    assert more.params.columns.name.tolist() == ["kind", "words", "size", "colour"]
    # A row of its own begins where the features alone had put the item.
    wanted = _content.offered(more.params, COLD)
    np.testing.assert_allclose(more.params.network.output[rows : rows + len(COLD.ids)], wanted, atol=1e-6)


@testing.parametrize_encoders(attrs.evolve(ENCODER, epochs=2), attrs.evolve(ENCODER, epochs=2, admit=2, expire=3), log=LOG)
def test_conforms(encoder, check):
    check(encoder)


@pytest.mark.parametrize("share", [0.4, 1.0])
def test_a_step_leaves_out_the_ids_of_so_many_items_and_never_of_what_begins(share):
    shape, rng = FactorShape(dim=4, max_length=6, is_tied=False, recency_decay=0.5), np.random.default_rng(0)
    network = shape.init(rng, 300)
    told = rng.standard_normal((300, 8), np.float32)
    params = Fused(network, None, None, rng.standard_normal((8, 4), np.float32), rng.standard_normal((8, 4), np.float32))
    tokens = np.concatenate([np.zeros((50, 1), np.int32), 1 + np.arange(299 + 1).reshape(50, 6) % 299], axis=1).astype(np.int32)
    objective = NextItem(
        shape=shape,
        loss_name="softmax",
        num_negatives=1,
        is_cosine=False,
        temperature=1.0,
        dropout=0.0,
        dtype="float32",
        id_dropout=share,
    )
    slope = jax.jit(jax.grad(objective.loss))(jax.tree.map(jnp.asarray, params), tokens, jax.random.key(0), told)
    taught = np.abs(np.asarray(slope.network.output)).sum(axis=1) > 0
    assert abs((~taught[1:]).mean() - share) < 0.1
    read = np.abs(np.asarray(slope.network.table)).sum(axis=1) > 0
    assert read[0]
    assert not read[1:][~taught[1:]].any()  # an item is left out as a whole: of what was taken, and of what is asked for
    assert np.abs(np.asarray(slope.inward)).min() > 0


def test_what_is_rarely_taken_is_what_its_features_say_and_the_row_that_an_item_gives_back_is_anothers():
    encoder = attrs.evolve(ENCODER, epochs=2, admit=3, expire=1)

    def log(first, last, rare):
        taken = [*range(first, last)] * 3
        rows = [{"user_id": f"u{user}", "item": f"i{n}", "time": float(n)} for user in range(100) for n in taken[user : user + 5]]
        return events_from_rows(WARM, [{"user_id": "u0", "item": f"i{rare}", "time": -1.0}, *rows])

    one = encoder.fit(log(0, 40, rare=40))
    assert sorted(one.vocabulary.ids) == sorted(f"i{n}" for n in range(40))
    assert one.params.network.table.shape == (64, 16)
    rare = take(ITEMS, slice(40, 48))
    np.testing.assert_allclose(encoder.encode_items(one, rare) + one.centre, _content.offered(one.params, rare), atol=1e-6)
    two = encoder.fit(log(8, 48, rare=0), state=one)
    assert sorted(two.vocabulary.ids) == sorted(["i0", *(f"i{n}" for n in range(8, 48))])
    assert two.vocabulary.number.max() <= 41 + 7
    kept = two.vocabulary.number[two.vocabulary.ids == "i20"]
    assert kept == one.vocabulary.number[one.vocabulary.ids == "i20"]


def columns(items, names, text=()):
    params = Fused(None, columns_of([]), np.zeros(_content.NUM_BUCKETS, np.float32), None, np.zeros((0, 4)))
    return _content.learn(params, items, names, text)


def test_features_are_hashed_by_rarity_each_to_one_length():
    items = items_from_rows([{"id": "a", "kind": "x", "words": "rare common"}, {"id": "b", "kind": "x", "words": "common"}])
    params = columns(items, ("kind", "words"), ("words",))
    told = _content.features(params, items) * np.sqrt(3)  # what is the same for all, kind, words
    np.testing.assert_allclose((told * told).sum(axis=1), 3, rtol=1e-6)
    rare, common = 1 + np.log(3 / 2), 1 + np.log(3 / 3)
    np.testing.assert_allclose(told[0] @ told[1], 2 + common / np.hypot(rare, common), rtol=1e-6)
    unheard = items_from_rows([{"id": "c", "kind": "x", "words": "common and unheard"}])
    np.testing.assert_allclose(_content.features(params, unheard)[0] * np.sqrt(3), told[1], rtol=1e-6)


def test_numbers_are_coordinates_of_one_vector():
    given = np.random.default_rng(0).standard_normal((40, 64))
    names = tuple(f"v{n}" for n in range(64))
    items = items_from_rows([{"id": f"i{n}", **dict(zip(names, row.tolist(), strict=True))} for n, row in enumerate(given)])
    told = _content.features(columns(items, names), items)[:, 1:]
    found, wanted = (np.corrcoef(part)[np.triu_indices(40, 1)] for part in (told, np.arcsinh((given - given.mean(0)) / given.std(0))))
    assert np.corrcoef(found, wanted)[0, 1] > 0.9


@given(
    rows=st.lists(st.fixed_dictionaries({}, optional={"kind": st.text(max_size=3), "tags": st.lists(st.text(max_size=2), max_size=3)})),
    sizes=st.lists(st.floats(-1e300, 1e300) | st.none(), min_size=1, max_size=4),
)
@SETTINGS
def test_any_features_give_finite_vectors_that_do_not_depend_on_the_others(rows, sizes):
    both = [{**row, "size": size} for row, size in zip(rows, sizes, strict=False)]
    items = items_from_rows([{"id": f"i{n}", **row} for n, row in enumerate(both)])
    params = columns(items, tuple(name for name in ("kind", "tags", "size") if name in items.features))
    told = _content.features(params, items)
    assert np.isfinite(told).all()
    alone = [_content.features(params, take(items, slice(n, n + 1)))[0] for n in range(len(both))]
    np.testing.assert_array_equal(told, np.array(alone).reshape(told.shape))


def test_what_does_not_fit_is_refused(state):
    with pytest.raises(InvalidValue, match=r"item_features must name features of the items, got 'knd'.*kind"):
        attrs.evolve(ENCODER, item_features=("knd",), text_features=()).fit(LOG)
    with pytest.raises(InvalidRequest, match="'size' must be a number"):
        ENCODER.encode_items(state, items_from_rows([{"id": "x", "size": "large"}]))
    with pytest.raises(InvalidValue, match=r"BERT4Rec.text_features must be among item_features, \('a',\), got 'b'"):
        BERT4Rec(item_features=("a",), text_features=("b",))
    with pytest.raises(InvalidValue, match=r"MF\.item_features must be a tuple of names, got 'kind'"):
        MF(item_features="kind")
    with pytest.raises(InvalidValue, match=r"MF\.id_dropout must be a finite number >= 0 and <= 1, got 2"):
        MF(id_dropout=2)
