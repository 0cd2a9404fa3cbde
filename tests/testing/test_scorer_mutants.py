"""Each law of scorers and encoders has a broken one that it catches."""

import unittest
from typing import Any, ClassVar

import attrs
import numpy as np
import pytest

from recsdk import testing


@attrs.frozen(kw_only=True)
class Sound:
    """Counts rewards of each item; a mutant differs from it in one method."""

    columns: ClassVar[Any] = ("count", "age")

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
        return super().score({"count": state["count"] + self.count}, request, candidates)


@attrs.frozen(kw_only=True)
class TakesALogarithm(Sound):
    def score(self, state, request, candidates):
        with np.errstate(all="ignore"):
            return np.log1p(super().score(state, request, candidates) + 1).astype(np.float32)


@attrs.frozen(kw_only=True)
class SoundEncoder:
    """A linear map of fixed random features; a mutant differs from it in one method."""

    dim: Any = 3

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
        return super().encode_items(state, items) * np.float32(1 + self.model)


def failing_laws(component, checks):
    laws = set()
    for check in checks:
        try:
            check(component)
        except unittest.SkipTest:
            continue
        except AssertionError as error:
            laws.add(str(error).partition(":")[0])
    return laws


MUTANTS = [
    ("columns", NamesAColumnTwice()),
    ("scores", AnswersInFloat64()),
    ("scores", LosesAnAxis()),
    ("scores", DividesByNothing()),
    ("order", RanksByPlace()),
    ("purity", SortsTheLogInPlace()),
    ("purity", FitsAtRandom()),
    ("snapshot", CountsBesideTheState()),
    ("online", TakesALogarithm()),
]


def test_a_sound_scorer_and_a_sound_encoder_break_no_law():
    assert failing_laws(Sound(), testing.SCORER_CHECKS) == set()
    assert failing_laws(SoundEncoder(), testing.ENCODER_CHECKS) == set()


@pytest.mark.parametrize(("law", "mutant"), MUTANTS, ids=lambda value: value if isinstance(value, str) else type(value).__name__)
def test_a_broken_scorer_is_caught_by_its_law(law, mutant):
    assert law in failing_laws(mutant, testing.SCORER_CHECKS)


ENCODER_MUTANTS = [
    ("vectors", EncodesInFloat64()),
    ("vectors", OfAnotherWidth()),
    ("rows", CentresTheBatch()),
    ("purity", IgnoresTheSeed()),
    ("snapshot", KeepsTheModelBesideTheState()),
]


@pytest.mark.parametrize(("law", "mutant"), ENCODER_MUTANTS, ids=lambda value: value if isinstance(value, str) else type(value).__name__)
def test_a_broken_encoder_is_caught_by_its_law(law, mutant):
    assert law in failing_laws(mutant, testing.ENCODER_CHECKS)
