"""Logs and contexts for the tests."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest
from recsdk_vw import VW
from recsdk_vw.arguments import EXPLORATIONS

from recsdk.base import Context, Interaction

DIM = 4
RNG = np.random.default_rng(0)
ROWS = [[1.0, 2.0, 3.0, 4.0], [0.0, 1.0, 0.0, 1.0]]

each_exploration = pytest.mark.parametrize("exploration", EXPLORATIONS)


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
