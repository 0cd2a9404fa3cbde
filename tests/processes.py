"""Runs Python in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
"""Where such a process starts, so that it can import `tests`."""


def run_python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs this interpreter with `arguments`, and more in its environment, and returns how it ended and what it printed."""
    command, variables = [sys.executable, *arguments], {**os.environ, **environment}
    return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)  # noqa: S603 - our own code
