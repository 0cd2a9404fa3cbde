"""contextualbandits: LinUCB and LinTS event by event, its other policies on base models, refitted in batches of 50 as in its guides.

Whoever fits a base model must see binary rewards: a reward of 0.7 is 1 with probability 0.7. `assume_unique_reward` stays off, since no
contestant is told that exactly one arm is right.
"""

from __future__ import annotations

from typing import Any, Self

import attrs
import numpy as np

GROWTH = 0.05
"""All is fitted anew when the events have grown by this share: at least every batch in the beginning, as refitting takes ever longer."""


@attrs.define
class Online:
    """A policy that learns from every event by itself.

    Attributes:
        policy: name of the class.
        options: of the policy.
        base: takes the linear regression of the library as the base model.
    """

    policy: str
    options: dict[str, Any]
    base: bool = False

    _bandit: Any = attrs.field(init=False, repr=False)

    def start(self, num_actions: int, dim: int, seed: int) -> Self:
        """See `peers.Peer`."""
        del dim
        from contextualbandits import linreg, online

        first = [linreg.LinearRegression(lambda_=1.0)] if self.base else []
        self._bandit = getattr(online, self.policy)(*first, nchoices=num_actions, random_state=seed + 1, njobs=1, **self.options)
        return self

    def choose(self, x: np.ndarray) -> int:
        """See `peers.Peer`."""
        return int(self._bandit.predict(x[None])[0])

    def learn(self, x: np.ndarray, action: int, reward: float) -> None:
        """See `peers.Peer`."""
        self._bandit.partial_fit(x[None], np.array([action]), np.array([reward]))


@attrs.define
class Refitted:
    """A policy on scikit-learn's logistic regression, fitted to all events anew.

    Attributes:
        policy: name of the class.
        options: of the policy.
        strength: C of the logistic regression.
        batch: see `peers.Batched`.
    """

    policy: str
    options: dict[str, Any]
    strength: float = 1.0
    batch: int = 50

    _bandit: Any = attrs.field(init=False, repr=False)
    _rng: np.random.Generator = attrs.field(init=False, repr=False)
    _log: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = attrs.field(init=False, repr=False)
    _sizes: tuple[int, int] = attrs.field(init=False, repr=False)

    def start(self, num_actions: int, dim: int, seed: int) -> Self:
        """See `peers.Peer`."""
        del dim
        from contextualbandits import online
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(C=self.strength, max_iter=200)
        jobs = {"njobs_arms": 1, "njobs_samples": 1} if self.policy.startswith("Bootstrapped") else {"njobs": 1}
        self._bandit = getattr(online, self.policy)(model, nchoices=num_actions, random_state=seed + 1, **jobs, **self.options)
        self._rng, self._log, self._sizes = np.random.default_rng(seed), [], (0, 0)
        return self

    def choose(self, x: np.ndarray) -> int:
        """See `peers.Peer`."""
        return int(self.choose_all(x[None])[0])

    def learn(self, x: np.ndarray, action: int, reward: float) -> None:
        """See `peers.Peer`."""
        self.learn_all(x[None], np.array([action]), np.array([reward]))

    def choose_all(self, contexts: np.ndarray) -> np.ndarray:
        """See `peers.Batched`."""
        return np.asarray(self._bandit.predict(contexts)).astype(np.int64)

    def learn_all(self, contexts: np.ndarray, actions: np.ndarray, rewards: np.ndarray) -> None:
        """See `peers.Batched`."""
        self._log.append((contexts, actions, (self._rng.random(len(rewards)) < rewards).astype(np.float64)))
        size, fitted = self._sizes[0] + len(rewards), self._sizes[1]
        if size >= max(self.batch, fitted * (1 + GROWTH)):
            self._bandit.fit(*(np.concatenate(column) for column in zip(*self._log, strict=True)))
            fitted = size
        self._sizes = size, fitted


SMOOTH = {"batch_train": True, "smoothing": (1, 10)}
SETTINGS = {
    "LinUCB, alpha 0.1": Online("LinUCB", {"alpha": 0.1}),
    "LinUCB, alpha 0.3": Online("LinUCB", {"alpha": 0.3}),
    "LinTS, v_sq 0.01": Online("LinTS", {"v_sq": 0.01, "sample_from": "ci"}),
    "AdaptiveGreedy, linear": Online("AdaptiveGreedy", SMOOTH, base=True),
    "EpsilonGreedy, linear": Online("EpsilonGreedy", SMOOTH, base=True),
    "AdaptiveGreedy, logistic": Refitted("AdaptiveGreedy", {}),
    "BootstrappedUCB, logistic": Refitted("BootstrappedUCB", {"nsamples": 5}),
}
