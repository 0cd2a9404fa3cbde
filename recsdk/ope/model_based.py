"""Estimators with a reward model, and the fit of the model: cross-fitted, so that no round is predicted by a model that has seen it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from recsdk.base import Interaction
from recsdk.errors import InvalidContext, InvalidValue
from recsdk.ope.checked import Rounds, logged_rounds, need
from recsdk.ope.regressors import Regressor, Ridge
from recsdk.ope.terms import Terms, add, average
from recsdk.ope.weighting import Shrink, importance, unshrunk


def dm(rounds: Rounds) -> Terms:
    """The direct method, mean(sum_a pi(a) q(a)): what the reward model expects of the target policy.

    Its interval is that of the average over contexts. It does not include the error of the model itself, which more rounds do not remove.
    Compare DM with DR; do not rely on it alone.

    Example:
        >>> from recsdk.datasets import log_from_frame
        >>> from recsdk.ope import rounds
        >>> log = log_from_frame({"action": [0, 1, 1, 0], "reward": [1.0, 0.0, 1.0, 0.0], "propensity": [0.5] * 4})
        >>> beside = rounds(log, [[0.25, 0.75]] * 4, q_hat=[[0.5, 0.5]] * 4)
        >>> from recsdk.ope import value
        >>> value(dm(beside))
        0.5
    """
    return average(_expected(rounds, "dm"), rounds.weight)


def dr(rounds: Rounds, *, shrink: Shrink = unshrunk) -> Terms:
    """Estimates doubly robustly: the direct method, plus the weighted error of its model on the logged actions.

    In symbols, mean(sum_a pi(a) q(a) + rho (r - q)), with rho the importance and q the model.

    With true propensities it is unbiased whatever the model predicts, if the model has not seen the round; a good model reduces the
    variance. With `Switch` it is Switch-DR, with `Optimistic` DRos; with a model fitted for it, `more_robust`, it is MRDR.

    Args:
        rounds: from `rounds`, with the target's whole distribution and q_hat.
        shrink: how to make weights smaller, for some bias.

    Example:
        >>> from recsdk.datasets import log_from_frame
        >>> from recsdk.ope import rounds
        >>> log = log_from_frame({"action": [0, 1, 1, 0], "reward": [1.0, 0.0, 1.0, 0.0], "propensity": [0.5] * 4})
        >>> beside = rounds(log, [[0.25, 0.75]] * 4, q_hat=[[0.5, 0.5]] * 4)
        >>> from recsdk.ope import value
        >>> value(dr(beside))
        0.5

    References:
        Dudik, Langford, Li, "Doubly robust policy evaluation and learning", ICML, 2011.
    """
    return average(_expected(rounds, "dr") + shrink(importance(rounds)) * _residual(rounds, "dr"), rounds.weight)


def sndr(rounds: Rounds, *, shrink: Shrink = unshrunk) -> Terms:
    """Self-normalised DR, mean(sum_a pi(a) q(a)) + sum(rho (r - q)) / sum(rho): of less variance where weights are large.

    Args:
        rounds: as in `dr`.
        shrink: as in `dr`.

    Example:
        >>> from recsdk.datasets import log_from_frame
        >>> from recsdk.ope import rounds
        >>> log = log_from_frame({"action": [0, 1, 1, 0], "reward": [1.0, 0.0, 1.0, 0.0], "propensity": [0.5] * 4})
        >>> beside = rounds(log, [[0.25, 0.75]] * 4, q_hat=[[0.5, 0.5]] * 4)
        >>> from recsdk.ope import value
        >>> value(sndr(beside))
        0.5

    References:
        Thomas, Brunskill, "Data-efficient off-policy policy evaluation for reinforcement learning", ICML, 2016: their weighted doubly
        robust estimator, for one step.
    """
    correction = average(_residual(rounds, "sndr"), rounds.weight * shrink(importance(rounds)))
    return add(average(_expected(rounds, "sndr"), rounds.weight), correction)


def _expected(rounds: Rounds, estimator: str) -> np.ndarray:
    """Returns f64[T], the target policy's expected reward under the model."""
    probs = need("the target's whole distribution, float64[T, K]", rounds.probs, estimator)
    expected: np.ndarray = np.vecdot(probs, need("q_hat", rounds.q_hat, estimator))
    return expected


def _residual(rounds: Rounds, estimator: str) -> np.ndarray:
    """Returns f64[T], the logged reward less the model's prediction for the logged action."""
    q_hat = need("q_hat", rounds.q_hat, estimator)
    residual: np.ndarray = rounds.reward - q_hat.take(np.arange(0, q_hat.size, q_hat.shape[1]) + rounds.action)
    return residual


