"""The folder of a ledger, and which kind of ledger it holds, among the installed ones."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from recsdk import plugins
from recsdk.errors import InvalidValue, LedgerError, PluginError
from recsdk.ledger import Store


def stores_of(folder: str | Path) -> dict[str, Store]:
    """Returns the stores, by their plugins' names, that hold a ledger in a folder; one that cannot be loaded holds none.

    Example:
        >>> from recsdk.ledger.sqlite import Sqlite
        >>> Sqlite().open("shop").close()
        >>> stores_of("shop"), stores_of("elsewhere")
        ({'sqlite': Sqlite(durability='process-crash')}, {})
    """
    found = {}
    for plugin in plugins.installed("ledgers"):
        try:
            store = plugins.build(plugin)
        except (PluginError, ValueError, TypeError):  # broken, or one that must be given settings: name it with `ledger=`
            continue
        if store.holds(folder):
            found[plugin.name] = store
    return found


def store(folder: str | Path, given: Any = None) -> Store:
    """Returns the store that holds a folder's ledger.

    Args:
        folder: of a recommender.
        given: a store, or the name of one; None looks for the installed one whose `holds` says yes.

    Raises:
        LedgerError: when no ledger is there, or several of different kinds.
        PluginError, UnknownPlugin: a name that cannot be had.
        InvalidValue: no path.

    Example:
        >>> from recsdk.ledger.sqlite import Sqlite
        >>> Sqlite().open("shop").close()
        >>> store("shop")
        Sqlite(durability='process-crash')
    """
    folder = folder_path(folder)
    if given is not None:
        chosen: Store = plugins.load("ledgers", given) if isinstance(given, str) else given
        if not chosen.holds(folder):
            raise LedgerError(f"There is no ledger of {chosen!r} in {str(folder)!r}.")
        return chosen
    found = stores_of(folder)
    if len(found) > 1:
        raise LedgerError(f"The folder {str(folder)!r} holds ledgers of several kinds, {sorted(found)}: name one with ledger=.")
    if not found:
        kinds = sorted({plugin.name for plugin in plugins.installed("ledgers")})
        raise LedgerError(f"There is no ledger in {str(folder)!r}, looked for {kinds}.")
    return next(iter(found.values()))


def folder_path(given: Any) -> Path:
    """Returns the path of a folder, which need not be there.

    Raises:
        InvalidValue: no path, or an empty one, which would be the current folder.

    Example:
        >>> folder_path("shop").name
        'shop'
    """
    try:
        encoded = os.fsencode(given) if isinstance(given, (str, os.PathLike)) else b""
    except UnicodeEncodeError:
        encoded = b""
    if not encoded or b"\0" in encoded:
        raise InvalidValue(f"folder must be a path that is not empty, got {given!r}.")
    return Path(os.fsdecode(encoded))
