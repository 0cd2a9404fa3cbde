"""One training on several devices: each has a part of every batch, and a part of the rows of every table. Importing this imports JAX.

What each device sends to the others is XLA's to find out: the program is that of one device, with notes of what lies where.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from recsdk.errors import InvalidValue

AXIS = "devices"
TABLES = ("table", "output")
"""Fields of the parameters that have a row per item; everything else lies on all devices."""


def mesh(num_devices: int) -> Mesh:
    """Returns the first devices, in a row.

    Raises:
        InvalidValue: JAX has fewer.
    """
    there = jax.devices()
    if num_devices > len(there):
        raise InvalidValue(f"devices must be at most the number of devices that JAX has, {len(there)}, got {num_devices}.")
    return Mesh(np.array(there[:num_devices]), (AXIS,), axis_types=(AxisType.Auto,))


def shardings(tree: Any, num_devices: int) -> Any:
    """Returns where each array of parameters or of the optimiser's moments lies; a table's rows must divide by `num_devices`."""
    return _each(tree, lambda table: _placed(num_devices, AXIS), lambda leaf: everywhere(num_devices))


def filled(tree: Any, num_devices: int) -> Any:
    """Adds rows of zeros to NumPy's tables, so that devices have equally many."""
    return _each(tree, lambda table: np.pad(table, ((0, -len(table) % num_devices), (0, 0))), lambda leaf: leaf)


def cut(tree: Any, num_rows: int) -> Any:
    """Takes off the rows that `filled` added."""
    return _each(tree, lambda table: table[:num_rows], lambda leaf: leaf)


def everywhere(num_devices: int) -> NamedSharding:
    """Returns where an array lies of which each device has a copy."""
    return _placed(num_devices)


def keep(tree: Any, num_devices: int) -> Any:
    """Notes, in a trace, that the arrays lie where `shardings` says."""
    return tree if num_devices == 1 else _noted(tree, shardings(tree, num_devices))


def spread(batches: Any, num_devices: int) -> Any:
    """Notes, in a trace, that each device has a part of every batch; `batches` is i32[steps, size]."""
    if num_devices == 1:
        return batches
    return _noted(batches, _placed(num_devices, None, AXIS))


def _each(tree: Any, of_table: Callable[[Any], Any], of_other: Callable[[Any], Any]) -> Any:
    def of(path: Any, leaf: Any) -> Any:
        is_table = any(getattr(key, "name", "") in TABLES for key in path) and len(leaf) > 0
        return of_table(leaf) if is_table else of_other(leaf)

    return jax.tree_util.tree_map_with_path(of, tree)


def _placed(num_devices: int, *axes: str | None) -> NamedSharding:
    return NamedSharding(mesh(num_devices), PartitionSpec(*axes))  # type: ignore[no-untyped-call]


def _noted(tree: Any, where: Any) -> Any:
    return jax.lax.with_sharding_constraint(tree, where)  # type: ignore[no-untyped-call]
