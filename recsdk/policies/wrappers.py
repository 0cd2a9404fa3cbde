"""Wrappers: any policy with an exploration floor, with caps on how often items are shown, or on some columns of phi.

A wrapper offers `recsdk.base.Mergeable`, `Forgettable` and `Explained` where its policy does and its own state allows it.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import attrs

from recsdk import explore
from recsdk.base import Array, Context, Explained, Forgettable, Interaction, Mergeable, Policy, Rng, Scores
from recsdk.checks import integer, number
from recsdk.errors import InvalidValue
from recsdk.policies import _inner


@attrs.frozen(kw_only=True, slots=False)
class WithFloor:
    """Mixes a policy with a share `floor` of uniform exploration, so that every propensity is at least floor / K.

    The live loop wraps its policy in this by default. Without it, importance weighting of a Thompson sampler's log is biased (.252 for a
    true .500 was measured), since actions that it has given up never appear; with 5 % it is not, and intervals on the log are valid
    (see docs/explanation/propensities.md).

    Attributes:
        policy: any policy; its state is the wrapper's.
        floor: share of uniform exploration, in (0, 1].

    Example:
        >>> import numpy as np
        >>> from recsdk import Context, LinUCB, Mergeable, WithFloor
        >>> policy, context = WithFloor(policy=LinUCB(), floor=0.1), Context(np.eye(2), np.ones(2, bool), np.arange(2))
        >>> policy.probs(policy.init(np.array([1.0, 0.0])), np.random.default_rng(0), context)
        array([0.95, 0.05])
        >>> isinstance(policy, Mergeable)
        True
    """

    policy: Policy[Any]
    floor: float = attrs.field(default=0.05, validator=number(above=0, at_most=1))

    runs_on = _inner.runs_on_of_policy
    learns_from = _inner.learns_from_of_policy
    parts = _inner.parts_of_wrapper
    map_parts = _inner.map_wrapped

    def __attrs_post_init__(self) -> None:
        _inner.offer(self, self.parts, Mergeable, Forgettable, Explained)

    def init(self, prior: Array) -> Any:
        return self.policy.init(prior)

    def probs(self, state: Any, rng: Rng, context: Context) -> Array:
        return explore.mix(self.policy.probs(state, rng, context), context.mask, self.floor)

    def update(self, state: Any, interaction: Interaction) -> Any:
        return self.policy.update(state, interaction)

    fold = _inner.fold_wrapped


def _is_column(instance: Any, field: Any, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidValue(f"{type(instance).__name__}.{field.name} must be the number of a column, got {value!r}.")


def _are_columns(instance: Any, field: Any, value: Any) -> None:
    if not isinstance(value, tuple) or not value or any(not isinstance(number, int) or isinstance(number, bool) for number in value):
        raise InvalidValue(f"{type(instance).__name__}.{field.name} must be a tuple of one or more column numbers, got {value!r}.")


def _require_columns(name: str, columns: tuple[int, ...], width: int) -> None:
    for column in columns:
        if not -width <= column < width:
            raise InvalidValue(f"{name} must be in [{-width}, {width - 1}], since there are {width} features, got {column}.")


@attrs.frozen(kw_only=True)
class ByColumn:
    """Shows the candidate with the largest value in one column of phi, and learns nothing: a fixed ranking.

    Use it as the baseline of a comparison, or of `Conservative`.

    Attributes:
        column: number of the column, see `recsdk.live.features.names`: with an encoder 0 is the deep score, without one it is the first
            scorer's column.

    Example:
        >>> import numpy as np
        >>> from recsdk import ByColumn, Context
        >>> context = Context(np.array([[0.2, 1.0], [0.7, 1.0]]), np.ones(2, bool), np.arange(2))
        >>> ByColumn(column=0).probs((), np.random.default_rng(0), context)
        array([0., 1.])
    """

    runs_on: ClassVar[tuple[str, ...]] = ("numpy", "jax")
    learns_from: ClassVar[str] = "chosen"

    column: int = attrs.field(default=0, validator=_is_column)

    def init(self, prior: Array) -> tuple[()]:
        _require_columns("ByColumn.column", (self.column,), prior.shape[0])
        return ()

    def probs(self, state: tuple[()], rng: Rng, context: Context) -> Array:
        del state, rng
        return explore.greedy(context.features[:, self.column], context.mask)

    def update(self, state: tuple[()], interaction: Interaction) -> tuple[()]:
        del interaction
        return state


@attrs.frozen(kw_only=True, slots=False)
class OnColumns:
    """Lets a policy see some columns of phi only.

    With the columns (0, -1), one scorer's and the constant, that scorer is the reward model: a linear policy then learns two numbers, the
    worth of a unit of the score and an offset. With fewer features a policy also learns faster and costs less.

    Attributes:
        policy: the policy that sees the columns; its state is the wrapper's.
        columns: numbers of the columns, see `recsdk.live.features.names`; -1 is the constant.

    Example:
        >>> from recsdk import Boltzmann, OnColumns
        >>> OnColumns(policy=Boltzmann(temperature=0.05), columns=(0, -1)).learns_from
        'chosen'
    """

    policy: Policy[Any]
    columns: tuple[int, ...] = attrs.field(validator=_are_columns)

    runs_on = _inner.runs_on_of_policy
    learns_from = _inner.learns_from_of_policy
    parts = _inner.parts_of_wrapper
    map_parts = _inner.map_wrapped

    def __attrs_post_init__(self) -> None:
        _inner.offer(self, self.parts, Mergeable, Forgettable, Explained)

    def init(self, prior: Array) -> Any:
        _require_columns("OnColumns.columns", self.columns, prior.shape[0])
        xp = prior.__array_namespace__()
        return self.policy.init(prior[xp.asarray(self.columns)])

    def probs(self, state: Any, rng: Rng, context: Context) -> Array:
        return self.policy.probs(state, rng, self._seen(context))

    def update(self, state: Any, interaction: Interaction) -> Any:
        return self.policy.update(state, interaction._replace(context=self._seen(interaction.context)))

    def _forget(self, state: Any, interaction: Interaction) -> Any:
        return self.policy.forget(state, interaction._replace(context=self._seen(interaction.context)))  # type: ignore[attr-defined]

    def _scores(self, state: Any, context: Context) -> Scores:
        return self.policy.scores(state, self._seen(context))  # type: ignore[attr-defined,no-any-return]  # `offer` has asked for it

    def _seen(self, context: Context) -> Context:
        xp = context.features.__array_namespace__()
        return context._replace(features=context.features[:, xp.asarray(self.columns)])


class Budget(NamedTuple):
    """State of `Budgeted`.

    Attributes:
        spent: f64[num_items], rounds of the current window in which each item was chosen.
        rounds: f64[], rounds of the current window so far.
        inner: state of the wrapped policy.
        spent_on: f64[G], rounds of the current window in which an item of each group was chosen.
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


