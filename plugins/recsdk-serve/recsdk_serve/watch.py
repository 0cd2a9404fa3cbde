"""Looks at the folder that is served: by a process of its own. A look is kept for a while; there is none while a user is forgotten."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from recsdk.errors import LedgerError
from recsdk_serve import messages as m

LEAST, TIMES = 3.0, 10
"""A look is kept for so many seconds, and for so many times as long as it took: a long log is looked at for a tenth of the time at most."""
LONGEST = 300.0
"""Seconds after which a look is given up."""


class Watch:
    """The last look at a folder. Its methods may be called in any thread.

    Args:
        folder: of a recommender that is open.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._look: m.Look | None = None
        self._until = 0.0
        self._child: subprocess.Popen[bytes] | None = None
        self._is_away = self._ended = False
        self._turn = threading.Lock()

    def look(self) -> m.Look:
        """Returns a look at the folder, the last one where it is not old.

        Raises:
            LedgerError: one that cannot be looked at.
        """
        with self._turn:
            if self._look is None or time.monotonic() >= self._until:
                self._look = self._looked()
                self._until = time.monotonic() + max(LEAST, TIMES * self._look.seconds)
            return self._look

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Lets nobody look: files that a reader has open cannot be emptied. What was seen before is forgotten, too.

        A look that goes on is given up.
        """
        self._is_away = True
        if self._turn.locked():
            self._kill()
        with self._turn:
            self._is_away, self._look = False, None
            yield

    def end(self) -> None:
        """Ends the process that looks, also while it does."""
        self._ended = True
        self._kill()
        with self._turn:
            self._end_child()

    def _kill(self) -> None:
        """Ends the process that looks; who waits for its answer sees that, and collects it."""
        child = self._child
        if child is not None:
            child.kill()

    def _end_child(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None

    def _looked(self) -> m.Look:
        child = self._child or self._started()
        giving_up = threading.Timer(LONGEST, child.kill)
        giving_up.daemon = True
        giving_up.start()
        try:
            self._require_wanted()  # who did not see the child that has just been started could not end it
            child.stdin.write(b"\n")  # type: ignore[union-attr]
            child.stdin.flush()  # type: ignore[union-attr]
            return msgspec.json.decode(child.stdout.readline(), type=m.Look)  # type: ignore[union-attr]
        except (OSError, msgspec.DecodeError) as error:  # it has died, and its last words are in the log, or is to
            self._end_child()
            self._require_wanted()
            told = f"The folder could not be looked at within {LONGEST:g} s, or at all; the log of the service may say why."
            raise LedgerError(told) from error
        finally:
            giving_up.cancel()

    def _require_wanted(self) -> None:
        """Refuses a look that somebody waits to see ended.

        Raises:
            LedgerError: there is to be none now.
        """
        if self._ended:
            raise LedgerError("The service is about to stop.")
        if self._is_away:
            raise LedgerError("A user is being forgotten: ask again.")

    def _started(self) -> subprocess.Popen[bytes]:
        """Starts the process that looks: it ends with this one, which holds its standard input."""
        self._require_wanted()
        command = [sys.executable, "-P", "-m", "recsdk_serve.look", str(self._folder.absolute())]  # nothing of the current folder
        environment = {**os.environ, "RECSDK_FAST": "0"}  # it needs no kernels, which take a second to load
        ends: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "start_new_session": True}  # Ctrl-C is for the service
        self._child = subprocess.Popen(command, env=environment, **ends)  # noqa: S603 -- this package
        return self._child
