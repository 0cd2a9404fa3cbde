"""What the policies over policies share: where they run, what they learn from, and their parts' states, a tuple in the parts' order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from recsdk.base import Array, Context, Interaction, Policy, Rng
from recsdk.errors import InvalidValue

ENGINES = ("numpy", "jax")

Function = Callable[[Policy[Any], Any], Any]


def runs_on(policies: Sequence[Policy[Any]]) -> tuple[str, ...]:
    """Returns the engines that all of them run on."""
    return tuple(engine for engine in ENGINES if all(engine in policy.runs_on for policy in policies))


def learns_from(policies: Sequence[Policy[Any]]) -> str:
    """Returns "chosen" when none of them reads more than the chosen candidate."""
    return "chosen" if all(policy.learns_from == "chosen" for policy in policies) else "all"


def together(instance: Any, field: Any, policies: Any) -> None:
    """Validates, for attrs, a tuple of one or more policies with an engine in common."""
    name = f"{type(instance).__name__}.{field.name}"
    if not isinstance(policies, tuple) or not policies:
        raise InvalidValue(f"{name} must be a tuple of one or more policies, got {policies!r}.")
    if not runs_on(policies):
        engines = tuple(policy.runs_on for policy in policies)
        raise InvalidValue(f"{name} must have an engine that all of them run on, got {engines}.")


def init(policies: Sequence[Policy[Any]], prior: Array) -> tuple[Any, ...]:
    """Returns the parts' states before any interaction."""
    return tuple(policy.init(prior) for policy in policies)


def update(policies: Sequence[Policy[Any]], states: Sequence[Any], interaction: Interaction) -> tuple[Any, ...]:
    """Lets every part learn from one interaction."""
    return tuple(policy.update(state, interaction) for policy, state in zip(policies, states, strict=True))


def map_parts(policies: Sequence[Policy[Any]], function: Function, states: Sequence[Any]) -> tuple[Any, ...]:
    """Returns `function(part, state)` of every part."""
    return tuple(function(policy, state) for policy, state in zip(policies, states, strict=True))


def probs(policies: Sequence[Policy[Any]], states: Sequence[Any], rng: Rng, context: Context) -> tuple[Array, ...]:
    """Returns the answer, f64[K], of every part; each takes its random numbers after the one before it."""
    return tuple(policy.probs(state, rng, context) for policy, state in zip(policies, states, strict=True))
