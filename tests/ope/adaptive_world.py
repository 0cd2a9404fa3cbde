"""True logs of policies that learn, made without a ledger: the README's shop, with whole distributions beside."""

from typing import NamedTuple

import numpy as np

from recsdk import LinTS, WithFloor
from recsdk.base import Context, Interaction, Policy, decide
from tests.ope.logs import log_of

NUM_TOPICS = 4


class Played(NamedTuple):
    """A log, and what the logger did: f64[T, K] distributions with the floor and before it."""

    log: Interaction
    probs: np.ndarray
    before_floor: np.ndarray


def play(seed: int, size: int, *, num_items: int = 20, floor: float = 0.05, inner: Policy = LinTS()) -> Played:  # noqa: B008 (it is frozen)
    """Returns a log of a policy with a floor, by default Thompson sampling: 40 % of what is liked is clicked, 5 % of the rest."""
    rng = np.random.default_rng(seed)
    policy = WithFloor(policy=inner, floor=floor)
    state = policy.init(np.zeros(2))
    topic = np.arange(num_items) * NUM_TOPICS // num_items
    likes = rng.integers(NUM_TOPICS, size=size)
    features = np.stack([np.ones((size, num_items)), topic == likes[:, None]], axis=2)
    mask, item = np.ones(num_items, np.bool_), np.arange(num_items)
    probs, before = np.empty((2, size, num_items))
    action, reward = np.empty(size, np.int64), np.empty(size)
    for row in range(size):
        context = Context(features[row], mask, item)
        decision = decide(policy, state, rng, context)
        probs[row], before[row] = decision.probs, (decision.probs - floor / num_items) / (1 - floor)
        action[row] = decision.action
        reward[row] = rng.random() < (0.4 if topic[action[row]] == likes[row] else 0.05)
        state = policy.update(state, Interaction(context, decision.action, reward[row], decision.propensity, np.float64(1)))
    log = log_of(action, reward, probs[np.arange(size), action], features=features, num_candidates=num_items)
    return Played(log, probs, before)
