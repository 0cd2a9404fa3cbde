"""The page of curl says what the service answers."""

import doctest
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

BASH = shutil.which("bash") or ""
PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "call-from-another-language.md"


@pytest.mark.skipif(shutil.which("curl") is None or not BASH, reason="needs curl")
def test_every_call_of_the_page_is_answered_as_it_says(address):
    pairs = [
        (call, wanted)
        for block in re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.DOTALL)
        for call, wanted in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)
    ]
    assert len(pairs) == 11
    for call, wanted in pairs:
        environment = {**os.environ, "SHOP": address}
        told = subprocess.run([BASH, "-c", call], env=environment, capture_output=True, text=True, check=False)  # noqa: S603
        got = told.stdout.rstrip("\n") + "\n"
        assert doctest.OutputChecker().check_output(wanted, got, doctest.ELLIPSIS), f"{call}\n{got}{told.stderr}"
