"""Every snippet of the README, the docs and the docstrings runs; what they name exists; the site builds without a warning."""

import ast
import doctest
import importlib.util
import os
import random
import re
import secrets
import unittest
from pathlib import Path

import pytest
from sybil import Sybil
from sybil.document import PythonDocStringDocument
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser
from sybil.parsers.rest import DocTestParser

from recsdk.cli import COMMANDS
from recsdk.plugins import installed
from tests.processes import run_python

ROOT = Path(__file__).parents[1]
README, VIOLATIONS = ROOT / "README.md", ROOT / "docs" / "design" / "violations.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "plugins").glob("*/README.md"))]
MODULES = [path for path in sorted([*ROOT.glob("recsdk/**/*.py"), *ROOT.glob("plugins/*/recsdk_*/**/*.py")]) if ">>>" in path.read_text()]
NEEDS = {"docs/how-to/use-vowpal-wabbit.md": "recsdk_vw", "plugins/recsdk-vw/README.md": "recsdk_vw"}
NEEDS |= {
    "plugins/recsdk-faiss/README.md": "recsdk_faiss",
    "plugins/recsdk-example/README.md": "recsdk_example",
    "plugins/recsdk-postgres/README.md": "recsdk_postgres",
    "plugins/recsdk-streams/README.md": "recsdk_streams",
    "docs/how-to/consume-a-stream.md": "recsdk_streams",
    "plugins/recsdk-serve/README.md": "recsdk_serve",
    "docs/how-to/serve.md": "recsdk_serve",
    "docs/how-to/call-from-another-language.md": "recsdk_serve",
    "docs/how-to/decide-locally.md": "recsdk_serve",
    "docs/how-to/secure-a-deployment.md": "recsdk_serve",
}
MOST_LINES = 275  # "about 250", docstrings not counted

MARKDOWN = Sybil(parsers=[PythonCodeBlockParser(doctest_optionflags=doctest.ELLIPSIS), SkipParser()])
DOCSTRINGS = Sybil(parsers=[DocTestParser()], document_types={".py": PythonDocStringDocument})


def relative(path):
    return path.relative_to(ROOT).as_posix()


@pytest.fixture
def seeded(request, monkeypatch):
    """Makes a page's draws the same in every run: the salts of its folders, the ids of its decisions, and what it draws by `random`."""
    name = request.node.name
    monkeypatch.setattr(secrets, "token_bytes", random.Random(name).randbytes)
    random.seed(name)


def no_server():
    """Returns why no PostgreSQL server can be started here; nothing where one can."""
    from recsdk_postgres.local import missing

    return missing()


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_snippet_of_a_page_runs(page, tmp_path, monkeypatch):
    module = NEEDS.get(relative(page))
    if module and importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed: pip install the folder in plugins/")
    if module == "recsdk_postgres" and no_server():
        pytest.skip(no_server())
    monkeypatch.chdir(tmp_path)
    document = MARKDOWN.parse(page)
    document.namespace["__name__"] = "__main__"
    for example in document.examples():
        try:
            example.evaluate()
        except unittest.SkipTest as reason:  # or pytest would take the rest of the page for skipped
            pytest.fail(f"line {example.line} skips: {reason}")


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize("module", MODULES, ids=relative)
def test_every_example_of_a_docstring_runs(module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for example in DOCSTRINGS.parse(module).examples():
        example.evaluate()


def test_the_first_snippet_of_the_readme_has_twenty_lines():
    snippet = re.search(r"```python\n(.*?)```", README.read_text(), re.DOTALL).group(1)
    assert sum(bool(line.strip()) for line in snippet.splitlines()) <= 20


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_commands_and_files_that_a_page_names_exist(page):
    text = page.read_text()
    shown = "\n".join(re.findall(r"```console\n(.*?)```", text, re.DOTALL))
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^\$ make ([\w-]+)", shown, re.MULTILINE)) <= targets
    others = {plugin.name for plugin in installed("commands")}
    assert set(re.findall(r"^\$ recsdk (\w[\w-]*)", shown, re.MULTILINE)) <= {*COMMANDS, *others}
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", prose) if "://" not in link]
    assert [link for link in links if link and not (page.parent / link).exists()] == []


def num_lines(path):
    """Returns the lines of a module without its docstrings: examples in them should not make a file too long."""
    text = path.read_text()
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)]
    docstrings = [node.body[0] for node in nodes if ast.get_docstring(node, clean=False) is not None]
    return len(text.splitlines()) - sum(found.end_lineno - found.lineno + 1 for found in docstrings)


def test_a_file_well_over_250_lines_is_owned_up_to():
    sizes = {relative(path): num_lines(path) for path in (ROOT / "recsdk").rglob("*.py")}
    text = VIOLATIONS.read_text()
    assert [name for name, size in sizes.items() if size > MOST_LINES and name not in text] == []


def test_the_site_builds_without_a_warning(tmp_path, monkeypatch):
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("mkdocs is not installed")
    monkeypatch.chdir(ROOT)
    monkeypatch.setitem(os.environ, "NO_MKDOCS_2_WARNING", "1")
    built = run_python("-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path))
    assert built.returncode == 0, built.stderr
    html = (tmp_path / "reference" / "base" / "index.html").read_text()
    assert "the distribution it was drawn from" in html  # docstrings are on the page
    fetched = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(https?://[^"]+)"', html)
    assert fetched == []  # readable without a network
