"""Finds policies, scorers, encoders, retrievers, ledgers and commands by name, among the entry points of every installed distribution.

Listing imports nothing. A plugin that is broken, clashing or made for another interface spoils only its own use.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from importlib import metadata, util
from pathlib import Path
from typing import Any, NamedTuple

from recsdk.errors import (
    InvalidValue,
    MissingExtra,
    PluginClash,
    PluginError,
    PluginLoadError,
    RecsdkError,
    UnknownPlugin,
    install,
    nearest,
    one_of,
)

KINDS = ("policies", "scorers", "encoders", "retrievers", "ledgers", "commands")
"""The kinds of plugin; the entry-point group of a kind is `recsdk.` and its name. A command is run by `recsdk NAME`, not constructed."""

EXTRAS = {"jax": "deep", "flax": "deep", "optax": "deep", "altair": "report", "vl_convert": "report", "polars": "parquet"}
EXTRAS |= {"numba": "fast", "implicit": "als"}
EXTRAS |= {"safetensors": "deep", "scipy": "ope", "sklearn": "ope", "prometheus_client": "prometheus", "opentelemetry": "otel"}
"""The extra of recsdk that brings each optional module."""


class Plugin(NamedTuple):
    """An installed plugin, not imported.

    Attributes:
        kind: one of `KINDS`.
        name: the name that users ask for.
        distribution: the distribution that it belongs to.
        version: the version of that distribution.
        value: where the object is, as `module:attribute`.

    Example:
        >>> print(Plugin("policies", "softmax", "acme-rec", "1.0", "acme_rec:Softmax"))
        policies plugin 'softmax' of acme-rec 1.0
    """

    kind: str
    name: str
    distribution: str
    version: str
    value: str

    @property
    def address(self) -> str:
        """The name that stays unique when two distributions give one `name`."""
        return f"{self.distribution}:{self.name}"

    def __str__(self) -> str:
        return f"{self.kind} plugin {self.name!r} of {self.distribution} {self.version}"


class Listing(NamedTuple):
    """Everything that is installed, as one look at `sys.path` found it.

    Attributes:
        plugins: the plugins of every kind, sorted by kind, name and distribution.
        unreadable: one line for each distribution whose metadata names recsdk but is damaged, and for each entry-point group with a
            misspelt name.

    Example:
        >>> {plugin.kind for plugin in listing().plugins} <= set(KINDS)
        True
    """

    plugins: tuple[Plugin, ...]
    unreadable: tuple[str, ...]


def installed(kind: str) -> tuple[Plugin, ...]:
    """Lists the plugins of one kind, clashing ones included; nothing is imported.

    Raises:
        InvalidValue: when `kind` is not one of `KINDS`.

    Example:
        >>> [plugin.name for plugin in installed("ledgers") if plugin.distribution == "recsdk"]
        ['sqlite']
    """
    one_of("kind", kind, KINDS)
    return tuple(plugin for plugin in listing().plugins if plugin.kind == kind)


def listing() -> Listing:
    """Lists every installed plugin. It searches `sys.path` each time, so that it finds new ones.

    Example:
        >>> "popularity" in [plugin.name for plugin in listing().plugins]
        True
    """
    importlib.invalidate_caches()
    _listing.cache_clear()
    return _listing(tuple(sys.path))


def known() -> Listing:
    """Lists every plugin as they were found last, without a new search.

    Example:
        >>> known() == listing()
        True
    """
    return _listing(tuple(sys.path))


def load(kind: str, name: str, /, **hyperparameters: Any) -> Any:
    """Imports a plugin and constructs it.

    Args:
        kind: one of `KINDS`.
        name: an entry point's name, or `distribution:name` where two distributions give one name.
        hyperparameters: for the plugin's config or factory.

    Raises:
        UnknownPlugin: when nothing installed has this name.
        PluginClash: when two distributions give it.
        PluginLoadError: when the plugin fails to import, exits, or is made for another interface.
        MissingExtra: when it needs an optional dependency that is not installed.
        InvalidValue: when a hyper-parameter is unknown, missing or out of its range.

    Example:
        >>> from recsdk import plugins
        >>> plugins.load("policies", "recsdk:lin-ucb", alpha=2.0)
        LinUCB(alpha=2.0, ridge=1.0)
    """
    return build(find(kind, name), **hyperparameters)


def find(kind: str, name: str) -> Plugin:
    """Returns the one plugin that `name` stands for, not imported.

    Raises:
        UnknownPlugin: when nothing installed has this name.
        PluginClash: when two distributions give it.

    Example:
        >>> find("policies", "recsdk:lin-ucb").value
        'recsdk.policies.linear:LinUCB'
    """
    one_of("kind", kind, KINDS)
    matches = _named(_listing(tuple(sys.path)), kind, name)
    if len(matches) != 1:  # perhaps installed, or mended, since the last look: no failure is remembered
        matches = _named(listing(), kind, name)
    if len(matches) > 1:
        raise _clash(name, matches)
    if not matches:
        raise _unknown(kind, name)
    return matches[0]


def resolve(plugin: Plugin) -> Callable[..., Any]:
    """Imports a plugin and returns what its entry point names: a config class, a factory, a scoring function, or a command.

    Raises:
        PluginLoadError: when it fails to import, exits, or is made for another interface.
        MissingExtra: when it needs an optional dependency that is not installed.

    Example:
        >>> resolve(find("policies", "recsdk:lin-ucb")).__name__
        'LinUCB'
    """
    entry_point = metadata.EntryPoint(plugin.name, plugin.value, f"recsdk.{plugin.kind}")
    with _blaming(plugin, "imported"):
        found: Callable[..., Any] = entry_point.load()
    if not callable(found):
        raise PluginLoadError(f"The {plugin} must be a class or a function, got {found!r} from {plugin.value!r}.")
    _check_interface(plugin, found)
    if plugin.kind == "scorers" and _is_scoring_function(found):
        from recsdk.scorers.function import FunctionScorer

        return functools.partial(FunctionScorer, function=found)
    return found


def build(plugin: Plugin, /, **hyperparameters: Any) -> Any:
    """Imports a plugin that is already found and constructs it, as `load` does.

    Raises:
        InvalidValue: for a command, which would run.

    Example:
        >>> build(find("policies", "recsdk:lin-ucb"))
        LinUCB(alpha=0.5, ridge=1.0)
    """
    if plugin.kind == "commands":
        raise InvalidValue(f"The {plugin} is not constructed: `recsdk {plugin.name}` runs it.")
    factory = resolve(plugin)
    _check_hyperparameters(plugin, factory, hyperparameters)
    with _blaming(plugin, "constructed", passing=(RecsdkError, ValueError, TypeError)):
        component = factory(**hyperparameters)
    _check_interface(plugin, component)
    missing = [member for member in contract(plugin.kind) if member not in dir(component)]
    if missing:
        raise PluginLoadError(f"The {plugin} gives {component!r}, which lacks {missing} of the contract in recsdk.base.")
    return component


def hyperparameters(factory: Callable[..., Any]) -> dict[str, bool]:
    """Returns the names that a factory takes, each with whether it must be given.

    Example:
        >>> hyperparameters(resolve(find("policies", "recsdk:lin-ucb")))
        {'alpha': False, 'ridge': False}
    """
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {parameter.name: parameter.default is parameter.empty for parameter in _parameters(factory) if parameter.kind in named}


def names() -> dict[str, str]:
    """Returns the name of every installed plugin by where its object is, `module:attribute`; nothing is imported.

    Example:
        >>> names()["recsdk.scorers.recency:Recency"]
        'recency'
    """
    return {plugin.value: plugin.name for plugin in _listing(tuple(sys.path)).plugins}


def summary(plugin: Plugin) -> str:
    """Returns the first line of the docstring of a command, or of its module, read without importing it.

    Example:
        >>> summary(Plugin("commands", "plugins", "recsdk", "0.1.0", "recsdk.cli.plugins:plugins"))
        'List the installed policies, scorers, encoders, retrievers, ledgers and commands, without importing any.'
    """
    module, _, name = plugin.value.partition(":")
    package, *inner = module.split(".")
    try:
        found = util.find_spec(package)
        path = Path((found and found.origin) or "")
        tree = ast.parse(path.parent.joinpath(*inner).with_suffix(".py").read_text("utf-8") if inner else path.read_text("utf-8"))
        told = ast.get_docstring(tree) or ""
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name == name:
                told = ast.get_docstring(node) or told
    except (OSError, ValueError, SyntaxError, ImportError):  # it may be anything; the command itself then says what is wrong
        told = ""
    return told.partition("\n")[0] or f"A command of {plugin.distribution}."


def contract(kind: str) -> list[str]:
    """Names the methods and properties that a part of one kind, other than a command, must have.

    Example:
        >>> contract("scorers")
        ['columns', 'init', 'fit', 'score']
    """
    from recsdk import base, ledger

    protocols: dict[str, Any] = {
        "policies": base.Policy, "scorers": base.Scorer, "encoders": base.Encoder, "retrievers": base.Retriever, "ledgers": ledger.Store,
    }  # fmt: skip
    protocol = protocols[kind]
    return [name for name in (*inspect.get_annotations(protocol), *vars(protocol)) if not name.startswith("_")]


@functools.lru_cache(maxsize=1)  # reading every distribution takes milliseconds; `listing` clears it
def _listing(path: tuple[str, ...]) -> Listing:
    plugins: dict[str, list[Plugin]] = {}
    unreadable: list[str] = []
    for distribution in metadata.distributions(path=list(path)):
        try:
            if "recsdk." in (distribution.read_text("entry_points.txt") or ""):
                name = _normalised(distribution.name)
                if name in plugins:  # the first on the path wins, as it does in an import: an editable install beside its own egg-info
                    continue
                plugins[name] = _plugins_of(distribution)
                unreadable += _misspelt(distribution)
        except Exception as cause:  # others' metadata may be damaged in any way, and must not hide the rest
            unreadable.append(f"A distribution in {distribution.locate_file('')} cannot be read: {type(cause).__name__}: {cause}.")
    return Listing(tuple(sorted({plugin for group in plugins.values() for plugin in group})), tuple(unreadable))


def _plugins_of(distribution: metadata.Distribution) -> list[Plugin]:
    groups = {f"recsdk.{kind}": kind for kind in KINDS}
    name, version = distribution.name, distribution.version  # each reads the metadata anew
    return [
        Plugin(groups[entry.group], entry.name, name, version, entry.value) for entry in distribution.entry_points if entry.group in groups
    ]


def _misspelt(distribution: metadata.Distribution) -> list[str]:
    known = [f"recsdk.{kind}" for kind in (*KINDS, "testing")]
    groups = sorted({entry.group for entry in distribution.entry_points if entry.group.startswith("recsdk.")} - set(known))
    where = f"{distribution.name} {distribution.version} has entry points in the group"
    return [f"{where} {group!r}, which recsdk does not read.{nearest(group, known)} It reads: {known}." for group in groups]


def _normalised(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _named(listing: Listing, kind: str, name: str) -> list[Plugin]:
    distribution, _, bare_name = name.rpartition(":")
    return [
        plugin
        for plugin in listing.plugins
        if plugin.kind == kind
        and plugin.name == bare_name
        and (not distribution or _normalised(plugin.distribution) == _normalised(distribution))
    ]


def _clash(name: str, matches: list[Plugin]) -> PluginClash:
    givers = " and ".join(f"{plugin.distribution} {plugin.version} ({plugin.value})" for plugin in matches)
    addresses = list(dict.fromkeys(plugin.address for plugin in matches))
    way_out = f"Ask for {' or '.join(map(repr, addresses))}" if len(addresses) > 1 else "Its author must give each its own name"
    return PluginClash(f"The {matches[0].kind} plugin {name!r} is given by {givers}. {way_out}.")


def _unknown(kind: str, name: str) -> UnknownPlugin:
    found = _listing(tuple(sys.path))
    plugins = [plugin for plugin in found.plugins if plugin.kind == kind]
    names = sorted({plugin.address if ":" in name else plugin.name for plugin in plugins})
    unreadable = "".join(f" {line}" for line in found.unreadable)
    return UnknownPlugin(f"No {kind} plugin is named {name!r}.{nearest(name, names)} Installed: {names}.{unreadable}")


@contextlib.contextmanager
def _blaming(plugin: Plugin, moment: str, passing: tuple[type[Exception], ...] = (MissingExtra,)) -> Iterator[None]:
    """Turns whatever a plugin's code raises, but for `passing`, into an error that names the plugin."""
    try:
        yield
    except passing:
        raise
    except (Exception, SystemExit) as cause:
        raise _failure(plugin, moment, cause) from cause


