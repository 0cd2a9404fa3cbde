"""recsdk: recommendation that learns from every reward, with propensities that are true.

Each public name is imported when it is first used, so that `import recsdk` is quick and loads NumPy and attrs at most.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for type checkers, which cannot read the table below; a test holds the two equal
    from recsdk.base import Composite as Composite
    from recsdk.base import Context as Context
    from recsdk.base import Decision as Decision
    from recsdk.base import Encoder as Encoder
    from recsdk.base import Events as Events
    from recsdk.base import Explained as Explained
    from recsdk.base import Folds as Folds
    from recsdk.base import FoldsOnline as FoldsOnline
    from recsdk.base import Forgettable as Forgettable
    from recsdk.base import Interaction as Interaction
    from recsdk.base import Items as Items
    from recsdk.base import Mergeable as Mergeable
    from recsdk.base import Native as Native
    from recsdk.base import Online as Online
    from recsdk.base import Policy as Policy
    from recsdk.base import Request as Request
    from recsdk.base import Retriever as Retriever
    from recsdk.base import Rng as Rng
    from recsdk.base import Scorer as Scorer
    from recsdk.base import Scores as Scores
    from recsdk.base import Walks as Walks
    from recsdk.base import decide as decide
    from recsdk.base import decide_slate as decide_slate
    from recsdk.base import learn as learn
    from recsdk.drivers.executors import Executor as Executor
    from recsdk.drivers.executors import InProcess as InProcess
    from recsdk.drivers.executors import Processes as Processes
    from recsdk.drivers.jitted import Jitted as Jitted
    from recsdk.drivers.loop import JaxRandom as JaxRandom
    from recsdk.drivers.replay import Replay as Replay
    from recsdk.drivers.replay import replay as replay
    from recsdk.drivers.simulate import Environment as Environment
    from recsdk.drivers.simulate import Round as Round
    from recsdk.drivers.simulate import Simulation as Simulation
    from recsdk.drivers.simulate import simulate as simulate
    from recsdk.drivers.slates import SlateSimulation as SlateSimulation
    from recsdk.drivers.slates import simulate_slates as simulate_slates
    from recsdk.drivers.sweep import Sweep as Sweep
    from recsdk.drivers.sweep import sweep as sweep
    from recsdk.errors import RecsdkError as RecsdkError
    from recsdk.live.faults import Fallback as Fallback
    from recsdk.live.local import LocalRecommender as LocalRecommender
    from recsdk.live.log import read_ledger as read_ledger
    from recsdk.live.log import read_policy as read_policy
    from recsdk.live.recommender import Recommender as Recommender
    from recsdk.live.rewards import Feedback as Feedback
    from recsdk.live.rewards import Receipt as Receipt
    from recsdk.live.shares import read_traffic as read_traffic
    from recsdk.live.traffic import Traffic as Traffic
    from recsdk.live.trials import Trials as Trials
    from recsdk.policies.bag import Bag as Bag
    from recsdk.policies.conservative import Conservative as Conservative
    from recsdk.policies.drift import Discounted as Discounted
    from recsdk.policies.drift import Windowed as Windowed
    from recsdk.policies.linear import Boltzmann as Boltzmann
    from recsdk.policies.linear import EpsilonDecay as EpsilonDecay
    from recsdk.policies.linear import EpsilonGreedy as EpsilonGreedy
    from recsdk.policies.linear import LinTS as LinTS
    from recsdk.policies.linear import LinUCB as LinUCB
    from recsdk.policies.linear import SquareCB as SquareCB
    from recsdk.policies.logistic import LogisticTS as LogisticTS
    from recsdk.policies.masters import EXP3 as EXP3
    from recsdk.policies.masters import EXP4 as EXP4
    from recsdk.policies.masters import Mixture as Mixture
    from recsdk.policies.masters import TsallisINF as TsallisINF
    from recsdk.policies.neural import NeuralLinear as NeuralLinear
    from recsdk.policies.neural import NeuralSquareCB as NeuralSquareCB
    from recsdk.policies.per_item import DisjointLinTS as DisjointLinTS
    from recsdk.policies.per_item import DisjointLinUCB as DisjointLinUCB
    from recsdk.policies.per_item import HybridLinTS as HybridLinTS
    from recsdk.policies.per_item import HybridLinUCB as HybridLinUCB
    from recsdk.policies.uniform import Uniform as Uniform
    from recsdk.policies.wide_deep import WideDeep as WideDeep
    from recsdk.policies.wrappers import Budgeted as Budgeted
    from recsdk.policies.wrappers import ByColumn as ByColumn
    from recsdk.policies.wrappers import OnColumns as OnColumns
    from recsdk.policies.wrappers import WithFloor as WithFloor
    from recsdk.ranking import rank_evaluate as rank_evaluate

__version__ = "0.1.0"

_PUBLIC = {
    "base": "Composite Context Decision Encoder Events Explained Folds FoldsOnline Forgettable Interaction Items Mergeable Native "
    "Online Policy Request Retriever Rng Scorer Scores Walks decide decide_slate learn",
    "drivers.executors": "Executor InProcess Processes",
    "drivers.jitted": "Jitted",
    "drivers.loop": "JaxRandom",
    "drivers.replay": "Replay replay",
    "drivers.simulate": "Environment Round Simulation simulate",
    "drivers.slates": "SlateSimulation simulate_slates",
    "drivers.sweep": "Sweep sweep",
    "errors": "RecsdkError",
    "live.faults": "Fallback",
    "live.local": "LocalRecommender",
    "live.log": "read_ledger read_policy",
    "live.recommender": "Recommender",
    "live.rewards": "Feedback Receipt",
    "live.shares": "read_traffic",
    "live.traffic": "Traffic",
    "live.trials": "Trials",
    "policies.bag": "Bag",
    "policies.conservative": "Conservative",
    "policies.drift": "Discounted Windowed",
    "policies.linear": "Boltzmann EpsilonDecay EpsilonGreedy LinTS LinUCB SquareCB",
    "policies.logistic": "LogisticTS",
    "policies.masters": "EXP3 EXP4 Mixture TsallisINF",
    "policies.neural": "NeuralLinear NeuralSquareCB",
    "policies.per_item": "DisjointLinTS DisjointLinUCB HybridLinTS HybridLinUCB",
    "policies.uniform": "Uniform",
    "policies.wide_deep": "WideDeep",
    "policies.wrappers": "Budgeted ByColumn OnColumns WithFloor",
    "ranking": "rank_evaluate",
}
"""The public names by the module that each is imported from."""

_MODULES = {name: f"recsdk.{module}" for module, names in _PUBLIC.items() for name in names.split()}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'recsdk' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return __all__
