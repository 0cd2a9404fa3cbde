"""The loss, the batches and the step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from recsdk.encoders import _train
from recsdk.encoders._bags import Bags
from recsdk.encoders._batches import LEAST_ROWS, Examples, batch_size, batches, compact, expand, padded
from recsdk.encoders._tower import forward, initial
from recsdk.encoders._train import Module, Settings, softmax_loss, train

BAG = st.lists(st.tuples(st.integers(0, 49), st.floats(-3, 3, width=32)), min_size=1, max_size=9)


def as_bags(rows):
    flat = [entry for row in rows for entry in row]
    start = np.cumsum([0] + [len(row) for row in rows[:-1]])
    return Bags(np.array([b for b, _ in flat], np.int64), np.array([w for _, w in flat], np.float32), start)


def singles(buckets):
    return as_bags([[(bucket, 1.0)] for bucket in buckets])


def examples(num_examples=4000, num_items=40, seed=0):
    """Choices with probability falling as 1 / rank squared, by eight users."""
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, num_items + 1) ** 2
    item = rng.choice(num_items, num_examples, p=share / share.sum())
    weight = rng.uniform(0.5, 1.5, num_examples).astype(np.float32)
    exposure = rng.normal(0, 0.5, num_items).astype(np.float32)
    return Examples(singles(rng.integers(8, size=num_examples)), singles(range(num_items)), item, weight, exposure)


def estimated_and_exact_loss(correction):
    data = examples()
    table = np.random.default_rng(1).standard_normal((8, 40))
    estimates, exact = [], []
    for batch in batches(data, 512, 8, 1, np.random.default_rng(2)):
        user = batch.users[0][:, 0]
        estimates.append(softmax_loss(table[user][:, batch.item], batch.item, batch.weight, batch.exposure, correction(batch.log_count)))
        log_probs = np.array(jax.nn.log_softmax(table + data.exposure, axis=1))
        exact.append(-np.average(log_probs[user, batch.item[:512]], weights=batch.weight))
    return np.mean(estimates), np.mean(exact)


def test_the_sampled_loss_estimates_that_of_the_whole_catalogue():
    estimate, exact = estimated_and_exact_loss(lambda log_count: log_count)
    assert abs(estimate - exact) < 0.01


def test_without_the_log_q_correction_the_loss_is_another():
    estimate, exact = estimated_and_exact_loss(lambda log_count: np.full_like(log_count, np.log(1024 / 40)))
    assert abs(estimate - exact) > 0.1


def test_an_item_that_is_there_again_is_no_negative():
    scores = np.array([[3.0, 2.0, 1.0], [0.0, 1.0, 0.5]])
    loss = softmax_loss(scores, np.array([7, 8, 7]), np.array([1.0, 0.0]), np.zeros(3), np.zeros(3))
    np.testing.assert_allclose(loss, np.log(1 + np.exp(-1.0)), rtol=1e-5)


@settings(deadline=None, max_examples=30)  # each shape is compiled
@given(st.lists(BAG, min_size=5, max_size=5), st.sampled_from([(), (8,), (8, 4)]), st.integers(0, 100))
def test_numpy_and_flax_compute_one_function(rows, hidden, seed):
    found = as_bags(rows)
    tower = initial(np.random.default_rng(seed), 50, 6, hidden)
    tower = tower._replace(table=tower.table * 20, biases=tuple(bias + 0.1 for bias in tower.biases))
    with jax.numpy_rank_promotion("raise"):
        flax = Module(tower)(*map(jnp.asarray, padded(found)))
    np.testing.assert_allclose(forward(tower, found), flax, atol=1e-5)


@given(st.lists(BAG, min_size=1, max_size=12), st.integers(0, 100))
def test_a_row_alone_is_the_row_in_a_batch_to_the_last_bit(rows, seed):
    tower = initial(np.random.default_rng(seed), 50, 32, (64,))
    alone = [forward(tower, as_bags([row]))[0] for row in rows]
    np.testing.assert_array_equal(forward(tower, as_bags(rows)), alone)


def test_long_tables_go_in_chunks_and_empty_ones_are_empty(monkeypatch):
    tower, rows = initial(np.random.default_rng(0), 50, 8, (4,)), singles(range(50))
    whole = forward(tower, rows)
    monkeypatch.setattr("recsdk.encoders._tower.CHUNK", 7)
    np.testing.assert_array_equal(forward(tower, rows), whole)
    assert forward(tower, Bags(*(part[:0] for part in rows))).shape == (0, 8)


def test_leaving_out_unused_rows_changes_nothing():
    tower, rows = initial(np.random.default_rng(0), 1000, 8, (4,)), singles([0, 500, 7, 500])
    small = compact(tower, rows)
    assert len(small.tower.table) == LEAST_ROWS
    np.testing.assert_array_equal(forward(small.tower, small.bags), forward(tower, rows))
    moved = small.tower._replace(table=small.tower.table + 1)
    np.testing.assert_array_equal(expand(moved, small, tower).table[[0, 7, 500]], tower.table[[0, 7, 500]] + 1)
    np.testing.assert_array_equal(expand(moved, small, tower).table[8:500], tower.table[8:500])


@pytest.mark.parametrize(("num_examples", "size"), [(1, 16), (255, 16), (512, 32), (4095, 128), (4096, 256), (10**6, 256)])
def test_batches_are_smaller_where_the_log_is_short(num_examples, size):
    assert batch_size(num_examples, 256) == size
    assert batch_size(num_examples, 8) == 8


def test_an_epoch_shows_every_example():
    data = examples(num_examples=50)
    data = data._replace(weight=np.arange(50, dtype=np.float32))
    shown = [set(np.concatenate([b.weight for b in list(batches(data, 16, 4, 2, np.random.default_rng(0)))[i : i + 4]])) for i in (0, 4)]
    assert shown == [set(range(50))] * 2


def towers():
    rng = np.random.default_rng(0)
    return initial(rng, 64, 8, (8,)), initial(rng, 64, 8, (8,))


def short(**changes):
    return Settings(epochs=2, batch_size=32, learning_rate=0.01, temperature=0.1, progress=False)._replace(**changes)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_step_that_is_not_finite_leaves_parameters_and_moments_as_they_were(bad):
    graph, params = nnx.split(tuple(map(Module, towers())))
    moments = _train.ADAM.init(params)
    (batch, *_) = batches(examples(num_examples=64), 32, 2, 1, np.random.default_rng(0))
    before = jax.tree.map(np.array, (params, moments))
    rate, temperature = np.float32(0.01), np.float32(0.1)
    params, moments, loss = _train._step(graph, params, moments, batch._replace(weight=batch.weight * bad), rate, temperature)
    assert np.isnan(loss)
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, before, jax.tree.map(np.array, (params, moments)))))
    params, moments, loss = _train._step(graph, params, moments, batch, rate, temperature)
    assert np.isfinite(loss)
    assert not all(jax.tree.leaves(jax.tree.map(np.array_equal, before[0], jax.tree.map(np.array, params))))


def test_training_goes_on_after_a_step_that_is_not_finite(monkeypatch):
    def poisoned(*args):
        for number, batch in enumerate(batches(*args)):
            yield batch._replace(weight=batch.weight * (np.nan if number == 1 else 1))

    monkeypatch.setattr(_train, "batches", poisoned)
    trained = train(*towers(), examples(num_examples=64), short(), 0)
    assert np.isnan(trained.losses).tolist() == [[False, True, False, False], [False] * 4]
    assert np.isfinite(trained.user.table).all()


def test_the_applications_strictness_is_respected():
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        trained = train(*towers(), examples(num_examples=64), short(), 0)
    assert trained.user.table.dtype == np.float32


def test_double_precision_in_the_application_changes_no_type():
    with jax.enable_x64(True):
        trained = train(*towers(), examples(num_examples=64), short(), 0)
    assert trained.user.table.dtype == trained.item.weights[0].dtype == np.float32


def test_a_bar_shows_only_on_demand_or_on_a_terminal(capfd):
    train(*towers(), examples(num_examples=64), short(progress=None), 0)
    assert capfd.readouterr().err == ""
    train(*towers(), examples(num_examples=64), short(progress=True), 0)
    assert "training two-tower" in capfd.readouterr().err
