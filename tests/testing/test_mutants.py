"""Each law has a broken policy that it catches, most of them alone; a law that catches nothing is decoration."""

import unittest

import numpy as np
import pytest

from recsdk import base, fast, testing
from recsdk.drivers import replay as replay_module
from recsdk.live import places
from recsdk.testing import honesty, processes
from recsdk.testing.parametrization import bound, law_of
from tests.testing.policy_mutants import ALONE, FIRST, SOUND, Overflows, Sound

NUM_ROUNDS = 3000
MOST_REGRET = 40.0  # times LinUCB's, which the sound policies keep to in so many rounds


@pytest.fixture(autouse=True)
def fewer_draws(monkeypatch):
    monkeypatch.setattr(honesty, "NUM_AT_REST", 600)


@pytest.fixture(autouse=True)
def settings_as_before():
    import jax

    before = jax.config.jax_enable_x64
    yield
    if jax.config.jax_enable_x64 != before:
        jax.config.update("jax_enable_x64", before)
        processes._process.cache_clear()  # where the mutant has lived too: later laws are to have others


def failures(policy, regret=None):
    """Yields the laws that refuse a policy, in order, and whether each could be tried: `decide` may refuse the policy before."""
    options = {"num_rounds": NUM_ROUNDS, "regret": regret}
    for check in testing.POLICY_CHECKS:
        try:
            bound(check, options)(policy)
        except unittest.SkipTest:
            continue
        except AssertionError as error:
            yield str(error).partition(":")[0], True
        except Exception:
            yield law_of(check), False


def cases(mutants):
    return [pytest.param(law, mutant, id=f"{law}-{type(mutant).__name__}") for law, group in mutants.items() for mutant in group]


@pytest.mark.parametrize("policy", SOUND, ids=lambda policy: type(policy).__name__)
def test_a_sound_policy_breaks_no_law(policy):
    assert not list(failures(policy, MOST_REGRET))


@pytest.mark.parametrize(("law", "mutant"), cases(ALONE))
def test_a_mutant_is_caught_by_its_law_alone(law, mutant):
    if isinstance(mutant, base.Walks) and not fast.enabled():
        pytest.skip("without Numba there are no loops to hold to a law")
    assert list(failures(mutant, MOST_REGRET if law == "regret" else None)) == [(law, True)]


@pytest.mark.parametrize(("law", "mutant"), cases(FIRST))
def test_a_mutant_is_caught_by_its_law_first(law, mutant):
    assert next(failures(mutant))[0] == law


@pytest.mark.parametrize("checker", [(base, "check_interaction"), (replay_module, "check_log")], ids=["learn", "replay"])
def test_a_loop_that_refuses_nothing_is_caught_by_refusal(checker, monkeypatch):
    monkeypatch.setattr(*checker, lambda *arguments: None)
    with np.errstate(invalid="ignore"), pytest.raises(AssertionError, match=r"refusal: .* must raise .*"):
        by_law()["refusal"](Sound())


def test_a_loop_that_learns_before_it_refuses_is_caught_by_refusal(monkeypatch):
    checked = base.learn

    def learn(policy, state, interaction):
        state.mean[:] += 0.1
        return checked(policy, state, interaction)

    monkeypatch.setattr(base, "learn", learn)
    with pytest.raises(AssertionError, match=r"refusal: .* must leave the state as it was"):
        by_law()["refusal"](Sound())


def test_a_loop_that_learns_a_reward_twice_is_caught_by_live(monkeypatch):
    monkeypatch.setattr(places, "is_new", lambda ledger, reward: True)
    monkeypatch.setattr("recsdk.ledger.sqlite.SqliteLedger.add_reward", lambda self, reward: None)
    with pytest.raises(AssertionError, match=r"live: .* after the same reward came twice must have learned 6, got 7"):
        by_law()["live"](Sound())


def by_law():
    return {law_of(check): check for check in testing.POLICY_CHECKS}


def test_every_law_has_a_mutant_that_it_catches_before_all_others():
    assert by_law().keys() - ALONE.keys() - FIRST.keys() == {"refusal"}  # which is about the loop, and tried above


def test_a_failure_names_the_law_the_policy_and_the_input():
    wanted = r"extremes: Overflows\(.*\) on 1 candidates of 1 features, huge, padded, after 40 updates: probs must be finite, got \[nan\]"
    with pytest.raises(AssertionError, match=wanted):
        by_law()["extremes"](Overflows())
