"""Contexts as Vowpal Wabbit reads them: one line of its decision-service JSON.

Measured on 10 candidates x 16 features, this format, VW's text and building examples from Python objects take the same time (56 to 58 us
for one prediction, most of it in formatting and parsing numbers). It is chosen since it alone carries an importance weight, and since VW
reads its numbers exactly: of VW's text the last bit differs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from recsdk.base import Context, Interaction
from recsdk.errors import EmptyCandidates, InvalidContext, InvalidPropensity, InvalidReward, InvalidValue

MAX_WEIGHT = 1e4
"""Above it the float32 in which VW keeps a weight would lose more than 0.06 % of it."""

UNWEIGHTED = ("squarecb", "regcb")
"""They learn without importance weights. VW forgets that for the last candidate (cb_explore_adf_squarecb.cc, learn()), so it is told."""

MAX_DENSITY = 0.2
"""A slice with no larger share of nonzero features is written by their numbers. VW learns the same: it drops zeros as it reads."""


class Layout(NamedTuple):
    """Where a candidate's features stand among VW's namespaces.

    Attributes:
        namespaces: (letter, start, stop): the slice of phi's columns in each; there they are numbered from 0. stop None is phi's end.
        item: letter of the namespace that has the catalogue slot as one feature, or "" for none.
    """

    namespaces: tuple[tuple[str, int, int | None], ...]
    item: str


class Candidates(NamedTuple):
    """The real candidates, in an order that does not depend on the caller's.

    VW's sequential updates depend on the order of the candidates, and so do its ties in `first` and `squarecb`. Sorting makes it moot.

    Attributes:
        places: i64[k], indices into the context.
        rows: the features of each as JSON, sorted.
    """

    places: np.ndarray
    rows: list[str]


def candidates(context: Context, dim: int, layout: Layout) -> Candidates:
    """Writes the candidates that are not padding, in float32, as VW computes.

    Raises:
        EmptyCandidates: when all is padding.
        InvalidContext: when there are not `dim` features, or one is not finite in float32.
    """
    places = np.flatnonzero(context.mask)
    if not len(places):
        raise EmptyCandidates("context must have at least one candidate, got only padding.")
    with np.errstate(over="ignore"):  # what float32 cannot hold is refused below
        features = context.features[places].astype(np.float32) + np.float32(0)  # -0.0 becomes 0.0
    if features.shape[1] != dim:
        raise InvalidContext(f"features must have the {dim} columns that the state began with, got {features.shape[1]}.")
    if not np.isfinite(features).all():
        place, column = np.argwhere(~np.isfinite(features))[0]
        value = context.features[places[place], column]
        raise InvalidContext(f"features must be finite in float32, got features[{places[place]}, {column}] = {value}.")
    blocks = [_blocks(letter, features[:, start:stop]) for letter, start, stop in layout.namespaces]
    if layout.item:
        blocks.append([f'"{layout.item}":{{"{slot}":1}}' for slot in context.item[places].tolist()])
    rows = ["{" + ",".join(parts) + "}" for parts in zip(*blocks, strict=True)]
    order = sorted(range(len(rows)), key=rows.__getitem__)
    return Candidates(places[order], [rows[index] for index in order])


def _blocks(letter: str, features: np.ndarray) -> list[str]:
    """Returns each candidate's part of one namespace."""
    form = f'"{letter}":[' + ",".join(["%.9g"] * features.shape[1]) + "]"  # nine digits give back every float32
    if features.all():
        return [form % tuple(row) for row in features.tolist()]
    is_dense = (np.count_nonzero(features, axis=1) > MAX_DENSITY * features.shape[1]).tolist()
    return [form % tuple(row.tolist()) if dense else _sparse(letter, row) for row, dense in zip(features, is_dense, strict=True)]


def _sparse(letter: str, row: np.ndarray) -> str:
    columns = row.nonzero()[0]
    numbered = [f'"{column}":{value:.9g}' for column, value in zip(columns.tolist(), row[columns].tolist(), strict=True)]
    return f'"{letter}":{{' + ",".join(numbered) + "}"


def question(rows: list[str]) -> str:
    """Returns the line to predict on."""
    return '{"a":[1],"c":{"_multi":[' + ",".join(rows) + "]}}"


def refuse(policy: Any, interaction: Interaction) -> None:
    """Refuses what VW would skip or alter without a word.

    Raises:
        InvalidContext: when the action is padding.
        InvalidReward: outside the range that the policy, a `recsdk_vw.VW`, declares.
        InvalidPropensity: outside (0, 1], or 0 in float32.
        InvalidValue: a weight outside [0, 1e4].
    """
    context, action, reward, propensity, weight = interaction
    if not (0 <= action < len(context.mask) and context.mask[action]):
        raise InvalidContext(f"action must be the index of a real candidate, one of {np.flatnonzero(context.mask)}, got {action}.")
    # `not (...)` rather than the reverse comparisons, so that NaN is refused too.
    if not policy.min_reward <= reward <= policy.max_reward:
        raise InvalidReward(f"reward must be in [{policy.min_reward}, {policy.max_reward}], the range declared in VW, got {reward}.")
    if not (propensity <= 1 and np.float32(propensity) > 0):
        raise InvalidPropensity(f"propensity must be in (0, 1], got {propensity}.")
    if not 0 <= weight <= MAX_WEIGHT:
        raise InvalidValue(f"weight must be in [0, {MAX_WEIGHT:g}] to be kept by VW's float32, got {weight}.")


def lesson(policy: Any, shown: Candidates, interaction: Interaction) -> str:
    """Returns the line that a `recsdk_vw.VW` learns from an interaction that was not refused, of weight above 0."""
    chosen = shown.rows[int(np.flatnonzero(shown.places == interaction.action)[0])]
    propensity = 1.0 if policy.exploration in UNWEIGHTED else float(interaction.propensity)
    cost, weight = -float(interaction.reward), float(interaction.weight)
    return answer(shown.rows, shown.rows.index(chosen), cost=cost, propensity=propensity, weight=weight)


def answer(rows: list[str], index: int, *, cost: float, propensity: float, weight: float) -> str:
    """Returns the line to learn from.

    VW's importance weight is 1 / (1 - pdrop), where pdrop is the probability with which the log lost such an event; below 0 it serves
    weights below 1. VW keeps it in float32: the weight is off by up to 6e-8 of its square.
    """
    label = f'"_label_cost":{cost:.9g},"_label_probability":{propensity:.9g},"_label_Action":{index + 1},"_labelIndex":{index}'
    return "{" + label + f',"pdrop":{1 - 1 / weight:.17g},' + question(rows)[1:]


def share(pmf: np.ndarray, rows: list[str]) -> np.ndarray:
    """Spreads the mass of identical candidates evenly among them: `first` and `squarecb` favour the first of them."""
    if len(set(rows)) == len(rows):
        return pmf
    _, group = np.unique(rows, return_inverse=True)
    return (np.bincount(group, pmf) / np.bincount(group))[group]
