"""SASRec."""

import subprocess
import sys
from typing import NamedTuple

import attrs
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recsdk import states
from recsdk.data import concatenate_items, events_from_rows, items_from_rows, requests_table
from recsdk.encoders import training
from recsdk.encoders._fitting import _held
from recsdk.encoders._objective import NextItem, Validation
from recsdk.encoders._sequences import from_log, learn
from recsdk.encoders._transformer import TransformerShape
from recsdk.encoders.on_device import OnDevice
from recsdk.encoders.sasrec import SASRec
from recsdk.errors import CheckpointMismatch, InvalidRequest, InvalidValue, MissingExtra
from recsdk.ranking import by_encoder, by_scorer, compare_rankings, leave_one_out, rank_evaluate
from recsdk.scorers.item_knn import ItemKNN

SMALL = SASRec(
    dim=16,
    num_layers=1,
    num_heads=2,
    max_length=8,
    epochs=12,
    batch_size=64,
    learning_rate=0.01,
    warmup_steps=10,
    patience=3,
    progress=False,
)
SHAPE = TransformerShape(dim=8, num_layers=2, num_heads=2, max_length=6, activation="swiglu", is_tied=True)
PARAMS = SHAPE.init(np.random.default_rng(0), 20)
TOKENS = np.random.default_rng(1).integers(0, 20, size=(3, 6)).astype(np.int32)


def walks(num_users=200, num_items=60, seed=0):
    """Users who go on from each item to one of two that follow it."""
    rng = np.random.default_rng(seed)
    items, rows = items_from_rows([{"id": f"i{n}"} for n in range(num_items)]), []
    for user in range(num_users):
        item = int(rng.integers(num_items))
        for time in range(int(rng.integers(3, 16))):
            rows.append({"user_id": f"u{user}", "item": f"i{item}", "time": float(time)})
            item = (item * 7 + 3 + int(rng.integers(2))) % num_items
    return events_from_rows(items, rows)


LOG = walks()
SPLIT = leave_one_out(LOG)


@pytest.fixture(scope="module")
def state():
    return SMALL.fit(SPLIT.refit)


def test_it_learns_the_order_that_counting_pairs_does_not_see(state):
    ours = rank_evaluate(by_encoder(SMALL, state), SPLIT.test, mask_history=False)
    theirs = rank_evaluate(by_scorer(ItemKNN(), ItemKNN().fit(SPLIT.refit)), SPLIT.test, mask_history=False)
    assert ours.ndcg.value > 0.6
    assert compare_rankings(ours, theirs).ndcg.low > 0.2


def test_the_best_epoch_is_kept_and_told(state):
    assert state.history[int(state.best_epoch) - 1, 1] == state.history[:, 1].max() > 0.6


@pytest.mark.parametrize(
    "change",
    [
        {"loss": "sampled", "num_negatives": 30, "similarity": "cosine", "temperature": 0.1},
        {"output": "untied", "activation": "relu", "precision": "bfloat16", "max_windows": 2},
    ],
)
def test_every_option_learns(change):  # several at once, since nearly all of the time goes into compiling
    encoder = attrs.evolve(SMALL, **change)
    state = encoder.fit(SPLIT.refit)
    assert rank_evaluate(by_encoder(encoder, state), SPLIT.test, mask_history=False).ndcg.value > 0.4


def test_scores_are_centred_with_a_spread_of_a_quarter(state):
    scores = SMALL.encode_requests(state, SPLIT.test.requests) @ SMALL.encode_items(state, LOG.items).T
    np.testing.assert_allclose(scores.mean(axis=1), 0, atol=1e-4)
    assert 0.2 < scores.std(axis=1).mean() < 0.3


def test_what_comes_later_does_not_reach_back():
    changed = TOKENS.copy()
    changed[:, 4:] = 3
    one, other = SHAPE.forward(PARAMS, TOKENS), SHAPE.forward(PARAMS, changed)
    np.testing.assert_allclose(one[:, :4], other[:, :4], atol=1e-6)
    assert np.abs(one[:, 4:] - other[:, 4:]).max() > 0.01


