"""Who is timed on live events, one at a time: choose a candidate, see its reward, learn from it."""

from __future__ import annotations

import functools
import importlib.util
import itertools
import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
import peers

import recsdk
from recsdk import Context, Interaction, LinTS, LinUCB, Policy, decide, learn

RULES = ("LinUCB", "LinTS", "squarecb")  # of each peer the first setting of each of these
COBA_LARGEST = 10_000  # K x D: coba keeps the square of that many numbers
BARE = "NumPy, bare LinUCB"
VW = "VW squarecb, bare loop"
VW_OPTIONS = "--cb_explore_adf --squarecb --quiet --random_seed 1"
ALPHA = 0.5  # the optimism of every LinUCB here
POOL_BYTES = 2**20
"""Events are taken again and again from a pool that stays in a core's cache, as features just computed for a request do."""


POLICIES: dict[str, Policy[Any]] = {
    "uniform": recsdk.Uniform(),
    "by-column": recsdk.ByColumn(),
    "lin-ucb on two columns": recsdk.OnColumns(policy=LinUCB(), columns=(0, -1)),
    "epsilon-greedy": recsdk.EpsilonGreedy(),
    "epsilon-decay": recsdk.EpsilonDecay(),
    "boltzmann": recsdk.Boltzmann(),
    "squarecb": recsdk.SquareCB(),
    "lin-ucb": LinUCB(alpha=ALPHA),
    "lin-ts": LinTS(),
    "logistic-ts": recsdk.LogisticTS(),
    "disjoint-lin-ucb": recsdk.DisjointLinUCB(),
    "disjoint-lin-ts": recsdk.DisjointLinTS(),
    "hybrid-lin-ucb": recsdk.HybridLinUCB(),
    "hybrid-lin-ts": recsdk.HybridLinTS(),
    "bag": recsdk.Bag(),
    "wide-deep": recsdk.WideDeep(),
    "neural-squarecb": recsdk.NeuralSquareCB(),
    "neural-linear": recsdk.NeuralLinear(),
    "exp3": recsdk.EXP3(),
    "exp4 of lin-ucb and lin-ts": recsdk.EXP4(policies=(LinUCB(), LinTS())),
    "tsallis-inf of lin-ucb and lin-ts": recsdk.TsallisINF(policies=(LinUCB(), LinTS())),
    "mixture of lin-ucb and lin-ts": recsdk.Mixture(policies=(LinUCB(), LinTS()), shares=(0.5, 0.5)),
    "lin-ts with floor": recsdk.WithFloor(policy=LinTS()),
    "lin-ucb, discounted": recsdk.Discounted(policy=LinUCB()),
    "lin-ucb, windowed": recsdk.Windowed(policy=LinUCB(), window=100),
    "lin-ucb, conservative": recsdk.Conservative(policy=LinUCB(), baseline=recsdk.ByColumn()),
    "lin-ucb, budgeted": recsdk.Budgeted(policy=LinUCB(), cap=100, window=1000),
}
"""Every policy and wrapper, a row each; those for JAX alone too."""


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


class Entry(NamedTuple):
    """A row of the table.

    Attributes:
        kind: "by hand", "recsdk" or "peer".
        make: returns the contestant, with nothing learned.
    """

    kind: str
    make: Callable[[], Contestant]


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


class OneContext:
    """A peer that takes one vector and K arms, each with weights of its own, where the others take a row for each candidate."""

    def __init__(self, peer: peers.Peer) -> None:
        self.peer = peer

    def play(self, events: Iterable[Event]) -> None:
        """See `Contestant`; the vector is the first candidate's row."""
        peer, log = self.peer, []
        for context, rewards in events:
            x = context.features[0]
            action = peer.choose(x)
            peer.learn(x, action, rewards[action])
            log.append((x, action, rewards[action]))


def entries(size: tuple[int, int]) -> dict[str, Entry]:
    """Returns everyone who is installed and fits into memory."""
    num_candidates, dim = size
    found = {BARE: Entry("by hand", lambda: BareLinUCB(dim))}
    found["NumPy, bare LinUCB, with propensity"] = Entry("by hand", lambda: BareLinUCBWithPropensity(dim))
    for name, policy in _policies().items():
        found[f"recsdk {name}"] = Entry("recsdk", functools.partial(Recsdk, policy, dim))
    if importlib.util.find_spec("vowpalwabbit"):
        found[VW] = Entry("peer", BareVW)
        if importlib.util.find_spec("recsdk_vw"):
            import recsdk_vw

            found["VW squarecb, recsdk-vw"] = Entry("recsdk", lambda: Recsdk(recsdk_vw.squarecb(), dim))
    for name, peer in _arms(num_candidates * dim):
        found[f"{name} (x, K arms)"] = Entry("peer", lambda peer=peer: OneContext(peer.start(num_candidates, dim, 0)))  # type: ignore[misc]
    return found


def _policies() -> dict[str, Policy[Any]]:
    """Returns those that run here, with those for JAX alone made ready for live events."""
    found, has_jax = dict[str, Policy[Any]](), bool(importlib.util.find_spec("jax"))
    for name, policy in POLICIES.items():
        if "numpy" in policy.runs_on:
            found[name] = policy
        elif has_jax:
            found[name] = recsdk.Jitted(policy=policy)
    if has_jax:
        found["lin-ucb, jitted"] = recsdk.Jitted(policy=LinUCB(alpha=ALPHA))
    return found


def _arms(num_weights: int) -> Iterator[tuple[str, peers.Peer]]:
    for name, library in peers.LIBRARIES.items():
        if name in peers.missing() or (name == "coba" and num_weights > COBA_LARGEST):
            continue
        for rule in RULES:
            setting = next((setting for setting in library.settings if setting.startswith(rule)), None)
            if setting:
                yield f"{name} {setting}", library.settings[setting]
