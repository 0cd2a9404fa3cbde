"""Models that predict rewards, for `fit_reward_model`. Any object with the same `fit` works."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Protocol

import attrs
import numpy as np

from recsdk.checks import integer, number
from recsdk.errors import InvalidValue, MissingExtra, install

Predict = Callable[[np.ndarray], np.ndarray]
"""From features f64[N, D] to expected rewards f64[N]."""


class Regressor(Protocol):
    """Model that learns to predict rewards from features, with or without a constant column."""

    def fit(self, features: np.ndarray, reward: np.ndarray, weight: np.ndarray, *, seed: int) -> Predict:
        """Fits features f64[N, D] to rewards f64[N]; each row stands for `weight` rounds, f64[N], not all 0."""


@attrs.frozen(kw_only=True)
class Ridge:
    """Ridge regression with an intercept that is not penalised: fast, and a good default for features made for linear policies.

    Attributes:
        strength: of the penalty, > 0. It counts like that many rounds of reward 0 along each feature.

    Example:
        >>> predict = Ridge().fit(np.array([[0.0], [1.0]] * 50), np.array([0.0, 1.0] * 50), np.ones(100), seed=0)
        >>> predict(np.array([[0.5]])).round(3)
        array([0.5])
    """

    strength: float = attrs.field(default=1.0, validator=number(above=0))

    def fit(self, features: np.ndarray, reward: np.ndarray, weight: np.ndarray, *, seed: int) -> Predict:
        """See `Regressor`; `seed` is not used."""
        del seed
        centre, middle = weight @ features / weight.sum(), weight @ reward / weight.sum()
        centred = features - centre
        weighted = centred.T * weight
        coefficients = np.linalg.solve(weighted @ centred + self.strength * np.eye(len(centre)), weighted @ (reward - middle))
        return lambda asked: asked @ coefficients + (middle - centre @ coefficients)


@attrs.frozen(kw_only=True)
class Logistic:
    """Logistic regression, for rewards in [0, 1]. A reward of 0.3 counts as 0.3 of a success and 0.7 of a failure. Needs scikit-learn.

    Attributes:
        strength: of the penalty, > 0, as in `Ridge`.

    Example:
        >>> predict = Logistic().fit(np.array([[0.0], [1.0]] * 50), np.array([0.0, 1.0] * 50), np.ones(100), seed=0)
        >>> predict(np.array([[0.5]])).round(3)
        array([0.5])
    """

    strength: float = attrs.field(default=1.0, validator=number(above=0))

    def fit(self, features: np.ndarray, reward: np.ndarray, weight: np.ndarray, *, seed: int) -> Predict:
        """See `Regressor`; `seed` is not used.

        Raises:
            InvalidValue: a reward outside [0, 1].
            MissingExtra: scikit-learn is not installed.
        """
        del seed
        if not ((reward >= 0) & (reward <= 1)).all():
            raise InvalidValue(f"reward must be in [0, 1] for Logistic, got {reward[~((reward >= 0) & (reward <= 1))][0]}. Use Ridge.")
        chance = float(weight @ reward / weight.sum())
        if chance in (0.0, 1.0):  # there is nothing to tell apart
            return lambda asked: np.full(len(asked), chance)
        twice, shares = np.concatenate([features, features]), np.concatenate([weight * reward, weight * (1 - reward)])
        settings = {"C": 1 / self.strength, "max_iter": 1000}
        return _by_sklearn("linear_model", "LogisticRegression", settings, twice, np.repeat([1, 0], len(reward)), shares)


@attrs.frozen(kw_only=True)
class Boosting:
    """Gradient-boosted trees on histograms, for rewards that are far from linear in the features. Needs scikit-learn.

    It uses one thread for each core. On a busy machine these threads wait for one another: set
    OMP_NUM_THREADS to 1.

    Attributes:
        num_trees: >= 1.
        learning_rate: > 0, at most 1.
        max_leaves: of a tree, >= 2.
        min_rounds: in a leaf, >= 1.

    Example:
        >>> predict = Boosting(num_trees=5).fit(np.array([[0.0], [1.0]] * 50), np.array([0.0, 1.0] * 50), np.ones(100), seed=0)
        >>> low, high = predict(np.array([[0.0], [1.0]]))
        >>> bool(low < 0.5 < high)
        True
    """

    num_trees: int = attrs.field(default=100, validator=integer(at_least=1))
    learning_rate: float = attrs.field(default=0.1, validator=number(above=0, at_most=1))
    max_leaves: int = attrs.field(default=15, validator=integer(at_least=2))
    min_rounds: int = attrs.field(default=20, validator=integer(at_least=1))

    def fit(self, features: np.ndarray, reward: np.ndarray, weight: np.ndarray, *, seed: int) -> Predict:
        """See `Regressor`.

        Raises:
            MissingExtra: scikit-learn is not installed.
        """
        settings = {
            "max_iter": self.num_trees,
            "learning_rate": self.learning_rate,
            "max_leaf_nodes": self.max_leaves,
            "min_samples_leaf": self.min_rounds,
            "early_stopping": False,
            "random_state": seed,
        }
        return _by_sklearn("ensemble", "HistGradientBoostingRegressor", settings, features, reward, weight)


@attrs.frozen(kw_only=True)
class MLP:
    """A neural network of ReLU layers on standardised features, trained with Adam in float32. Needs the extra `deep`.

    Attributes:
        hidden: width of each hidden layer, >= 1.
        num_steps: of Adam, >= 1.
        batch_size: rounds of a step, >= 1.
        learning_rate: > 0.
        decay: of the weights, >= 0.

    Example:
        >>> MLP(hidden=(64, 64)).num_steps
        2000
    """

    hidden: tuple[int, ...] = attrs.field(default=(32,), converter=tuple, validator=attrs.validators.deep_iterable(integer(at_least=1)))
    num_steps: int = attrs.field(default=2000, validator=integer(at_least=1))
    batch_size: int = attrs.field(default=256, validator=integer(at_least=1))
    learning_rate: float = attrs.field(default=0.003, validator=number(above=0))
    decay: float = attrs.field(default=1e-3, validator=number(at_least=0))

    def fit(self, features: np.ndarray, reward: np.ndarray, weight: np.ndarray, *, seed: int) -> Predict:
        """See `Regressor`.

        Raises:
            MissingExtra: JAX or Optax is not installed.
        """
        try:
            from recsdk.ope._jax import train
        except ImportError as error:
            raise MissingExtra(f"MLP needs JAX and Optax: {install('deep')}.") from error
        centre, scale = features.mean(0), features.std(0)
        standard = np.where(scale > 0, scale, 1.0)
        middle = float(weight @ reward / weight.sum())
        spread = float(np.sqrt(weight @ (reward - middle) ** 2 / weight.sum())) or 1.0
        settings = attrs.asdict(self, recurse=False)
        network = train((features - centre) / standard, (reward - middle) / spread, weight / weight.mean(), seed=seed, **settings)
        return lambda asked: middle + spread * network((asked - centre) / standard)


def _by_sklearn(module: str, name: str, settings: dict[str, Any], features: np.ndarray, target: np.ndarray, weight: np.ndarray) -> Predict:
    """Fits an estimator of scikit-learn; of a classifier, the prediction is the probability of its second class."""
    try:
        from sklearn import base

        estimator = getattr(importlib.import_module(f"sklearn.{module}"), name)
    except ImportError as error:
        raise MissingExtra(f"Logistic and Boosting need scikit-learn: {install('ope')}.") from error
    model = estimator(**settings).fit(features, target, sample_weight=weight)
    if base.is_classifier(model):
        return lambda asked: np.asarray(model.predict_proba(asked)[:, 1], np.float64)
    return lambda asked: np.asarray(model.predict(asked), np.float64)
