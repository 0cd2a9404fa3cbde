"""Worlds with known truth, for `recsdk.simulate` and `recsdk.sweep`."""

from recsdk.drivers.simulate import GeometricDelay
from recsdk.environments.changing import ChangingWorld
from recsdk.environments.data import ClassificationWorld, RatingsWorld
from recsdk.environments.drifting import DriftingWorld
from recsdk.environments.heavy_tailed import HeavyTailedWorld
from recsdk.environments.linear import LinearWorld
from recsdk.environments.logistic import LogisticWorld
from recsdk.environments.neural import NeuralWorld
from recsdk.environments.ratings import fit_ratings_world
from recsdk.environments.slates import Cascade, PositionBias

__all__ = [
    "Cascade",
    "ChangingWorld",
    "ClassificationWorld",
    "DriftingWorld",
    "GeometricDelay",
    "HeavyTailedWorld",
    "LinearWorld",
    "LogisticWorld",
    "NeuralWorld",
    "PositionBias",
    "RatingsWorld",
    "fit_ratings_world",
]
