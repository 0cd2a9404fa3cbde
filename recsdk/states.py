"""States to bytes and back: raw arrays without pickle. The structure comes from code, only the numbers come from the bytes."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import numpy as np

from recsdk.base import Composite, Native
from recsdk.errors import InvalidValue, LedgerCorrupt

KINDS = "biufcUS"
"""NumPy's letters for the arrays that can be kept: bool, numbers and text; objects could only be pickled."""

FORMER = {b"recsdk two-tower 1\n": "recsdk.encoders.former"}
"""How states in forms that are no longer written begin, and the modules whose `read(component, template, data)` still reads them."""


def dumps(component: Any, state: Any) -> bytes:
    """Writes the state of a policy, scorer or encoder; a `Native` component, also as a part of a `Composite`, writes its own.

    Raises:
        InvalidValue: when the state holds anything but records, lists, dicts with names, arrays and None.
    """
    if isinstance(component, Native):
        return component.dumps(state)
    arrays: list[np.ndarray] = []
    outline = json.dumps(_outline(component, _packed(component, state), arrays)).encode()
    leaves: dict[str, Any] = {f"leaf{index}": array for index, array in enumerate(arrays)}
    buffer = io.BytesIO()
    np.savez(buffer, outline=np.frombuffer(outline, np.uint8), **leaves)
    return buffer.getvalue()


def loads(component: Any, template: Any, data: bytes) -> Any:
    """Reads what `dumps` wrote.

    Args:
        component: the one that wrote it.
        template: a state of the same records, such as the one before any data; its arrays are not used, nor are states of native parts. A
            dict in it takes the stored keys, a list the stored length, and what is None in it need not be None in the bytes.
        data: from `dumps`.

    Raises:
        LedgerCorrupt: when the bytes are damaged, or are of other records than `template`.
    """
    if isinstance(component, Native):
        return component.loads(data)
    for beginning, module in FORMER.items():
        if data.startswith(beginning):
            return import_module(module).read(component, template, data)
    try:
        _refuse_bomb(component, data)
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            outline = json.loads(stored["outline"].tobytes())
            arrays = iter([stored[f"leaf{index}"] for index in range(len(stored.files) - 1)])
        packed = _rebuild(component, _place(component, template), outline, arrays)
    except LedgerCorrupt:
        raise
    except Exception as error:  # damaged bytes make the readers of zip, npy and JSON fail in any way
        raise LedgerCorrupt(f"The stored state of {component!r} cannot be read: {type(error).__name__}: {error}.") from error
    return _unpacked(component, packed)


