"""A handle on a Vowpal Wabbit workspace that can be written down exactly.

A model that VW saves lacks part of what VW knows: where there are several regressors in it (bag, cover, rnd, and cb_type dr) all but the
first lose their normalisers and their average number of candidates, so what a loaded model learns next differs. So a handle keeps the
lines it learned since the last saved model, and a snapshot is that model and those lines. When the lines grow long, the handle saves the
model and goes on from what it loads again: this happens after the same line in every fold of a log, so recovery gives bit for bit what
there was.
"""

from __future__ import annotations

import base64
import json
import tempfile
import weakref
import zlib
from collections.abc import Sequence
from pathlib import Path

from vowpalwabbit import Workspace

from recsdk.errors import InvalidValue, LedgerCorrupt, LedgerMismatch

MAX_CHARACTERS = 2**22
"""Length of the lines that a handle keeps: as much memory as VW's weights by default, and about 0.1 s to learn again."""

MAGIC = b"recsdk-vw 1\n"


class Learner:
    """Predicts and learns lines. Learning happens in place.

    Args:
        arguments: VW's command line, without the random seed.
        seed: where VW's randomness starts; not used with a `model`, which brings its own.
        dim: number of features.
        model: bytes of a saved model, or none to begin with nothing learned.
        lines: what was learned after `model`.
    """

    def __init__(self, arguments: Sequence[str], seed: int, dim: int, *, model: bytes = b"", lines: Sequence[str] = ()) -> None:
        self.dim = dim
        self._arguments = tuple(arguments)
        self._seed = seed
        self._model = model
        self._lines: list[str] = []
        self._num_characters = 0
        self._hold(_open(self._arguments, seed, model))
        for line in lines:
            self.learn(line)

    def predict(self, line: str) -> list[float]:
        """Returns VW's probabilities, float32 values in the line's order."""
        workspace = self._live()
        examples = workspace.parse(line)
        try:
            return workspace.predict(examples)  # type: ignore[no-any-return]
        finally:
            workspace.finish_example(examples)

    def learn(self, line: str) -> None:
        """Learns one line."""
        if self._num_characters > MAX_CHARACTERS:
            self._rebase()
        workspace = self._live()
        examples = workspace.parse(line)
        try:
            workspace.learn(examples)
        finally:
            workspace.finish_example(examples)
        self._lines.append(line)
        self._num_characters += len(line)

    def dumps(self) -> bytes:
        """Writes the last saved model and the lines learned since."""
        self._live()
        content = {
            "arguments": self._arguments,
            "seed": self._seed,
            "dim": self.dim,
            "model": base64.b64encode(self._model).decode(),
            "lines": self._lines,
        }
        return MAGIC + zlib.compress(json.dumps(content).encode(), level=1)

    def close(self) -> None:
        """Frees the workspace; a second call does nothing."""
        self._finish()

    def _hold(self, workspace: Workspace) -> None:
        self._workspace = workspace
        # Also at the interpreter's exit, where pyvw's own destructor comes too late and complains.
        self._finish = weakref.finalize(self, workspace.finish)

    def _live(self) -> Workspace:
        if not self._finish.alive:  # VW itself would go on answering
            raise InvalidValue("state must be open, got one that was closed.")
        return self._workspace

    def _rebase(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model")
            self._live().save(path)
            model = path.read_bytes()
        workspace = _open(self._arguments, self._seed, model)
        self.close()
        self._hold(workspace)
        self._model, self._lines, self._num_characters = model, [], 0


def loads(data: bytes, arguments: Sequence[str], seed: int) -> Learner:
    """Reads what `Learner.dumps` wrote.

    Raises:
        LedgerCorrupt: when the bytes are not what was written.
        LedgerMismatch: when they were written under another command line or seed.
    """
    try:
        if not data.startswith(MAGIC):
            raise ValueError(f"it begins with {data[: len(MAGIC)]!r}")
        content = json.loads(zlib.decompress(data[len(MAGIC) :]))
        written, dim, lines = (*content["arguments"], content["seed"]), content["dim"], content["lines"]
        model = base64.b64decode(content["model"], validate=True)
    except (ValueError, KeyError, TypeError, zlib.error) as error:
        raise LedgerCorrupt(f"The stored state must be what recsdk-vw wrote: {error}.") from error
    wanted = (*arguments, seed)
    if written != wanted:
        raise LedgerMismatch(f"The stored state was learned by vw {_words(written)}, and this policy is vw {_words(wanted)}.")
    return Learner(arguments, seed, dim, model=model, lines=lines)


def check(arguments: Sequence[str]) -> None:
    """Asks VW whether it takes a command line.

    Raises:
        InvalidValue: with VW's reason.
    """
    try:
        _open(arguments, 0, b"").finish()
    except RuntimeError as error:
        raise InvalidValue(f"VW.options must be what Vowpal Wabbit takes, got {' '.join(arguments)!r}: {error}.") from error


def _open(arguments: Sequence[str], seed: int, model: bytes) -> Workspace:
    if not model:
        return Workspace(arg_list=[*arguments, "--random_seed", str(seed)])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model")
        path.write_bytes(model)
        return Workspace(arg_list=[*arguments, "--initial_regressor", str(path)])


def _words(written: tuple[object, ...]) -> str:
    return " ".join(map(str, written[:-1])) + f" --random_seed {written[-1]}"
