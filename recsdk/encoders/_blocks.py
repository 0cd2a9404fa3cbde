"""The parameters of a transformer."""

from __future__ import annotations

from typing import NamedTuple

from recsdk.base import Array

SMALLEST_VARIANCE = 1e-6
NEVER = -1e9


class Norm(NamedTuple):
    """Layer normalisation.

    Attributes:
        scale: f32[D].
        bias: f32[D].
    """

    scale: Array
    bias: Array


class Block(NamedTuple):
    """One layer: attention, then two dense layers, each after a norm and added to its input.

    Attributes:
        attention_norm: before the attention.
        inward: f32[D, 3 D], queries, keys and values.
        outward: f32[D, D].
        dense_norm: before the dense layers.
        up: f32[D, F], or f32[D, 2 F] with a gate.
        down: f32[F, D].
    """

    attention_norm: Norm
    inward: Array
    outward: Array
    dense_norm: Norm
    up: Array
    down: Array


class Transformer(NamedTuple):
    """The parameters.

    Attributes:
        table: f32[R, D], a vector per row of the vocabulary; row 0 begins every sequence.
        output: f32[R, D], what a user's vector is multiplied with; f32[0, D] where it is `table`.
        position: f32[L, D].
        blocks: one per layer.
        last_norm: after the last block.
    """

    table: Array
    output: Array
    position: Array
    blocks: tuple[Block, ...]
    last_norm: Norm
