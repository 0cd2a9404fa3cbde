"""Small random rounds and logs, to try a policy on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from recsdk.arrays import stack_rounds
from recsdk.base import Context, Interaction
from recsdk_vw.policy import VW

DIM = 4
RNG = np.random.default_rng(0)
ROWS = [[1.0, 2.0, 3.0, 4.0], [0.0, 1.0, 0.0, 1.0]]


def context(features: Any) -> Context:
    """Returns a context without padding."""
    features = np.array(features, float)
    return Context(features, np.ones(len(features), bool), np.arange(len(features)))


def interaction(features: Any, action: int = 0, reward: float = 1.0, propensity: float = 0.5, weight: float = 1.0) -> Interaction:
    """Returns a round without padding."""
    return Interaction(context(features), *map(np.asarray, (action, reward, propensity, weight)))


def rounds(num_rounds: int, seed: int = 0) -> Iterator[Interaction]:
    """Yields rounds with two to six candidates, of which the reward prefers some."""
    rng = np.random.default_rng(seed)
    for _ in range(num_rounds):
        features = rng.standard_normal((rng.integers(2, 7), DIM))
        action = int(rng.integers(len(features)))
        yield interaction(features, action, float(features[action].sum() > 0), 1 / len(features))


def make_log(num_rounds: int = 80, seed: int = 0) -> Interaction:
    """Returns a log with weights, among them 0 and fractions, zero features, and identical candidates."""
    rng = np.random.default_rng(seed)
    log = stack_rounds(rounds(num_rounds, seed))
    features = np.where(rng.random(log.context.features.shape) < 0.3, 0.0, log.context.features)
    features[::5, 1] = features[::5, 0]
    return log._replace(context=log.context._replace(features=features), weight=rng.choice([0.0, 0.5, 1.0, 3.0], num_rounds))


def fold(policy: VW, log: Iterable[Interaction], state: Any = None) -> Any:
    """Returns the state after a log."""
    state = policy.init(np.zeros(DIM)) if state is None else state
    for one in log:
        state = policy.update(state, one)
    return state


def all_probs(policy: VW, state: Any, seed: int = 100) -> list[np.ndarray]:
    """Returns the answers on twenty fixed contexts."""
    return [policy.probs(state, RNG, one.context) for one in rounds(20, seed)]


def equal(left: list[np.ndarray], right: list[np.ndarray]) -> bool:
    """Tells whether answers are equal bit for bit."""
    return all((a == b).all() for a, b in zip(left, right, strict=True))
