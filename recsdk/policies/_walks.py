"""Walks of a whole log by the policies on ridge regression, in the compiled loops of `_ridge_loops`."""

from __future__ import annotations

from typing import Any

import numpy as np

from recsdk import arrays, fast
from recsdk.base import Decision, Interaction
from recsdk.policies._ridge import Ridge
from recsdk.policies._rules import LEARNS, OPTIMISTIC, Rule

SLACK = 1 + 1e-9
"""What rounding may add to the largest width."""


def walk(rule: Rule, state: Ridge, rng: Any, log: Interaction, learn_from: str) -> tuple[Ridge, Decision] | None:
    """Is the `walk` of each policy that learns by `_ridge.update`; see `recsdk.base.Walks`."""
    from recsdk.policies import _ridge_loops

    num_rounds, num_candidates, dim = log.context.features.shape
    if tuple(map(np.shape, state[:3])) != ((dim,), (dim, dim), (dim,)):
        return None  # the loops would write past the arrays' ends; NumPy refuses it
    kind, scale, tries, floor, num_draws = rule
    rule = Rule(kind, float(scale), float(tries), float(floor), int(num_draws))  # of one type each, so that the loops are compiled once
    given, learns = arrays.tree_map(fast.given, log), LEARNS.index(learn_from)
    mean, root, total = np.array(state.mean), np.array(state.root, order="C"), float(state.total)
    made = Decision(np.empty(num_rounds, np.int64), np.empty(num_rounds), np.empty((num_rounds, num_candidates)))
    start, bounds = 0, rule.kind == OPTIMISTIC
    while start < num_rounds:
        # A belief only becomes surer, so the largest width that it began a piece with holds for all of the piece.
        piece = slice(start, start + max(1, 4 * dim, start) if bounds else num_rounds)
        reach = _largest_width(root) if bounds else 0.0
        walked, total = _ridge_loops.walk(rule, reach, learns, mean, root, total, arrays.at(given, piece), rng, arrays.at(made, piece))
        start += walked
        if start < min(piece.stop, num_rounds):
            return None
    return (state if learn_from == "none" else Ridge(mean, root, state.prior, state.ridge, np.float64(total))), made


def _largest_width(root: np.ndarray) -> float:
    """Returns what no width of a candidate of length 1 exceeds; NaN where numbers overflowed."""
    covariance = root.dot(root.T)
    return float(np.linalg.eigvalsh(covariance).max(initial=0.0)) ** 0.5 * SLACK if np.isfinite(covariance).all() else np.nan
