"""Models of the reward for `fit_reward_model`. Any object with the same method will do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import attrs
import numpy as np

from recsdk.checks import integer, number
from recsdk.errors import InvalidValue, MissingExtra, install

Predict = Callable[[np.ndarray], np.ndarray]
"""From features f64[N, D] to expected rewards f64[N]."""


class Regressor(Protocol):
    """Learns to predict rewards from phi, which may have a constant column and may not."""

    def fit(self, features: np.ndarray, reward: np.ndarray, weight: np.ndarray, *, seed: int) -> Predict:
        """Learns from features f64[N, D], rewards f64[N] and how many rounds each row stands for, f64[N]; not all 0."""


@attrs.frozen(kw_only=True)
class Ridge:
    """Ridge regression with a free intercept: quick, and a good default on features made for linear policies.

    Attributes:
        strength: of the pull towards 0, > 0; that of so many rounds along each feature.

    Example:
        >>> predict = Ridge().fit(np.array([[0.0], [1.0]] * 50), np.array([0.0, 1.0] * 50), np.ones(100), seed=0)
        >>> predict(np.array([[0.5]])).round(3)
        array([0.5])
    """

    strength: float = attrs.field(default=1.0, validator=number(above=0))

    def fit(self, features: np.ndarray, reward: np.ndarray, weight: np.ndarray, *, seed: int) -> Predict:
        """See `Regressor`; there is nothing random in it."""
        del seed
        centre, middle = weight @ features / weight.sum(), weight @ reward / weight.sum()
        centred = features - centre
        weighted = centred.T * weight
        coefficients = np.linalg.solve(weighted @ centred + self.strength * np.eye(len(centre)), weighted @ (reward - middle))
        return lambda asked: asked @ coefficients + (middle - centre @ coefficients)


@attrs.frozen(kw_only=True)
class Logistic:
    """Logistic regression, for rewards in [0, 1]; one strictly between counts as a share of each. Needs scikit-learn.

    Attributes:
        strength: of the pull towards 0, > 0, as in `Ridge`.

    Example:
        >>> predict = Logistic().fit(np.array([[0.0], [1.0]] * 50), np.array([0.0, 1.0] * 50), np.ones(100), seed=0)
        >>> predict(np.array([[0.5]])).round(3)
        array([0.5])
    """

    strength: float = attrs.field(default=1.0, validator=number(above=0))

    def fit(self, features: np.ndarray, reward: np.ndarray, weight: np.ndarray, *, seed: int) -> Predict:
        """See `Regressor`; there is nothing random in it.

        Raises:
            InvalidValue: a reward outside [0, 1].
            MissingExtra: scikit-learn is not installed.
        """
        del seed
        if not ((reward >= 0) & (reward <= 1)).all():
            raise InvalidValue(f"reward must be in [0, 1] for Logistic, got {reward[~((reward >= 0) & (reward <= 1))][0]}. Use Ridge.")
        _need_sklearn()
        from sklearn.linear_model import LogisticRegression

        chance = float(weight @ reward / weight.sum())
        if chance in (0.0, 1.0):  # there is nothing to tell apart
            return lambda asked: np.full(len(asked), chance)
        model = LogisticRegression(C=1 / self.strength, max_iter=1000)
        label = np.repeat([1, 0], len(reward))
        model.fit(np.concatenate([features, features]), label, sample_weight=np.concatenate([weight * reward, weight * (1 - reward)]))
        return lambda asked: model.predict_proba(asked)[:, 1].astype(np.float64)


@attrs.frozen(kw_only=True)
class Boosting:
    """Gradient-boosted trees on histograms, for rewards that are far from linear in phi. Needs scikit-learn.

    It works with as many threads as there are cores, which wait for one another where others work there too: set OMP_NUM_THREADS to 1 then.

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
        _need_sklearn()
        from sklearn.ensemble import HistGradientBoostingRegressor

        model = HistGradientBoostingRegressor(
            max_iter=self.num_trees,
            learning_rate=self.learning_rate,
            max_leaf_nodes=self.max_leaves,
            min_samples_leaf=self.min_rounds,
            early_stopping=False,
            random_state=seed,
        )
        model.fit(features, reward, sample_weight=weight)
        return lambda asked: model.predict(asked).astype(np.float64)


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


def _need_sklearn() -> None:
    try:
        import sklearn  # noqa: F401  (whether it is there)
    except ImportError as error:
        raise MissingExtra(f"Logistic and Boosting need scikit-learn: {install('ope')}.") from error
