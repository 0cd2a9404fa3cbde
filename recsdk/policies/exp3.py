"""Exponential weights: a bandit that assumes nothing of how rewards come about."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import attrs

from recsdk import arrays, explore
from recsdk.base import Array, Context, Interaction, Rng
from recsdk.checks import integer, number
from recsdk.policies import _losses


class Losses(NamedTuple):
    """What is known of the items.

    Attributes:
        total: f64[num_items], sum of each item's estimated losses.
        rounds: f64[], rounds learned.
    """

    total: Array
    rounds: Array


@attrs.frozen(kw_only=True)
class EXP3:
    """Keeps one weight per item, and is good against the best single item though an adversary makes the rewards.

    p(a) is proportional to exp(-eta_t L(a)), where L(a) sums the losses (high - reward) / (high - low) of the rounds that showed a, each
    divided by its logged propensity: an estimate without bias, whoever chose. With eta_t = sqrt(ln K / (K t)), K candidates and t rounds,
    the expected regret is at most 2 sqrt(T K ln K) at any T, without a horizon to set. Auer's uniform share gamma is `WithFloor`.

    It knows items, not features. The guarantee is for a fixed set of items: one that enters later is tried until its losses have caught
    up. Rewards outside [low, high] are learned as they are, beyond the guarantee.

    Attributes:
        num_items: length of the memory; catalogue slots are taken modulo it, so that from there on items share a weight.
        low: the least reward.
        high: the largest reward.
        rate: multiplies eta_t.

    References:
        Auer, Cesa-Bianchi, Freund, Schapire, The Nonstochastic Multiarmed Bandit Problem, SIAM Journal on Computing 2002.
        Bubeck, Cesa-Bianchi, Regret Analysis of Stochastic and Nonstochastic Multi-armed Bandit Problems, 2012, theorem 3.1: this form.
    """

    runs_on: ClassVar[tuple[str, ...]] = ("numpy", "jax")
    learns_from: ClassVar[str] = "chosen"

    num_items: int = attrs.field(default=1000, validator=integer(at_least=1))
    low: float = attrs.field(default=0.0, validator=number())
    high: float = attrs.field(default=1.0, validator=[number(), _losses.above_low])
    rate: float = attrs.field(default=1.0, validator=number(above=0))

    def init(self, prior: Array) -> Losses:
        """See `recsdk.base.Policy`; there are no features, so `prior` says nothing."""
        xp = prior.__array_namespace__()
        return Losses(xp.zeros(self.num_items, dtype=xp.float64), xp.zeros((), dtype=xp.float64))

    def probs(self, state: Losses, rng: Rng, context: Context) -> Array:
        """See `recsdk.base.Policy`."""
        del rng
        xp = state.total.__array_namespace__()
        num = context.mask.astype(xp.float64).sum()
        rate = self.rate * xp.sqrt(xp.log(num) / (num * (state.rounds + 1)))
        return explore.softmax(-rate * state.total[context.item % self.num_items], context.mask, 1.0)

    def update(self, state: Losses, interaction: Interaction) -> Losses:
        """See `recsdk.base.Policy`."""
        place = interaction.context.item[interaction.action] % self.num_items
        total = state.total[place] + _losses.weighted(self, interaction)
        return Losses(arrays.put(state.total, place, total), state.rounds + interaction.weight)
