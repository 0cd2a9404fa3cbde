"""Each law of scorers, encoders and retrievers has a broken one that it catches."""

import unittest

import pytest

from recsdk import testing
from recsdk.testing.parametrization import law_of
from tests.testing import retriever_mutants
from tests.testing.scorer_mutants import ENCODERS, SCORERS, Sound, SoundEncoder


def failing_laws(component, checks):
    laws = set()
    for check in checks:
        try:
            check(component)
        except unittest.SkipTest:
            continue
        except AssertionError as error:
            laws.add(str(error).partition(":")[0])
        except Exception:  # noqa: S112  # a mutant that raises fails other laws too, by what it raised
            continue
    return laws


def named(value):
    return value if isinstance(value, str) else type(value).__name__


def test_a_sound_scorer_and_a_sound_encoder_break_no_law():
    assert failing_laws(Sound(), testing.SCORER_CHECKS) == set()
    assert failing_laws(SoundEncoder(), testing.ENCODER_CHECKS) == set()


@pytest.mark.parametrize(("law", "mutant"), SCORERS, ids=named)
def test_a_broken_scorer_is_caught_by_its_law(law, mutant):
    assert law in failing_laws(mutant, testing.SCORER_CHECKS)


@pytest.mark.parametrize(("law", "mutant"), ENCODERS, ids=named)
def test_a_broken_encoder_is_caught_by_its_law(law, mutant):
    assert law in failing_laws(mutant, testing.ENCODER_CHECKS)


@pytest.mark.parametrize("sound", [retriever_mutants.Sound(), retriever_mutants.SoundAndBlind()], ids=named)
def test_a_sound_retriever_breaks_no_law(sound):
    assert failing_laws(sound, testing.RETRIEVER_CHECKS) == set()


@pytest.mark.parametrize(("law", "mutant"), retriever_mutants.RETRIEVERS, ids=named)
def test_a_broken_retriever_is_caught_by_its_law(law, mutant):
    assert failing_laws(mutant, [check for check in testing.RETRIEVER_CHECKS if law_of(check) == law]) == {law}
