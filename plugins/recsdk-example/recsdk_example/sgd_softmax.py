"""Softmax exploration on a linear model that learns by gradient descent."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import attrs

from recsdk import explore
from recsdk.base import Array, Context, Interaction, Rng
from recsdk.checks import number


class Weights(NamedTuple):
    """The state of the policy. A state is a record of arrays, so that it can be compiled, stored and compared.

    Attributes:
        mean: f64[D], the expected reward of a candidate x is x.mean.
    """

    mean: Array


@attrs.frozen(kw_only=True)
class SgdSoftmax:
    """Shows a candidate with a probability that grows exponentially with its estimated reward.

    The weights follow the rewards by gradient descent at a constant rate, so they keep up with a world that changes. The step is
    implicit: it is taken at the weights that it leads to, and so never overshoots, however long x or large the rate.

    Attributes:
        temperature: estimated rewards this far apart differ in probability by a factor of e; > 0, smaller is greedier.
        rate: of the gradient descent; > 0.

    References:
        Toulis, Airoldi, Asymptotic and Finite-sample Properties of Estimators Based on Stochastic Gradients, Annals of Statistics 2017.
    """

    runs_on: ClassVar[tuple[str, ...]] = ("numpy", "jax")  # array operators and methods that both have, so it runs on both
    learns_from: ClassVar[str] = "chosen"  # `update` reads no other candidate, so the log need not store the others

    temperature: float = attrs.field(default=0.1, validator=number(above=0))
    rate: float = attrs.field(default=0.5, validator=number(above=0))

    def init(self, prior: Array) -> Weights:
        """Returns the state before any interaction."""
        return Weights(prior * 1.0)

    def probs(self, state: Weights, rng: Rng, context: Context) -> Array:
        """Returns the distribution. A policy never draws from it: `recsdk.decide` does, and logs the probability."""
        del rng
        return explore.softmax(context.features @ state.mean, context.mask, self.temperature)

    def update(self, state: Weights, interaction: Interaction) -> Weights:
        """Returns the state after one reward; a weight of 2 counts as a reward seen with twice the rate, 0 as none."""
        context, action, reward, _, weight = interaction
        x = context.features[action]
        step = self.rate * weight
        return Weights(state.mean + step / (1 + step * (x @ x)) * (reward - x @ state.mean) * x)
