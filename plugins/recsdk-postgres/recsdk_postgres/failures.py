"""Turns what psycopg raises into errors of recsdk, which never show the connection string."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator

import psycopg
from psycopg import conninfo as strings

from recsdk.errors import LedgerCorrupt, LedgerError

DAMAGED = ("XX001", "XX002")
"""SQLSTATE of data and of indices that are corrupt."""


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """Raises an error of recsdk instead of psycopg's; it begins with `what`."""
    try:
        yield
    except psycopg.Error as error:
        damaged = error.sqlstate in DAMAGED
        primary = error.diag.message_primary or " ".join(str(error).split())
        raise (LedgerCorrupt if damaged else LedgerError)(f"{what}: {primary}.") from error
    except (OSError, UnicodeError) as error:
        if isinstance(error, LedgerError):
            raise
        raise (LedgerCorrupt if isinstance(error, UnicodeError) else LedgerError)(f"{what}: {error}.") from error


def connect(conninfo: str, *, application_name: str) -> psycopg.Connection[tuple[object, ...]]:
    """Connects to the server, every statement a transaction of its own.

    Raises:
        LedgerError: with the server's reason, without anything of the connection string.
    """
    try:
        given = strings.conninfo_to_dict(conninfo)
    except psycopg.Error:
        raise LedgerError(
            "conninfo must be a connection string of PostgreSQL, such as 'postgresql://user@host/database' or 'host=... dbname=...', "
            "got one that cannot be read; it is not shown here, since it may hold a password."
        ) from None
    try:
        return psycopg.connect(conninfo, autocommit=True, fallback_application_name=application_name)
    except psycopg.Error as error:
        reason = _without(" ".join(str(error).split()), given.get("password") or os.environ.get("PGPASSWORD"))
    raise LedgerError(
        f"The PostgreSQL server cannot be used: {reason}. Give its connection string as Postgres(conninfo=...), or by the environment "
        "variables PGHOST, PGDATABASE, PGUSER, PGPASSWORD or PGSERVICE."
    )


def _without(text: str, password: object) -> str:
    """Takes out of a message whatever may be of the connection string: all that is quoted. The server's own words stay."""
    quoted = re.sub(r"\"[^\"]*\"|'[^']*'", "***", text)
    return quoted.replace(str(password), "***") if password else quoted
