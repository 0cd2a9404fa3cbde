"""An encoder that was trained elsewhere and kept as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs

from recsdk import plugins
from recsdk.base import Array, Events, Items, Table
from recsdk.encoders.checkpoint import load, read_header
from recsdk.errors import CheckpointMismatch, RecsdkError
from recsdk.validators import file_name


def part_of(path: str | Path) -> Any:
    """Makes the encoder or scorer whose state a file holds, from the name and settings in its header.

    Only installed plugins and classes of recsdk are imported, whatever the file says.

    Raises:
        CheckpointCorrupt: a file that is cut, or was not written by `save`.
        CheckpointMismatch: a part that is no installed plugin, or that takes other settings now.

    Example:
        >>> from recsdk.encoders.checkpoint import save
        >>> from recsdk.encoders.sasrec import SASRec
        >>> save("model.safetensors", SASRec(dim=8), SASRec(dim=8).init())
        >>> part_of("model.safetensors").dim
        8
    """
    from recsdk.live.parts import built

    header = read_header(path)
    if header.get("part") is None:
        raise CheckpointMismatch(f"{path} must say which part it is of, and says {header.get('component')!r}: give it, load(path, part).")
    try:
        return built(header["part"])
    except RecsdkError as error:
        raise CheckpointMismatch(f"{path}: {error}") from error


def _is_encoder(instance: Any, field: Any, value: Any) -> None:
    missing = [member for member in plugins.contract("encoders") if member not in dir(value)]
    if missing:
        raise CheckpointMismatch(f"Saved.path must be the file of an encoder, got {instance.path!r}, of {value!r}.")


def _is_of_the_file(instance: Any, field: Any, value: Any) -> None:
    found = read_header(instance.path)["digest"]
    if value != found:
        raise CheckpointMismatch(
            f"Saved.digest must be that of {instance.path}, {found!r}, got {value!r}: another model was written to it."
        )


@attrs.frozen(kw_only=True)
class Saved:
    """Serves a model that `save` or `recsdk train` has written: train it where there is a GPU, and serve it elsewhere.

    Nothing is trained: `fit` reads the file. A recommender's folder keeps the model in itself from then on; the file says how to compute
    with it, and must stay as it is. For the next model write another file, and `swap` to it: a folder knows the model by the file's name
    and digest, and refuses another one.

    Attributes:
        path: of the file.
        digest: of what is in it; read from the file where it isn't given. Give it to be sure of the model.

    Example:
        >>> from recsdk.encoders.checkpoint import save
        >>> from recsdk.encoders.sasrec import SASRec
        >>> save("model.safetensors", SASRec(dim=8), SASRec(dim=8).init())
        >>> Saved(path="model.safetensors").dim
        8
    """

    path: str = attrs.field(validator=file_name)
    digest: str = attrs.field(
        validator=_is_of_the_file, default=attrs.Factory(lambda self: read_header(self.path)["digest"], takes_self=True)
    )
    part: Any = attrs.field(
        init=False, eq=False, repr=False, validator=_is_encoder, default=attrs.Factory(lambda self: part_of(self.path), takes_self=True)
    )

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return int(self.part.dim)

    def init(self) -> Any:
        """Returns the untrained state of the model in the file."""
        return self.part.init()

    def fit(self, log: Events, *, state: Any = None, seed: int = 0) -> Any:
        """Returns `state`, or where there is none, the state in the file.

        Raises:
            CheckpointCorrupt: a file that is cut or changed.
            MissingExtra: safetensors is not installed.
        """
        del log, seed
        return load(self.path, self.part) if state is None else state

    def encode_requests(self, state: Any, requests: Table) -> Array:
        """Returns f32[B, dim], as the model does."""
        return self.part.encode_requests(state, requests)

    def encode_items(self, state: Any, items: Items) -> Array:
        """Returns f32[N, dim], as the model does."""
        return self.part.encode_items(state, items)
