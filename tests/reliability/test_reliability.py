"""The short part of the reliability run; `python -m tests.reliability` is the long one."""

import pytest

from tests.reliability import damage, kills, mutants, power

NEEDS_STRACE = pytest.mark.skipif(not kills.can_trace(), reason="strace is not here, or may not look at a process")


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_any_call_of_the_system_nothing_is_lost_and_nothing_comes_twice(seed):
    found = kills.sweep(seed, 20, 30)
    assert found.faults == []
    assert found.total > 35


@NEEDS_STRACE
@pytest.mark.parametrize("durability", ["process-crash", "power-loss"])
@pytest.mark.parametrize("seed", range(2, 4))
def test_after_a_power_cut_there_is_all_that_the_level_promises(seed, durability):
    found = power.sweep(seed, 20, 150, durability)
    assert found.faults == []
    assert found.disks == 150


def test_after_damage_every_record_is_as_it_was_or_the_folder_is_refused():
    found = damage.sweep(0, 60, 60)
    assert found.faults == []
    assert found.refused >= 60  # every cut loses what was acknowledged


@NEEDS_STRACE
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("mutant", mutants.MUTANTS, ids=lambda mutant: mutant.name)
def test_without_a_protection_a_fault_is_found(mutant):
    assert mutants.faults(mutant)
