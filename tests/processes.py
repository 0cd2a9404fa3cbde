"""Runs Python in a process of its own."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
"""Where such a process starts, so that it can import `tests`."""


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs this interpreter with `arguments` and returns how it ended and what it printed."""
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - our own code
