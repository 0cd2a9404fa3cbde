"""Playing a stream: the peers event by event, our policies by `recsdk.simulate`; and remembering what came of it."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import quality_sets
from peers import Batched, Peer

import recsdk
from recsdk import Policy, fast


class Key(NamedTuple):
    """What was played: all that its outcome depends on, but for the code of recsdk itself."""

    contestant: str
    version: str
    setting: str
    set: str
    num_rounds: int
    seed: int


class Outcome(NamedTuple):
    """The mean reward of an event, and how many seconds of processor time one took."""

    reward: float
    seconds: float


class Own(NamedTuple):
    """A policy of recsdk: the features that it is given, and the policy for K candidates."""

    phi: quality_sets.Phi
    policy: Callable[[int], Policy[Any]]


class Memory:
    """Outcomes in a file, a line each, so that a run that was interrupted goes on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self.outcomes = {Key(*key): Outcome(*outcome) for key, outcome in map(json.loads, lines)}

    def __call__(self, key: Key, play: Callable[[], Outcome]) -> Outcome:
        """Returns what came of a key, playing it if that is not known yet."""
        if key not in self.outcomes:
            self.outcomes[key] = play()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a") as file:
                file.write(json.dumps([key, self.outcomes[key]]) + "\n")
        return self.outcomes[key]

    def forget(self, contestant: str) -> None:
        """Has a contestant play again."""
        self.outcomes = {key: outcome for key, outcome in self.outcomes.items() if key.contestant != contestant}


def play_peer(peer: Peer, set_name: str, num_rounds: int, seed: int) -> Outcome:
    """Plays a peer over a set in the order of the seed."""
    rows = quality_sets.world(set_name, "shared").init(seed)
    contexts, rewards = rows.contexts[:num_rounds], rows.rewards[:num_rounds]
    peer = peer.start(rewards.shape[1], contexts.shape[1], seed)
    walk = _batches if isinstance(peer, Batched) else _events
    start = time.process_time()
    with warnings.catch_warnings(action="ignore"):  # of base models that did not converge, and of names that will go
        total = walk(peer, contexts, rewards)  # type: ignore[arg-type]
    return Outcome(total / num_rounds, (time.process_time() - start) / num_rounds)


def _events(peer: Peer, contexts: np.ndarray, rewards: np.ndarray) -> float:
    total = 0.0
    for x, row in zip(contexts, rewards, strict=True):
        action = peer.choose(x)
        reward = float(row[action])
        peer.learn(x, action, reward)
        total += reward
    return total


def _batches(peer: Batched, contexts: np.ndarray, rewards: np.ndarray) -> float:
    total = 0.0
    for start in range(0, len(contexts), peer.batch):
        some = contexts[start : start + peer.batch]
        actions = peer.choose_all(some)
        earned = rewards[start : start + peer.batch][np.arange(len(some)), actions]
        peer.learn_all(some, actions, earned)
        total += float(earned.sum())
    return total


def play_own(own: Own, set_name: str, num_rounds: int, seed: int) -> Outcome:
    """Plays a policy of recsdk over a set in the order of the seed; the time is the simulation's, on kernels or compiled."""
    world = quality_sets.world(set_name, own.phi)
    policy = own.policy(world.init(seed).rewards.shape[1])
    start = time.process_time()
    simulation = recsdk.simulate(policy, world, num_rounds, seed=seed, engine="numpy" if fast.used(policy) else "auto")
    return Outcome(float(simulation.log.reward.mean()), (time.process_time() - start) / num_rounds)