def _failure(plugin: Plugin, moment: str, cause: BaseException) -> PluginError:
    module = (cause.name or "").partition(".")[0] if isinstance(cause, ModuleNotFoundError) else ""
    if module in EXTRAS:
        return MissingExtra(f"The {plugin} needs {module}, which is not installed: {install(EXTRAS[module])}.")
    if isinstance(cause, SystemExit):
        return PluginLoadError(f"The {plugin} calls sys.exit({cause.code!r}) when {moment}: uninstall or upgrade it.")
    told = f"The {plugin} raises {type(cause).__name__} when {moment}: {cause}"
    if module and module == re.split("[.:]", plugin.value)[0]:
        told += (
            f'. Was its folder built into the distribution? Hatchling takes `packages = ["{module}"]` in [tool.hatch.build.targets.wheel].'
        )
    return PluginLoadError(told)


def _check_interface(plugin: Plugin, found: object) -> None:
    from recsdk.base import INTERFACE_VERSION

    stated = getattr(found, "recsdk_interface", INTERFACE_VERSION)
    if stated != INTERFACE_VERSION:
        raise PluginLoadError(f"The {plugin} is made for interface {stated!r} of recsdk, and this recsdk has {INTERFACE_VERSION}.")


def _check_hyperparameters(plugin: Plugin, factory: Callable[..., Any], given: dict[str, Any]) -> None:
    known = hyperparameters(factory)
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in _parameters(factory))
    for name in given:
        if name not in known and not takes_any:
            raise InvalidValue(f"The {plugin} has no hyper-parameter {name!r}.{nearest(name, known)} It has: {list(known)}.")
    missing = [name for name, is_required in known.items() if is_required and name not in given]
    if missing:
        raise InvalidValue(f"The {plugin} must be given the hyper-parameters {missing}. It has: {list(known)}.")


def _parameters(factory: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(factory).parameters.values())
    except ValueError:  # a class in C need not say what it takes: it may take anything
        return [inspect.Parameter("anything", inspect.Parameter.VAR_KEYWORD)]


def _is_scoring_function(found: Callable[..., Any]) -> bool:
    return inspect.isfunction(found) and [parameter.name for parameter in _parameters(found)[:2]] == ["request", "candidates"]