def test_the_order_of_the_past_counts():
    swapped = TOKENS[:, [1, 0, 2, 3, 4, 5]]
    assert np.abs(SHAPE.forward(PARAMS, TOKENS)[:, -1] - SHAPE.forward(PARAMS, swapped)[:, -1]).max() > 1e-4


@pytest.mark.parametrize("activation", ["swiglu", "relu"])
def test_numpy_and_jax_compute_one_function(activation):
    shape = attrs.evolve(SHAPE, activation=activation)
    params = shape.init(np.random.default_rng(2), 20)
    with jax.numpy_rank_promotion("raise"):
        on_jax = shape.forward(jax.tree.map(jnp.asarray, params), jnp.asarray(TOKENS))
    np.testing.assert_allclose(shape.forward(params, TOKENS), on_jax, atol=2e-5)


OBJECTIVE = NextItem(shape=SHAPE, loss_name="softmax", num_negatives=8, is_cosine=False, temperature=0.05, dropout=0.0, dtype="float32")


def test_the_sampled_loss_estimates_that_of_the_whole_catalogue():
    params, tokens = jax.tree.map(jnp.asarray, PARAMS), jnp.asarray(np.maximum(TOKENS, 1))
    exact = jax.jit(OBJECTIVE.loss)(params, tokens[:, :6], jax.random.key(0))
    many = attrs.evolve(OBJECTIVE, loss_name="sampled", num_negatives=2000)
    np.testing.assert_allclose(jax.jit(many.loss)(params, tokens[:, :6], jax.random.key(0)), exact, rtol=0.02)


class Table(NamedTuple):
    table: jax.Array
    output: jax.Array


@attrs.frozen
class Given:
    """A user's vector is 1, so that an item's score is its only coordinate."""

    def forward(self, params, tokens, dropout=None, dtype=None):
        return jnp.ones((*tokens.shape, 1), np.float32)


def test_of_items_that_score_alike_half_rank_before_the_target_and_what_is_no_number_ranks_last():
    objective = attrs.evolve(OBJECTIVE, shape=Given(), temperature=1.0)
    cases = Validation(np.ones((1, 2), np.int32), np.array([1]), np.array([3]), np.zeros((1, 6), bool), np.ones(1, np.float32))

    def found(*scores, seen=()):
        table = jnp.array([[0.0], *([score] for score in scores)], jnp.float32)
        hidden = np.isin(np.arange(6), seen)[None]
        return float(objective.metric(Table(table, jnp.zeros((0, 1))), cases._replace(seen=hidden)))

    def at(above):
        return pytest.approx(1 / np.log2(2 + above), rel=1e-6)

    assert found(1, 2, 5, 4, 3) == at(0)
    assert found(7, 8, 5, 4, 9) == at(3)
    assert found(7, 8, 5, 4, 9, seen=(1, 3)) == at(2)
    assert found(5, 5, 5, 5, 5) == at(2)
    assert found(5, 9, 5, 5, 4, seen=(4,)) == at(1.5)
    assert found(*[np.nan] * 5) == found(1, 2, np.nan, 3, 4) == at(6)  # behind all rows


def by_hand(own, others, counts, loss):
    """The losses of the papers, of one place: BCE with all negatives, gBCE with t = .75, BPR."""
    kept = others[counts]
    if loss == "bpr":
        return np.log1p(np.exp(-(own - kept))).sum() / len(others)
    rate = len(others) / (19 - 1)
    power = rate * (0.75 * (1 - 1 / rate) + 1 / rate) if loss == "gbce" else 1.0
    return -(power * np.log(1 / (1 + np.exp(-own))) + np.log(1 - 1 / (1 + np.exp(-kept))).sum()) / (len(others) + 1)


