"""Finds the reference data that is not part of the project."""

import json
import os
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("RECSDK_SHARED", Path(__file__).parents[4] / "shared"))


def reference(path: str) -> Path:
    """Returns a file of the reference data, or skips the test that asked for it."""
    found = ROOT / "reference" / path
    if not found.exists():
        pytest.skip(f"reference data {path!r} is absent: set RECSDK_SHARED to the folder that holds it")
    return found


def commands() -> dict[int, dict]:
    """Returns Vowpal Wabbit's regression tests of contextual bandits by their number, with what they should report."""
    return {test["id"]: test for test in json.loads(reference("vw_tests/cb_expected.json").read_text())}
