"""Finds the reference data that is not part of the project."""

import os
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("RECSDK_SHARED", Path(__file__).parents[2] / "shared"))


def shared(path: str) -> Path:
    """Returns a file of the reference data, or skips the test that asked for it."""
    found = ROOT / path
    if not found.exists():
        pytest.skip(f"reference data {path!r} is absent: set RECSDK_SHARED to the folder that holds it")
    return found