@pytest.mark.parametrize("loss", ["bce", "gbce", "bpr"])
def test_losses_against_drawn_items_are_those_of_the_papers(loss):
    objective, key = attrs.evolve(OBJECTIVE, loss_name=loss, num_negatives=6), jax.random.key(3)
    rng = np.random.default_rng(0)
    hidden, table, targets = rng.standard_normal((2, 3, 8)), rng.standard_normal((20, 8)), rng.integers(1, 20, (2, 3))
    found = objective._against_drawn(*(jnp.asarray(array, jnp.float32) for array in (hidden, table)), jnp.asarray(targets), key)
    drawn = np.asarray(jax.random.randint(key, (6,), 1, 20, dtype=jnp.int32))
    assert set(drawn) & set(targets.ravel())  # a target that is drawn counts as no negative
    for place in np.ndindex(2, 3):
        own, others = hidden[place] @ table[targets[place]], table[drawn] @ hidden[place]
        wanted = by_hand(own, others, drawn != targets[place], loss)
        np.testing.assert_allclose(found[place], wanted, rtol=1e-5)


def test_padding_is_not_learnt():
    params, key = jax.tree.map(jnp.asarray, PARAMS), jax.random.key(0)
    tokens = jnp.asarray([[0, 4, 5, 6]])
    padded = jnp.asarray([[0, 4, 5, 6, 0, 0]])
    loss = jax.jit(OBJECTIVE.loss)  # operation by operation takes five times as long
    np.testing.assert_allclose(loss(params, tokens, key), loss(params, padded, key), rtol=1e-5)


def test_a_request_without_a_history_is_a_user_of_whom_nothing_is_known(state):
    nothing = SMALL.encode_requests(state, {})
    same = SMALL.encode_requests(state, requests_table([{"history": []}, {"history": ["never seen"]}, {"device": "phone"}]))
    np.testing.assert_allclose(same, np.repeat(nothing, 3, axis=0), atol=1e-6)


def test_only_the_latest_items_of_a_long_history_count(state):
    long, short = [f"i{n}" for n in range(30)], [f"i{n}" for n in range(23, 30)]
    one, other = SMALL.encode_requests(state, requests_table([{"history": long}, {"history": short}]))
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_an_item_that_no_fit_has_seen_is_the_average_item(state):
    vectors = SMALL.encode_items(state, items_from_rows([{"id": "new"}, {"id": "i3"}]))
    assert not vectors[0].any()
    assert vectors[1].any()


def test_an_interrupted_training_goes_on_to_the_same_model(state, tmp_path, monkeypatch):
    encoder = attrs.evolve(SMALL, checkpoint=str(tmp_path / "training"))
    measured = training._metric

    def interrupted(objective, params, cases):
        if interrupted.left == 0:
            raise KeyboardInterrupt
        interrupted.left -= 1
        return measured(objective, params, cases)

    interrupted.left = 3
    monkeypatch.setattr(training, "_metric", interrupted)
    with pytest.raises(KeyboardInterrupt):
        encoder.fit(SPLIT.refit)
    monkeypatch.undo()
    resumed = encoder.fit(SPLIT.refit)
    assert len(resumed.history) > 3
    untimed = resumed._replace(history=resumed.history[:, :2]), state._replace(history=state.history[:, :2])
    assert states.dumps(SMALL, untimed[0]) == states.dumps(SMALL, untimed[1])
    for log, seed in ((SPLIT.refit, 1), (with_another_last_item(SPLIT.refit), 0)):
        with pytest.raises(CheckpointMismatch, match="is of another: remove it, or name another"):
            encoder.fit(log, seed=seed)


def with_another_last_item(log):
    """A log in which those who validate took something else last; what is trained on is the same."""
    users, histories = log.requests["user_id"].tolist(), from_log(learn(SMALL.init().vocabulary, log.items), log, "user_id")
    last, item = dict(zip(users, range(len(users)), strict=True)), log.item.copy()
    held = [last[name] for name, holds in zip(dict.fromkeys(users), _held(histories, SMALL.num_validation, seed=0), strict=True) if holds]
    item[held] = (item[held] + 1) % len(log.items.ids)
    return log._replace(item=item)


