"""Who is timed on a log: walk it, choose in every round, learn from what was logged; with one setting, or with sixteen."""

from __future__ import annotations

import functools
import importlib.util
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from contestants import ALPHA, BARE, VW_OPTIONS, vw_lines

from recsdk import Context, EpsilonGreedy, Interaction, LinTS, LinUCB, Policy, replay, sweep

POLICIES: dict[str, Policy[Any]] = {"lin-ucb": LinUCB(alpha=ALPHA), "lin-ts": LinTS(), "epsilon-greedy": EpsilonGreedy()}
ENGINES = tuple(name for name in ("numba", "jax", "numpy") if name == "numpy" or importlib.util.find_spec(name))
SWEEPS = {
    "alpha": [LinUCB(alpha=round(0.1 * step, 1)) for step in range(1, 17)],
    "alpha and ridge": [LinUCB(alpha=alpha, ridge=ridge) for alpha, ridge in itertools.product((0.1, 0.3, 0.6, 1.2), (0.3, 1.0, 3.0, 9.0))],
}


class Entry(NamedTuple):
    """A row of the table.

    Attributes:
        kind: "by hand", "recsdk" or "peer".
        run: walks the log.
        num_settings: that are walked with.
        compiles: whether the first run takes longer.
    """

    kind: str
    run: Callable[[], object]
    num_settings: int = 1
    compiles: bool = False


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


def entries(log: Interaction, folder: Path) -> dict[str, Entry]:
    """Returns everyone who can walk the log, some of them by files in `folder`; JAX has been started then."""
    found = {BARE: Entry("by hand", functools.partial(bare_linucb, log))}
    if importlib.util.find_spec("numba"):
        found |= _numba(log)
    if importlib.util.find_spec("vowpalwabbit"):
        found |= _vw(log, folder)
    for (name, policy), engine in itertools.product(POLICIES.items(), ENGINES):
        run = functools.partial(replay, policy, log, engine=engine)
        found[f"recsdk replay of {name}, {engine}"] = Entry("recsdk", run, compiles=engine == "jax")
    if "jax" in ENGINES:
        import jax

        jax.numpy.zeros(1).block_until_ready()
        for name, policies in SWEEPS.items():
            found[f"recsdk sweep of 16 lin-ucb, {name}"] = Entry("recsdk", functools.partial(sweep, policies, log), 16, compiles=True)
    return found


def _numba(log: Interaction) -> dict[str, Entry]:
    import loops

    columns = log.context.features, log.action, log.reward
    alphas, ridges = (np.array([getattr(policy, field) for policy in SWEEPS["alpha and ridge"]]) for field in ("alpha", "ridge"))
    only_alphas = np.array([policy.alpha for policy in SWEEPS["alpha"]])
    runs: dict[str, tuple[Callable[[], object], int]] = {
        "numba loop, LinUCB": (functools.partial(loops.choices, *columns, ALPHA, 1.0), 1),
        "numba loop, 16 LinUCB, alpha": (functools.partial(loops.sweep_alphas, *columns, only_alphas), 16),
        "numba loop, 16 LinUCB, alpha and ridge": (functools.partial(loops.sweep, *columns, alphas, ridges), 16),
    }
    return {name: Entry("by hand", run, num_settings, compiles=True) for name, (run, num_settings) in runs.items()}


def _vw(log: Interaction, folder: Path) -> dict[str, Entry]:
    text, cache = folder / "log.txt", folder / "log.cache"
    _write_vw(log, text)
    _drive_vw(f"--data {text} --cache_file {cache} --kill_cache")
    return {
        "VW squarecb, its driver on text": Entry("peer", lambda: _drive_vw(f"--data {text}")),
        "VW squarecb, its driver on its cache": Entry("peer", lambda: _drive_vw(f"--data {text} --cache_file {cache}")),
    }


def _write_vw(log: Interaction, path: Path) -> None:
    with path.open("w") as file:
        for features, action, reward, propensity in zip(log.context.features, log.action, log.reward, log.propensity, strict=True):
            lines = vw_lines(features)
            lines[action] = f"0:{-reward}:{propensity} {lines[action]}"
            file.write("\n".join(lines) + "\n\n")


def _drive_vw(options: str) -> None:
    """Lets Vowpal Wabbit predict and learn a file by itself, as its command line does."""
    from vowpalwabbit import Workspace

    workspace = Workspace(f"{VW_OPTIONS} {options}")
    workspace.run_parser()
    workspace.finish()


def disagreements(log: Interaction, keeps: Callable[[str], bool]) -> Iterator[float]:
    """Yields by how much, relative to the largest number of each array, the engines' final states differ, for each policy to be kept."""
    for policy in (policy for name, policy in POLICIES.items() if keeps(name)):
        *others, wanted = (replay(policy, log, engine=engine).state for engine in ENGINES)
        yield from (_relative(one, other) for state in others for one, other in zip(wanted, state, strict=True))


def _relative(one: np.ndarray, other: np.ndarray) -> float:
    largest = float(np.abs(one).max())
    return float(np.abs(one - other).max()) / largest if largest else 0.0
