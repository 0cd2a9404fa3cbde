"""The world of known value in `reference/coverage_env/env.json`, drawn from fast."""

import json
import math
from collections.abc import Sequence

import numpy as np

from recsdk import ope
from tests.shared import shared


class World:
    """Contexts, two policies and a wrong reward model, all known.

    Attributes:
        truth: the target's value.
        max_weight: the largest importance weight that there can be.
    """

    def __init__(self) -> None:
        stored = json.loads(shared("reference/coverage_env/env.json").read_text())
        contexts, self.reward, self.logging, self.target, self.q_hat = (
            np.array(stored[name]) for name in ("p_context", "q", "p_logging", "p_target", "q_hat_wrong")
        )
        self.truth, self.max_weight = stored["true_value_target"], stored["w_max"]
        self.cells = (contexts[:, None] * self.logging).cumsum()

    def rounds(self, rng: np.random.Generator, size: int) -> ope.Rounds:
        """Returns rounds as `ope.rounds` would, without its checks."""
        cell = np.searchsorted(self.cells, rng.random(size) * self.cells[-1]).clip(max=len(self.cells) - 1)
        context, action = np.divmod(cell, self.logging.shape[1])
        probs, q_hat = self.target[context], self.q_hat[context]
        return ope.Rounds(
            action=action,
            reward=(rng.random(size) < self.reward[context, action]).astype(np.float64),
            propensity=self.logging[context, action],
            weight=np.ones(size),
            mask=np.ones(probs.shape, np.bool_),
            item=np.broadcast_to(np.arange(probs.shape[1]), probs.shape),
            target=self.target[context, action],
            probs=probs,
            q_hat=q_hat,
        )


def covered(found: Sequence[ope.Estimate], truth: float) -> float:
    """Returns the share of intervals that contain the truth."""
    return float(np.mean([each.low <= truth <= each.high for each in found]))


def three_errors(share: float, num_logs: int) -> float:
    """Returns three standard errors of a share over so many logs."""
    return 3 * math.sqrt(share * (1 - share) / num_logs)
