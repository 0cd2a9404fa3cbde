"""What `import recsdk` and `recsdk --help` load, and how long they take."""

import json
import sys
import time

import pytest

from tests.processes import run_python

HEAVY = ("jax", "flax", "optax", "rich", "cyclopts", "polars", "altair", "vl_convert", "vowpalwabbit", "scipy", "asyncio")
OWN = ("recsdk", "numpy", "attr", "attrs")

LOADED = """
import json, sys
before = set(sys.modules)
import {module}
print(json.dumps(sorted({{name.partition(".")[0] for name in set(sys.modules) - before}})))
"""


def loaded_by(module):
    return json.loads(run_python("-c", LOADED.format(module=module)).stdout)


def best_seconds(*arguments, runs=5):
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        assert run_python(*arguments).returncode == 0
        seconds.append(time.perf_counter() - start)
    return min(seconds)


@pytest.mark.parametrize("module", ["recsdk", "recsdk.base", "recsdk.plugins", "recsdk.cli"])
def test_the_core_imports_only_numpy_and_attrs_besides_the_standard_library(module):
    foreign = [name for name in loaded_by(module) if name not in sys.stdlib_module_names and name not in OWN]
    assert [name for name in foreign if not name.startswith("__editable__") and name != "sitecustomize"] == []


@pytest.mark.parametrize("module", ["recsdk", "recsdk.plugins", "recsdk.cli"])
def test_nothing_heavy_is_imported_before_it_is_used(module):
    assert not set(HEAVY) & set(loaded_by(module))


def test_import_is_quick():
    # The promise is 0.15 s on a quiet machine; a busy one gets four times that.
    assert best_seconds("-c", "import recsdk") - best_seconds("-c", "pass") < 0.6


def test_help_is_quick():
    # The promise is 0.3 s on a quiet machine; a busy one gets four times that.
    assert best_seconds("-m", "recsdk", "--help") < 1.2
