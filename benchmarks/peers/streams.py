"""river: its one contextual bandit."""

from __future__ import annotations

from typing import Any, Self

import attrs
import numpy as np


@attrs.define
class River:
    """LinUCB on a Bayesian regression an arm: the bound is the mean and one standard deviation of the reward itself.

    Attributes:
        alpha: precision of the weights.
        beta: precision of the rewards, so the more the less optimism.
    """

    alpha: float
    beta: float

    _bandit: Any = attrs.field(init=False, repr=False)
    _arms: list[int] = attrs.field(init=False, repr=False)
    _columns: range = attrs.field(init=False, repr=False)
    _seen: dict[int, float] = attrs.field(init=False, repr=False)

    def start(self, num_actions: int, dim: int, seed: int) -> Self:
        """See `peers.Peer`."""
        from river.bandit import LinUCBDisjoint

        self._bandit = LinUCBDisjoint(alpha=self.alpha, beta=self.beta, seed=seed)
        self._arms, self._columns = list(range(num_actions)), range(dim)
        return self

    def choose(self, x: np.ndarray) -> int:
        """See `peers.Peer`."""
        self._seen = dict(zip(self._columns, x.tolist(), strict=True))
        return int(self._bandit.pull(self._arms, self._seen))

    def learn(self, x: np.ndarray, action: int, reward: float) -> None:
        """See `peers.Peer`."""
        del x
        self._bandit.update(action, self._seen, reward)


SETTINGS = {f"LinUCBDisjoint, beta {beta}": River(alpha=beta, beta=beta) for beta in (1.0, 10.0, 100.0)}
