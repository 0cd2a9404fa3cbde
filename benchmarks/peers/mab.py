"""MABWiser: fitted once, then `partial_fit` after every event."""

from __future__ import annotations

from typing import Any, Self

import attrs
import numpy as np


@attrs.define
class MABWiser:
    """A learning policy, by itself or among the nearest events.

    Its clusters fit k-means anew at every event, 25 ms of it at 2,000 events, and its trees keep the splits of the first fit: both are
    for batches, and are not among the settings.

    Attributes:
        policy: name of the learning policy.
        options: of the learning policy.
        nearest: how many neighbours, which are searched among all events; 0 for no neighbourhood.
    """

    policy: str
    options: dict[str, float]
    nearest: int = 0

    _mab: Any = attrs.field(init=False, repr=False)
    _rng: np.random.Generator = attrs.field(init=False, repr=False)
    _first: list[tuple[int, float, np.ndarray]] | None = attrs.field(init=False, repr=False)

    def start(self, num_actions: int, dim: int, seed: int) -> Self:
        """See `peers.Peer`."""
        del dim
        from mabwiser.mab import MAB, LearningPolicy, NeighborhoodPolicy

        around = NeighborhoodPolicy.KNearest(k=self.nearest) if self.nearest else None
        self._mab = MAB(list(range(num_actions)), getattr(LearningPolicy, self.policy)(**self.options), around, seed=seed)
        self._rng = np.random.default_rng(seed)
        self._first = []
        return self

    def choose(self, x: np.ndarray) -> int:
        """See `peers.Peer`; at random until there is something to fit."""
        return int(self._rng.integers(len(self._mab.arms)) if self._first is not None else self._mab.predict(x[None]))

    def learn(self, x: np.ndarray, action: int, reward: float) -> None:
        """See `peers.Peer`."""
        if self._first is None:
            self._mab.partial_fit([action], [reward], x[None])
            return
        self._first.append((action, reward, x))
        if len(self._first) >= max(1, self.nearest):
            actions, rewards, contexts = zip(*self._first, strict=True)
            self._mab.fit(list(actions), list(rewards), np.array(contexts))
            self._first = None


SETTINGS = {
    "LinUCB, alpha 0.1": MABWiser("LinUCB", {"alpha": 0.1}),
    "LinUCB, alpha 0.3": MABWiser("LinUCB", {"alpha": 0.3}),
    "LinTS, alpha 0.1": MABWiser("LinTS", {"alpha": 0.1}),
    "UCB1 of the nearest 50": MABWiser("UCB1", {"alpha": 0.3}, nearest=50),
}
