"""Parts of policies that are made of other policies: where they run, what they learn from, what else they offer.

A wrapper has one `policy`; a master has several `policies`, and their states in that order, a tuple.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from recsdk import base
from recsdk.base import Array, Context, Explained, Forgettable, Interaction, Mergeable, Policy, Rng
from recsdk.errors import InvalidValue

ENGINES = ("numpy", "jax")

Function = Callable[[Policy[Any], Any], Any]

# Properties of a wrapper, for its class to assign.
runs_on_of_policy = property(lambda wrapper: wrapper.policy.runs_on, doc="Where the wrapped policy runs.")
learns_from_of_policy = property(lambda wrapper: wrapper.policy.learns_from, doc="What the wrapped policy learns from.")
parts_of_wrapper = property(lambda wrapper: (wrapper.policy,), doc="The wrapped policy.")

# Properties of a policy of several parts.
runs_on_of_parts = property(lambda whole: runs_on(whole.parts), doc="Where all of the policies run.")
learns_from_of_parts = property(lambda whole: learns_from(whole.parts), doc="What the policies learn from.")
parts_of_master = property(lambda master: master.policies, doc="The policies.")


def map_wrapped(wrapper: Any, function: Function, state: Any) -> Any:
    """Is the `map_parts` of a wrapper whose state is that of its policy."""
    return function(wrapper.policy, state)


def fold_wrapped(wrapper: Any, state: Any, log: Interaction) -> Any:
    """Is the `fold` of a wrapper whose `update` is that of its policy; see `recsdk.base.Folds`."""
    return base.fold(wrapper.policy, state, log)


OPTIONAL = {Mergeable: ("merge", "weigh"), Forgettable: ("subtract", "forget"), Explained: ("scores",)}
"""Protocols that a wrapper offers where its policy does, with their names."""


def offer(whole: Any, policies: Sequence[Policy[Any]], *protocols: Any) -> None:
    """Gives a wrapper or master the optional protocols that all of its policies have; call it from `__attrs_post_init__`.

    The methods become attributes of the one object, so that `isinstance(whole, Mergeable)` is true of a `WithFloor` around `LinTS` and
    false of one around `WideDeep`. Its class must therefore have no slots. A method `_merge` of the class serves as `merge`; where there is
    none, the state is that of the one policy, whose own method serves.
    """
    for protocol in protocols:
        if all(isinstance(policy, protocol) for policy in policies):
            for name in OPTIONAL[protocol]:
                own = getattr(whole, f"_{name}", None)
                object.__setattr__(whole, name, getattr(policies[0], name) if own is None else own)


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
