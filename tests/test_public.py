"""What is public is what docs/reference lists, and nothing else; what is listed says what it is."""

import ast
import builtins
import importlib
import inspect
import re
from pathlib import Path

import pytest
import yaml

import recsdk
from recsdk import errors
from recsdk.cli import COMMANDS
from recsdk.drivers.simulate import Delay
from recsdk.drivers.slates import Attention

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
WHOLE = (
    "recsdk.base",
    "recsdk.data",
    "recsdk.datasets",
    "recsdk.environments",
    "recsdk.explore",
    "recsdk.live.features",
    "recsdk.ledger",
    "recsdk.ope",
    "recsdk.ope.slates",
    "recsdk.plugins",
    "recsdk.ranking",
    "recsdk.steps",
    "recsdk.semantic",
    "recsdk.testing",
)
"""Modules that are public as a whole: of others the reference lists single names."""

DIRECTIVE = re.compile(r"^::: (\S+)\n((?:    .*\n)*)", re.MULTILINE)
ROOTS = (errors.RecsdkError, errors.RecsdkWarning)
ERRORS = {name: value for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, ROOTS)}


def documented():
    """Yields the dotted names for which the reference has an entry."""
    for page in REFERENCE.glob("*.md"):
        for name, block in DIRECTIVE.findall(page.read_text() + "\n"):
            members = (yaml.safe_load(block) or {}).get("options", {}).get("members", [])
            yield from [f"{name}.{member}" for member in members] or [name]


def found(name):
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def public_names(module):
    """Returns `__all__`, or where there is none the functions and classes that are made here."""
    listed = getattr(module, "__all__", None)
    made_here = (name for name, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__ and callable(value))
    return set(listed) if listed is not None else {name for name in made_here if not name.startswith("_")}


SMALL_PROTOCOLS = (
    recsdk.Mergeable,
    recsdk.Forgettable,
    recsdk.Explained,
    recsdk.Native,
    recsdk.Composite,
    recsdk.Walks,
    recsdk.Folds,
    recsdk.Online,
    recsdk.FoldsOnline,
    recsdk.Rng,
)
"""The docstring of each says all that there is to say of its methods."""

OF_PROTOCOLS = {
    name
    for protocol in (recsdk.Policy, *SMALL_PROTOCOLS, recsdk.Environment, Delay, Attention)
    for name, value in vars(protocol).items()
    if inspect.isfunction(value) and not name.startswith("_")
}
"""Methods of a contract: its docstrings serve all that implement it."""

DOCUMENTED = sorted(set(documented()))


def test_every_name_of_the_package_has_an_entry():
    objects = [found(name) for name in DOCUMENTED]
    tabled = set(re.findall(r"\[`(\w+)`\][\[(]", (REFERENCE / "recsdk.md").read_text()))
    assert tabled == set(recsdk.__all__)
    missing = [name for name in recsdk.__all__ if not any(getattr(recsdk, name) is entry for entry in objects) and name not in ERRORS]
    assert missing == []


@pytest.mark.parametrize("name", WHOLE)
def test_a_public_module_and_its_page_list_the_same_names(name):
    module = importlib.import_module(name)
    entries = [found(entry) for entry in DOCUMENTED if entry.startswith(f"{name}.")]
    missing = [public for public in public_names(module) if not any(getattr(module, public) is entry for entry in entries)]
    assert missing == []
    listed = {entry.removeprefix(f"{name}.") for entry in DOCUMENTED if entry.rpartition(".")[0] == name}
    constants = {entry for entry in listed if entry.isupper() or entry in ("Array", "Table")}
    assert listed - constants <= public_names(module)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_every_public_name_says_what_it_is(name):
    entry = found(name)
    if inspect.isfunction(entry):
        assert entry.__doc__
    if inspect.isclass(entry):
        assert entry.__doc__
        assert not entry.__doc__.startswith(f"{entry.__name__}("), "a NamedTuple makes such a docstring where there is none"
        methods = {} if entry in SMALL_PROTOCOLS else {method: value for method, value in vars(entry).items() if inspect.isfunction(value)}
        own = {method: value for method, value in methods.items() if not method.startswith("_") and method not in OF_PROTOCOLS}
        assert [method for method, value in own.items() if not value.__doc__] == []


