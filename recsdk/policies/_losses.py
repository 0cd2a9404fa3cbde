"""Importance-weighted losses, what the adversarial policies learn from."""

from __future__ import annotations

from typing import Any, Protocol

from recsdk.base import Array, Interaction
from recsdk.errors import InvalidValue


class Ranged(Protocol):
    """A config that knows the range of rewards."""

    @property
    def low(self) -> float: ...

    @property
    def high(self) -> float: ...


def above_low(instance: Any, field: Any, value: float) -> None:
    """Validates, for attrs, that `high` is above `low`."""
    if not value > instance.low:
        raise InvalidValue(f"{type(instance).__name__}.{field.name} must be above low = {instance.low}, got {value!r}.")


def weighted(config: Ranged, interaction: Interaction) -> Array:
    """Returns weight * loss / propensity, f64[], where the loss is the reward's distance from the top of its range, in [0, 1]."""
    _, _, reward, propensity, weight = interaction
    return weight * (config.high - reward) / ((config.high - config.low) * propensity)
