"""The trainer."""

import attrs
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recsdk.encoders import training
from recsdk.encoders.training import Settings, start, train
from recsdk.errors import InvalidValue

SETTINGS = Settings(
    epochs=6,
    batch_size=8,
    learning_rate=0.05,
    warmup_steps=3,
    weight_decay=0.0,
    clip_norm=1.0,
    patience=0,
    seed=0,
    progress=False,
)
RNG = np.random.default_rng(0)
TRUTH = RNG.standard_normal((4, 1)).astype(np.float32)
INPUTS = RNG.standard_normal((50, 4)).astype(np.float32)
ROWS = {"x": INPUTS, "y": INPUTS @ TRUTH}
PARAMS = {"layer": np.zeros((4, 1), np.float32)}


@attrs.frozen
class Regression:
    """Least squares, with noise from the key as dropout would bring it."""

    metric_name: str = "error"

    def loss(self, params, batch, key):
        noise = 0.01 * jax.random.normal(key, batch["y"].shape)
        return jnp.square(batch["x"] @ params["layer"] - batch["y"] + noise).mean()

    def metric(self, params, cases):
        error = jnp.square(cases["x"] @ params["layer"] - cases["y"]).mean()
        return -error if self.metric_name == "error" else error


def fitted(objective=None, settings=SETTINGS, state=None, **options):
    return train(objective or Regression(), state or start(PARAMS, settings), ROWS, ROWS, settings, **options)


def layer(params):
    return np.asarray(params["layer"])


def test_it_learns():
    state = fitted(settings=SETTINGS._replace(epochs=60))
    np.testing.assert_allclose(layer(state.best), TRUTH, atol=0.05)
    assert state.history.shape == (60, 3)
    assert state.history[-1, 0] < state.history[0, 0] / 10
    assert (state.history[:, 2] > 0).all()


def test_an_interrupted_training_goes_on_to_the_same_parameters():
    whole = fitted()
    kept = []

    def interrupt(state):
        kept.append(state)
        if len(state.history) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fitted(after_epoch=interrupt)
    resumed = fitted(state=kept[-1])
    for got, wanted in zip(jax.tree.leaves(resumed[:4]), jax.tree.leaves(whole[:4]), strict=True):
        np.testing.assert_array_equal(got, wanted)
    np.testing.assert_array_equal(resumed.history[:, :2], whole.history[:, :2])


def test_each_epoch_has_all_rows_in_an_order_of_its_own(monkeypatch):
    seen = []

    def record(objective, settings, params, moments, rows, batches, first, given):
        seen.append((batches.ravel().tolist(), int(first)))
        return params, moments, np.zeros(len(batches))

    monkeypatch.setattr(training, "_steps", record)
    fitted(settings=SETTINGS._replace(epochs=2))
    (one, first), (other, second) = seen
    assert set(one) == set(other) == set(range(50))
    assert one != other
    assert (first, second) == (0, 7)  # steps are numbered on, so that dropout differs


def test_what_is_kept_after_an_epoch_is_not_overwritten_by_the_next():
    kept = []
    fitted(after_epoch=lambda state: kept.append((state, layer(state.params).copy())))
    for state, then in kept:
        np.testing.assert_array_equal(layer(state.params), then)
    assert not layer(PARAMS).any()


@attrs.frozen
class Exact(Regression):
    """Least squares without noise: then a step's parts, one after another, teach what they teach at once."""

    def loss(self, params, batch, key):
        return jnp.square(batch["x"] @ params["layer"] - batch["y"]).mean()


def test_a_step_in_parts_is_the_step_at_once():
    whole = fitted(Exact(), SETTINGS._replace(batch_size=10))
    parts = fitted(Exact(), SETTINGS._replace(batch_size=10, accumulate=5))
    np.testing.assert_allclose(layer(parts.params), layer(whole.params), rtol=1e-5)
    np.testing.assert_allclose(parts.history[:, 0], whole.history[:, 0], rtol=1e-5)


def test_parts_of_few_rows_are_filled_up():
    state = fitted(Exact(), SETTINGS._replace(batch_size=64, accumulate=8, epochs=80))  # 50 rows in 8 parts of 7
    np.testing.assert_allclose(layer(state.best), TRUTH, atol=0.05)


