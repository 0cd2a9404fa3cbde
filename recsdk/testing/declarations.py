"""The law that a component is what it says it is: a plain value."""

from __future__ import annotations

from typing import Any

from recsdk.base import Policy
from recsdk.testing.states import name, rebuilt

ENGINES = (("numpy", "jax"), ("jax",), ("numpy",))
LEARNS_FROM = ("chosen", "all")


def check_declaration(policy: Policy[Any]) -> None:
    """It declares where it runs and what it learns from, and is a hashable value that equals another of the same fields."""
    assert policy.runs_on in ENGINES, f"declaration: {name(policy)}: runs_on must be one of {ENGINES}, got {policy.runs_on!r}"
    assert policy.learns_from in LEARNS_FROM, (
        f"declaration: {name(policy)}: learns_from must be one of {LEARNS_FROM}, got {policy.learns_from!r}"
    )
    assert_is_value(policy, name(policy))


def assert_is_value(component: Any, called: str) -> None:
    """Asserts that a component equals, and hashes as, another of the same fields."""
    try:
        is_value = component == rebuilt(component) and hash(component) == hash(rebuilt(component))
    except TypeError as error:
        raise AssertionError(f"declaration: {called} must be hashable, such as an `@attrs.frozen(kw_only=True)` class: {error}") from error
    assert is_value, f"declaration: {called} must equal, and hash as, one made of the same fields"
