"""Who is timed on live events, one at a time: choose a candidate, see its reward, learn from it."""

from __future__ import annotations

import functools
import importlib.util
import itertools
import random
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np

from recsdk import Context, EpsilonGreedy, Interaction, LinTS, LinUCB, Policy, Uniform, WithFloor, decide, learn

BARE = "NumPy, bare LinUCB"
VW = "VW squarecb, bare loop"
VW_OPTIONS = "--cb_explore_adf --squarecb --quiet --random_seed 1"
ALPHA = 0.5  # the optimism of every LinUCB here
POOL_BYTES = 2**20
"""Events are taken again and again from a pool that stays in a core's cache, as features just computed for a request do."""


class Event(NamedTuple):
    """A visit: what may be shown, and the reward of each candidate, f64[K] of 0 and 1."""

    context: Context
    rewards: np.ndarray


class Contestant(Protocol):
    """Something that decides and learns."""

    def play(self, events: Iterable[Event]) -> None:
        """Goes through the events one by one."""


def stream(num_candidates: int, dim: int) -> Iterator[Event]:
    """Yields events without end."""
    rng = np.random.default_rng(0)
    weights = rng.standard_normal(dim)
    pool = []
    for _ in range(max(4, POOL_BYTES // (8 * num_candidates * dim))):
        features = rng.standard_normal((num_candidates, dim)) / dim**0.5
        rewards = (rng.random(num_candidates) < 1 / (1 + np.exp(-features @ weights))).astype(np.float64)
        pool.append(Event(Context(features, np.ones(num_candidates, bool), np.arange(num_candidates)), rewards))
    return itertools.cycle(pool)


class Recsdk:
    """A policy of recsdk, driven by `decide` and `learn`: every check is on, the propensity is logged."""

    def __init__(self, policy: Policy[Any], dim: int) -> None:
        self.policy = policy
        self.state = policy.init(np.zeros(dim))
        self.rng = np.random.default_rng(1)

    def play(self, events: Iterable[Event]) -> None:
        """See `Contestant`."""
        policy, state, rng, log = self.policy, self.state, self.rng, []
        for context, rewards in events:
            decision = decide(policy, state, rng, context)
            interaction = Interaction(context, decision.action, rewards[decision.action], decision.propensity, 1.0)
            state = learn(policy, state, interaction)
            log.append(interaction)
        self.state = state


class BareLinUCB:
    """What one writes by hand: no checks, no mask, no ties, no propensity."""

    def __init__(self, dim: int) -> None:
        self.inverse = np.eye(dim)
        self.sums = np.zeros(dim)

    def play(self, events: Iterable[Event]) -> None:
        """See `Contestant`."""
        inverse, sums = self.inverse, self.sums
        for context, rewards in events:
            features = context.features
            theta = inverse @ sums
            bounds = features @ theta + ALPHA * np.sqrt(np.einsum("kd,kd->k", features @ inverse, features))
            action = np.argmax(bounds)
            chosen = features[action]
            gain = inverse @ chosen
            inverse -= np.outer(gain, gain) / (1 + chosen @ gain)
            sums += rewards[action] * chosen


class BareLinUCBWithPropensity(BareLinUCB):
    """The same by hand with what a log needs for evaluation: ties share, the action is drawn, its probability is kept."""

    def play(self, events: Iterable[Event]) -> None:
        """See `Contestant`."""
        inverse, sums, rng, log = self.inverse, self.sums, np.random.default_rng(1), []
        for context, rewards in events:
            features = context.features
            theta = inverse @ sums
            bounds = features @ theta + ALPHA * np.sqrt(np.einsum("kd,kd->k", features @ inverse, features))
            best = np.where(context.mask, bounds, -np.inf) >= bounds.max() - 1e-12
            probs = best / best.sum()
            action = min(int(np.searchsorted(np.cumsum(probs), rng.random(), side="right")), len(probs) - 1)
            log.append((context, action, rewards[action], probs[action], probs))
            chosen = features[action]
            gain = inverse @ chosen
            inverse -= np.outer(gain, gain) / (1 + chosen @ gain)
            sums += rewards[action] * chosen


def vw_lines(features: np.ndarray) -> list[str]:
    """Returns the candidates in Vowpal Wabbit's text format."""
    form = _form(features.shape[1])
    return [form % tuple(row) for row in features.tolist()]


@functools.cache
def _form(dim: int) -> str:
    return "|f " + " ".join(f"{index}:%.6g" for index in range(dim))


class BareVW:
    """Vowpal Wabbit from Python by its text format, as its tutorials show, with the numbers formatted once per event."""

    def __init__(self) -> None:
        from vowpalwabbit import Workspace

        self.workspace = Workspace(VW_OPTIONS)
        self.draw = random.Random(1)

    def play(self, events: Iterable[Event]) -> None:
        """See `Contestant`."""
        workspace, draw, log = self.workspace, self.draw, []
        for context, rewards in events:
            lines = vw_lines(context.features)
            probs = workspace.predict(lines)
            (action,) = draw.choices(range(len(lines)), probs)
            log.append((action, rewards[action], probs[action]))
            lines[action] = f"0:{-rewards[action]}:{probs[action]} {lines[action]}"
            workspace.learn(lines)


def contestants(dim: int) -> dict[str, Contestant]:
    """Returns everyone, each with nothing learned; Vowpal Wabbit where it is installed."""
    everyone: dict[str, Contestant] = {
        BARE: BareLinUCB(dim),
        "NumPy, bare LinUCB, with propensity": BareLinUCBWithPropensity(dim),
        "recsdk uniform": Recsdk(Uniform(), dim),
        "recsdk epsilon-greedy": Recsdk(EpsilonGreedy(), dim),
        "recsdk lin-ucb": Recsdk(LinUCB(alpha=ALPHA), dim),
        "recsdk lin-ts": Recsdk(LinTS(), dim),
        "recsdk lin-ts with floor": Recsdk(WithFloor(policy=LinTS()), dim),
    }
    if importlib.util.find_spec("vowpalwabbit"):
        everyone[VW] = BareVW()
        if importlib.util.find_spec("recsdk_vw"):
            import recsdk_vw

            everyone["VW squarecb, recsdk-vw"] = Recsdk(recsdk_vw.squarecb(), dim)
    return everyone