def test_a_batch_that_cannot_be_cut_into_equal_parts_is_refused():
    with pytest.raises(InvalidValue, match="batch_size must be a multiple of accumulate, 3, got 10"):
        fitted(settings=SETTINGS._replace(batch_size=10, accumulate=3))


def test_one_seed_gives_one_model_and_another_another():
    assert np.array_equal(layer(fitted().best), layer(fitted().best))
    assert not np.array_equal(layer(fitted().best), layer(fitted(settings=SETTINGS._replace(seed=1)).best))


def test_it_stops_when_the_metric_has_not_risen_for_long_and_keeps_the_best():
    state = fitted(Regression("the worse the better"), SETTINGS._replace(patience=2, epochs=50))
    assert int(state.best_epoch) == 1
    assert len(state.history) == 3
    assert state.history[0, 1] == state.history[:, 1].max()
    once = fitted(Regression("the worse the better"), SETTINGS._replace(epochs=1))
    np.testing.assert_array_equal(layer(state.best), layer(once.params))


@attrs.frozen
class Alike(Regression):
    """A metric that tells nothing."""

    def metric(self, params, cases):
        return jnp.zeros(())


def test_of_epochs_that_are_alike_the_last_is_kept():
    state = fitted(Alike(), SETTINGS._replace(patience=2))
    assert int(state.best_epoch) == len(state.history) == SETTINGS.epochs
    np.testing.assert_array_equal(layer(state.best), layer(state.params))


def test_several_calls_an_epoch_train_on_all_rows(monkeypatch):
    monkeypatch.setattr(training, "STEPS_PER_DISPATCH", 2)
    state = fitted(settings=SETTINGS._replace(epochs=60))
    np.testing.assert_allclose(layer(state.best), TRUTH, atol=0.05)


@attrs.frozen
class Sometimes(Regression):
    """Not finite for one row."""

    def loss(self, params, batch, key):
        bad = (batch["x"] == INPUTS[7]).all(axis=1).any()
        return super().loss(params, batch, key) * jnp.where(bad, jnp.nan, 1)


def test_a_step_that_is_not_finite_is_left_out():
    state = fitted(Sometimes(), SETTINGS._replace(epochs=60))
    np.testing.assert_allclose(layer(state.best), TRUTH, atol=0.05)


@attrs.frozen
class Never(Regression):
    """Never finite."""

    def loss(self, params, batch, key):
        return super().loss(params, batch, key) * jnp.inf


def test_a_training_that_is_never_finite_is_refused():
    with pytest.raises(InvalidValue, match=r"learning_rate must be smaller.*got 0.05"):
        fitted(Never())


def test_equal_objectives_share_one_program():
    fitted()
    before = training._compiled_steps._cache_size()
    fitted(settings=SETTINGS._replace(seed=5, epochs=2))
    assert training._compiled_steps._cache_size() == before


def test_an_application_with_strict_arrays_can_train():
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        assert np.isfinite(layer(fitted().best)).all()


def test_weights_of_layers_decay_and_vectors_do_not():
    decays = training._is_matrix(start({"layer": np.ones((2, 2)), "bias": np.ones(2)}, SETTINGS)._replace(moments=None, best=None).params)
    assert decays == {"layer": True, "bias": False}


def test_a_bar_says_how_far_it_is(capsys):
    fitted(settings=SETTINGS._replace(progress=True, label="training it"))
    shown = capsys.readouterr().err
    assert "training it" in shown
    assert "rows/s" in shown


@attrs.frozen
class One:
    """A loss of 1 for every row that is there."""

    def loss(self, params, batch, key):
        there = batch.any(axis=1)
        return (there * (1 + 0 * params["layer"].sum())).sum() / jnp.maximum(there.sum(), 1)

    def metric(self, params, cases):
        return jnp.zeros(())


def test_parts_of_steps_that_hold_nothing_are_not_in_the_mean_loss():
    rows = np.concatenate([np.ones((20, 4), np.float32), np.zeros((44, 4), np.float32)])
    settings = SETTINGS._replace(epochs=2, accumulate=2)
    state = train(One(), start(PARAMS, settings), rows, rows, settings, num_empty=44)
    np.testing.assert_allclose(state.history[:, 0], 1, rtol=1e-6)
