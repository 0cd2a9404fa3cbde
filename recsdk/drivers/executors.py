"""Where the independent walks of a sweep run: in this process, in several, or on other machines by an executor of one's own."""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import attrs
import numpy as np

from recsdk import arrays
from recsdk.checks import integer
from recsdk.errors import InvalidValue


@runtime_checkable
class Executor(Protocol):
    """Runs a function on many arguments. `sweep` takes one for policies on NumPy, so that a cluster's scheduler can run them."""

    def map(self, function: Callable[[Any, Any], Any], shared: Any, pieces: Sequence[Any]) -> Iterator[Any]:
        """Yields `function(shared, piece)` for each piece, in order. `shared` is a record of large arrays: send it once, not per piece."""


@attrs.frozen(kw_only=True)
class InProcess:
    """The executor that runs everything in this process, one after another.

    Example:
        >>> list(InProcess().map(lambda shared, piece: shared + piece, 10, [1, 2]))
        [11, 12]
    """

    def map(self, function: Callable[[Any, Any], Any], shared: Any, pieces: Sequence[Any]) -> Iterator[Any]:
        """Yields `function(shared, piece)` for each piece."""
        return (function(shared, piece) for piece in pieces)


@attrs.frozen(kw_only=True)
class Processes:
    """The executor that runs pieces in several processes of this machine. They read the shared arrays from files that all of them map.

    A script must call it below `if __name__ == "__main__":`. The function must be importable from a module, and so must the classes of the
    pieces, since both are sent to the processes.

    Attributes:
        num_processes: largest number of processes at once; None for the number of processors.

    Example:
        >>> from recsdk import LinTS, Processes, sweep
        >>> from recsdk.environments import LinearWorld
        >>> sweep([LinTS()], LinearWorld(), num_rounds=5, engine="numpy", executor=Processes(num_processes=1)).seed
        array([0])
    """

    num_processes: int | None = attrs.field(default=None, validator=attrs.validators.optional(integer(at_least=1)))

    def map(self, function: Callable[[Any, Any], Any], shared: Any, pieces: Sequence[Any]) -> Iterator[Any]:
        """Yields `function(shared, piece)` for each piece; in this process where one process is enough.

        Raises:
            InvalidValue: when a process cannot start.
        """
        num = min(len(pieces), self.num_processes or os.cpu_count() or 1)
        return InProcess().map(function, shared, pieces) if num <= 1 else _map(num, function, shared, pieces)


def _map(num: int, function: Callable[[Any, Any], Any], shared: Any, pieces: Sequence[Any]) -> Iterator[Any]:
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(num, multiprocessing.get_context("spawn")) as pool:
        paths = iter([_saved(Path(folder, f"{index}.npy"), leaf) for index, leaf in enumerate(arrays.leaves(shared))])
        stored = arrays.tree_map(lambda _: next(paths), shared)
        try:
            yield from pool.map(functools.partial(_on_stored, function, stored), pieces)
        except BrokenProcessPool as error:
            raise InvalidValue(
                f"num_processes must be 1 where a process cannot start, got {num}: call sweep below "
                "`if __name__ == '__main__':`, and import the policies' classes from a module."
            ) from error


def _saved(path: Path, array: Any) -> str:
    np.save(path, array)
    return str(path)


def _on_stored(function: Callable[[Any, Any], Any], stored: Any, piece: Any) -> Any:
    return function(arrays.tree_map(functools.partial(np.load, mmap_mode="r"), stored), piece)
