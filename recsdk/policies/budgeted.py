"""Caps on how often an item, or a group of items, is shown."""

from __future__ import annotations

from typing import Any, NamedTuple

import attrs

from recsdk.base import Array, Context, Interaction, Policy, Rng
from recsdk.checks import integer
from recsdk.errors import InvalidValue
from recsdk.policies import _inner


class Budget(NamedTuple):
    """What has been spent.

    Attributes:
        spent: f64[num_items], rounds of the present window in which each item was chosen.
        rounds: f64[], rounds of the present window.
        inner: state of the wrapped policy.
        spent_on: f64[G], rounds of the present window in which an item of each group was chosen.
    """

    spent: Array
    rounds: Array
    inner: Any
    spent_on: Array


def _are_groups(instance: Any, field: Any, groups: Any) -> None:
    for group in groups if isinstance(groups, tuple) else (groups,):
        match group:
            case (int(), int(cap)) if cap >= 1 and not any(isinstance(number, bool) for number in group):
                pass
            case _:
                raise InvalidValue(f"Budgeted.{field.name} must be a tuple of (column of phi, cap >= 1), got {group!r}.")


@attrs.frozen(kw_only=True)
class Budgeted:
    """Lets a policy choose no item more than `cap` times in each window of `window` rounds, and no group of items more than its own cap.

    A group is a column of phi, such as that of a scorer `sponsored` that returns 1 or 0: a candidate is in it where the column is above 0,
    and may be in several. An item at its cap, or in a group at its cap, is taken out of the candidates until the next window begins; the
    policy is asked about the others, so that the propensities are exact. When that leaves none, all stay. Windows follow each other, so in
    any `window` rounds in a row an item may be chosen twice `cap` times, around a boundary.

    What is counted are rounds learned, each with its weight, not decisions: those whose rewards are still to come are not in it, so that
    with d of them waiting an item may exceed its cap by d. In a slate every rewarded position is a round.

    Attributes:
        policy: to be held to the caps.
        cap: rounds per item and window.
        window: rounds after which the counts begin again.
        num_items: length of the memory; catalogue slots are taken modulo it, so that from there on items share a cap.
        groups: (column of phi, cap) of each group; a column below 0 counts from the end. For caps on groups alone let `cap` be `window`.
    """

    policy: Policy[Any]
    cap: int = attrs.field(validator=integer(at_least=1))
    window: int = attrs.field(validator=integer(at_least=1))
    num_items: int = attrs.field(default=1000, validator=integer(at_least=1))
    groups: tuple[tuple[int, int], ...] = attrs.field(default=(), validator=_are_groups)

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
        spent, rounds, spent_on = (xp.zeros(shape, dtype=xp.float64) for shape in (self.num_items, (), len(self.groups)))
        return Budget(spent, rounds, self.policy.init(prior), spent_on)

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
        spent, rounds, spent_on = state.spent + xp.where(chosen, 1.0 * weight, 0.0), state.rounds + weight, state.spent_on
        if self.groups:
            shown = xp.stack([context.features[action, column] > 0 for column, _ in self.groups])
            spent_on = spent_on + xp.where(shown, 1.0 * weight, 0.0)
        goes_on = rounds < self.window
        return Budget(xp.where(goes_on, spent, 0.0), xp.where(goes_on, rounds, 0.0), inner, xp.where(goes_on, spent_on, 0.0))

    def _open(self, state: Budget, context: Context) -> Context:
        """Returns the context without the items at their caps or their groups', unless that leaves none."""
        xp = state.spent.__array_namespace__()
        under = context.mask & (state.spent[context.item % self.num_items] + 1 <= self.cap)
        for group, (column, cap) in enumerate(self.groups):
            under = under & ((context.features[:, column] <= 0) | (state.spent_on[group] + 1 <= cap))
        return context._replace(mask=xp.where(under.any(), under, context.mask))
