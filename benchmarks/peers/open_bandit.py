"""Open Bandit Pipeline: its contextual online policies.

It asks for NumPy 1.23 and torch 1.12, of which its online policies need neither: they are loaded without the package's own `__init__`,
which loads everything. Its LinTS is not among the settings: it has no scale of its variance, and takes 20 ms an arm at 180 columns.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
import types
from typing import Any, Self

import attrs
import numpy as np


@functools.cache
def _policies() -> dict[str, Any]:
    """Returns the classes of `obp.policy.linear` and `obp.policy.logistic`."""
    spec = importlib.util.find_spec("obp")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("obp is not installed.", name="obp")
    (root,) = spec.submodule_search_locations
    for name, path in (("obp", root), ("obp.policy", f"{root}/policy")):
        package = types.ModuleType(name)
        package.__path__ = [path]
        sys.modules[name] = package
    torch = types.ModuleType("torch")  # obp.utils names its types in signatures
    torch.__getattr__ = lambda name: object  # type: ignore[method-assign]  # PEP 562
    real = sys.modules.setdefault("torch", torch)
    try:
        linear, logistic = (importlib.import_module(f"obp.policy.{name}") for name in ("linear", "logistic"))
    finally:
        if real is torch:
            del sys.modules["torch"]
    return vars(linear) | vars(logistic)


@attrs.define
class OpenBandit:
    """A policy of obp.

    Attributes:
        policy: name of the class.
        options: of the policy.
    """

    policy: str
    options: dict[str, float]

    _bandit: Any = attrs.field(init=False, repr=False)

    def start(self, num_actions: int, dim: int, seed: int) -> Self:
        """See `peers.Peer`."""
        self._bandit = _policies()[self.policy](dim=dim, n_actions=num_actions, random_state=seed, **self.options)
        return self

    def choose(self, x: np.ndarray) -> int:
        """See `peers.Peer`."""
        return int(self._bandit.select_action(x[None])[0])

    def learn(self, x: np.ndarray, action: int, reward: float) -> None:
        """See `peers.Peer`."""
        self._bandit.update_params(action, reward, x[None])


SETTINGS = {
    "LinUCB, epsilon 0.03": OpenBandit("LinUCB", {"epsilon": 0.03}),
    "LinUCB, epsilon 0.1": OpenBandit("LinUCB", {"epsilon": 0.1}),
    "LinUCB, epsilon 0.3": OpenBandit("LinUCB", {"epsilon": 0.3}),
    "LinEpsilonGreedy, epsilon 0.05": OpenBandit("LinEpsilonGreedy", {"epsilon": 0.05}),
    "LogisticTS": OpenBandit("LogisticTS", {}),
    "LogisticUCB, epsilon 0.3": OpenBandit("LogisticUCB", {"epsilon": 0.3}),
}
