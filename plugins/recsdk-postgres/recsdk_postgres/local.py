"""A server of one's own in a temporary folder: for tests, and to try the ledger."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path
from typing import Any

import psycopg

from recsdk.errors import LedgerError

if sys.platform != "win32":
    import pwd

PLACES = "/usr/lib/postgresql/*/bin"
"""Where Debian puts the programs of the server, which are not on the PATH."""
ACCOUNTS = ("postgres", "nobody")
"""Under whose name the server runs where we are root, which it refuses."""
LOG = "log"
PATIENCE = 60.0
"""Seconds in which a server must answer; after a crash it reads its own log first."""


class LocalServer:
    """A PostgreSQL server on a Unix socket, which ends with the `with` block and leaves nothing.

    Args:
        settings: more of its settings, such as {"fsync": "off"}.

    Raises:
        LedgerError: no server is installed, or it does not start; the message has the reason.

    Example:
        >>> import recsdk
        >>> from recsdk_postgres import Postgres
        >>> from recsdk_postgres.local import LocalServer, missing
        >>> if not missing():
        ...     with LocalServer() as server:
        ...         ledger = Postgres(conninfo=server.conninfo)
        ...         with recsdk.Recommender.open("shop", items=[{"id": "tea"}], ledger=ledger) as shop:
        ...             assert shop.recommend({}).ids == ("tea",)
    """

    def __init__(self, settings: dict[str, str] | None = None) -> None:
        reason = missing()
        if reason:
            raise LedgerError(f"No PostgreSQL server can be started here: {reason}.")
        self._settings = {"listen_addresses": "", **(settings or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = Path(tempfile.mkdtemp(prefix="recsdk-pg-"))  # short: the path of a socket has 107 bytes at most
        self._others: dict[str, Any] = {"cwd": self._folder, "stdin": subprocess.DEVNULL}
        if os.geteuid() == 0:
            account = next(filter(_is_account, ACCOUNTS))
            shutil.chown(self._folder, account)
            self._others |= {"user": account, "group": pwd.getpwnam(account).pw_gid, "extra_groups": []}
        try:
            self._initialise()
            self.start()
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise

    @property
    def conninfo(self) -> str:
        """The connection string of its only database."""
        return f"host={self._folder} user=recsdk dbname=postgres"

    def start(self) -> None:
        """Starts it, also after `stop` or `kill`, and waits until it answers.

        Raises:
            LedgerError: it does not; the message has the end of its log.
        """
        settings = {**self._settings, "unix_socket_directories": str(self._folder)}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self._folder / LOG).open("ab") as log:
            self._process = subprocess.Popen(self._command("postgres", "-D", self._data, *options), stdout=log, stderr=log, **self._others)  # noqa: S603
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.conninfo):
                return
            time.sleep(0.02)
        self.stop()
        raise self._failure("postgres")

    def stop(self) -> None:
        """Stops it in an orderly way; connections that are open are ended."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Kills all its processes at once, as a crash would."""
        with psycopg.connect(self.conninfo) as db:
            others = [pid for (pid,) in db.execute("SELECT pid FROM pg_stat_activity").fetchall()]
        self._end(signal.SIGKILL)
        for pid in others:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def __enter__(self) -> LocalServer:
        """Returns the server itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: types.TracebackType | None) -> None:
        """Stops it and deletes its folder."""
        self._end(signal.SIGQUIT)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait()
        self._process = None

    def _initialise(self) -> None:
        words = ("initdb", "--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C", "--username=recsdk", "-D", self._data)
        with (self._folder / LOG).open("ab") as log:
            if subprocess.run(self._command(*words), stdout=log, stderr=log, check=False, **self._others).returncode:  # noqa: S603
                raise self._failure("initdb")

    def _command(self, program: str, *arguments: object) -> list[str]:
        found = _programs()
        assert found is not None  # noqa: S101 -- `missing` has looked
        return [str(found / program), *map(str, arguments)]

    def _failure(self, program: str) -> LedgerError:
        told = " ".join((self._folder / LOG).read_text().split())
        return LedgerError(f"{program} failed: {told[-500:]}")

    @property
    def _data(self) -> Path:
        return self._folder / "data"


def missing() -> str:
    """Returns why no server can be started here; nothing where one can."""
    if os.name != "posix":
        return "it needs Unix sockets"
    if _programs() is None:
        return f"initdb and postgres are neither on the PATH nor in {PLACES}: install PostgreSQL, as by apt-get install postgresql"
    if os.geteuid() == 0 and not any(map(_is_account, ACCOUNTS)):
        return f"the server refuses to run as root, and there is no account of {ACCOUNTS}"
    return ""


def _programs() -> Path | None:
    """Returns the folder with the newest server's programs."""
    found = shutil.which("initdb")
    places = [Path(found).resolve().parent] if found else []
    places += sorted(Path("/").glob(PLACES.lstrip("/")), key=lambda place: place.parent.name.zfill(4), reverse=True)
    return next((place for place in places if (place / "initdb").exists() and (place / "postgres").exists()), None)


def _is_account(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
