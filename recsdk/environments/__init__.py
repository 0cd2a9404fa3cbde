"""Worlds with known truth, for `recsdk.simulate`."""

from recsdk.environments.data import ClassificationWorld, RatingsWorld
from recsdk.environments.linear import LinearWorld

__all__ = ["ClassificationWorld", "LinearWorld", "RatingsWorld"]
