"""Who may import whom; what `import recsdk` and `recsdk --help` load, and how long they take."""

import ast
import json
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

import recsdk
from tests.processes import run_python

HEAVY = ("jax", "numba", "flax", "optax", "rich", "cyclopts", "polars", "altair", "vl_convert", "vowpalwabbit", "scipy", "asyncio")
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


ROOT = Path(__file__).parents[1]
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "recsdk").rglob("*.py"))
}
OUTSIDE = [path for folder in ("plugins", "examples", "benchmarks") for path in sorted((ROOT / folder).rglob("*.py"))]

CORE = ("errors", "checks", "base", "explore", "arrays", "states", "data", "columns", "rounding", "rows", "times")
CORE += ("vocabulary", "validators", "fast", "printing")
MAY_IMPORT = {
    "errors": (),
    "checks": ("errors",),
    "base": ("errors", "checks"),
    "explore": ("errors", "checks", "base"),
    "arrays": ("errors", "checks", "base"),
    "states": ("errors", "checks", "base", "arrays"),
    "columns": ("errors", "checks"),
    "rounding": ("errors", "checks"),
    "printing": (),
    "rows": ("errors", "checks", "base"),
    "times": ("errors", "checks"),
    "vocabulary": ("errors",),
    "fast": ("errors", "checks", "base"),
    "validators": ("errors", "checks"),
    "data": ("errors", "checks", "base", "columns", "rows", "times"),
    "plugins": ("errors", "checks", "base", "ledger", "scorers.function"),
    "policies": CORE,
    "scorers": (*CORE, "plugins", "ranking"),
    "scorers.function": CORE,
    "encoders": (*CORE, "ranking"),
    "retrievers": CORE,
    "ranking": CORE,
    "ledger": CORE,
    "ledger.sqlite": (*CORE, "ledger"),
    "ledger.stores": (*CORE, "plugins", "ledger"),
    "datasets": CORE,
    "steps": CORE,
    "drivers": CORE,
    "drivers.jitted": (*CORE, "drivers"),
    "environments": (*CORE, "drivers"),
    "ope": (*CORE, "drivers"),
    "live": (*CORE, "plugins", "ledger", "ledger.stores", "drivers.jitted", "scorers.function", "ope", "live.features"),
    "live.features": CORE,
    "semantic": (*CORE, "live.features", "ope"),
    "testing": (*CORE, "plugins", "drivers", "drivers.jitted", "environments", "ledger", "live", "policies"),
    "demo": (*CORE, "plugins", "drivers", "environments", "ledger", "live", "policies", "scorers", "encoders", "datasets", "ope"),
    "cli": (*CORE, "plugins", "drivers", "environments", "ledger", "ledger.stores", "live", "datasets", "ope", "demo", "ranking"),
}
"""What each folder, or module beside the folders, may import; what stands in its own folder it always may.

`live` knows the ledger's protocol, not SQLite. `drivers.jitted` and `scorers.function` stand lower than their folders: they make a part
of what a user gives, a policy for JAX or a plain function; `live.features`, which makes phi, stands lower too. `recsdk`
itself re-exports everything, so it has no row.
"""

ALLOWED = {
    ("recsdk.cli.rank_eval", "recsdk.encoders.checkpoint"): "models as files",
    ("recsdk.cli.rank_eval", "recsdk.encoders.saved"): "models as files",
    ("recsdk.cli.train", "recsdk.encoders.checkpoint"): "models as files",
    ("recsdk.encoders.checkpoint", "recsdk.live.identity"): "a file says of which part it is as a folder does",
    ("recsdk.encoders.frozen", "recsdk.datasets.interactions"): "files from outside are read in one place",
    ("recsdk.encoders.saved", "recsdk.live.parts"): "a file says of which part it is as a folder does",
    ("recsdk.encoders.saved", "recsdk.plugins"): "the part of a file is found as a folder finds it",
    ("recsdk.live.catalogue", "recsdk.retrievers.exact"): "the default with an encoder",
    ("recsdk.live.catalogue", "recsdk.retrievers.sampled"): "the default without an encoder",
    ("recsdk.live.log", "recsdk.policies.wrappers"): "a folder's policy is read with its floor",
    ("recsdk.live.open_bandit", "recsdk.datasets.open_bandit"): "the columns are those that the reader asks for",
    ("recsdk.live.recommender", "recsdk.policies.wrappers"): "the floor is on by default",
    ("recsdk.live.records", "recsdk.datasets.files"): "files from outside are read in one place",
    ("recsdk.live.transfer", "recsdk.datasets.files"): "files from outside are read in one place",
    ("recsdk.scorers._network", "recsdk.encoders.training"): "there is one trainer",
    ("recsdk.scorers.mlp", "recsdk.encoders.training"): "the same",
    ("recsdk.testing.__main__", "recsdk.cli.output"): "the kit's command prints as the other commands do",
}
"""Imports that break `MAY_IMPORT`, each with the reason why it stays."""

# The three lists below are debts. Who mends one deletes its line, since a test fails while a line names what is no longer there.
# `python -m tests.test_imports` prints the lists as they should be now. They may only get shorter.
KNOWN_PRIVATE: list[tuple[str, str]] = []
"""(importer, private module): an underscore that is imported from outside its folder."""

