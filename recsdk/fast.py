"""Whether kernels compiled by Numba do the work: the extra `fast`.

A kernel replaces NumPy's arithmetic, never its definition: tests hold it to the NumPy path. Modules of kernels import Numba at their top,
so callers ask `enabled` before they import one. `RECSDK_FAST=0` in the environment turns all of them off.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import os
import re
from collections.abc import Callable
from importlib import metadata
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

import numpy as np

from recsdk.base import Array, Composite

OLDEST = (0, 61)
"""Numba's version that the extra asks for."""
Function = TypeVar("Function", bound=Callable[..., Any])


@functools.cache
def enabled() -> bool:
    """Tells whether Numba is installed, not older than the extra asks for, and `RECSDK_FAST` is not 0. Asked once in a process.

    Example:
        >>> enabled() in (True, False)
        True
    """
    if os.environ.get("RECSDK_FAST") == "0" or importlib.util.find_spec("numba") is None:
        return False
    return tuple(map(int, re.findall(r"\d+", metadata.version("numba"))[:2])) >= OLDEST


def jit(**options: Any) -> Callable[[Function], Function]:
    """Returns Numba's decorator for functions whose machine code is kept on the disk, where there is a folder that can be written."""
    import numba

    def compiled(function: Function) -> Function:
        kernel = numba.njit(**options)(function)
        with contextlib.suppress(RuntimeError):  # there is none
            kernel.enable_caching()
        return cast(Function, kernel)

    return compiled


@runtime_checkable
class Compiled(Protocol):
    """A policy that has kernels.

    Attributes:
        kernels: full name of the module that holds them. `init` asks for it already, so that no request waits for a compilation.
    """

    @property
    def kernels(self) -> str:
        """Returns the module's name."""


@runtime_checkable
class _Wrapper(Protocol):
    """A policy around another, whose states may be several: `Windowed` has two, so it cannot be `Composite`."""

    @property
    def policy(self) -> Any: ...


@functools.cache
def _module(name: str) -> Any:
    return importlib.import_module(name) if enabled() else None


def kernels(policy: Compiled, like: Array) -> Any:
    """Returns the module of a policy's kernels; None where they are off, and where `like` is an array of a trace.

    Example:
        >>> import recsdk
        >>> (kernels(recsdk.WideDeep(), np.zeros(1)) is None) != enabled()
        True
    """
    return _module(policy.kernels) if isinstance(like, np.ndarray) else None


def used(policy: Any) -> bool:
    """Tells whether kernels do the work of a policy or of one of its parts; Numba is not imported for it.

    Example:
        >>> import recsdk
        >>> used(recsdk.Uniform()), used(recsdk.WithFloor(policy=recsdk.LinTS())) == enabled()
        (False, True)
    """
    if not enabled() or isinstance(policy, Compiled):
        return enabled()
    if isinstance(policy, Composite):
        return any(map(used, policy.parts))
    return isinstance(policy, _Wrapper) and used(policy.policy)


def own(array: np.ndarray) -> np.ndarray:
    """Returns an array of a state that a kernel can write into: itself, or a copy where it is read-only or a view with gaps.

    Example:
        >>> array = np.zeros((2, 2))
        >>> own(array) is array, own(array.T) is array
        (True, False)
    """
    return array if array.flags.carray else np.array(array, order="C")


def given(array: Any) -> np.ndarray:
    """Returns an array for reading alone: in C's order, aligned and read-only, so that kernels are compiled for one kind of array.

    Example:
        >>> given(np.zeros((2, 2)).T).flags.c_contiguous
        True
    """
    if type(array) is not np.ndarray or not (array.flags.c_contiguous and array.flags.aligned):
        array = np.require(array, requirements=("C", "A"))
    if array.flags.writeable:
        array = array.view()
        array.setflags(write=False)
    return cast(np.ndarray, array)
