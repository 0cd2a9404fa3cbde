"""Levels of the verification of `recsdk.ope`. Worlds, answers and simulations are those of the tests, in `tests/ope`."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from recsdk import datasets, ope

sys.path.append(str(Path(__file__).resolve().parent.parent))

from tests.ope import real_loop, test_enumeration, test_golden_open_bandit, test_known_answers
from tests.ope import test_intervals_coverage as simulations
from tests.ope.coverage_world import World

Tick = Callable[[int], None]
"""Told of so many steps that were done."""


class Found(NamedTuple):
    """What a check found.

    Attributes:
        level: "L0" to "L5".
        check: what was checked.
        wanted: what must hold, in words; "" where nothing is asked.
        passed: whether it does; None where nothing is asked, or the check was skipped.
        numbers: what was measured, by name.
    """

    level: str
    check: str
    wanted: str
    passed: bool | None
    numbers: dict[str, float]


class Effort(NamedTuple):
    """How much to simulate.

    Attributes:
        num_logs: of coverage, for each size.
        num_watched: logs that sequences watch.
        num_control: logs of each control.
        num_runs: of the real loop.
        num_rounds: of each of these runs.
        slack: standard errors by which a share may be worse than it should be.
    """

    num_logs: int
    num_watched: int
    num_control: int
    num_runs: int
    num_rounds: int
    slack: float


FULL = Effort(num_logs=2000, num_watched=400, num_control=200, num_runs=400, num_rounds=400, slack=0.0)
QUICK = Effort(num_logs=200, num_watched=50, num_control=50, num_runs=20, num_rounds=400, slack=3.0)


def exact(level: str, check: str, found: float, expected: float, within: float) -> Found:
    """Compares a number with what it must be, relative to it."""
    apart = abs(found - expected) / abs(expected) if expected else abs(found)
    return Found(level, check, f"within {within:g}", apart <= within, {"expected": expected, "found": found, "apart": apart})


def level_0() -> Iterator[Found]:
    """Six rows whose answers are exact fractions."""
    for name, (estimator, answer) in test_known_answers.EXACT.items():
        yield exact("L0", name, ope.value(estimator(test_known_answers.ROUNDS)), float(answer), 1e-12)


def level_1() -> Iterator[Found]:
    """Expectations over every log that a small world can write."""
    world, expectation, truth = test_enumeration, test_enumeration.expectation, float(test_enumeration.VALUE)
    for num_rounds in (1, 2):
        yield exact("L1", f"E[IPS], {num_rounds} round{'s' * (num_rounds > 1)}", expectation(ope.ips, num_rounds=num_rounds), truth, 1e-12)
    for seed in range(3):
        q_hat = np.random.default_rng(seed).normal(scale=5, size=(2, 3))
        yield exact("L1", f"E[DR], 1 round, wrong model {seed}", expectation(ope.dr, num_rounds=1, q_hat=q_hat), truth, 1e-11)
    square = float(sum(world.chance(row) * (world.weight(row) * row[2]) ** 2 for row in world.OUTCOMES))
    yield exact("L1", "Var[IPS], 1 round", expectation(ope.ips, num_rounds=1, power=2) - truth**2, square - truth**2, 1e-12)
    pairs = itertools.product(world.OUTCOMES, repeat=2)
    biased = sum(
        (world.chance(a) * world.chance(b) * (world.weight(a) * a[2] + world.weight(b) * b[2]) / (world.weight(a) + world.weight(b)))
        for a, b in pairs
    )
    yield exact("L1", "E[SNIPS], 2 rounds", expectation(ope.snips, num_rounds=2), float(biased), 1e-12)
    yield Found("L1", "bias of SNIPS, 2 rounds", "not 0", abs(float(biased) - truth) > 1e-3, {"found": float(biased) - truth})


def level_2() -> Iterator[Found]:
    """Open Bandit's samples against what obp 0.5.7 says of them."""
    for behaviour, policy in (("random", "bts"), ("bts", "random")):
        log, position, target, q_hat, golden = test_golden_open_bandit.campaign_all(behaviour, policy)
        rounds = ope.rounds(log, target[:, position].T, q_hat=q_hat[:, position].T)
        for name, estimator in test_golden_open_bandit.THEIRS.items():
            yield exact("L2", f"{behaviour} to {policy}, {name}", ope.value(estimator(rounds)), golden["obp"][name], 1e-9)
        size = ope.diagnose(rounds).effective_size
        yield exact("L2", f"{behaviour} to {policy}, effective size", size, golden["ess"], 1e-9)


