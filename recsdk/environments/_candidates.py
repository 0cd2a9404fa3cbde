"""Fresh candidates for every round, for the worlds that draw theirs."""

from __future__ import annotations

from recsdk.base import Array, Context, Rng


def on_sphere(rng: Rng, num_candidates: int, dim: int) -> Context:
    """Draws candidates that are uniform on the unit sphere; the first numbers that a round takes."""
    features = rng.standard_normal((num_candidates, dim))
    xp = features.__array_namespace__()
    return everyone(features / xp.sqrt(xp.vecdot(features, features))[:, None])


def everyone(features: Array) -> Context:
    """Returns the context in which every row of f64[K, D] is a real candidate, in the slot of its own number."""
    xp = features.__array_namespace__()
    num_candidates = features.shape[0]
    return Context(features, xp.ones(num_candidates, dtype=xp.bool), xp.arange(num_candidates))
