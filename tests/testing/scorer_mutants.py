"""Scorers and encoders that are each broken in one way, for the laws of the kit to catch."""

import random
import threading
import time
import tracemalloc
import zlib
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
class TrustsTheSlot(Sound):
    """Has no place for an item that came after the fit."""

    def fit(self, log):
        return {"count": np.bincount(log.item, log.reward, minlength=len(log.items.ids))}


@attrs.frozen(kw_only=True)
class UpdatesInPlaceAndReturnsNothing(Sound):
    def update(self, state, request, item, reward):
        super().update(state, request, item, reward)


@attrs.frozen(kw_only=True)
class CountsOnceAtOnce(Sound):
    def fold(self, state, requests, slots, rewards):
        for slot in set(slots):
            state["count"][slot] += rewards[slots.index(slot)]
        return state


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
    """Users are random vectors, and an item is the sum of those who took it; a mutant differs from it in one method."""

    dim: Any = 16

    def init(self):
        return {"users": np.zeros((64, self.dim), np.float32), "items": np.zeros((100, self.dim), np.float32)}

    def fit(self, log, *, state=None, seed=0):
        state = {**self.init(), "users": np.random.default_rng(seed).standard_normal((64, self.dim)).astype(np.float32)}
        np.add.at(state["items"], log.items.slot[log.item], log.reward[:, None] * self.encode_requests(state, log.requests))
        return state

    def encode_requests(self, state, requests):
        buckets = [zlib.crc32(str(value).encode()) % 64 for value in requests["user_id"]]
        return state["users"][np.array(buckets, np.int64)]

    def encode_items(self, state, items):
        return state["items"][items.slot]


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
        return super().encode_items(state, items) + np.array([hash(name) % 100 for name in items.ids], np.float32)[:, None]


@attrs.frozen(kw_only=True)
class HasNoPlaceForNewItems(SoundEncoder):
    def encode_items(self, state, items):
        return state["items"][:12][items.slot]


@attrs.frozen(kw_only=True)
class IgnoresTheRequest(SoundEncoder):
    def encode_requests(self, state, requests):
        return np.ones((len(requests["user_id"]), self.dim), np.float32)


@attrs.frozen(kw_only=True)
class NeverLearns(SoundEncoder):
    def fit(self, log, *, state=None, seed=0):
        items = np.random.default_rng(seed + 1).standard_normal((100, self.dim)).astype(np.float32)
        return {**super().fit(log, seed=seed), "items": items}


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
    ("scores", TrustsTheSlot()),
    ("online", TakesALogarithm()),
    ("online", UpdatesInPlaceAndReturnsNothing()),
    ("online", CountsOnceAtOnce()),
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
    ("vectors", HasNoPlaceForNewItems()),
    ("rows", CentresTheBatch()),
    ("purity", IgnoresTheSeed()),
    ("snapshot", KeepsTheModelBesideTheState()),
    ("declaration", IsOnlyItself()),
    ("randomness", DrawsFromTheGlobalGenerator()),
    ("processes", HashesNames()),
    ("learns", IgnoresTheRequest()),
    ("learns", NeverLearns()),
    ("speed", IsSlowToEncode()),
]
