"""Caps on how often an item is shown."""

from __future__ import annotations

from typing import Any, NamedTuple

import attrs

from recsdk.base import Array, Context, Interaction, Policy, Rng
from recsdk.checks import integer
from recsdk.policies import _inner


class Budget(NamedTuple):
    """What has been spent.

    Attributes:
        spent: f64[num_items], rounds of the present window in which each item was chosen.
        rounds: f64[], rounds of the present window.
        inner: state of the wrapped policy.
    """

    spent: Array
    rounds: Array
    inner: Any


@attrs.frozen(kw_only=True)
class Budgeted:
    """Lets a policy choose no item more than `cap` times in each window of `window` rounds.

    An item at its cap is taken out of the candidates until the next window begins; the policy is asked about the others, so that the
    propensities are exact. When all candidates are at their caps, none is. Windows follow each other, so in any `window` rounds in a row
    an item may be chosen twice `cap` times, around a boundary.

    What is counted are rounds learned, each with its weight, not decisions: those whose rewards are still to come are not in it, so that
    with d of them waiting an item may exceed its cap by d. In a slate every rewarded position is a round.

    Attributes:
        policy: to be held to the caps.
        cap: rounds per item and window.
        window: rounds after which the counts begin again.
        num_items: length of the memory; catalogue slots are taken modulo it, so that from there on items share a cap.
    """

    policy: Policy[Any]
    cap: int = attrs.field(validator=integer(at_least=1))
    window: int = attrs.field(validator=integer(at_least=1))
    num_items: int = attrs.field(default=1000, validator=integer(at_least=1))

    @property
    def runs_on(self) -> tuple[str, ...]:
        """Where the wrapped policy runs."""
        return self.policy.runs_on

    @property
    def learns_from(self) -> str:
        """What the wrapped policy learns from."""
        return self.policy.learns_from

    @property
    def parts(self) -> tuple[Policy[Any], ...]:
        """See `recsdk.base.Composite`."""
        return (self.policy,)

    def map_parts(self, function: _inner.Function, state: Budget) -> Budget:
        """See `recsdk.base.Composite`."""
        return state._replace(inner=function(self.policy, state.inner))

    def init(self, prior: Array) -> Budget:
        """See `recsdk.base.Policy`."""
        xp = prior.__array_namespace__()
        return Budget(xp.zeros(self.num_items, dtype=xp.float64), xp.zeros((), dtype=xp.float64), self.policy.init(prior))

    def probs(self, state: Budget, rng: Rng, context: Context) -> Array:
        """See `recsdk.base.Policy`."""
        return self.policy.probs(state.inner, rng, self._open(state, context))

    def update(self, state: Budget, interaction: Interaction) -> Budget:
        """See `recsdk.base.Policy`."""
        xp = state.spent.__array_namespace__()
        context, action, weight = interaction.context, interaction.action, interaction.weight
        seen = self._open(state, context)
        seen = seen._replace(mask=seen.mask | (xp.arange(context.mask.shape[0]) == action))  # another policy's choice may be at its cap
        inner = self.policy.update(state.inner, interaction._replace(context=seen))
        chosen = xp.arange(self.num_items) == context.item[action] % self.num_items
        spent, rounds = state.spent + xp.where(chosen, 1.0 * weight, 0.0), state.rounds + weight
        goes_on = rounds < self.window
        return Budget(xp.where(goes_on, spent, 0.0), xp.where(goes_on, rounds, 0.0), inner)

    def _open(self, state: Budget, context: Context) -> Context:
        """Returns the context without the items at their caps, unless that leaves none."""
        xp = state.spent.__array_namespace__()
        under = context.mask & (state.spent[context.item % self.num_items] + 1 <= self.cap)
        return context._replace(mask=xp.where(under.any(), under, context.mask))
