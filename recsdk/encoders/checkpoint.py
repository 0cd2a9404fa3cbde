"""Models as files: safetensors with a JSON header, written whole or not at all, and refused when anything about them is wrong."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recsdk.arrays import tree_map
from recsdk.errors import CheckpointCorrupt, CheckpointMismatch, InvalidValue, MissingExtra, install

FORMAT = 1
LONGEST_HEADER = 2**24
TYPES = {"F64": "f8", "F32": "f4", "I64": "i8", "I32": "i4", "U32": "u4", "U8": "u1", "BOOL": "?"}
"""Types that are written. bfloat16 is not among them: the library writes it and cannot read it."""
LEARNED = {
    "loss",
    "num_negatives",
    "mask_share",
    "temperature",
    "dropout",
    "id_dropout",
    "max_windows",
    "num_validation",
    "precision",
    "progress",
}
STEPS = {"epochs", "patience", "batch_size", "accumulate", "learning_rate", "warmup_steps", "weight_decay", "clip_norm"}
MAY_DIFFER = frozenset(LEARNED | STEPS | {"user", "history"})
"""Settings in which a part may differ from the one that wrote a file: of its training, and names of features."""


class _Library(NamedTuple):
    save_file: Any
    safe_open: Any


def save(path: str | Path, component: Any, state: Any, *, notes: Mapping[str, Any] | None = None) -> None:
    """Writes the state of an encoder or a scorer to a file of its own, to move it elsewhere or to keep it beside others.

    A folder of `Recommender` keeps its models itself. The file holds no code and no pickle: records and their fields come from the
    component when it is read. A crash leaves the old file or the new one.

    Args:
        path: of the file; one that is there is replaced.
        component: the config, whose `repr` and settings go into the header.
        state: a record of arrays, from `component.fit`.
        notes: plain values for the header, such as metrics.

    Raises:
        InvalidValue: a state that holds anything but records, tuples and arrays of numbers or text.
        MissingExtra: safetensors is not installed.

    Example:
        >>> from recsdk.encoders.sasrec import SASRec
        >>> encoder = SASRec(dim=8)
        >>> save("model.safetensors", encoder, encoder.init(), notes={"ndcg": 0.12})
        >>> read_header("model.safetensors")["notes"]
        {'ndcg': 0.12}
    """
    from recsdk.live.identity import identity

    part = None
    with contextlib.suppress(InvalidValue):  # an object that another process cannot make: whoever loads the file gives it
        part = identity(component)
    write(path, state, {"component": repr(component), "part": part, "notes": dict(notes or {})})


def load(path: str | Path, component: Any) -> Any:
    """Reads what `save` wrote.

    Args:
        path: of the file.
        component: a config like the one that wrote it; its `init()` says which records and sizes are right. It may differ in settings of
            training, such as `epochs`, and in the names of the features that it reads.

    Raises:
        CheckpointCorrupt: a file that is cut, changed, or was not written by `save`.
        CheckpointMismatch: a file of another version of the format, of another class or other settings, or with arrays of other names,
            types or sizes.
        MissingExtra: safetensors is not installed.

    Example:
        >>> from recsdk.encoders.sasrec import SASRec
        >>> encoder = SASRec(dim=8)
        >>> save("model.safetensors", encoder, encoder.init())
        >>> load("model.safetensors", encoder).params.table.shape
        (1, 8)
    """
    from recsdk.live.identity import differences

    state, part = read(path, component.init()), read_header(path).get("part")
    changes = differences(part, component, besides=MAY_DIFFER) if part is not None else []  # older files do not tell
    if changes:
        raise CheckpointMismatch(f"{path} must be of a part like the one given, which differs: {'; '.join(changes)}.")
    return state


def write(path: str | Path, tree: Any, header: Mapping[str, Any]) -> None:
    """Writes a record of arrays with a header of plain values, and replaces the file at once."""
    tensors: dict[str, np.ndarray] = {}
    texts: dict[str, int] = {}
    for name, leaf in _named(tree):
        array = np.array(leaf, order="C")  # the library scrambles others without an error
        if array.dtype.kind == "U":
            texts[name] = array.dtype.itemsize // 4
            array = array[..., None].view(np.uint32)
        if array.dtype.str[1:] not in TYPES.values() and array.dtype.kind != "b":
            raise InvalidValue(f"{name} must be an array of numbers or text, got {array.dtype}.")
        tensors[name] = array
    text = json.dumps({"format": FORMAT, **header, "texts": texts}, sort_keys=True)
    metadata = {"recsdk": text, "digest": _digest(text, tensors)}
    path = Path(path)
    beside = path.with_name(f"{path.name}.new")
    library().save_file(tensors, beside, metadata)
    with beside.open("rb") as file:
        os.fsync(file.fileno())
    beside.replace(path)


def read(path: str | Path, template: Any) -> Any:
    """Reads what `write` wrote into a record like `template`; a length may differ from the template's where that is below 2."""
    found = read_header(path)
    safetensors = library()
    try:
        with safetensors.safe_open(Path(path), framework="numpy") as file:
            metadata = file.metadata()
            tensors = {name: np.array(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118 - no mapping
    except Exception as error:  # a damaged file makes the library fail in any way
        raise CheckpointCorrupt(f"{path} cannot be read: {type(error).__name__}: {error}.") from error
    digest = _digest(metadata["recsdk"], tensors)
    if metadata.get("digest") != digest:
        raise CheckpointCorrupt(f"The digest of {path} must be that of its content, {digest}, got {metadata.get('digest')!r}.")
    wanted = dict(_named(template))
    if set(wanted) != set(tensors):
        missing, other = sorted(set(wanted) - set(tensors)), sorted(set(tensors) - set(wanted))
        raise CheckpointMismatch(f"{path} must have the arrays of the state; it lacks {missing} and has {other} besides.")
    for name, width in found["texts"].items():
        tensors[name] = tensors[name].view(f"<U{width}")[..., 0]
    names = iter(wanted)

    def fitting(leaf: Any) -> np.ndarray:
        name = next(names)
        _check(path, name, np.asarray(leaf), tensors[name])
        return tensors[name]

    return tree_map(fitting, template)


def read_header(path: str | Path) -> dict[str, Any]:
    """Reads the header of a file alone: format, component, notes, and the digest of what is in the file.

    Raises:
        CheckpointCorrupt: a file that is cut, or was not written by `save`.
        CheckpointMismatch: a file of another version of the format.

    Example:
        >>> from recsdk.encoders.sasrec import SASRec
        >>> save("model.safetensors", SASRec(dim=8), SASRec(dim=8).init())
        >>> read_header("model.safetensors")["format"]
        1
    """
    path = Path(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(LONGEST_HEADER, size - 8):
            raise CheckpointCorrupt(f"{path} must begin with a header that fits into its {size} bytes, got one of {length}.")
        data = file.read(length)
    try:
        outline = json.loads(data)
        header = json.loads(outline["__metadata__"]["recsdk"])
        found = {**header, "digest": outline["__metadata__"].get("digest")} if isinstance(header["texts"], dict) else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointCorrupt(f"{path} must have a header that `save` wrote, got {type(error).__name__}: {error}.") from error
    if found is None:
        raise CheckpointCorrupt(f"{path} must have a header that `save` wrote, got {header!r:.200}.")
    if found.get("format") != FORMAT:
        raise CheckpointMismatch(f"{path} must be of format {FORMAT}, got {found.get('format')!r}.")
    return found


def _named(tree: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the arrays of a record by their paths, in the order of `tree_map`."""
    if isinstance(tree, dict):
        parts = [(key, tree[key]) for key in sorted(tree)]
    elif isinstance(tree, (tuple, list)):
        fields = getattr(tree, "_fields", range(len(tree)))
        parts = list(zip(map(str, fields), tree, strict=True))
    else:
        if tree is not None:
            yield name, tree
        return
    for part, branch in parts:
        yield from _named(branch, f"{name}/{part}" if name else part)


def _check(path: str | Path, name: str, wanted: np.ndarray, found: np.ndarray) -> None:
    is_fitting = found.dtype.kind == wanted.dtype.kind and found.ndim == wanted.ndim
    if wanted.dtype.kind != "U":
        is_fitting = is_fitting and found.dtype == wanted.dtype
    sizes = zip(wanted.shape, found.shape, strict=False)
    if not is_fitting or any(size not in (0, 1) and size != other for size, other in sizes):
        raise CheckpointMismatch(
            f"{name} of {path} must be {wanted.dtype}{list(wanted.shape)}, with any length where that is 0 or 1,"
            f" got {found.dtype}{list(found.shape)}."
        )


def _digest(text: str, tensors: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.blake2b(text.encode(), digest_size=16)
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        digest.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def library() -> Any:
    """Returns what writes and reads files.

    Raises:
        MissingExtra: safetensors is not installed.
    """
    try:
        import safetensors
        from safetensors import numpy
    except ModuleNotFoundError as error:
        raise MissingExtra(f"Checkpoints need {error.name}, which is not installed: {install('deep')}.") from error
    return _Library(numpy.save_file, safetensors.safe_open)
