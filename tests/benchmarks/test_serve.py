"""The benchmarks of the service run, and what they measure is so. How fast anything is, no test says."""

import importlib.util
import subprocess
import sys

import pytest

from tests.processes import ROOT

pytestmark = pytest.mark.skipif(importlib.util.find_spec("recsdk_serve") is None, reason="needs plugins/recsdk-serve")


def printed(*arguments):
    """Returns the cells of the last line of the table that a script prints."""
    script, *options = arguments
    command = [sys.executable, "-W", "ignore", str(ROOT / "benchmarks" / script), *options]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()  # noqa: S603 -- its own script
    assert "cores at a load of" in lines[0]
    return [cell.strip() for cell in lines[-1].strip("|").split("|")]


@pytest.mark.slow
def test_a_subscriber_has_a_fresh_slate_for_each_reward():
    subscribers, rate, *seconds = printed("push.py", "--quick")
    assert (subscribers, rate) == ("50", "20")
    assert all(float(value) > 0 for value in seconds)


@pytest.mark.slow
def test_a_service_that_is_killed_loses_nothing():
    seconds, kills, answered, lost, twice, _, failed, _, is_the_fold = printed("soak.py", "--seconds", "8", "--kills", "1")
    assert (seconds, kills, lost, twice, failed, is_the_fold) == ("8", "1", "0", "0", "0", "yes")
    assert int(answered.replace(",", "")) > 0
