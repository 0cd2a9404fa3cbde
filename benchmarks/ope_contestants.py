"""Who estimates a policy's value: recsdk, obp, and what one writes by hand; all from the same arrays, all three estimators."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from peers import open_bandit_ope

from recsdk import Context, Interaction, ope

EVALUATE = "recsdk evaluate: checks, diagnostics, verdict"
BARE = "NumPy, by hand"
CHUNK = 100_000


class Size(NamedTuple):
    """Of a log: rounds, actions, positions that are shown at once."""

    num_rounds: int
    num_actions: int
    num_positions: int

    def __str__(self) -> str:
        return " x ".join(f"{number:,}" for number in self if number > 1)


class Log(NamedTuple):
    """A log beside a target, as obp has it.

    Attributes:
        action: i64[T].
        reward: f64[T].
        propensity: f64[T].
        position: i64[T].
        probs: f64[T, K, L], the target's.
        q_hat: f64[T, K, L].
        context: of the candidates, for recsdk, which numbers them by item.
    """

    action: np.ndarray
    reward: np.ndarray
    propensity: np.ndarray
    position: np.ndarray
    probs: np.ndarray
    q_hat: np.ndarray
    context: Context


Estimates = Callable[[Log, int], list[float]]
"""From a log and a number of bootstraps to IPS, SNIPS and DR; with bootstraps an interval of each is worked out too."""


def draw(size: Size, seed: int = 0) -> Log:
    """Draws a log of a uniform logger."""
    rng, (num_rounds, num_actions, num_positions) = np.random.default_rng(seed), size
    probs = rng.exponential(size=size)
    probs /= probs.sum(1, keepdims=True)
    context = Context(
        np.ones((num_rounds, num_actions, 1)),
        np.ones((num_rounds, num_actions), np.bool_),
        np.tile(np.arange(num_actions), (num_rounds, 1)),
    )
    return Log(
        action=rng.integers(num_actions, size=num_rounds),
        reward=(rng.random(num_rounds) < 0.1).astype(np.float64),
        propensity=np.full(num_rounds, 1 / num_actions),
        position=rng.integers(num_positions, size=num_rounds),
        probs=probs,
        q_hat=rng.random(size) / 5,
        context=context,
    )


def everyone() -> dict[str, Estimates]:
    """Returns all that are installed, by name."""
    found = {EVALUATE: evaluated, "recsdk, checks and estimators only": estimated, BARE: by_hand}
    if importlib.util.find_spec("numba"):
        found["numba loop"] = by_numba
    if not missing_for_obp():
        found["obp"] = by_obp
    return found


def missing_for_obp() -> list[str]:
    """Returns what obp's estimators need and is not installed."""
    return [name for name in ("obp", "sklearn", "scipy", "pandas") if importlib.util.find_spec(name) is None]


def evaluated(log: Log, num_draws: int) -> list[float]:
    """What a user calls."""
    found = ope.evaluate(interaction(log), at_position(log.probs, log), q_hat=at_position(log.q_hat, log), num_draws=num_draws)
    return [found.estimates[name].value for name in open_bandit_ope.NAMES]


def estimated(log: Log, num_draws: int) -> list[float]:
    """Rounds and terms, without diagnostics and verdict."""
    rounds = ope.rounds(interaction(log), at_position(log.probs, log), q_hat=at_position(log.q_hat, log))
    terms = [ope.ESTIMATORS[name](rounds) for name in open_bandit_ope.NAMES]
    if not num_draws:
        return [ope.value(each) for each in terms]
    from recsdk.ope import intervals

    return [intervals.studentised(drawn).value for drawn in intervals.resample(terms, num_draws=num_draws)]


def by_hand(log: Log, num_draws: int) -> list[float]:
    """What one writes without checks, with a percentile bootstrap."""
    rows = np.arange(len(log.action))
    rho = log.probs[rows, log.action, log.position] / log.propensity
    gain = rho * log.reward
    expected = np.einsum("tk,tk->t", at_position(log.probs, log), at_position(log.q_hat, log))
    doubly = expected + rho * (log.reward - log.q_hat[rows, log.action, log.position])
    rng, means = np.random.default_rng(0), []
    for _ in range(num_draws):
        drawn = rng.integers(len(rows), size=len(rows))
        total, weight = gain[drawn].mean(), rho[drawn].mean()
        means.append((total, total / weight, doubly[drawn].mean()))
    if means:
        np.percentile(means, (2.5, 97.5), axis=0)
    return [float(gain.mean()), float(gain.sum() / rho.sum()), float(doubly.mean())]


def by_numba(log: Log, num_draws: int) -> list[float]:
    """One loop over rows."""
    import ope_loops

    terms = ope_loops.columns(log.action, log.reward, log.propensity, log.position, log.probs, log.q_hat)
    if num_draws:
        ope_loops.resample(terms, num_draws)
    weight, gain, doubly = terms.mean(0).tolist()
    return [gain, gain / weight, doubly]


def by_obp(log: Log, num_draws: int) -> list[float]:
    """Its own estimators."""
    names = ("action", "reward", "pscore", "position", "action_dist", "estimated_rewards_by_reg_model")
    return open_bandit_ope.estimate(dict(zip(names, log, strict=False)), num_draws)


def interaction(log: Log) -> Interaction:
    """Returns the log as recsdk has it."""
    return Interaction(log.context, log.action, log.reward, log.propensity, np.ones(len(log.action)))


def at_position(values: np.ndarray, log: Log) -> np.ndarray:
    """Returns f64[T, K] of f64[T, K, L], at the position that each row is about."""
    return values[:, :, 0] if values.shape[2] == 1 else values[np.arange(len(values)), :, log.position]


def stream(num_rounds: int) -> dict[str, Any]:
    """Evaluates a long log, chunk by chunk, and says what memory this process has needed.

    Contexts, the target and the reward model are those of one chunk again and again; actions and rewards are drawn anew.
    """
    rng, log = np.random.default_rng(1), draw(Size(min(CHUNK, num_rounds), 10, 1))

    def chunk() -> ope.Rounds:
        again = interaction(log)._replace(
            action=rng.integers(10, size=len(log.action)), reward=(rng.random(len(log.action)) < 0.1).astype(np.float64)
        )
        return ope.rounds(again, log.probs[:, :, 0], q_hat=log.q_hat[:, :, 0])

    before, start = peak_memory(), time.perf_counter()
    found = ope.finish(ope.accumulate((chunk() for _ in range(num_rounds // len(log.action))), estimators=tuple(open_bandit_ope.NAMES)))
    seconds, size = time.perf_counter() - start, found.diagnostics.num_rounds
    return {"num_rounds": size, "seconds": seconds, "peak_bytes": peak_memory(), "bytes_before": before, "verdict": found.verdict}


def peak_memory() -> int:
    """Returns the most bytes that this process has held in memory, not counting what its parent held."""
    lines = Path("/proc/self/status")
    if lines.exists():
        (peak,) = (line for line in lines.read_text().splitlines() if line.startswith("VmHWM"))
        return int(peak.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
