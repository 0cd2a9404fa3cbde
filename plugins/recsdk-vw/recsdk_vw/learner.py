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
from typing import Any, NamedTuple

from vowpalwabbit import Workspace

from recsdk.errors import InvalidValue, LedgerCorrupt, LedgerMismatch
from recsdk_vw.examples import Layout

MAX_CHARACTERS = 2**22
"""Length of the lines that a handle keeps: as much memory as VW's weights by default, and about 0.1 s to learn again."""

MAGIC = b"recsdk-vw 2\n"


class Settings(NamedTuple):
    """The settings that a state depends on; it is read back under the same settings only.

    Attributes:
        arguments: VW's command line, without the random seed.
        seed: where VW's randomness starts; not used with a model, which brings its own.
        layout: how features are written.
        initial_sha256: of the model that learning began from, or "".
    """

    arguments: tuple[str, ...]
    seed: int
    layout: Layout
    initial_sha256: str


class Learner:
    """Predicts and learns lines. Learning happens in place.

    Attributes:
        settings: what it learns under.
        dim: number of features.
        model: bytes of the saved model that the lines it keeps come after.

    Args:
        settings: what it learns under.
        dim: number of features.
        model: bytes of a saved model, or none to begin with nothing learned.
        lines: what was learned after `model`.
    """

    def __init__(self, settings: Settings, dim: int, *, model: bytes = b"", lines: Sequence[str] = ()) -> None:
        self.settings = settings
        self.dim = dim
        self.model = model
        self._lines: list[str] = []
        self._num_characters = 0
        self._hold(open_workspace(settings.arguments, settings.seed, model))
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
        if is_full(self._num_characters):
            self._rebase()
        workspace = self._live()
        examples = workspace.parse(line)
        try:
            workspace.learn(examples)
        finally:
            workspace.finish_example(examples)
        self._lines.append(line)
        self._num_characters += len(line)

    def save(self) -> bytes:
        """Returns the model as VW saves it: the weights, and less than `dumps` keeps where there are several regressors."""
        return model_of(self._live())

    def dumps(self) -> bytes:
        """Writes the last saved model and the lines learned since."""
        self._live()
        content = {"settings": self.settings, "dim": self.dim, "model": base64.b64encode(self.model).decode(), "lines": self._lines}
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
        model = self.save()
        workspace = open_workspace(self.settings.arguments, self.settings.seed, model)
        self.close()
        self._hold(workspace)
        self.model, self._lines, self._num_characters = model, [], 0


def is_full(num_characters: int) -> bool:
    """Tells whether lines of that length in all are to be exchanged for a model before the next is learned."""
    return num_characters > MAX_CHARACTERS


def loads(data: bytes, settings: Settings) -> Learner:
    """Reads what `Learner.dumps` wrote.

    Raises:
        LedgerCorrupt: when the bytes are not what was written.
        LedgerMismatch: when they were written under other settings.
    """
    try:
        if not data.startswith(MAGIC):
            raise ValueError(f"it begins with {data[: len(MAGIC)]!r}")
        content = json.loads(zlib.decompress(data[len(MAGIC) :]))
        written, dim, lines = content["settings"], content["dim"], content["lines"]
        words = _words(written)
        model = base64.b64decode(content["model"], validate=True)
    except (ValueError, KeyError, TypeError, zlib.error) as error:
        raise LedgerCorrupt(f"The stored state must be what recsdk-vw wrote: {error}.") from error
    wanted = json.loads(json.dumps(settings))
    if written != wanted:
        raise LedgerMismatch(f"The stored state was learned by vw {words}, and this policy is vw {_words(wanted)}.")
    return Learner(settings, dim, model=model, lines=lines)


def check(arguments: Sequence[str]) -> None:
    """Asks VW whether it takes a command line.

    Raises:
        InvalidValue: with VW's reason.
    """
    try:
        open_workspace(arguments, 0, b"").finish()
    except RuntimeError as error:
        raise InvalidValue(f"VW.options must be what Vowpal Wabbit takes, got {' '.join(arguments)!r}: {error}.") from error


def open_workspace(arguments: Sequence[str], seed: int, model: bytes, *, more: Sequence[str] = ()) -> Workspace:
    """Starts VW with nothing learned, or from the bytes of a model; `more` arguments may have it run over a file.

    Raises:
        RuntimeError: VW's reason not to.
    """
    if not model:
        return Workspace(arg_list=[*arguments, "--random_seed", str(seed), *more])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model")
        path.write_bytes(model)
        return Workspace(arg_list=[*arguments, "--initial_regressor", str(path), *more])


def model_of(workspace: Workspace) -> bytes:
    """Returns the model as VW saves it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model")
        workspace.save(path)
        return path.read_bytes()


def _words(settings: Any) -> str:
    """Returns settings as read from JSON in words."""
    arguments, seed, layout, initial_sha256 = settings
    begun = [f"from the model {initial_sha256}"] if initial_sha256 else []
    return " ".join([*map(str, arguments), f"--random_seed {seed}", f"with {layout}", *begun])
