"""Models of the reward: each learns what it can, keeps to its contract, and says what it lacks."""

import importlib.util
import sys

import numpy as np
import pytest

from recsdk import ope
from recsdk.errors import InvalidValue, MissingExtra
from tests.ope.logs import log_of

MODELS = [ope.Ridge(), ope.Logistic(), ope.Boosting(num_trees=20), ope.MLP(num_steps=300)]
FITS = pytest.mark.parametrize("model", MODELS, ids=[type(model).__name__ for model in MODELS])


@pytest.fixture(autouse=True)
def one_thread():
    """On a busy machine the threads of scikit-learn's trees wait for one another, a hundred times as long as they work."""
    if importlib.util.find_spec("threadpoolctl") is None:  # it comes with scikit-learn
        yield
        return
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield


def installed(model):
    if isinstance(model, ope.Logistic | ope.Boosting):
        pytest.importorskip("sklearn")
    if isinstance(model, ope.MLP):
        pytest.importorskip("optax")
    return model


def data(size=2000, seed=0):
    rng = np.random.default_rng(seed)
    features = np.concatenate([np.ones((size, 1)), rng.normal(size=(size, 2))], axis=1)
    chance = 1 / (1 + np.exp(-features @ np.array([-0.5, 2.0, -1.0])))
    return features, (rng.random(size) < chance).astype(np.float64), chance


@FITS
def test_it_predicts_better_than_the_mean(model):
    features, reward, _ = data()
    asked, _, chance = data(seed=1)
    found = installed(model).fit(features, reward, np.ones(2000), seed=0)(asked)
    assert found.dtype == np.float64
    assert found.shape == (2000,)
    assert ((found - chance) ** 2).mean() < 0.35 * chance.var()


@FITS
def test_it_is_a_function_of_its_arguments(model):
    features, reward, _ = data(size=300)
    first, again = (installed(model).fit(features, reward, np.ones(300), seed=3)(features) for _ in range(2))
    assert np.array_equal(first, again)


@FITS
def test_rounds_of_weight_zero_are_not_learnt_from(model):
    features, reward, chance = data()
    weight = np.where(np.arange(2000) % 2, 1.0, 0.0)
    wrong = np.where(weight > 0, reward, 1 - reward)
    found = installed(model).fit(features, wrong, weight, seed=0)(features)
    assert np.corrcoef(found, chance)[0, 1] > 0.8


@FITS
def test_rewards_that_are_all_alike_are_predicted(model):
    features, _, _ = data(size=300)
    for reward in (0.0, 1.0):
        found = installed(model).fit(features, np.full(300, reward), np.ones(300), seed=0)(features)
        assert np.abs(found - reward).max() < 0.05


@FITS
def test_it_fits_into_an_evaluation(model):
    rng = np.random.default_rng(0)
    features, _, _ = data(size=3000)
    features = features.reshape(1000, 3, 3)
    means = 1 / (1 + np.exp(-features @ np.array([-0.5, 2.0, -1.0])))
    action = rng.integers(3, size=1000)
    log = log_of(action, (rng.random(1000) < means[np.arange(1000), action]).astype(float), np.full(1000, 1 / 3), features=features)
    target = np.eye(3)[means.argmax(1)]
    rounds = ope.rounds(log, target, q_hat=ope.fit_reward_model(log, model=installed(model), num_folds=2).q_hat)
    found = ope.delta(ope.dr(rounds))
    assert abs(found.value - means.max(1).mean()) < 4 * found.stderr
    assert found.stderr < 0.95 * ope.delta(ope.ips(rounds)).stderr


def test_logistic_regression_takes_shares_and_nothing_beyond():
    pytest.importorskip("sklearn")
    features, _, chance = data()
    found = ope.Logistic(strength=1e-6).fit(features, chance, np.ones(2000), seed=0)(features)
    assert np.abs(found - chance).max() < 1e-3
    with pytest.raises(InvalidValue, match=r"reward must be in \[0, 1\] for Logistic, got -1.0. Use Ridge."):
        ope.Logistic().fit(features, chance - 1 - chance, np.ones(2000), seed=0)


def test_trees_and_networks_see_what_is_not_linear():
    pytest.importorskip("sklearn")
    pytest.importorskip("optax")
    rng = np.random.default_rng(0)
    features = np.concatenate([np.ones((3000, 1)), rng.normal(size=(3000, 2))], axis=1)
    means = np.abs(features[:, 1]) * np.sign(features[:, 2])
    errors = [
        ((model.fit(features[:2000], means[:2000], np.ones(2000), seed=0)(features[2000:]) - means[2000:]) ** 2).mean()
        for model in (ope.Ridge(), ope.Boosting(), ope.MLP(num_steps=800))
    ]
    assert max(errors[1:]) < 0.3 * errors[0]


@pytest.mark.parametrize(("model", "extra"), [(ope.Logistic(), "ope"), (ope.Boosting(), "ope"), (ope.MLP(), "deep")])
def test_what_is_not_installed_is_named(model, extra, monkeypatch):
    for module in ("sklearn", "jax", "recsdk.ope._jax"):
        monkeypatch.setitem(sys.modules, module, None)
    features, reward, _ = data(size=50)
    with pytest.raises(MissingExtra, match=rf"\.\[{extra}\]"):
        model.fit(features, reward, np.ones(50), seed=0)


@pytest.mark.parametrize(
    ("model", "changes", "message"),
    [
        (ope.Ridge, {"strength": 0.0}, "Ridge.strength must be a finite number > 0"),
        (ope.Ridge, {"strength": float("nan")}, "Ridge.strength must be a finite number > 0"),
        (ope.Logistic, {"strength": -1.0}, "Logistic.strength"),
        (ope.Boosting, {"num_trees": 0}, "Boosting.num_trees must be a whole number >= 1"),
        (ope.MLP, {"hidden": (8, 0)}, "MLP.hidden must be a whole number >= 1"),
        (ope.MLP, {"learning_rate": 0.0}, "MLP.learning_rate"),
    ],
)
def test_settings_out_of_range_are_refused(model, changes, message):
    with pytest.raises(InvalidValue, match=message):
        model(**changes)