@attrs.frozen(kw_only=True, slots=False)
class Budgeted:
    """Limits how often a policy chooses an item, or a group of items, in each window of `window` rounds.

    A group is a column of phi, such as that of a scorer `sponsored` that returns 1 or 0: a candidate is in the group where the column is
    above 0, and may be in several groups. An item that reached its cap, or whose group did, is masked until the next window begins. The
    policy decides among the other candidates, so the propensities are exact. When all candidates are at their caps, none is masked. Windows
    follow each other: in `window` rounds in a row that span a boundary, an item may be chosen up to twice `cap` times.

    The counts are of rounds learned, each with its weight, and not of decisions: while d decisions wait for their rewards, an item may
    exceed its cap by d. In a slate every rewarded position is a round. The counts of a window do not add up, so `Budgeted` does not offer
    `merge`.

    Attributes:
        policy: the policy whose choices are limited.
        cap: rounds per item and window.
        window: rounds after which the counts begin again.
        num_items: length of the memory; catalogue slots are taken modulo it, so with more slots than that some items share a cap.
        groups: (column of phi, cap) of each group; a column below 0 counts from the end. For caps on groups alone set `cap` to `window`.

    Example:
        >>> import numpy as np
        >>> from recsdk import Budgeted, ByColumn, Context, Interaction, learn
        >>> policy = Budgeted(policy=ByColumn(column=0), cap=1, window=10)
        >>> context = Context(np.array([[0.2, 1.0], [0.7, 1.0]]), np.ones(2, bool), np.arange(2))
        >>> state = learn(policy, policy.init(np.zeros(2)), Interaction(context, 1, 0.0, 1.0, 1.0))
        >>> policy.probs(state, np.random.default_rng(0), context)
        array([1., 0.])
    """

    policy: Policy[Any]
    cap: int = attrs.field(validator=integer(at_least=1))
    window: int = attrs.field(validator=integer(at_least=1))
    num_items: int = attrs.field(default=1000, validator=integer(at_least=1))
    groups: tuple[tuple[int, int], ...] = attrs.field(default=(), validator=_are_groups)

    runs_on = _inner.runs_on_of_policy
    learns_from = _inner.learns_from_of_policy
    parts = _inner.parts_of_wrapper

    def __attrs_post_init__(self) -> None:
        _inner.offer(self, self.parts, Explained)

    def map_parts(self, function: _inner.Function, state: Budget) -> Budget:
        return state._replace(inner=function(self.policy, state.inner))

    def init(self, prior: Array) -> Budget:
        xp = prior.__array_namespace__()
        spent, rounds, spent_on = (xp.zeros(shape, dtype=xp.float64) for shape in (self.num_items, (), len(self.groups)))
        return Budget(spent, rounds, self.policy.init(prior), spent_on)

    def probs(self, state: Budget, rng: Rng, context: Context) -> Array:
        return self.policy.probs(state.inner, rng, self._open(state, context))

    def update(self, state: Budget, interaction: Interaction) -> Budget:
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

    def _scores(self, state: Budget, context: Context) -> Scores:
        return self.policy.scores(state.inner, context)  # type: ignore[attr-defined,no-any-return]  # `offer` has asked for it

    def _open(self, state: Budget, context: Context) -> Context:
        """Returns the context without the items at their caps or their groups', unless that leaves none."""
        xp = state.spent.__array_namespace__()
        under = context.mask & (state.spent[context.item % self.num_items] + 1 <= self.cap)
        for group, (column, cap) in enumerate(self.groups):
            under = under & ((context.features[:, column] <= 0) | (state.spent_on[group] + 1 <= cap))
        return context._replace(mask=xp.where(under.any(), under, context.mask))
