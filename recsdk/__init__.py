"""recsdk: recommendation that learns from every reward, with propensities that are true.

Each name below is imported when it is first used, so that `import recsdk` costs nothing; NumPy and attrs are all that most of them load.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recsdk.base import (
        Composite,
        Context,
        Decision,
        Encoder,
        Events,
        Forgettable,
        Interaction,
        Items,
        Mergeable,
        Native,
        Online,
        Policy,
        Request,
        Rng,
        Scorer,
        decide,
        decide_slate,
        learn,
    )
    from recsdk.drivers.jitted import Jitted
    from recsdk.drivers.loop import JaxRandom
    from recsdk.drivers.replay import Replay, replay
    from recsdk.drivers.simulate import Environment, Round, Simulation, simulate
    from recsdk.drivers.slates import SlateSimulation, simulate_slates
    from recsdk.drivers.sweep import Sweep, sweep
    from recsdk.errors import RecsdkError
    from recsdk.live.log import read_ledger, read_policy
    from recsdk.live.recommender import Recommender
    from recsdk.policies.bag import Bag
    from recsdk.policies.boltzmann import Boltzmann
    from recsdk.policies.budgeted import Budgeted
    from recsdk.policies.columns import ByColumn, OnColumns
    from recsdk.policies.conservative import Conservative
    from recsdk.policies.disjoint import DisjointLinTS, DisjointLinUCB
    from recsdk.policies.drift import Discounted, Windowed
    from recsdk.policies.epsilon_decay import EpsilonDecay
    from recsdk.policies.epsilon_greedy import EpsilonGreedy
    from recsdk.policies.exp3 import EXP3
    from recsdk.policies.experts import EXP4, TsallisINF
    from recsdk.policies.floor import WithFloor
    from recsdk.policies.hybrid import HybridLinTS, HybridLinUCB
    from recsdk.policies.linear import LinTS, LinUCB
    from recsdk.policies.logistic import LogisticTS
    from recsdk.policies.mixture import Mixture
    from recsdk.policies.neural import NeuralLinear, NeuralSquareCB
    from recsdk.policies.squarecb import SquareCB
    from recsdk.policies.uniform import Uniform
    from recsdk.policies.wide_deep import WideDeep
    from recsdk.ranking import rank_evaluate

__version__ = "0.1.0"

_LAZY = {
    **dict.fromkeys(
        (
            "Composite",
            "Context",
            "Decision",
            "Encoder",
            "Events",
            "Forgettable",
            "Interaction",
            "Items",
            "Mergeable",
            "Native",
            "Online",
            "Policy",
            "Request",
            "Rng",
            "Scorer",
            "decide",
            "decide_slate",
            "learn",
        ),
        "recsdk.base",
    ),
    "RecsdkError": "recsdk.errors",
    "EpsilonGreedy": "recsdk.policies.epsilon_greedy",
    "JaxRandom": "recsdk.drivers.loop",
    "Jitted": "recsdk.drivers.jitted",
    "Boltzmann": "recsdk.policies.boltzmann",
    "Bag": "recsdk.policies.bag",
    "ByColumn": "recsdk.policies.columns",
    "OnColumns": "recsdk.policies.columns",
    "EXP3": "recsdk.policies.exp3",
    "EXP4": "recsdk.policies.experts",
    "Budgeted": "recsdk.policies.budgeted",
    "Conservative": "recsdk.policies.conservative",
    "EpsilonDecay": "recsdk.policies.epsilon_decay",
    "TsallisINF": "recsdk.policies.experts",
    "LinTS": "recsdk.policies.linear",
    "LinUCB": "recsdk.policies.linear",
    "Environment": "recsdk.drivers.simulate",
    "Mixture": "recsdk.policies.mixture",
    "Recommender": "recsdk.live.recommender",
    "Replay": "recsdk.drivers.replay",
    "Round": "recsdk.drivers.simulate",
    "Simulation": "recsdk.drivers.simulate",
    "SlateSimulation": "recsdk.drivers.slates",
    "Sweep": "recsdk.drivers.sweep",
    "SquareCB": "recsdk.policies.squarecb",
    "Discounted": "recsdk.policies.drift",
    "Windowed": "recsdk.policies.drift",
    "DisjointLinUCB": "recsdk.policies.disjoint",
    "DisjointLinTS": "recsdk.policies.disjoint",
    "HybridLinUCB": "recsdk.policies.hybrid",
    "HybridLinTS": "recsdk.policies.hybrid",
    "LogisticTS": "recsdk.policies.logistic",
    "NeuralLinear": "recsdk.policies.neural",
    "NeuralSquareCB": "recsdk.policies.neural",
    "Uniform": "recsdk.policies.uniform",
    "WideDeep": "recsdk.policies.wide_deep",
    "WithFloor": "recsdk.policies.floor",
    "rank_evaluate": "recsdk.ranking",
    "read_ledger": "recsdk.live.log",
    "read_policy": "recsdk.live.log",
    "replay": "recsdk.drivers.replay",
    "simulate": "recsdk.drivers.simulate",
    "simulate_slates": "recsdk.drivers.slates",
    "sweep": "recsdk.drivers.sweep",
}

__all__ = [
    "EXP3",
    "EXP4",
    "Bag",
    "Boltzmann",
    "Budgeted",
    "ByColumn",
    "Composite",
    "Conservative",
    "Context",
    "Decision",
    "Discounted",
    "DisjointLinTS",
    "DisjointLinUCB",
    "Encoder",
    "Environment",
    "EpsilonDecay",
    "EpsilonGreedy",
    "Events",
    "Forgettable",
    "HybridLinTS",
    "HybridLinUCB",
    "Interaction",
    "Items",
    "JaxRandom",
    "Jitted",
    "LinTS",
    "LinUCB",
    "LogisticTS",
    "Mergeable",
    "Mixture",
    "Native",
    "NeuralLinear",
    "NeuralSquareCB",
    "OnColumns",
    "Online",
    "Policy",
    "Recommender",
    "RecsdkError",
    "Replay",
    "Request",
    "Rng",
    "Round",
    "Scorer",
    "Simulation",
    "SlateSimulation",
    "SquareCB",
    "Sweep",
    "TsallisINF",
    "Uniform",
    "WideDeep",
    "Windowed",
    "WithFloor",
    "decide",
    "decide_slate",
    "learn",
    "rank_evaluate",
    "read_ledger",
    "read_policy",
    "replay",
    "simulate",
    "simulate_slates",
    "sweep",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'recsdk' has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return __all__
