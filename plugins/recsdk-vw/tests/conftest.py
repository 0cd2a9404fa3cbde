"""The reference data, which is not part of the project."""

import json
import os
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("RECSDK_SHARED", Path(__file__).parents[4] / "shared"))


@pytest.fixture
def reference():
    """A function that returns a file of the reference data, or skips the test that asks for it."""

    def find(path):
        found = ROOT / "reference" / path
        if not found.exists():
            pytest.skip(f"reference data {path!r} is absent: set RECSDK_SHARED to the folder that holds it")
        return found

    return find


@pytest.fixture
def commands(reference):
    """Vowpal Wabbit's regression tests of contextual bandits by their number, with what they should report."""
    return {test["id"]: test for test in json.loads(reference("vw_tests/cb_expected.json").read_text())}
