"""Small logs for the tests of off-policy evaluation."""

from typing import Any

import numpy as np

from recsdk.base import Context, Interaction


def log_of(
    action: Any,
    reward: Any,
    propensity: Any,
    *,
    num_candidates: int | None = None,
    weight: Any = None,
    features: Any = None,
    mask: Any = None,
    item: Any = None,
) -> Interaction:
    """Returns a log of the given columns, with one constant feature unless told otherwise."""
    size = len(action)
    if mask is None:
        mask = np.ones((size, num_candidates or 1 + max(action)), np.bool_)
    context = Context(
        features=np.ones((*mask.shape, 1)) if features is None else features,
        mask=mask,
        item=np.tile(np.arange(mask.shape[1]), (size, 1)) if item is None else np.asarray(item, np.int64),
    )
    return Interaction(
        context,
        np.asarray(action, np.int64),
        np.asarray(reward, np.float64),
        np.asarray(propensity, np.float64),
        np.ones(size) if weight is None else np.asarray(weight, np.float64),
    )


def random_log(seed: int, size: int = 2000, num_candidates: int = 4, floor: float = 0.05) -> tuple[Interaction, np.ndarray, float]:
    """Returns a log of a logger with a floor, the target's probabilities, and the target's true value given the contexts."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(size, num_candidates, 3))
    logging, target = (_softmax(features @ rng.normal(size=3), floor) for _ in range(2))
    means = 1 / (1 + np.exp(-features @ rng.normal(size=3)))
    action = (logging.cumsum(1) < rng.random((size, 1))).sum(1).clip(max=num_candidates - 1)
    rows = np.arange(size)
    reward = (rng.random(size) < means[rows, action]).astype(np.float64)
    log = log_of(action, reward, logging[rows, action], features=features, num_candidates=num_candidates)
    return log, target, float((target * means).sum(1).mean())


def _softmax(scores: np.ndarray, floor: float) -> np.ndarray:
    weights = np.exp(scores - scores.max(1, keepdims=True))
    return (1 - floor) * weights / weights.sum(1, keepdims=True) + floor / scores.shape[1]