def level_3() -> Iterator[Found]:
    """Numbers that others published."""
    log, position = datasets.load_open_bandit("random", num_hashed=0)
    value = ope.value(ope.ips(ope.rounds(log, datasets.bernoulli_ts_probs(position))))
    yield exact("L3", "obp's README: BernoulliTS relative to the log", value / log.reward.mean(), 1.198126, 1e-6)
    for policy in (0, 1):
        running, known = test_known_answers.running_values(policy)
        apart = float(np.abs(np.array(running) - known).max())
        numbers = {"expected": known[-1], "found": running[-1], "apart": apart}
        check = f"Vowpal Wabbit's test 114, policy {policy + 1}, all {len(known)} running values"
        yield Found("L3", check, "within its 6 digits", apart <= 5e-7, numbers)
    log, _, expected = test_known_answers.joined_log()
    yield exact("L3", "RL joiner, mean reward", log.reward.mean(), expected["mean_reward"], 1e-6)
    for number in (1, 2):
        rounds = ope.rounds(log, np.tile(np.eye(2)[number - 1], (len(log.action), 1)))
        for name, estimator in (("ips", ope.ips), ("snips", ope.snips)):
            yield exact(
                "L3", f"RL joiner, always {number}, {name}", ope.value(estimator(rounds)), expected[f"always_action_{number}"][name], 1e-12
            )


def coverage(
    level: str, check: str, found: Sequence[ope.Estimate], truth: float, wanted: tuple[float, float] | None, slack: float
) -> Found:
    """Says how often intervals contain the truth, on which side they miss, and how good their middle is."""
    values, lows, highs = (np.array([getattr(each, name) for each in found]) for name in ("value", "low", "high"))
    share = float(((lows <= truth) & (truth <= highs)).mean())
    numbers = {
        "covers": share,
        "below": float((highs < truth).mean()),
        "above": float((lows > truth).mean()),
        "width": float((highs - lows).mean()),
        "bias": float(values.mean() - truth),
        "rmse": math.sqrt(((values - truth) ** 2).mean()),
        "logs": len(found),
    }
    if wanted is None:
        return Found(level, check, "", None, numbers)
    least, most = wanted
    error = slack * math.sqrt(0.05 * 0.95 / len(found))
    low, high = max(least - error, 0.0), min(most + error, 1.0)
    words = f"fails: below {high:.1%}" if not least else f"{low:.1%} or more" if most == 1 else f"{low:.1%} to {high:.1%}"
    return Found(level, check, words, low <= share <= high, numbers)


NOMINAL, FAILS = (0.935, 0.965), (0.0, 0.935)
WANTED: Mapping[str, tuple[float, float]] = {
    "empirical_likelihood": (0.94, 1.0),
    "clopper_pearson": (0.95, 1.0),
    "empirical_bernstein": (0.95, 1.0),
}


def level_4(effort: Effort, tick: Tick) -> Iterator[Found]:
    """Coverage, bias and RMSE where the truth is known, with controls that must fail."""
    world = World()
    for size in (100, 1000, 10_000):
        logs = partial(_in_parts, num_logs=effort.num_logs, size=size, tick=tick)
        normal = logs(lambda **part: simulations.normal_and_bootstrap(world, num_draws=199, **part))
        bounds = logs(lambda first_log, **part: simulations.by_bounds(world, **part))
        for (kind, name), found in normal.items():
            yield coverage("L4", f"{size:,}: {kind} of {name}", found, world.truth, NOMINAL if size == 10_000 else None, effort.slack)
        for name, found in bounds.items():
            yield coverage("L4", f"{size:,}: {name}", found, world.truth, WANTED[name], effort.slack)
        yield _model(world, size, effort)
        yield _warned(world, size, effort)
    for name in ("confidence_sequence", "drifting_sequence"):
        yield _watched(world, name, getattr(simulations.intervals, name), effort, tick)
    yield from controls(world, effort, tick)


