"""Retrievers that are each broken in one way, for the laws of the kit to catch."""

import threading
import time
from typing import Any, ClassVar

import attrs
import numpy as np


@attrs.frozen(kw_only=True)
class Sound:
    """Keeps a copy of the table, and finds the largest products; a mutant differs from it in one method."""

    uses_vectors: ClassVar[Any] = True

    def build(self, vectors):
        return vectors.copy()

    def add(self, state, slot, vectors):
        state = np.concatenate([state, np.zeros_like(vectors[len(state) :])])
        state[slot] = vectors[slot]
        return state

    def search(self, state, rng, user, allowed, size):
        slots, scores = np.flatnonzero(allowed), state @ user
        return slots[np.argsort(-scores[slots], kind="stable")[:size]]


@attrs.frozen(kw_only=True)
class SoundAndBlind(Sound):
    """Works without vectors: offers the items that were added last."""

    uses_vectors = False

    def search(self, state, rng, user, allowed, size):
        return np.flatnonzero(allowed)[::-1][:size]


@attrs.frozen(kw_only=True)
class DoesNotSay(Sound):
    uses_vectors = "yes"


@attrs.frozen(kw_only=True, eq=False)
class EqualsOnlyItself(Sound):
    __eq__ = object.__eq__
    __hash__ = object.__hash__


@attrs.frozen(kw_only=True)
class ForgetsTheRules(Sound):
    def search(self, state, rng, user, allowed, size):
        return super().search(state, rng, user, np.ones_like(allowed), size)


@attrs.frozen(kw_only=True)
class FillsUp(SoundAndBlind):
    def search(self, state, rng, user, allowed, size):
        return np.resize(super().search(state, rng, user, allowed, size), size)


@attrs.frozen(kw_only=True)
class FindsNothingForStrangers(Sound):
    def search(self, state, rng, user, allowed, size):
        found = super().search(state, rng, user, allowed, size)
        return found if user.any() else found[:0]


@attrs.frozen(kw_only=True)
class AnswersScores(Sound):
    def search(self, state, rng, user, allowed, size):
        return super().search(state, rng, user, allowed, size).astype(np.float64)


@attrs.frozen(kw_only=True)
class FindsAllEverywhere(Sound):
    def search(self, state, rng, user, allowed, size):
        return super().search(state, rng, user, allowed, len(allowed))


@attrs.frozen(kw_only=True)
class PutsTheFarthestFirst(Sound):
    def search(self, state, rng, user, allowed, size):
        return super().search(state, rng, -user, allowed, size)


@attrs.frozen(kw_only=True)
class FindsTheFirstOnly(Sound):
    """Finds the nearest item, and fills up with any others."""

    def search(self, state, rng, user, allowed, size):
        best = super().search(state, rng, user, allowed, 1)
        others = np.flatnonzero(allowed)
        return np.concatenate([best, others[others != best[:1]]])[:size]


@attrs.frozen(kw_only=True)
class ForgetsWhatChanged(Sound):
    def add(self, state, slot, vectors):
        return super().add(state, slot[slot >= len(state)], vectors)


@attrs.frozen(kw_only=True)
class CannotBeginEmpty(Sound):
    def build(self, vectors):
        return super().build(vectors / np.abs(vectors).max())


@attrs.frozen(kw_only=True)
class ScalesTheUser(Sound):
    def search(self, state, rng, user, allowed, size):
        user /= max(np.linalg.norm(user), 1e-9)
        return super().search(state, rng, user, allowed, size)


@attrs.frozen(kw_only=True)
class AsksTheClock(SoundAndBlind):
    def search(self, state, rng, user, allowed, size):
        return np.roll(np.flatnonzero(allowed), time.perf_counter_ns() % 1009)[:size]


@attrs.frozen(kw_only=True)
class DrawsFromTheGlobalGenerator(SoundAndBlind):
    def search(self, state, rng, user, allowed, size):
        return np.random.permutation(np.flatnonzero(allowed))[:size]  # noqa: NPY002


@attrs.frozen(kw_only=True)
class OrdersByHash(SoundAndBlind):
    def search(self, state, rng, user, allowed, size):
        return np.array(sorted(np.flatnonzero(allowed).tolist(), key=lambda slot: hash(str(slot))))[:size]


SCRATCH = np.zeros(8, np.float32)


@attrs.frozen(kw_only=True)
class SharesScratch(Sound):
    def search(self, state, rng, user, allowed, size):
        SCRATCH[:] = user
        if threading.current_thread() is not threading.main_thread():
            time.sleep(1e-3)  # another thread's turn
        return super().search(state, rng, SCRATCH, allowed, size)


KEPT = []


@attrs.frozen(kw_only=True)
class KeepsItsAnswers(Sound):
    def search(self, state, rng, user, allowed, size):
        KEPT.append(super().search(state, rng, user, allowed, size))
        return KEPT[-1]


@attrs.frozen(kw_only=True)
class IsSlow(Sound):
    def search(self, state, rng, user, allowed, size):
        if len(allowed) > 1000:
            time.sleep(0.06)
        return super().search(state, rng, user, allowed, size)


RETRIEVERS = [
    ("declaration", DoesNotSay()),
    ("declaration", EqualsOnlyItself()),
    ("slots", ForgetsTheRules()),
    ("slots", FillsUp()),
    ("slots", FindsNothingForStrangers()),
    ("slots", AnswersScores()),
    ("slots", FindsAllEverywhere()),
    ("nearest", PutsTheFarthestFirst()),
    ("nearest", FindsTheFirstOnly()),
    ("add", ForgetsWhatChanged()),
    ("add", CannotBeginEmpty()),
    ("randomness", DrawsFromTheGlobalGenerator()),
    ("purity", ScalesTheUser()),
    ("purity", AsksTheClock()),
    ("processes", OrdersByHash()),
    ("threads", SharesScratch()),
    ("memory", KeepsItsAnswers()),
    ("speed", IsSlow()),
]