class CrossFit(NamedTuple):
    """Cross-fitted predictions of a reward model for every candidate: the model has not seen that round's reward.

    Attributes:
        q_hat: f64[T, K], zero on padding.
        fold: i64[T], the fold of each round; it was predicted by a model of all other folds.

    Example:
        >>> CrossFit(q_hat=np.zeros((4, 2)), fold=np.array([0, 1, 0, 1])).q_hat.shape
        (4, 2)
    """

    q_hat: np.ndarray
    fold: np.ndarray


def fit_reward_model(
    log: Interaction,
    *,
    model: Regressor = Ridge(),  # noqa: B008  (a frozen value)
    num_folds: int | None = None,
    emphasis: np.ndarray | None = None,
    seed: int = 0,
) -> CrossFit:
    """Predicts the reward of every candidate from its features, each fold of rounds by a model of the other folds.

    A model that has seen a round's reward makes DR's correction of that round too small, and DR biased.

    Args:
        log: a log, leading T, with features f64[T, K, D].
        model: `Ridge`, `Logistic`, `Boosting`, `MLP`, or any object with their `fit`.
        num_folds: parts that the rounds are split into at random, in [2, T]; by default 5, or T where there are fewer rounds.
        emphasis: f64[T] >= 0, weight of each round in the fit, scaled to a mean of 1: `more_robust` for MRDR. By default all are equal.
        seed: of the split and of the model.

    Raises:
        InvalidContext: features without a column.
        InvalidValue: `num_folds` or `emphasis` out of range.
        EmptyLog, InvalidLog: as in `rounds`.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> from recsdk.datasets import log_from_frame
        >>> action = rng.integers(2, size=500)
        >>> log = log_from_frame({"action": action, "reward": action.astype(float), "propensity": np.full(500, 0.5),
        ...                       "features": np.tile(np.eye(2), (500, 1, 1)).tolist()})
        >>> fit_reward_model(log).q_hat[0].round(1)
        array([0., 1.])
    """
    checked = logged_rounds(log)
    size = len(checked.action)
    features = np.asarray(log.context.features)
    if not features.shape[2]:
        raise InvalidContext("features must have at least one column for a reward model, got none: give q_hat.")
    if size < 2:
        raise InvalidValue("log must have at least 2 rounds for a reward model, got 1: leave out dr, dm and sndr, or give q_hat.")
    num_folds = min(5, size) if num_folds is None else num_folds
    if not 2 <= num_folds <= size:
        raise InvalidValue(f"num_folds must be in [2, {size}], the number of rounds, got {num_folds}.")
    weight = checked.weight if emphasis is None else checked.weight * _scaled(np.asarray(emphasis, np.float64), checked.weight)
    chosen = features[np.arange(size), checked.action]
    fold = np.random.default_rng(seed).permutation(size) % num_folds
    q_hat = np.zeros(checked.mask.shape)
    for number in range(num_folds):
        seen, asked = fold != number, fold == number
        if not weight[seen].any():
            raise InvalidValue(f"num_folds must leave rounds of positive weight beside each fold, got {num_folds}: fold {number} has all.")
        predict = model.fit(chosen[seen], checked.reward[seen], weight[seen], seed=seed)
        q_hat[asked] = predict(features[asked].reshape(-1, features.shape[2])).reshape(-1, features.shape[1])
    return CrossFit(np.where(checked.mask, q_hat, 0.0), fold)


def more_robust(rounds: Rounds) -> np.ndarray:
    """Returns f64[T], pi(a)^2 (1 - p) / p^2: the emphasis with which a reward model makes the variance of DR small, MRDR.

    The expectation of the weighted squared error is then DR's variance, for a deterministic target; for others it leaves out that errors on
    several actions of one round may cancel.

    Args:
        rounds: from `rounds`.

    Example:
        >>> from recsdk.datasets import log_from_frame
        >>> from recsdk.ope import rounds
        >>> log = log_from_frame({"action": [0, 1, 1, 0], "reward": [1.0, 0.0, 1.0, 0.0], "propensity": [0.5] * 4})
        >>> beside = rounds(log, [[0.25, 0.75]] * 4, q_hat=[[0.5, 0.5]] * 4)
        >>> more_robust(beside)
        array([0.125, 1.125, 1.125, 0.125])

    References:
        Farajtabar, Chow, Ghavamzadeh, "More robust doubly robust off-policy evaluation", ICML, 2018.
    """
    emphasis: np.ndarray = (rounds.target / rounds.propensity) ** 2 * (1 - rounds.propensity)
    return emphasis


def _scaled(emphasis: np.ndarray, weight: np.ndarray) -> np.ndarray:
    good = emphasis.shape == weight.shape and bool(((emphasis >= 0) & (emphasis < np.inf)).all())
    if not good or not (weight * emphasis).any():
        raise InvalidValue(f"emphasis must be float64[{len(weight)}], finite, >= 0 and somewhere > 0, got {emphasis!r}.")
    scaled: np.ndarray = emphasis * (weight.sum() / (weight * emphasis).sum())
    return scaled
