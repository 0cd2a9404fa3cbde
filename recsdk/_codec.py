"""States to bytes and back: raw arrays without pickle. The structure comes from code, only the numbers come from the bytes."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from recsdk import _tree
from recsdk.base import Native
from recsdk.errors import LedgerCorrupt
from recsdk.policies.floor import WithFloor


def dumps(component: Any, state: Any) -> bytes:
    """Writes the state of a policy, scorer or encoder; a `Native` component writes its own."""
    owner = _owner(component)
    if isinstance(owner, Native):
        return owner.dumps(state)
    buffer = io.BytesIO()
    arrays = [np.asarray(leaf) for leaf in _tree.leaves(state)]
    shape = np.frombuffer(json.dumps(_outline(state)).encode(), np.uint8)
    np.savez(buffer, outline=shape, **{f"leaf{index}": array for index, array in enumerate(arrays)})
    return buffer.getvalue()


def loads(component: Any, template: Any, data: bytes) -> Any:
    """Reads what `dumps` wrote.

    Args:
        component: the one that wrote it.
        template: a state of the same records, such as the one before any data; its arrays are not used. A dict in it takes the stored keys.
        data: from `dumps`.

    Raises:
        LedgerCorrupt: when the bytes are damaged, or are of other records than `template`.
    """
    owner = _owner(component)
    if isinstance(owner, Native):
        return owner.loads(data)
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            outline = json.loads(stored["outline"].tobytes())
            arrays = iter([stored[f"leaf{index}"] for index in range(len(stored.files) - 1)])
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise LedgerCorrupt(f"The stored state of {component!r} cannot be read: {error}.") from error
    return _rebuild(component, template, outline, arrays)


def is_native(component: Any) -> bool:
    """Tells whether a component writes and reads its own states, so that no template is needed."""
    return isinstance(_owner(component), Native)


def close(component: Any, state: Any) -> None:
    """Frees what a `Native` component holds for `state`."""
    owner = _owner(component)
    if isinstance(owner, Native):
        owner.close(state)


def _owner(component: Any) -> Any:
    while isinstance(component, WithFloor):  # its state is that of the policy it wraps
        component = component.policy
    return component


def _outline(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {"dict": {key: _outline(tree[key]) for key in sorted(tree)}}
    if isinstance(tree, (tuple, list)):
        return {type(tree).__name__: [_outline(branch) for branch in tree]}
    return "array"


def _rebuild(component: Any, template: Any, outline: Any, arrays: Iterator[np.ndarray]) -> Any:
    kind = "dict" if isinstance(template, dict) else type(template).__name__ if isinstance(template, (tuple, list)) else "array"
    found = next(iter(outline)) if isinstance(outline, dict) else "array"
    if found != kind:
        raise LedgerCorrupt(f"The stored state of {component!r} has a {found} where a {kind} belongs.")
    if kind == "array":
        return next(arrays)
    if kind == "dict":
        sample = next(iter(template.values()), None)
        return {key: _rebuild(component, template.get(key, sample), branch, arrays) for key, branch in outline["dict"].items()}
    branches = outline[kind]
    if len(branches) != len(template):
        raise LedgerCorrupt(f"The stored state of {component!r} has {len(branches)} fields in a {kind} of {len(template)}.")
    rebuilt = [_rebuild(component, part, branch, arrays) for part, branch in zip(template, branches, strict=True)]
    return type(template)(*rebuilt) if hasattr(template, "_fields") else type(template)(rebuilt)
