"""Rules from beliefs to probabilities, as `_walks` gives them to the loops.

Numba's cache does not notice a change here: touch the loops too.
"""

from __future__ import annotations

from typing import NamedTuple

OPTIMISTIC, GREEDY, VOTES, SOFTMAX, INVERSE_GAP = range(5)
"""Kinds of rules: `_ridge.optimistic`, and the functions of `recsdk.explore` that have these names."""

LEARNS = ("none", "matched", "all")
"""What is learned, in the order of its numbers in the loops."""


class Rule(NamedTuple):
    """The way from a belief to probabilities.

    Attributes:
        kind: one of the constants above.
        scale: alpha of upper confidence bounds, the standard deviation of votes, the temperature, or the scale of gaps.
        tries: for greedy rules, c of a share c K / t of uniform exploration, t being 1 + the weight learned.
        floor: the least such share.
        num_draws: of votes.
    """

    kind: int
    scale: float = 0.0
    tries: float = 0.0
    floor: float = 0.0
    num_draws: int = 0
