"""Uniform exploration: the baseline, and the best logging policy for evaluation later."""

from __future__ import annotations

from typing import ClassVar

import attrs

from recsdk import explore
from recsdk.base import Array, Context, Interaction, Rng


@attrs.frozen(kw_only=True)
class Uniform:
    """Gives every candidate the same probability and learns nothing."""

    runs_on: ClassVar[tuple[str, ...]] = ("numpy", "jax")
    learns_from: ClassVar[str] = "chosen"

    def init(self, prior: Array) -> tuple[()]:
        """See `recsdk.base.Policy`."""
        del prior
        return ()

    def probs(self, state: tuple[()], rng: Rng, context: Context) -> Array:
        """See `recsdk.base.Policy`."""
        del state, rng
        return explore.uniform(context.mask)

    def update(self, state: tuple[()], interaction: Interaction) -> tuple[()]:
        """See `recsdk.base.Policy`."""
        del interaction
        return state
