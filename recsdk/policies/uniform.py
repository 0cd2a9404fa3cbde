"""Uniform exploration."""

from __future__ import annotations

from typing import ClassVar

import attrs

from recsdk import explore
from recsdk.base import Array, Context, Interaction, Rng


@attrs.frozen(kw_only=True)
class Uniform:
    """Gives every candidate the same probability and learns nothing: the baseline, and the best logging policy for later evaluation.

    Example:
        >>> import numpy as np
        >>> from recsdk import Context, Uniform
        >>> context = Context(np.ones((4, 1)), np.array([True, True, True, False]), np.arange(4))
        >>> Uniform().probs((), np.random.default_rng(0), context).round(2)
        array([0.33, 0.33, 0.33, 0.  ])
    """

    runs_on: ClassVar[tuple[str, ...]] = ("numpy", "jax")
    learns_from: ClassVar[str] = "chosen"

    def init(self, prior: Array) -> tuple[()]:
        del prior
        return ()

    def probs(self, state: tuple[()], rng: Rng, context: Context) -> Array:
        del state, rng
        return explore.uniform(context.mask)

    def update(self, state: tuple[()], interaction: Interaction) -> tuple[()]:
        del interaction
        return state
