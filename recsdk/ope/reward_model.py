"""A reward model for DM and DR, cross-fitted so that no round is judged by a model that has seen it."""

from __future__ import annotations

import numpy as np

from recsdk.base import Interaction
from recsdk.errors import InvalidContext, InvalidValue
from recsdk.ope._rounds import logged_rounds


def fit_reward_model(log: Interaction, *, num_folds: int = 5, ridge: float = 1.0, seed: int = 0) -> np.ndarray:
    """Predicts the reward of every candidate by ridge regression on phi, each fold of rounds by a model of the others.

    A model that has seen a round's reward makes DR's correction of that round too small, and DR biased.

    Args:
        log: a log, leading T, with features f64[T, K, D]; no intercept is added, phi has its own constant column.
        num_folds: parts that the rounds are split into at random, in [2, T].
        ridge: strength of the pull towards 0, > 0; that of `ridge` rounds along each feature.
        seed: of the split.

    Returns:
        q_hat, f64[T, K], zero on padding.

    Raises:
        InvalidContext: features without a column.
        InvalidValue: `num_folds` or `ridge` out of range.
        EmptyLog, InvalidLog: as in `rounds`.
    """
    checked = logged_rounds(log)
    size = len(checked.action)
    features = np.asarray(log.context.features)
    if not features.shape[2]:
        raise InvalidContext("features must have at least one column for a reward model, got none: give q_hat.")
    if not 2 <= num_folds <= size:
        raise InvalidValue(f"num_folds must be in [2, {size}], the number of rounds, got {num_folds}.")
    if not 0 < ridge < np.inf:
        raise InvalidValue(f"ridge must be finite and > 0, got {ridge}.")
    chosen = features[np.arange(size), checked.action]
    fold = np.random.default_rng(seed).permutation(size) % num_folds
    q_hat = np.empty(checked.mask.shape)
    for number in range(num_folds):
        seen = fold != number
        weighted = chosen[seen] * checked.weight[seen, None]
        precision = weighted.T @ chosen[seen] + ridge * np.eye(chosen.shape[1])
        coefficients = np.linalg.solve(precision, weighted.T @ checked.reward[seen])
        q_hat[~seen] = features[~seen] @ coefficients
    return np.where(checked.mask, q_hat, 0.0)