KNOWN_LAYERS: list[tuple[str, str]] = []
"""(importer, imported): breaks `MAY_IMPORT`, and is neither allowed nor mended yet."""

KNOWN_CIRCLES: list[tuple[str, str]] = []
"""(importer, imported): a lazy import that would close a circle if it stood at the top of its module."""


class Import(NamedTuple):
    """An import of one of our modules: who imports which module, which name of it (or ""), and when."""

    importer: str
    module: str
    name: str
    lazy: bool


def resolved(module, name):
    """Returns the module that `from module import name` loads, and the name it takes from there."""
    if f"{module}.{name}" in FILES:
        return f"{module}.{name}", ""
    if module == "recsdk" and name in recsdk.__all__:
        return getattr(recsdk, name).__module__, name
    return module, name


def imports_of(path, importer):
    """Yields each import of ours in a file; it is lazy in a function, and where only type checkers look."""
    lazy = set()
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lazy.update(map(id, ast.walk(node)))
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            lazy.update(id(inner) for statement in node.body for inner in ast.walk(statement))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (
                Import(importer, alias.name, "", id(node) in lazy) for alias in node.names if alias.name.partition(".")[0] == "recsdk"
            )
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write the whole name of the module, not a relative one"
            if node.module.partition(".")[0] == "recsdk":
                yield from (Import(importer, *resolved(node.module, alias.name), id(node) in lazy) for alias in node.names)


IMPORTS = [found for module, path in FILES.items() for found in imports_of(path, module)]


def package(module):
    return module if FILES[module].name == "__init__.py" else module.rpartition(".")[0]


def private_home(found):
    """Returns the folder to which the first underscore of an import keeps it, or None."""
    parts = found.module.split(".")
    for place, part in enumerate(parts):
        if part.startswith("_") and not part.startswith("__"):
            return ".".join(parts[:place])
    is_private = found.name.startswith("_") and not found.name.startswith("__")
    return package(found.module) if is_private else None


def is_foreign(found):
    """Tells whether an import takes an underscore from outside the folder that it is private to."""
    home = private_home(found)
    return home is not None and not f"{found.importer}.".startswith(f"{home}.")


def folder(module):
    """Returns the part of `MAY_IMPORT` that a module belongs to."""
    parts = module.split(".")[1:]
    return next((name for size in (2, 1) if (name := ".".join(parts[:size])) in MAY_IMPORT), module)


def breaks_a_layer(importer, module):
    own, other = folder(importer), folder(module)
    return own != other and other not in MAY_IMPORT.get(own, ())


def reached(edges, start):
    """Returns everything that can be reached from `start` by one step or more."""
    found, waiting = set(), list(edges.get(start, ()))
    while waiting:
        step = waiting.pop()
        if step not in found:
            found.add(step)
            waiting.extend(edges.get(step, ()))
    return found


def between_modules(imports):
    """Returns who imports whom; `recsdk` itself, which re-exports lazily, is left out."""
    edges = {}
    for found in imports:
        if "recsdk" not in (found.importer, found.module) and found.module != found.importer:
            edges.setdefault(found.importer, set()).add(found.module)
    return edges


def private_imports():
    """Returns who imports an underscore from outside the folder that it is private to."""
    return sorted({(found.importer, found.module) for found in IMPORTS if is_foreign(found)})


def layer_breaks():
    """Returns the imports against `MAY_IMPORT` that are not allowed by name."""
    pairs = {(found.importer, found.module) for found in IMPORTS if found.importer not in ("recsdk", "recsdk.__main__")}
    return sorted(pair for pair in pairs if breaks_a_layer(*pair) and pair not in ALLOWED)


def lazy_circles():
    """Returns the lazy imports that close a circle."""
    edges = between_modules(IMPORTS)
    return sorted({(found.importer, found.module) for found in IMPORTS if found.lazy and found.importer in reached(edges, found.module)})


def test_an_underscore_is_private_to_its_folder():
    assert private_imports() == sorted(KNOWN_PRIVATE)


@pytest.mark.parametrize("path", OUTSIDE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_plugins_examples_and_benchmarks_import_nothing_private(path):
    assert [found for found in imports_of(path, "outside") if is_foreign(found)] == []


def test_each_folder_imports_only_what_it_may():
    assert layer_breaks() == sorted(KNOWN_LAYERS)


def test_every_allowed_import_is_still_there():
    assert sorted(ALLOWED) == sorted({(found.importer, found.module) for found in IMPORTS} & set(ALLOWED))


def test_who_may_import_whom_has_no_circle():
    assert [name for name in MAY_IMPORT if name in reached(MAY_IMPORT, name)] == []


def test_no_imports_of_modules_go_in_a_circle():
    edges = between_modules(found for found in IMPORTS if not found.lazy)
    assert [module for module in edges if module in reached(edges, module)] == []


def test_a_lazy_import_hides_no_circle():
    assert lazy_circles() == sorted(KNOWN_CIRCLES)


if __name__ == "__main__":
    for title, pairs in (("KNOWN_PRIVATE", private_imports()), ("KNOWN_LAYERS", layer_breaks()), ("KNOWN_CIRCLES", lazy_circles())):
        print(f"{title} = [")
        for pair in pairs:
            print(f"    {pair},".replace("'", '"'))
        print("]")
