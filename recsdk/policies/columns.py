"""Single scorers as policies: one column of phi shown as it is, or as what a policy learns from."""

from __future__ import annotations

from typing import Any, ClassVar

import attrs

from recsdk import explore
from recsdk.base import Array, Context, Interaction, Policy, Rng
from recsdk.errors import InvalidValue
from recsdk.policies import _inner


def _is_column(instance: Any, field: Any, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidValue(f"{type(instance).__name__}.{field.name} must be a column's number, got {value!r}.")


def _are_columns(instance: Any, field: Any, value: Any) -> None:
    if not isinstance(value, tuple) or not value or any(not isinstance(number, int) or isinstance(number, bool) for number in value):
        raise InvalidValue(f"{type(instance).__name__}.{field.name} must be a tuple of columns' numbers, one or more, got {value!r}.")


def _require_columns(name: str, columns: tuple[int, ...], width: int) -> None:
    for column in columns:
        if not -width <= column < width:
            raise InvalidValue(f"{name} must be in [{-width}, {width - 1}], there are {width} features, got {column}.")


@attrs.frozen(kw_only=True)
class ByColumn:
    """Shows the candidate with the largest value in one column of phi, and learns nothing: what shops do without a policy.

    A baseline to be compared with, or to be `Conservative` about.

    Attributes:
        column: its number, see `recsdk.live.features.names`: with an encoder 0 is the deep score, without one the first scorer's column.
    """

    runs_on: ClassVar[tuple[str, ...]] = ("numpy", "jax")
    learns_from: ClassVar[str] = "chosen"

    column: int = attrs.field(default=0, validator=_is_column)

    def init(self, prior: Array) -> tuple[()]:
        """See `recsdk.base.Policy`.

        Raises:
            InvalidValue: when there is no such column.
        """
        _require_columns("ByColumn.column", (self.column,), prior.shape[0])
        return ()

    def probs(self, state: tuple[()], rng: Rng, context: Context) -> Array:
        """See `recsdk.base.Policy`."""
        del state, rng
        return explore.greedy(context.features[:, self.column], context.mask)

    def update(self, state: tuple[()], interaction: Interaction) -> tuple[()]:
        """See `recsdk.base.Policy`."""
        del interaction
        return state


@attrs.frozen(kw_only=True)
class OnColumns:
    """Lets a policy see some columns of phi only.

    With one scorer's column and the constant, (0, -1), that scorer is the reward model under any exploration: a linear policy then learns
    two numbers, what a unit of the score is worth and where it starts. Fewer features than phi has also learn faster and cost less.

    Attributes:
        policy: to be shown the columns.
        columns: their numbers, see `recsdk.live.features.names`; -1 is the constant.

    Example:
        >>> from recsdk import Boltzmann, OnColumns
        >>> OnColumns(policy=Boltzmann(temperature=0.05), columns=(0, -1)).learns_from
        'chosen'
    """

    policy: Policy[Any]
    columns: tuple[int, ...] = attrs.field(validator=_are_columns)

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

    def map_parts(self, function: _inner.Function, state: Any) -> Any:
        """See `recsdk.base.Composite`; the state is that of the wrapped policy."""
        return function(self.policy, state)

    def init(self, prior: Array) -> Any:
        """See `recsdk.base.Policy`.

        Raises:
            InvalidValue: when there is no such column.
        """
        _require_columns("OnColumns.columns", self.columns, prior.shape[0])
        xp = prior.__array_namespace__()
        return self.policy.init(prior[xp.asarray(self.columns)])

    def probs(self, state: Any, rng: Rng, context: Context) -> Array:
        """See `recsdk.base.Policy`."""
        return self.policy.probs(state, rng, self._seen(context))

    def update(self, state: Any, interaction: Interaction) -> Any:
        """See `recsdk.base.Policy`."""
        return self.policy.update(state, interaction._replace(context=self._seen(interaction.context)))

    def _seen(self, context: Context) -> Context:
        xp = context.features.__array_namespace__()
        return context._replace(features=context.features[:, xp.asarray(self.columns)])