def test_going_on_keeps_rows_and_gives_new_items_rows_of_their_own(state):
    items = concatenate_items(LOG.items, items_from_rows([{"id": "new"}]))
    rows = [{"user_id": f"v{user}", "item": item, "time": 0.0} for user in range(20) for item in ("i1", "new")]
    more = attrs.evolve(SMALL, epochs=1).fit(events_from_rows(items, rows), state=state)
    assert len(more.params.table) == len(state.params.table) + 1
    assert more.vocabulary.number[more.vocabulary.ids == "i3"] == state.vocabulary.number[state.vocabulary.ids == "i3"]
    assert SMALL.encode_items(more, items_from_rows([{"id": "new"}])).any()


def test_an_empty_log_trains_nothing_and_one_event_is_a_log():
    empty = SMALL.fit(events_from_rows(LOG.items, []))
    assert int(empty.best_epoch) == 0
    assert SMALL.encode_items(empty, LOG.items).shape == (60, 16)
    once = attrs.evolve(SMALL, epochs=1).fit(events_from_rows(LOG.items, [{"user_id": "u", "item": "i1", "time": 0.0}]))
    assert np.isfinite(SMALL.encode_requests(once, {})).all()


def test_what_is_written_reads_back_the_same(state):
    read = states.loads(SMALL, SMALL.init(), states.dumps(SMALL, state))
    assert states.dumps(SMALL, read) == states.dumps(SMALL, state)
    np.testing.assert_array_equal(SMALL.encode_items(read, LOG.items), SMALL.encode_items(state, LOG.items))


def test_on_a_device_the_vectors_are_the_same(state):
    wanted = SMALL.encode_requests(state, SPLIT.test.requests)
    np.testing.assert_allclose(
        OnDevice(encoder=SMALL).encode_requests(state, SPLIT.test.requests), wanted, atol=1e-4 * np.abs(wanted).max()
    )


def test_serving_does_not_import_jax():
    script = """
import sys
from recsdk.data import items_from_rows, requests_table
from recsdk.encoders.sasrec import SASRec
encoder = SASRec(dim=4, num_heads=2)
state = encoder.init()
encoder.encode_items(state, items_from_rows([{"id": "a"}])), encoder.encode_requests(state, requests_table([{"history": ["a"]}]))
sys.exit(any(name in sys.modules for name in ("jax", "flax", "optax", "rich")))
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0  # noqa: S603 - our own interpreter


def test_without_jax_training_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "recsdk.encoders._objective", None)
    monkeypatch.setitem(sys.modules, "jax", None)
    with pytest.raises(MissingExtra, match=r"Training SASRec needs jax.*pip install '\.\[deep\]'"):
        SMALL.fit(LOG)


def test_a_history_that_is_no_list_is_refused(state):
    with pytest.raises(InvalidRequest, match="'history' must be a list"):
        SMALL.encode_requests(state, requests_table([{"history": "i1"}]))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"num_heads": 3}, "SASRec.num_heads must divide dim, 64, got 3"),
        ({"max_length": 1}, "SASRec.max_length must be a whole number >= 2, got 1"),
        ({"activation": "gelu"}, "SASRec.activation must be one of"),
        ({"dropout": 1.0}, "SASRec.dropout must be 0, or in"),
        ({"loss": "hinge"}, "SASRec.loss must be one of"),
        ({"accumulate": 0}, "SASRec.accumulate must be a whole number >= 1, got 0"),
        ({"checkpoint": 3}, "SASRec.checkpoint must be the name of a file, a str, got 3"),
        ({"user": 3}, "SASRec.user must be the name of"),
    ],
)
def test_options_out_of_range_are_refused(option, message):
    with pytest.raises(InvalidValue, match=message):
        SASRec(**option)


def test_the_config_is_hashable_and_a_bar_is_no_part_of_it():
    assert hash(SASRec(progress=True)) == hash(SASRec())
    assert SASRec(progress=True) == SASRec()
