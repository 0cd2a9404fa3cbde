"""The libraries that recsdk is compared with: an adapter in a module for each, driven as its own documentation drives it.

All of them take one vector an event and choose among arms that stay; so everyone is given that: x, whose last column is 1.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Mapping
from typing import NamedTuple, Protocol, Self, runtime_checkable

import numpy as np

HOW = "make peers"
"""Installs what is missing, with the pins of requirements/peers.txt."""


class Peer(Protocol):
    """A setting of a library, which can be played any number of times."""

    def start(self, num_actions: int, dim: int, seed: int) -> Self:
        """Forgets everything, makes ready for arms 0 .. num_actions - 1 and vectors f64[dim], and returns itself."""

    def choose(self, x: np.ndarray) -> int:
        """Returns an arm for f64[dim]. `learn` follows before the next."""

    def learn(self, x: np.ndarray, action: int, reward: float) -> None:
        """Learns what the arm chosen last earned, in [0, 1]."""


@runtime_checkable
class Batched(Protocol):
    """A peer that is meant to see its events in batches: it chooses for all of one before it learns any."""

    batch: int

    def choose_all(self, contexts: np.ndarray) -> np.ndarray:
        """Returns an arm for each of f64[B, dim], as i64[B]."""

    def learn_all(self, contexts: np.ndarray, actions: np.ndarray, rewards: np.ndarray) -> None:
        """Learns what the arms earned, f64[B]."""


class Library(NamedTuple):
    """A library.

    Attributes:
        distribution: what is installed.
        adapter: the module here.
        slow: takes around a millisecond an event, from Python.
    """

    distribution: str
    adapter: str
    slow: bool = False

    @property
    def version(self) -> str | None:
        """The installed version, or None."""
        try:
            return importlib.metadata.version(self.distribution)
        except importlib.metadata.PackageNotFoundError:
            return None

    @property
    def settings(self) -> Mapping[str, Peer]:
        """The settings to be tried, by what each is called; the library need not be installed."""
        found: Mapping[str, Peer] = importlib.import_module(f"peers.{self.adapter}").SETTINGS
        return found


LIBRARIES = {
    "VW": Library("vowpalwabbit", "vw"),
    "MABWiser": Library("mabwiser", "mab", slow=True),
    "contextualbandits": Library("contextualbandits", "contextual", slow=True),
    "obp": Library("obp", "open_bandit"),
    "river": Library("river", "streams", slow=True),
    "coba": Library("coba", "learners", slow=True),
}


def missing() -> dict[str, str]:
    """Returns, for each library that is not installed, how to get it."""
    return {name: f"{library.distribution} is not installed: {HOW}" for name, library in LIBRARIES.items() if library.version is None}
