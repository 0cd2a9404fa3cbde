"""Vowpal Wabbit: `--cb_explore_adf` from Python, x in the shared namespace and the arm's name in its own."""

from __future__ import annotations

import random
from typing import Any, Self

import attrs
import numpy as np

COMMON = "--quiet --bit_precision 20 --cb_min_cost -1 --cb_max_cost 0 --ignore_linear x"
"""Rewards are costs in [-1, 0]. 2^20 weights, so that products of columns do not collide."""


@attrs.define
class VW:
    """A workspace. The features are parsed once an event and serve both to predict and to learn.

    Attributes:
        options: of the exploration.
        interactions: "xa" for a linear model an arm, "xxa" for one of all products of two columns (x ends with 1).
        learning_rate: of the adaptive, normalised updates that are its default.
    """

    options: str
    interactions: str = "xa"
    learning_rate: float = 0.5

    _workspace: Any = attrs.field(init=False, repr=False)
    _draw: random.Random = attrs.field(init=False, repr=False)
    _form: str = attrs.field(init=False, repr=False)
    _arms: list[str] = attrs.field(init=False, repr=False)
    _shown: tuple[list[Any], float] = attrs.field(init=False, repr=False)

    def start(self, num_actions: int, dim: int, seed: int) -> Self:
        """See `peers.Peer`."""
        from vowpalwabbit import Workspace

        model = f"--interactions {self.interactions} --learning_rate {self.learning_rate} --random_seed {seed + 1}"
        self._workspace = Workspace(f"--cb_explore_adf {self.options} {model} {COMMON}")
        self._draw = random.Random(seed)
        self._form = "shared |x " + " ".join(f"{column}:%.6g" for column in range(dim))
        self._arms = [f"|a {arm}" for arm in range(num_actions)]
        return self

    def choose(self, x: np.ndarray) -> int:
        """See `peers.Peer`."""
        examples = self._workspace.parse([self._form % tuple(x.tolist()), *self._arms])
        probs = self._workspace.predict(examples)
        (action,) = self._draw.choices(range(len(probs)), probs)
        self._shown = examples, probs[action]
        return action

    def learn(self, x: np.ndarray, action: int, reward: float) -> None:
        """See `peers.Peer`."""
        del x
        examples, propensity = self._shown
        examples[action + 1].set_label_string(f"0:{-reward}:{propensity}")
        self._workspace.learn(examples)
        self._workspace.finish_example(examples)


SETTINGS = {
    "squarecb, linear": VW("--squarecb"),
    "squarecb, quadratic": VW("--squarecb", "xxa", 2.0),
    "squarecb, gamma 1000, quadratic": VW("--squarecb --gamma_scale 1000", "xxa", 2.0),
    "regcb, linear": VW("--regcbopt --mellowness 0.001", "xa", 2.0),
    "regcb, quadratic": VW("--regcbopt --mellowness 0.001", "xxa", 2.0),
    "regcb, less mellow, quadratic": VW("--regcbopt --mellowness 0.0001", "xxa", 2.0),
    "epsilon 0.02, linear": VW("--epsilon 0.02"),
    "epsilon 0.005, quadratic": VW("--epsilon 0.005", "xxa", 2.0),
    "cover, linear": VW("--cover 8 --nounif"),
    "bag, quadratic": VW("--bag 4 --greedify", "xxa", 2.0),
}
"""Rates of 0.5, 2 and 5, `--coin` and more of the rest were tried on five sets; these stood out there."""
