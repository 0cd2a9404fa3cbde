"""Who is timed on a log: walk it, choose in every round, learn from what was logged."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from contestants import ALPHA, BARE, VW_OPTIONS, vw_lines

from recsdk import Context, EpsilonGreedy, Interaction, LinTS, LinUCB, Policy, replay

POLICIES: dict[str, Policy[Any]] = {"lin-ucb": LinUCB(alpha=ALPHA), "lin-ts": LinTS(), "epsilon-greedy": EpsilonGreedy()}
ENGINES = ("jax", "numpy") if importlib.util.find_spec("jax") else ("numpy",)


def uniform_log(num_rounds: int, num_candidates: int, dim: int) -> Interaction:
    """Returns a log of uniform exploration."""
    rng = np.random.default_rng(0)
    shape = (num_rounds, num_candidates)
    features = rng.standard_normal((*shape, dim)) / dim**0.5
    action = rng.integers(num_candidates, size=num_rounds)
    reward = (rng.random(num_rounds) < 1 / (1 + np.exp(-features[np.arange(num_rounds), action].sum(axis=1)))).astype(np.float64)
    context = Context(features, np.ones(shape, bool), np.tile(np.arange(num_candidates), (num_rounds, 1)))
    return Interaction(context, action, reward, np.full(num_rounds, 1 / num_candidates), np.ones(num_rounds))


def bare_linucb(log: Interaction) -> list[Any]:
    """Returns what LinUCB written by hand would have chosen."""
    dim = log.context.features.shape[-1]
    inverse, sums, choices = np.eye(dim), np.zeros(dim), []
    for features, action, reward in zip(log.context.features, log.action, log.reward, strict=True):
        theta = inverse @ sums
        bounds = features @ theta + ALPHA * np.sqrt(np.einsum("kd,kd->k", features @ inverse, features))
        choices.append(np.argmax(bounds))
        chosen = features[action]
        gain = inverse @ chosen
        inverse -= np.outer(gain, gain) / (1 + chosen @ gain)
        sums += reward * chosen
    return choices


def write_vw(log: Interaction, path: Path) -> None:
    """Writes the log in Vowpal Wabbit's text format."""
    with path.open("w") as file:
        for features, action, reward, propensity in zip(log.context.features, log.action, log.reward, log.propensity, strict=True):
            lines = vw_lines(features)
            lines[action] = f"0:{-reward}:{propensity} {lines[action]}"
            file.write("\n".join(lines) + "\n\n")


def vw_driver(path: Path) -> None:
    """Lets Vowpal Wabbit predict and learn a file by itself."""
    from vowpalwabbit import Workspace

    workspace = Workspace(f"{VW_OPTIONS} --data {path}")
    workspace.run_parser()
    workspace.finish()


def replays(log: Interaction, folder: Path) -> dict[str, Callable[[], object]]:
    """Returns everyone who can walk the log, one of them by a file in `folder`; JAX has been started then."""
    if "jax" in ENGINES:
        import jax

        jax.numpy.zeros(1).block_until_ready()
    runs: dict[str, Callable[[], object]] = {BARE: lambda: bare_linucb(log)}
    if importlib.util.find_spec("vowpalwabbit"):
        write_vw(log, folder / "log.txt")
        runs["VW squarecb, its own driver on a file"] = lambda: vw_driver(folder / "log.txt")
    for name in POLICIES:
        for engine in ENGINES:
            runs[f"recsdk {name}, {engine}"] = lambda name=name, engine=engine: replay(POLICIES[name], log, engine=engine)  # type: ignore[misc]
    return runs


def difference(log: Interaction, name: str) -> float:
    """Returns by how much, relative to the largest number of each array, the engines' final states differ."""
    on_numpy, on_jax = (replay(POLICIES[name], log, engine=engine).state for engine in ("numpy", "jax"))
    pairs = [(one, other) for one, other in zip(on_numpy, on_jax, strict=True) if np.abs(one).max() > 0]
    return max(float(np.abs(one - other).max() / np.abs(one).max()) for one, other in pairs)