def needs_example(entry):
    """Tells whether a documented object is to show an example: all but constants, and protocols, which have no behaviour of their own."""
    return (
        (inspect.isclass(entry) or inspect.isfunction(entry))
        and not getattr(entry, "_is_protocol", False)
        and entry is not recsdk.base.Array
    )


@pytest.mark.parametrize("name", [name for name in DOCUMENTED if needs_example(found(name))])
def test_every_public_name_shows_an_example(name):
    assert ">>>" in (found(name).__doc__ or ""), f"give {name} an `Example:` with >>> lines"


def test_nothing_private_is_documented():
    assert [name for name in DOCUMENTED if "._" in name] == []


def test_every_page_of_the_reference_is_in_the_overview():
    overview = (REFERENCE / "index.md").read_text()
    assert [page.name for page in REFERENCE.glob("*.md") if page.name != "index.md" and f"]({page.name})" not in overview] == []


def tree(text):
    """Returns each error of a drawn tree with the one that it hangs on."""
    parents, drawn = [], {}
    for indent, name in re.findall(r"^((?:\|  |   )*(?:[|`]- )?)([A-Z]\w+)", text, re.MULTILINE):
        depth = len(indent) // 3
        parents[depth:] = [name]
        drawn[name] = parents[depth - 1] if depth else None
    return drawn


def test_every_error_is_in_the_tree_at_its_place():
    drawn = tree(errors.__doc__.partition("\n\n")[2])
    assert drawn == {name: None if error in ROOTS else error.__bases__[0].__name__ for name, error in ERRORS.items()}


def test_the_tree_names_the_builtin_errors_that_a_caller_would_catch():
    for name, builtin in re.findall(r"(\w+) \((\w+)\)", errors.__doc__):
        assert issubclass(ERRORS[name], getattr(builtins, builtin))


def test_the_page_of_errors_draws_the_same_tree():
    text = (REFERENCE / "errors.md").read_text()
    assert errors.__doc__.partition("\n\n")[2].strip() == re.search(r"```text\n(.*?)\n```", text, re.DOTALL).group(1)


def test_every_error_says_what_it_is():
    assert [name for name, error in ERRORS.items() if not vars(error).get("__doc__")] == []


def commands_of(name):
    """Yields the words and the function of a command, or of each one in a group."""
    function = name.replace("-", "_")
    found = getattr(importlib.import_module(f"recsdk.cli.{function}"), function)
    if inspect.isfunction(found):
        yield name, found
    else:
        yield from ((f"{name} {each}", found[each].default_command) for each in found if not each.startswith("-"))


def test_the_page_of_the_command_line_has_every_command_and_option():
    text = (REFERENCE / "cli.md").read_text()
    for command in COMMANDS:
        assert f"## {command}\n" in text
        for words, function in commands_of(command):
            line = re.search(rf"^\$ recsdk {words} (.*?) *#", text, re.MULTILINE).group(1)
            options = {option.replace("-", "_") for option in re.findall(r"--([\w-]+)", line)}
            parameters = inspect.signature(function).parameters.values()
            assert options == {parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}


def test_what_is_imported_lazily_is_what_is_listed():
    assert set(dir(recsdk)) == set(recsdk.__all__)
    assert all(getattr(recsdk, name) is not None for name in recsdk.__all__)


def test_type_checkers_see_the_names_that_are_imported_lazily():
    (block,) = (node for node in ast.parse(inspect.getsource(recsdk)).body if isinstance(node, ast.If))
    seen = {(node.module, alias.name, alias.asname) for node in block.body for alias in node.names}
    assert seen == {(module, name, name) for name, module in recsdk._MODULES.items()}
