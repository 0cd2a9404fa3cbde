"""Scorers and encoders that are each broken in one way, for the laws of the kit to catch."""

import random
import threading
import time
import tracemalloc
from typing import Any, ClassVar

import attrs
import numpy as np


@attrs.frozen(kw_only=True)
class Sound:
    """Counts rewards of each item; a mutant differs from it in one method."""

    columns: ClassVar[Any] = ("count", "age")

    def init(self):
        return {"count": np.zeros(100)}

    def fit(self, log):
        return {"count": np.bincount(log.item, log.reward, minlength=100)}

    def score(self, state, request, candidates):
        return np.stack([state["count"][candidates.slot], request.time - candidates.added], axis=1).astype(np.float32)

    def update(self, state, request, item, reward):
        state["count"][item.slot[0]] += reward
        return state


@attrs.frozen(kw_only=True)
class NamesAColumnTwice(Sound):
    columns = ("count", "count")


@attrs.frozen(kw_only=True)
class AnswersInFloat64(Sound):
    def score(self, state, request, candidates):
        return super().score(state, request, candidates).astype(np.float64)


@attrs.frozen(kw_only=True)
class LosesAnAxis(Sound):
    columns = ("count",)

    def score(self, state, request, candidates):
        return super().score(state, request, candidates)[:, 0]


@attrs.frozen(kw_only=True)
class DividesByNothing(Sound):
    def score(self, state, request, candidates):
        with np.errstate(all="ignore"):
            return super().score(state, request, candidates) / np.float32(state["count"].sum())


@attrs.frozen(kw_only=True)
class RanksByPlace(Sound):
    def score(self, state, request, candidates):
        return super().score(state, request, candidates) + np.arange(len(candidates.ids), dtype=np.float32)[:, None]


@attrs.frozen(kw_only=True)
class SortsTheLogInPlace(Sound):
    def fit(self, log):
        log.reward.sort()
        return super().fit(log)


@attrs.frozen(kw_only=True)
class FitsAtRandom(Sound):
    def fit(self, log):
        state = super().fit(log)
        return {"count": state["count"] + np.random.default_rng().random()}


@attrs.frozen(kw_only=True, slots=False)
class CountsBesideTheState(Sound):
    def fit(self, log):
        object.__setattr__(self, "count", np.bincount(log.item, log.reward, minlength=100))
        return {"count": np.zeros(100)}

    def score(self, state, request, candidates):
        return super().score({"count": state["count"] + getattr(self, "count", 0)}, request, candidates)


@attrs.frozen(kw_only=True)
class TakesALogarithm(Sound):
    def score(self, state, request, candidates):
        with np.errstate(all="ignore"):
            return np.log1p(super().score(state, request, candidates) + 1).astype(np.float32)


@attrs.frozen(kw_only=True, eq=False)
class EqualsOnlyItself(Sound):
    __eq__ = object.__eq__
    __hash__ = object.__hash__


@attrs.frozen(kw_only=True)
class ShufflesByTheGlobalGenerator(Sound):
    def fit(self, log):
        return {"count": super().fit(log)["count"] + random.random()}


@attrs.frozen(kw_only=True)
class HashesText(Sound):
    def fit(self, log):
        return {"count": super().fit(log)["count"] + hash(log.items.ids[0]) % 1000}


@attrs.frozen(kw_only=True)
class StartsAsAnotherRecord(Sound):
    def init(self):
        return [np.zeros(100)]

    def score(self, state, request, candidates):
        return super().score({"count": state[0]} if isinstance(state, list) else state, request, candidates)

    def update(self, state, request, item, reward):
        return super().update({"count": state[0]} if isinstance(state, list) else state, request, item, reward)


SCRATCH: dict[str, Any] = {}


@attrs.frozen(kw_only=True)
class SharesScratch(Sound):
    def score(self, state, request, candidates):
        SCRATCH["thread"] = threading.get_ident()
        if threading.active_count() > 2:
            time.sleep(0.01)
        return super().score(state, request, candidates) + np.float32(SCRATCH["thread"] != threading.get_ident())


HOARD: list[Any] = []


@attrs.frozen(kw_only=True)
class KeepsWhatItWasAsked(Sound):
    def score(self, state, request, candidates):
        HOARD.append(super().score(state, request, candidates))
        return HOARD[-1].copy()


