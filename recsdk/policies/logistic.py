"""Thompson sampling for rewards of 0 or 1, on online Bayesian logistic regression."""

from __future__ import annotations

from math import pi
from typing import ClassVar

import attrs
import numpy as np

from recsdk import explore
from recsdk.base import Array, Context, Interaction, Rng, Scores
from recsdk.checks import integer, number
from recsdk.errors import InvalidReward
from recsdk.policies import _ridge
from recsdk.policies._ridge import Ridge


def _sigmoid(x: Array) -> Array:
    return 0.5 + 0.5 * x.__array_namespace__().tanh(0.5 * x)  # never overflows


def _softening(variance: Array) -> Array:
    """Returns k of E sigmoid(a) = sigmoid(k E a) for normal a, by MacKay 1992."""
    return 1 / (1 + pi * variance / 8) ** 0.5


@attrs.frozen(kw_only=True)
class LogisticTS:
    """Thompson sampling where the log odds of a reward of 1 are linear in phi: clicks, purchases, thumbs.

    The posterior of the weights is kept normal. A reward r moves it to the normal distribution that follows from the evidence
    log E sigmoid(a) by its derivatives, a ~ N(x.mean, h), h = x^T S x (assumed-density filtering):

        mean' = mean + S x k (r - p),    S' = S - S x x^T S k^2 p (1 - p),    p = sigmoid(k x.mean),    k = 1 / sqrt(1 + pi h / 8).

    The first-order steps of an extended Kalman filter are these with k = 1; they overshoot where h is large, which these cannot: no reward
    moves the log odds by more than 1.6 standard deviations, or takes more than 64 % of their variance, the share that their sign takes.
    A reward between 0 and 1 counts as a share of a click; one outside raises `InvalidReward` on NumPy. A weight multiplies the information
    of a reward. The order of the rewards matters slightly, so beliefs do not add up exactly and there is no `merge`.

    Attributes:
        scale: multiplier of the posterior's standard deviation; 1 is Thompson sampling, larger explores more.
        ridge: precision of the prior of the weights, whose mean is the log odds' `prior`.
        num_draws: posterior draws per decision.

    References:
        Chapelle, Li, An Empirical Evaluation of Thompson Sampling, NeurIPS 2011, algorithm 3: the policy, with Laplace's approximation.
        MacKay, The Evidence Framework Applied to Classification Networks, Neural Computation 1992: E sigmoid(a).
        Opper, A Bayesian Approach to On-line Learning, in On-line Learning in Neural Networks, 1998: moments from the evidence.

    Example:
        >>> import numpy as np
        >>> from recsdk import Context, Interaction, LogisticTS, learn
        >>> policy, context = LogisticTS(), Context(np.eye(2), np.ones(2, bool), np.arange(2))
        >>> state = learn(policy, policy.init(np.zeros(2)), Interaction(context, 1, 1.0, 0.5, 1.0))
        >>> policy.expected(state, context).round(2)
        array([0.5 , 0.59])
    """

    runs_on: ClassVar[tuple[str, ...]] = ("numpy", "jax")
    learns_from: ClassVar[str] = "chosen"

    scale: float = attrs.field(default=1.0, validator=number(above=0))
    ridge: float = attrs.field(default=1.0, validator=number(above=0))
    num_draws: int = attrs.field(default=32, validator=integer(at_least=1))

    init = _ridge.start

    def probs(self, state: Ridge, rng: Rng, context: Context) -> Array:
        noise = rng.standard_normal((self.num_draws, state.mean.shape[0]))
        weights = state.mean[None, :] + self.scale * noise.dot(state.root.T)
        return explore.votes(weights.dot(context.features.T), context.mask)  # the sigmoid keeps the order

    def scores(self, state: Ridge, context: Context) -> Scores:
        mean = self.expected(state, context)
        return Scores(mean, self.scale * _ridge.widths(state, context.features) * mean * (1 - mean))  # by the delta method

    def expected(self, state: Ridge, context: Context) -> Array:
        """Returns f64[K], the predicted probability of a reward of 1 for each candidate, averaged over the posterior of the weights."""
        return _sigmoid(_softening(_ridge.widths(state, context.features) ** 2) * context.features.dot(state.mean))

    def update(self, state: Ridge, interaction: Interaction) -> Ridge:
        context, action, reward, _, weight = interaction
        mean, root, prior, ridge, total = state
        if isinstance(mean, np.ndarray) and not 0 <= reward <= 1:
            raise InvalidReward(f"reward must be in [0, 1] for LogisticTS, got {reward!r}.")
        x = context.features[action]
        direction = x.dot(root)
        variance = direction.dot(direction)
        k = _softening(variance)
        p = _sigmoid(k * x.dot(mean))
        slope = k * k * p * (1 - p)
        told = 1 / (1 - variance * slope)  # the share that this reward leaves of the variance, inverted
        mean, root = _ridge.condition(mean, root, direction, weight * told * k * (reward - p), weight * told * slope)
        return Ridge(mean, root, prior, ridge, total + weight)
