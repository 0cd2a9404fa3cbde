"""The short part of the reliability run; `python -m tests.reliability` is the long one."""

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from tests.processes import ROOT
from tests.reliability import damage, kills, mutants

NEEDS_STRACE = pytest.mark.skipif(not kills.can_trace(), reason="strace is not here, or may not look at a process")


def apart(module, *arguments):
    """Returns what a module's `sweep` finds in a process of its own: it forks, which one must not do beside the threads of JAX."""
    program = f"import json; from tests.reliability import {module}; print(json.dumps({module}.sweep(*{arguments!r})._asdict()))"
    answer = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)  # noqa: S603  (its own program)
    assert answer.returncode == 0, answer.stderr
    return SimpleNamespace(**json.loads(answer.stdout.splitlines()[-1]))


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_any_call_of_the_system_nothing_is_lost_and_nothing_comes_twice(seed):
    found = apart("kills", seed, 20, 30)
    assert found.faults == []
    assert found.working + found.recovering > 35


@NEEDS_STRACE
@pytest.mark.parametrize("durability", ["process-crash", "power-loss"])
@pytest.mark.parametrize("seed", [1, 2])
def test_after_a_power_cut_there_is_all_that_the_level_promises(seed, durability):
    found = apart("power", seed, 20, 150, durability)
    assert found.faults == []
    assert found.disks == 150


def test_after_damage_every_record_is_as_it_was_or_the_folder_is_refused():
    found = damage.sweep(0, 60, 60)
    assert found.faults == []
    assert found.refused >= 60  # every cut loses what was acknowledged


@pytest.mark.parametrize(("argument", "code"), [("--help", 0), ("nigthly", 2)])
def test_the_long_run_starts_by_its_name_alone(argument, code):
    command = [sys.executable, "-m", "tests.reliability", argument]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)  # noqa: S603  (its own module)
    assert answer.returncode == code
    assert "[{nightly,mutants}]" in answer.stdout + answer.stderr


@NEEDS_STRACE
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("mutant", mutants.MUTANTS, ids=lambda mutant: mutant.name)
def test_without_a_protection_a_fault_is_found(mutant):
    assert mutants.faults(mutant)
