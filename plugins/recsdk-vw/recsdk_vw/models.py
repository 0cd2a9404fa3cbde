"""Plain model files of Vowpal Wabbit: a policy may begin from one, and a state may be saved as one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from recsdk.errors import InvalidValue
from recsdk_vw.learner import Learner, model_of, open_workspace


def save_model(state: Learner, path: str | Path) -> None:
    """Saves what a policy has learned as a model that `vw -i` reads.

    It predicts as the state does. Where there are several regressors (bag, cover, rnd, and cb_type dr) VW's files lack part of what is
    needed to learn on alike, so a snapshot (`VW.dumps`) is something else, and exact.
    """
    Path(path).write_bytes(state.save())


def sha256(path: str) -> str:
    """Returns the hash of a model file's content, and "" for no path."""
    return hashlib.sha256(_read(path)).hexdigest() if path else ""


def load(path: str, wanted: str) -> bytes:
    """Reads a model file.

    Raises:
        InvalidValue: when it cannot be read, or its content has another hash than `wanted`.
    """
    model = _read(path)
    found = hashlib.sha256(model).hexdigest()
    if found != wanted:
        raise InvalidValue(f"VW.initial_regressor must be the file with VW.initial_sha256 {wanted!r}, got {path!r} with {found!r}.")
    return model


def check(arguments: Sequence[str], path: str, wanted: str) -> None:
    """Asks VW whether a model is one of this command line.

    VW adds the options that a model was learned with to those it is given, without a word, so they must be the same.

    Raises:
        InvalidValue: a file that is not there, has other content than `wanted`, is not a model, or was learned with other options.
    """
    model = load(path, wanted)
    try:
        loaded, fresh = (_options(arguments, content) for content in (model, b""))
    except RuntimeError as error:
        raise InvalidValue(f"VW.initial_regressor must be a model of vw {' '.join(arguments)}, got {path!r}: {error}.") from error
    if loaded != fresh:
        raise InvalidValue(
            f"VW.initial_regressor must be a model of vw {' '.join(arguments)}, got {path!r}, which brings {sorted(loaded - fresh)} "
            f"and lacks {sorted(fresh - loaded)}: say the same in VW.options and the other fields."
        )


def _read(path: str) -> bytes:
    try:
        model = Path(path).read_bytes()
    except OSError as error:
        raise InvalidValue(f"VW.initial_regressor must be a model file, got {path!r}: {error}.") from error
    if not model:
        raise InvalidValue(f"VW.initial_regressor must be a model file, got {path!r}, which is empty.")
    return model


def _options(arguments: Sequence[str], model: bytes) -> set[str]:
    """Returns the options that VW keeps in its models, without the random seed, as it writes them at the head of the file."""
    workspace = open_workspace(arguments, 0, model)
    saved = model_of(workspace)
    workspace.finish()
    found = re.search(rb" (--[ -~]*)\x00", saved)
    words = found[1].decode() if found else ""
    return {option.strip() for option in f" {words}".split(" --")[1:] if not option.startswith("random_seed ")}