def controls(world: World, effort: Effort, tick: Tick) -> Iterator[Found]:
    """What must fail, or this verification has no power."""
    yield _watched(world, "control: normal interval", simulations.normal_sequence, effort, tick)
    swapped = World()
    swapped.logging = swapped.logging[:, [1, 0, 3, 2, 5, 4, 7, 6]]  # written down, not drawn from
    bare = World()
    chances = np.diff(bare.cells, prepend=0).reshape(bare.logging.shape).sum(1, keepdims=True)
    bare.logging = np.where(bare.logging < 0.05, 0, bare.logging)
    bare.logging /= bare.logging.sum(1, keepdims=True)
    bare.cells = (chances * bare.logging).cumsum()
    for name, wrong in (("propensities of two actions swapped", swapped), ("no floor: what was below .05 is never done", bare)):
        rng = np.random.default_rng(6)
        logs = [wrong.rounds(rng, 10_000) for _ in range(effort.num_control)]
        tick(effort.num_control)
        for kind, estimator in (("ips", ope.ips), ("dr", ope.dr)):
            found = [ope.delta(estimator(rounds)) for rounds in logs]
            yield coverage("L4", f"control: delta of {kind}, {name}", found, world.truth, FAILS, 0)
        refused = float(np.mean([ope.judge(ope.diagnose(rounds)).verdict == "refuse" for rounds in logs]))
        yield Found("L4", f"control: verdict, {name}", "refuses all", refused == 1, {"flagged": refused, "logs": len(logs)})


def level_5(effort: Effort, tick: Tick) -> Iterator[Found]:
    """The real loop writes a log while it learns, and a second policy is evaluated from that alone."""
    num_control = max(effort.num_runs // 8, 10)
    for floor, num_runs in ((real_loop.FLOOR, effort.num_runs), (0.0, num_control)):
        runs = []
        for seed in range(num_runs):
            runs.append(real_loop.run(effort.num_rounds, seed, floor))
            tick(1)
        for name in runs[0]:
            what = f"{effort.num_rounds} rounds, {name}" if floor else f"control: the same without a floor, {name}"
            wanted = FAILS if not floor else (0.93, 1.0) if name in real_loop.CLAIMED else None
            yield coverage("L5", what, [run[name] for run in runs], real_loop.TRUTH, wanted, effort.slack if floor else 0)


def skipping(level: str, checks: Iterator[Found]) -> Iterator[Found]:
    """Yields what was found, and says where reference data is absent."""
    try:
        yield from checks
    except pytest.skip.Exception as reason:
        yield Found(level, "skipped", str(reason), None, {})


def _in_parts(
    simulate: Callable[..., Mapping[Any, list[ope.Estimate]]], *, num_logs: int, size: int, tick: Tick
) -> dict[Any, list[ope.Estimate]]:
    found: dict[Any, list[ope.Estimate]] = {}
    for first in range(0, num_logs, 50):
        part = simulate(size=size, num_logs=min(50, num_logs - first), seed=[size, first], first_log=first)
        for name, estimates in part.items():
            found.setdefault(name, []).extend(estimates)
        tick(50)
    return found


def _model(world: World, size: int, effort: Effort) -> Found:
    rng = np.random.default_rng([size, 7])
    found = [ope.delta(ope.dm(world.rounds(rng, size))) for _ in range(effort.num_control)]
    checked = coverage("L4", f"{size:,}: dm, wrong model, no interval", found, world.truth, None, 0)
    return checked._replace(numbers={name: checked.numbers[name] for name in ("bias", "rmse", "logs")})


def _warned(world: World, size: int, effort: Effort) -> Found:
    rng = np.random.default_rng([size, 8])
    logs = [ope.diagnose(world.rounds(rng, size)) for _ in range(effort.num_control)]
    small = [found for found in logs if found.effective_size < 1000]
    warned = float(np.mean([ope.judge(found).verdict != "trust" for found in small]))
    check = f"{size:,}: verdict, where the effective size is below 1,000"
    return Found("L4", check, "warns of all", warned == 1, {"flagged": warned, "logs": len(small)})


def _watched(world: World, name: str, sequence: Callable[..., Any], effort: Effort, tick: Tick) -> Found:
    found = simulations.watched(world, size=10_000, num_looks=50, num_logs=effort.num_watched, seed=5, sequence=sequence)
    tick(effort.num_watched)
    share = 1 - float(simulations.ever_missed(found, world.truth))
    ends = [each.high[-1] - each.low[-1] for each in found]
    error = 3 * math.sqrt(0.05 * 0.95 / len(found))
    is_control = name.startswith("control")
    wanted, passed = (f"fails: below {0.5:.0%}", share < 0.5) if is_control else (f"{0.95 - error:.1%} or more", share >= 0.95 - error)
    return Found("L4", f"{name}, at all of 50 looks", wanted, passed, {"covers": share, "width": float(np.mean(ends)), "logs": len(found)})
