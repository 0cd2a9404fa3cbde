"""The laws that make it worth the trouble: a policy finds out what is good."""

from __future__ import annotations

import unittest
from typing import Any

import numpy as np

from recsdk.base import Policy
from recsdk.drivers.loop import Engine
from recsdk.drivers.simulate import simulate
from recsdk.environments import LinearWorld
from recsdk.policies.linear import LinUCB
from recsdk.testing import world as toy
from recsdk.testing.states import name

NUM_ROUNDS = 1000
MOST_REGRET = 0.6
"""Of uniform exploration's, over the second half of the rounds."""


def check_learns(policy: Policy[Any]) -> None:
    """On worlds with linear rewards its regret falls well below that of uniform exploration."""
    world = LinearWorld(num_candidates=5, dim=5)
    engine: Engine = "numpy" if "numpy" in policy.runs_on else "auto"
    late = slice(NUM_ROUNDS // 2, None)
    for seed in range(2):
        simulation = simulate(policy, world, NUM_ROUNDS, seed=seed, engine=engine)
        uniform = (simulation.mean.max(axis=1) - simulation.mean.mean(axis=1))[late].mean()
        regret = simulation.regret[late].mean()
        assert np.isfinite(regret), f"learns: {name(policy)} on {world}, seed {seed}: regret must be finite, got {regret}"
        assert regret <= MOST_REGRET * uniform, (
            f"learns: {name(policy)} on {world}, seed {seed}: after {NUM_ROUNDS // 2} rounds the regret must be at most "
            f"{MOST_REGRET:g} of uniform exploration's {uniform:.3f}, got {regret:.3f}"
        )


def check_regret(policy: Policy[Any], *, regret: float | None = None, num_rounds: int = toy.NUM_ROUNDS) -> None:
    """Where a bound was declared, it loses at most so many times what LinUCB loses, in a world with linear rewards."""
    if regret is None:
        raise unittest.SkipTest("no bound on its regret was declared, as a multiple of LinUCB's")
    lives = (toy.watched(one, num_rounds) for one in (policy, LinUCB()))  # type: ignore[arg-type]  # frozen configs are hashable
    got, reference = (life.regret.sum() for life in lives)
    assert got <= regret * reference, (
        f"regret: {name(policy)} in {num_rounds} rounds: its regret must be at most {regret:g} times LinUCB's {reference:.1f}, "
        f"got {got:.1f}, {got / reference:.2f} times"
    )
