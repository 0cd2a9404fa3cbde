"""Whether kernels compiled by Numba do the work: the extra `fast`.

A kernel replaces NumPy's arithmetic, never its definition: tests hold it to the NumPy path. Modules of kernels import Numba at their top,
so callers ask `enabled` before they import one. `RECSDK_FAST=0` in the environment turns all of them off.
"""

from __future__ import annotations

import functools
import importlib.util
import os


@functools.cache
def enabled() -> bool:
    """Tells whether Numba is installed and `RECSDK_FAST` is not 0. Asked once in a process.

    Example:
        >>> enabled() in (True, False)
        True
    """
    return os.environ.get("RECSDK_FAST") != "0" and importlib.util.find_spec("numba") is not None