def _refuse_bomb(component: Any, data: bytes) -> None:
    """Refuses an archive that would unpack to more than its own size: `dumps` does not compress."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        size = sum(info.file_size for info in archive.infolist())
    if size > len(data):
        raise LedgerCorrupt(f"The stored state of {component!r} cannot be read: its {len(data):,} bytes would unpack to {size:,}.")


def digest(component: Any, state: Any) -> str:
    """Returns the SHA-256 of a state: of its structure, and the type, shape and bytes of each array; of what a `Native` writes."""
    if isinstance(component, Native):
        return hashlib.sha256(component.dumps(state)).hexdigest()
    arrays: list[np.ndarray] = []
    outline = _outline(component, _packed(component, state), arrays)
    hashed = hashlib.sha256(json.dumps(outline).encode())
    for array in arrays:
        hashed.update(f"{array.dtype.str}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return hashed.hexdigest()


def distance(component: Any, one: Any, other: Any) -> float:
    """Returns how far two states are apart: the largest difference in an array, as a share of the largest number in it.

    It is infinite where their structures differ, and for a `Native` that writes other bytes.
    """
    found: list[list[np.ndarray]] = [[], []]
    outlines = [_outline(component, _packed(component, state), arrays) for state, arrays in zip((one, other), found, strict=True)]
    shapes = [[(array.dtype.kind, array.shape) for array in arrays] for arrays in found]
    if outlines[0] != outlines[1] or shapes[0] != shapes[1]:
        return np.inf
    return max((_apart(*pair) for pair in zip(*found, strict=True)), default=0.0)


def _apart(one: np.ndarray, other: np.ndarray) -> float:
    if np.array_equal(one, other):
        return 0.0
    if one.dtype.kind not in "fc":
        return np.inf
    return float(np.abs(one - other).max() / max(np.abs(one).max(), np.abs(other).max()))


def is_native(component: Any) -> bool:
    """Tells whether a component, or a part of it, writes and reads its own states, so that they are not records of arrays."""
    return isinstance(component, Native) or any(map(is_native, component.parts if isinstance(component, Composite) else ()))


def close(component: Any, state: Any) -> None:
    """Frees what a `Native` component, or one that is a part, holds for `state`."""
    if isinstance(component, Native):
        component.close(state)
    elif isinstance(component, Composite):
        component.map_parts(close, state)


def _packed(component: Any, state: Any) -> Any:
    """Returns a state in which the states of native parts are bytes in an array."""
    if isinstance(component, Native):
        return np.frombuffer(component.dumps(state), np.uint8)
    return component.map_parts(_packed, state) if isinstance(component, Composite) else state


def _place(component: Any, template: Any) -> Any:
    """Returns a template of what `_packed` returns."""
    if isinstance(component, Native):
        return np.zeros(0, np.uint8)
    return component.map_parts(_place, template) if isinstance(component, Composite) else template


def _unpacked(component: Any, packed: Any) -> Any:
    if isinstance(component, Native):
        return component.loads(packed.tobytes())
    return component.map_parts(_unpacked, packed) if isinstance(component, Composite) else packed


def _outline(component: Any, tree: Any, arrays: list[np.ndarray]) -> Any:
    """Returns the structure of a state as JSON, and appends its arrays to `arrays`."""
    if tree is None:
        return None
    if isinstance(tree, dict):
        if not all(isinstance(key, str) for key in tree):
            raise InvalidValue(f"The state of {component!r} must have dicts with str keys, got {list(tree)}.")
        return {"dict": {key: _outline(component, tree[key], arrays) for key in sorted(tree)}}
    if isinstance(tree, (tuple, list)):
        return {type(tree).__name__: [_outline(component, branch, arrays) for branch in tree]}
    array = np.asarray(tree)
    if array.dtype.kind not in KINDS:
        raise InvalidValue(f"The state of {component!r} must be a record of arrays, or the component `Native`, got {tree!r} in it.")
    arrays.append(array)
    return "array"


def _rebuild(component: Any, template: Any, outline: Any, arrays: Iterator[np.ndarray]) -> Any:
    if outline is None:
        return None
    found = next(iter(outline)) if isinstance(outline, dict) else "array"
    kind = _kind(template) if template is not None else found if found in ("dict", "list", "tuple") else "array"
    if found != kind:
        raise LedgerCorrupt(f"The stored state of {component!r} has a {found} where a {kind} belongs.")
    if kind == "array":
        return next(arrays)
    if kind == "dict":
        known = template or {}
        sample = next(iter(known.values()), None)
        return {key: _rebuild(component, known.get(key, sample), branch, arrays) for key, branch in outline["dict"].items()}
    parts = _parts(component, template, kind, outline[kind])
    rebuilt = [_rebuild(component, part, branch, arrays) for part, branch in zip(parts, outline[kind], strict=True)]
    if kind == "list":
        return rebuilt
    return type(template)(*rebuilt) if hasattr(template, "_fields") else tuple(rebuilt)


def _kind(template: Any) -> str:
    return "dict" if isinstance(template, dict) else type(template).__name__ if isinstance(template, (tuple, list)) else "array"


def _parts(component: Any, template: Any, kind: str, branches: Any) -> list[Any]:
    """Returns a template for each branch; a list, like a dict, may be of another length than in the template."""
    if template is not None and len(template) == len(branches):
        return list(template)
    if template is None or kind == "list":
        return [template[0] if template else None] * len(branches)
    raise LedgerCorrupt(f"The stored state of {component!r} has {len(branches)} fields in a {kind} of {len(template)}.")
