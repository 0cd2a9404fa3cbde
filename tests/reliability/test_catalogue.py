"""The table of failures is complete, and names tests that exist."""

import re
import tomllib
from pathlib import Path

from tests.processes import ROOT

GROUPS = {"A": 32, "B": 20, "C": 18, "D": 20, "E": 16, "F": 16, "J": 12}
ROWS = tomllib.loads(Path(__file__).with_name("catalogue.toml").read_text())


def test_the_table_has_every_failure():
    assert list(ROWS) == [f"{group}{number + 1}" for group, size in GROUPS.items() for number in range(size)]


def test_each_failure_has_tests_that_exist_or_a_reason():
    for name, (_, *held) in ROWS.items():
        assert held, name
        if held != ["service"] and not re.fullmatch(r"open: .+", held[0]):
            for test in held:
                path, _, function = test.partition("::")
                assert f"def {function}(" in (ROOT / path).read_text(), f"{name}: {test}"
