"""Read-only input for plugins, so that a plugin cannot change what is logged and shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import numpy as np

from recsdk.base import Items, Request
from recsdk.errors import InvalidAnswer


class Features(dict[str, Any]):
    """A request's features, or their columns: a dict that refuses writes and remembers which names were read.

    Attributes:
        read: names that were looked up; whoever looks at all of them has read all.

    Example:
        >>> features = Features({"age": 31, "city": "Rome"})
        >>> features["age"], sorted(features.read)
        (31, ['age'])
    """

    def __init__(self, values: Mapping[str, Any], read: set[str] | None = None) -> None:
        super().__init__(values)
        self.read = set[str]() if read is None else read

    def plain(self) -> dict[str, Any]:
        """Returns a dict of the same values; nothing counts as read."""
        return dict(zip(dict.keys(self), dict.values(self), strict=True))

    def __getitem__(self, name: str) -> Any:
        self.read.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        """Returns a value, or `default`."""
        self.read.add(name)
        return super().get(name, default)

    def __contains__(self, name: object) -> bool:
        self.read.add(str(name))
        return super().__contains__(name)

    def __iter__(self) -> Iterator[str]:
        self.read.update(super().keys())
        return super().__iter__()

    def keys(self) -> Any:
        """Returns all names."""
        self.read.update(super().keys())
        return super().keys()

    def items(self) -> Any:
        """Returns all names and values."""
        self.read.update(super().keys())
        return super().items()

    def values(self) -> Any:
        """Returns all values."""
        self.read.update(super().keys())
        return super().values()

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("request.features is read-only")

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse


def guarded(request: Request) -> tuple[Features, Request]:
    """Returns a request's features, read-only, and the request with them."""
    features = request.features if isinstance(request.features, Features) else Features(request.features)
    return features, Request(features, request.time)


def frozen(array: np.ndarray) -> np.ndarray:
    """Returns a view that cannot be written to."""
    view = array.view()
    view.setflags(write=False)  # in two thirds of the time of `flags.writeable`
    return view


def everything(number: int) -> np.ndarray:
    """Returns bool[number], all true, that cannot be written to.

    Example:
        >>> everything(2)
        array([ True,  True])
    """
    return np.frombuffer(b"\1" * number, np.bool_)


def frozen_items(items: Items) -> Items:
    """Returns items whose columns cannot be written to."""
    features = {name: frozen(column) for name, column in items.features.items()}
    return Items(frozen(items.ids), features, frozen(items.slot), frozen(items.added))


def named(plugin: Any, error: Exception) -> Exception:
    """Returns an `InvalidAnswer` that names the plugin whose error says that it wrote to its input; any other error as it is.

    So it does for None, which is no plugin.
    """
    if plugin is None or not isinstance(error, TypeError | ValueError) or "read-only" not in str(error) or isinstance(error, InvalidAnswer):
        return error
    told = f"{plugin!r} must not write to its input, which others read and the ledger keeps: copy it first ({error})."
    return InvalidAnswer(told).with_traceback(error.__traceback__)


class only_reading:  # noqa: N801 -- read as the verb of a `with`; a generator in its place takes four times as long
    """Names the plugin that wrote to its input; any other error passes as it is.

    Raises:
        InvalidAnswer: from the error of NumPy, or of `Features`.
    """

    __slots__ = ("_plugin",)

    def __init__(self, plugin: Any) -> None:
        self._plugin = plugin

    def __enter__(self) -> None:
        """Does nothing."""

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        """Looks at the error."""
        if isinstance(error, Exception) and (told := named(self._plugin, error)) is not error:
            raise told from error