@attrs.frozen(kw_only=True)
class IsSlow(Sound):
    def score(self, state, request, candidates):
        time.sleep(0.0 if tracemalloc.is_tracing() else 0.055)
        return super().score(state, request, candidates)


@attrs.frozen(kw_only=True)
class SoundEncoder:
    """A linear map of fixed random features; a mutant differs from it in one method."""

    dim: Any = 3

    def init(self):
        return {"weight": np.ones(self.dim, np.float32)}

    def fit(self, log, *, state=None, seed=0):
        return {"weight": np.random.default_rng(seed).standard_normal(self.dim).astype(np.float32)}

    def encode_requests(self, state, requests):
        lengths = np.array([len(str(value)) for value in requests["user_id"]], np.float32)
        return lengths[:, None] * state["weight"]

    def encode_items(self, state, items):
        return np.array([len(name) for name in items.ids], np.float32)[:, None] * state["weight"]


@attrs.frozen(kw_only=True)
class EncodesInFloat64(SoundEncoder):
    def encode_items(self, state, items):
        return super().encode_items(state, items).astype(np.float64)


@attrs.frozen(kw_only=True)
class OfAnotherWidth(SoundEncoder):
    def encode_items(self, state, items):
        return super().encode_items(state, items)[:, 1:]


@attrs.frozen(kw_only=True)
class CentresTheBatch(SoundEncoder):
    def encode_items(self, state, items):
        vectors = super().encode_items(state, items)
        return vectors - vectors.mean(axis=0)


@attrs.frozen(kw_only=True)
class IgnoresTheSeed(SoundEncoder):
    def fit(self, log, *, state=None, seed=0):
        return super().fit(log, seed=np.random.SeedSequence().entropy)


@attrs.frozen(kw_only=True, slots=False)
class KeepsTheModelBesideTheState(SoundEncoder):
    def fit(self, log, *, state=None, seed=0):
        state = super().fit(log, seed=seed)
        object.__setattr__(self, "model", len(log.item))
        return state

    def encode_items(self, state, items):
        return super().encode_items(state, items) * np.float32(1 + getattr(self, "model", 0))


@attrs.frozen(kw_only=True, eq=False)
class IsOnlyItself(SoundEncoder):
    __eq__ = object.__eq__
    __hash__ = object.__hash__


@attrs.frozen(kw_only=True)
class DrawsFromTheGlobalGenerator(SoundEncoder):
    def fit(self, log, *, state=None, seed=0):
        random.random()
        return super().fit(log, seed=seed)


@attrs.frozen(kw_only=True)
class HashesNames(SoundEncoder):
    def encode_items(self, state, items):
        return np.array([hash(name) % 100 for name in items.ids], np.float32)[:, None] * state["weight"]


@attrs.frozen(kw_only=True)
class IsSlowToEncode(SoundEncoder):
    def encode_requests(self, state, requests):
        if len(requests["user_id"]) == 1:
            time.sleep(0.055)
        return super().encode_requests(state, requests)


SCORERS = [
    ("columns", NamesAColumnTwice()),
    ("scores", AnswersInFloat64()),
    ("scores", LosesAnAxis()),
    ("scores", DividesByNothing()),
    ("order", RanksByPlace()),
    ("purity", SortsTheLogInPlace()),
    ("purity", FitsAtRandom()),
    ("snapshot", CountsBesideTheState()),
    ("snapshot", StartsAsAnotherRecord()),
    ("online", TakesALogarithm()),
    ("declaration", EqualsOnlyItself()),
    ("randomness", ShufflesByTheGlobalGenerator()),
    ("processes", HashesText()),
    ("threads", SharesScratch()),
    ("memory", KeepsWhatItWasAsked()),
    ("speed", IsSlow()),
]

ENCODERS = [
    ("vectors", EncodesInFloat64()),
    ("vectors", OfAnotherWidth()),
    ("rows", CentresTheBatch()),
    ("purity", IgnoresTheSeed()),
    ("snapshot", KeepsTheModelBesideTheState()),
    ("declaration", IsOnlyItself()),
    ("randomness", DrawsFromTheGlobalGenerator()),
    ("processes", HashesNames()),
    ("speed", IsSlowToEncode()),
]
