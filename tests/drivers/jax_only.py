"""A policy for JAX alone, small: what the tests of such policies share. Run as a script, it opens a shop and tells what it has learned.

Run as `python jax_only.py FOLDER`.
"""

import hashlib
import sys
from typing import Any, ClassVar, NamedTuple

import attrs

from recsdk.base import Array, Context, Interaction, Rng
from recsdk.live.recommender import Recommender
from tests.live.shop import small_recommender, state


class Fit(NamedTuple):
    weights: Array
    rows: Array
    count: Array


@attrs.frozen(kw_only=True)
class SgdLinear:
    """Gradient steps on the last rounds, in float32; inverse gap weighting, with a gap that is shaken by `noise`."""

    runs_on: ClassVar[tuple[str, ...]] = ("jax",)
    learns_from: ClassVar[str] = "chosen"

    rate: float = 0.5
    num_rows: int = 32
    noise: float = 0.0

    def init(self, prior: Array) -> Fit:
        import jax.numpy as jnp

        weights = prior.astype("float32")
        return Fit(weights, jnp.zeros((self.num_rows, len(weights) + 2), "float32"), jnp.zeros((), "int64"))

    def probs(self, state: Fit, rng: Rng, context: Context) -> Array:
        import jax.numpy as jnp

        scores = (context.features.astype("float32") @ state.weights).astype("float64")
        if self.noise:
            scores = scores + self.noise * rng.standard_normal() * context.features[:, 0]
        scores = jnp.where(context.mask, scores, -jnp.inf)
        best = scores == scores.max()
        gaps = jnp.where(context.mask, scores.max() - scores, 0.0)
        others = jnp.where(context.mask & ~best, 1 / (context.mask.sum().astype("float64") + 20 * gaps), 0.0)
        return jnp.where(best, (1 - others.sum()) / best.sum().astype("float64"), others)

    def update(self, state: Fit, interaction: Interaction) -> Fit:
        import jax.numpy as jnp

        context, action, reward, _, weight = interaction
        row = jnp.concatenate([context.features[action], jnp.stack([reward, weight])]).astype("float32")
        rows = state.rows.at[state.count % self.num_rows].set(row)
        features, rewards, weights = rows[:, :-2], rows[:, -2], rows[:, -1]
        errors = (features @ state.weights - rewards) * weights
        step = jnp.float32(self.rate) * (errors @ features) / (jnp.float32(1) + (features * features).sum())
        learned = Fit(state.weights - step, rows, state.count + 1)
        return Fit(*(jnp.where(weight > 0, new, old) for new, old in zip(learned, state, strict=True)))


def open_shop(folder: Any, **changes: Any) -> Recommender:
    return small_recommender(folder, **{"scorers": ["popularity", "recency"], "policy": SgdLinear(), **changes})


def learned(shop: Recommender) -> str:
    return hashlib.sha256(repr(state(shop)).encode()).hexdigest()


if __name__ == "__main__":
    with open_shop(sys.argv[1]) as shop:
        print(learned(shop))
