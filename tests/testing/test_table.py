"""The table of laws in the documentation is the kit's: the same laws, in order, with what they assert and who breaks them."""

import re
from pathlib import Path

import pytest

from recsdk import testing
from recsdk.testing.parametrization import law_of
from tests.ledger import test_conformance as ledgers
from tests.testing import policy_mutants, retriever_mutants, scorer_mutants

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "testing.md"
BY_THE_LOOP = "the loop itself, broken"  # no policy can break it


def mutants_of_policies(law):
    return [type(mutant).__name__ for mutants in (policy_mutants.ALONE, policy_mutants.FIRST) for mutant in mutants.get(law, ())]


def mutants_among(pairs):
    return lambda law: [type(mutant).__name__ for of, mutant in pairs if of == law]


KINDS = {
    "policies": (testing.POLICY_CHECKS, mutants_of_policies),
    "scorers": (testing.SCORER_CHECKS, mutants_among(scorer_mutants.SCORERS)),
    "ledgers": (testing.LEDGER_CHECKS, mutants_among(ledgers.MUTANTS)),
    "encoders": (testing.ENCODER_CHECKS, mutants_among(scorer_mutants.ENCODERS)),
    "retrievers": (testing.RETRIEVER_CHECKS, mutants_among(retriever_mutants.RETRIEVERS)),
}


def rows(kind):
    section = PAGE.read_text().partition(f"### The laws of {kind}\n")[2].partition("\n#")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize("kind", KINDS)
def test_the_table_has_the_laws_in_the_kits_order_and_words(kind):
    checks, _ = KINDS[kind]
    assert [(law.strip("`"), claim) for law, claim, _ in rows(kind)] == [(law_of(check), check.__doc__.splitlines()[0]) for check in checks]


@pytest.mark.parametrize("kind", KINDS)
def test_the_table_names_every_mutant_and_no_law_is_without(kind):
    _, mutants_of = KINDS[kind]
    for law, _, broken in rows(kind):
        assert re.findall(r"`(\w+)`", broken) == mutants_of(law.strip("`")), law
        assert "`" in broken or broken == BY_THE_LOOP, law
