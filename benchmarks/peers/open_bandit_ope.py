"""Open Bandit Pipeline: its estimators, without torch, which its package loads and they do not need."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

NAMES = {"ips": "InverseProbabilityWeighting", "snips": "SelfNormalizedInverseProbabilityWeighting", "dr": "DoublyRobust"}


@functools.cache
def estimators() -> dict[str, Any]:
    """Returns obp's estimators by our names.

    Raises:
        ModuleNotFoundError: when obp, or what it needs, is not installed.
    """
    spec = importlib.util.find_spec("obp")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("obp is not installed.", name="obp")
    (root,) = spec.submodule_search_locations
    with _empty_packages({"obp": root, "obp.ope": f"{root}/ope"}):
        found = importlib.import_module("obp.ope.estimators")
    return {name: getattr(found, theirs)() for name, theirs in NAMES.items()}


def estimate(log: dict[str, np.ndarray], num_draws: int) -> list[float]:
    """Returns IPS, SNIPS and DR, with an interval each where there are draws."""
    found = []
    for name, estimator in estimators().items():
        asked = {key: value for key, value in log.items() if name == "dr" or key != "estimated_rewards_by_reg_model"}
        found.append(float(estimator.estimate_policy_value(**asked)))
        if num_draws:
            estimator.estimate_interval(**asked, n_bootstrap_samples=num_draws, random_state=0)
    return found


@contextmanager
def _empty_packages(paths: dict[str, str]) -> Iterator[None]:
    """Lets packages be imported from without their own `__init__`, and torch be named in signatures; afterwards all is as before."""
    before = {name: sys.modules.get(name) for name in (*paths, "torch")}
    for name, path in paths.items():
        package = types.ModuleType(name)
        package.__path__ = [path]
        sys.modules[name] = package
    if importlib.util.find_spec("torch") is None:
        torch = types.ModuleType("torch")
        torch.__getattr__ = lambda name: object  # type: ignore[method-assign]  # PEP 562
        sys.modules["torch"] = torch
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module
