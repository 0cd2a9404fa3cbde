"""What a decision takes on the disk is within its limit."""

import importlib.util

import pytest

from tests.processes import ROOT

SPEC = importlib.util.spec_from_file_location("disk", ROOT / "benchmarks" / "disk.py")
disk = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(disk)


@pytest.mark.parametrize(("num_candidates", "size"), [(20, 1), (100, 1), (500, 1), (500, 3)])
def test_a_decision_takes_at_most_400_bytes_and_12_for_each_candidate(tmp_path, num_candidates, size):
    found = disk.measure(tmp_path / "shop", "lin-ts", num_candidates, size, num_decisions=200)
    assert found.num_bytes <= disk.limit(num_candidates)


def test_a_decision_with_a_probability_of_its_own_for_each_candidate_is_within_the_limit(tmp_path):
    assert disk.measure(tmp_path / "shop", "boltzmann", 100, 1, num_decisions=200, num_trained=100).num_bytes <= disk.limit(100)
