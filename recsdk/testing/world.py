"""A small world with linear rewards, in which a policy is watched while it learns: the same rounds for every policy."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from recsdk import base
from recsdk.base import Context, Policy, Rng
from recsdk.drivers import loop
from recsdk.testing import states
from recsdk.testing.inputs import DIM

NUM_CANDIDATES = 10
NUM_ROUNDS = 10_000


class Draws(NamedTuple):
    """The decisions of T rounds, as `decide` logged them.

    Attributes:
        features: f64[T, K, D].
        mask: bool[T, K].
        action: i64[T].
        propensity: f64[T].
        probs: f64[T, K].
    """

    features: np.ndarray
    mask: np.ndarray
    action: np.ndarray
    propensity: np.ndarray
    probs: np.ndarray


class Watched(NamedTuple):
    """A policy's decisions in the world, and what they cost.

    Attributes:
        draws: of its T rounds.
        regret: f64[T], expected reward of the best candidate less that of the chosen one.
    """

    draws: Draws
    regret: np.ndarray


class Round(NamedTuple):
    """One round, or with a leading T all: the context, and of each candidate the expected reward and the reward."""

    context: Context
    mean: np.ndarray
    reward: np.ndarray


@functools.lru_cache(maxsize=1)
def rounds(num_rounds: int) -> Round:
    """Returns the world's rounds: candidates on the unit sphere, and rewards in [-2, 2]."""
    rng = np.random.default_rng(7)
    truth = rng.standard_normal(DIM)
    features = rng.standard_normal((num_rounds, NUM_CANDIDATES, DIM))
    features /= np.linalg.norm(features, axis=2, keepdims=True)
    mean = features @ (truth / np.sqrt(truth @ truth))
    shape = num_rounds, NUM_CANDIDATES
    item = np.tile(np.arange(NUM_CANDIDATES), (num_rounds, 1))
    return Round(Context(features, np.ones(shape, bool), item), mean, mean + rng.uniform(-1, 1, shape))


@functools.lru_cache(maxsize=4)  # two laws and a reference look at one life
def watched(policy: Policy[Any], num_rounds: int) -> Watched:
    """Lets a policy live in the world from its start."""
    known = rounds(num_rounds)
    engine = loop.choose_engine(policy, "numpy" if "numpy" in policy.runs_on else "jax")

    def step(state: Any, rng: Rng, here: Round) -> tuple[Any, base.Decision]:
        decision = base.decide(policy, state, rng, here.context)
        one = 0 * decision.propensity + 1
        reward = here.reward[decision.action]
        return policy.update(state, base.Interaction(here.context, decision.action, reward, decision.propensity, one)), decision

    state, decision = loop.run(step, states.init(policy, DIM), known, engine=engine, seed=6, stream=loop.SIMULATE)
    states.close(policy, state)
    draws = Draws(known.context.features, known.context.mask, *decision)
    return Watched(draws, known.mean.max(axis=1) - known.mean[np.arange(num_rounds), draws.action])
