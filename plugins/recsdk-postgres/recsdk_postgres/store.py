"""The plugin "postgres": finds, makes and opens ledgers in a database."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import time
import uuid
import warnings
from pathlib import Path
from typing import Any, Literal, NamedTuple

import attrs
import psycopg
from psycopg import sql

from recsdk.errors import InvalidValue, LedgerCorrupt, LedgerError, LedgerLocked, LedgerMismatch, LostRecords, one_of
from recsdk.ledger import LEVELS, Ledger, Verified, heads
from recsdk_postgres import tables
from recsdk_postgres.failures import connect, translated
from recsdk_postgres.ledger import PostgresLedger, last_records
from recsdk_postgres.rows import Row

MARK = "ledger.postgres"
"""The file that tells which ledger a folder stands for. It holds no connection string."""
NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
PATIENCE = 1.0
"""Seconds that a new writer waits for the lock of one that was killed: the server needs some milliseconds to notice."""
LIMITS = ("idle_in_transaction_session_timeout", "idle_session_timeout", "statement_timeout", "transaction_timeout")
"""Settings of the server that would end the session of an idle shop, or of a reader that takes its time."""


class Mark(NamedTuple):
    """What a folder stands for.

    Attributes:
        schema: the name of the database's schema with the ledger.
        ledger: the ledger's own number, by which another database with a schema of this name is noticed.
    """

    schema: str
    ledger: str


def _known_durability(instance: Any, field: Any, value: str) -> None:
    del instance
    one_of(field.name, value, LEVELS[1:])


def _is_text(instance: Any, field: Any, value: Any) -> None:
    del instance
    if not isinstance(value, str):
        raise InvalidValue(f"{field.name} must be a connection string, got {type(value).__name__}.")


def _is_name(instance: Any, field: Any, value: Any) -> None:
    del instance
    if value is not None and not (isinstance(value, str) and NAME.fullmatch(value)):
        raise InvalidValue(f"{field.name} must be of 1 to 63 small letters, digits and '_', and begin with no digit, got {value!r}.")


@attrs.frozen(kw_only=True)
class Postgres:
    """Keeps the ledger in a PostgreSQL database, in a schema of its own.

    The folder holds two small files: `ledger.postgres`, which names the schema, and `ledger.head`, which tells how far was acknowledged, so
    that a server that has lost something, as after a fail-over or a restored backup, is noticed.

    Attributes:
        conninfo: the connection string, which is never shown or kept. What it leaves out libpq takes from the environment: PGHOST,
            PGDATABASE, PGUSER, PGPASSWORD, PGSERVICE.
        schema: the name of the schema; None makes one up for a new folder. Give it where folders do not last, as in a container: then a new
            folder stands for the ledger that is there.
        durability: "power-loss": what was acknowledged survives the death of the server and its machine (synchronous_commit of the
            server, at least "local"); "process-crash": it survives that of the recommender, and a crash of the server may take the last
            moments (synchronous_commit=off).

    Example:
        >>> from recsdk_postgres import Postgres
        >>> Postgres(conninfo="host=db.example.org password=secret", schema="shop")
        Postgres(schema='shop', durability='power-loss')
    """

    conninfo: str = attrs.field(default="", repr=False, validator=_is_text)
    schema: str | None = attrs.field(default=None, validator=_is_name)
    durability: Literal["process-crash", "power-loss"] = attrs.field(default="power-loss", validator=_known_durability)

    def holds(self, folder: str | Path) -> bool:
        """Tells whether `ledger.postgres` is in the folder; the server is not asked."""
        return (Path(folder) / MARK).is_file()

    def open(self, folder: str | Path) -> Ledger:
        """Opens the ledger that a folder stands for, and makes both when they are not there.

        Raises:
            LedgerLocked: another recommender has it open; the message has its `application_name`.
            LedgerMismatch: a newer recsdk-postgres wrote it; the folder stands for another schema; the database has another ledger there.
            LedgerCorrupt: the schema, or records that were acknowledged, are missing.
            LedgerError: the server or the folder cannot be used, or the server cannot give this durability.
        """
        return _writing(self, Path(folder))

    def read(self, folder: str | Path) -> Ledger:
        """Opens the ledger that a folder stands for as it is at this moment.

        Raises:
            LedgerMismatch, LedgerCorrupt: as `open`.
            LedgerError: there is no ledger, or the server cannot be used.
        """
        return _reading(self, Path(folder))

    def verify(self, folder: str | Path) -> Verified:
        """See `recsdk.ledger.Verifies`; the server itself sees to what refers to what."""
        with contextlib.closing(_reading(self, Path(folder))) as ledger:
            return ledger.verify()


def _writing(store: Postgres, folder: Path) -> PostgresLedger:
    with contextlib.ExitStack() as opened, translated(f"The ledger of {str(folder)!r} cannot be opened"):
        heads.make(folder)
        mark = _mark(store, folder)
        schema = mark.schema if mark is not None else store.schema or _new_name(folder)
        connection = opened.enter_context(contextlib.closing(_session(store, schema)))
        _lock(connection, schema, folder)
        _settle_durability(connection, store.durability)
        known = _existing(connection, mark, schema, folder)
        if known is None:
            known = _create(connection, schema)
        elif mark is None and store.schema is None:
            raise LedgerError(f"The database has a ledger in the schema {schema!r}, which was just made up: open the folder again.")
        _upgrade(connection)
        _refuse_loss(connection, folder)
        if mark is None:
            _put_mark(folder, known)
        head = heads.HeadFile(folder)
        opened.callback(head.close)
        head.start(last_records(connection), safe=store.durability == "power-loss", now=_server_start(connection))
        ledger = PostgresLedger(connection, store.durability, head)
        with contextlib.suppress(LedgerError):  # it was due when the process was killed; where a reader prevents it, it stays so
            ledger.scrub()
        opened.pop_all()
        return ledger


def _reading(store: Postgres, folder: Path) -> PostgresLedger:
    if not store.holds(folder):
        raise LedgerError(f"There is no ledger of PostgreSQL in {str(folder)!r}.")
    with contextlib.ExitStack() as opened, translated(f"The ledger of {str(folder)!r} cannot be read"):
        mark = _mark(store, folder)
        assert mark is not None  # noqa: S101 -- it is there
        connection = opened.enter_context(contextlib.closing(_session(store, mark.schema)))
        connection.execute("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        connection.execute("BEGIN")
        _existing(connection, mark, mark.schema, folder)  # the first query fixes the moment
        opened.pop_all()
        return PostgresLedger(connection, store.durability)


def _session(store: Postgres, schema: str) -> psycopg.Connection[Row]:
    connection = connect(store.conninfo, application_name=f"recsdk, process {os.getpid()}")
    try:
        connection.execute("SELECT set_config('search_path', quote_ident(%s), false)", (schema,))
        connection.execute("SELECT set_config(name, '0', false) FROM pg_settings WHERE name = ANY(%s)", (list(LIMITS),))
    except BaseException:
        connection.close()
        raise
    return connection


def _lock(connection: psycopg.Connection[Row], schema: str, folder: Path) -> None:
    """Takes the schema's lock, which the server holds for this session and no longer."""
    key = int.from_bytes(hashlib.blake2b(schema.encode(), digest_size=8, person=b"recsdk").digest(), signed=True)
    deadline = time.monotonic() + PATIENCE
    while True:
        ((taken,),) = connection.execute("SELECT pg_try_advisory_lock(%s)", (key,)).fetchall()
        if taken:
            return
        if time.monotonic() > deadline:
            break
        time.sleep(PATIENCE / 50)
    holders = connection.execute(
        "SELECT application_name FROM pg_stat_activity JOIN pg_locks USING (pid) WHERE locktype = 'advisory' AND objsubid = 1 AND granted "
        "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND (classid::bigint << 32) | objid::bigint = %s",
        (key,),
    ).fetchall()
    where = " and ".join(f"by {name!r}" for (name,) in holders if name) or "elsewhere"
    raise LedgerLocked(
        f"The ledger of {str(folder)!r}, schema {schema!r}, is open {where}: close that recommender first. One process serves a ledger, "
        "so start a web server with one worker, or give each worker a ledger of its own."
    )


def _settle_durability(connection: psycopg.Connection[Row], durability: str) -> None:
    """Sets the level of this session, or says that the server cannot give it."""
    if durability == "process-crash":
        connection.execute("SET synchronous_commit = off")
        return
    ((fsync, commit),) = connection.execute("SELECT current_setting('fsync'), current_setting('synchronous_commit')").fetchall()
    if fsync == "off":
        raise LedgerError(
            "The PostgreSQL server runs with fsync=off and cannot keep anything through a power cut: turn it on, "
            "or ask for Postgres(durability='process-crash')."
        )
    if commit == "off":
        connection.execute("SET synchronous_commit = on")


def _existing(connection: psycopg.Connection[Row], mark: Mark | None, schema: str, folder: Path) -> Mark | None:
    """Returns which ledger the schema has; None for none, where the folder is new."""
    ((there,),) = connection.execute("SELECT to_regclass('meta') IS NOT NULL").fetchall()
    if not there:
        if mark is None:
            return None
        raise LedgerCorrupt(
            f"The database has no ledger in the schema {schema!r}, for which {str(folder)!r} stands: is it the right database?"
        )
    ((version, ledger),) = connection.execute("SELECT version, ledger FROM meta", binary=True).fetchall()
    if version > tables.VERSION:
        raise LedgerMismatch(
            f"The ledger is of version {version}, this recsdk-postgres reads versions up to {tables.VERSION}: install a newer one."
        )
    if mark is not None and mark.ledger != ledger.hex():
        raise LedgerMismatch(
            f"The schema {schema!r} of this database holds another ledger than the one for which {str(folder)!r} stands: "
            "is it the right database?"
        )
    return Mark(schema, ledger.hex())


def _create(connection: psycopg.Connection[Row], schema: str) -> Mark:
    ledger = secrets.token_bytes(16)
    with connection.transaction():
        connection.execute("SET LOCAL synchronous_commit = on")  # or a crash might take the ledger, and the folder would stand for none
        connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
        connection.execute(tables.SCHEMA)
        connection.execute("INSERT INTO meta VALUES (%s, %s)", (tables.VERSION, ledger))
    return Mark(schema, ledger.hex())


def _upgrade(connection: psycopg.Connection[Row]) -> None:
    ((version,),) = connection.execute("SELECT version FROM meta").fetchall()
    if version == tables.VERSION:
        return
    with connection.transaction():
        for step in range(version, tables.VERSION):
            connection.execute(tables.UPGRADES[step])
        connection.execute("UPDATE meta SET version = %s", (tables.VERSION,))


def _refuse_loss(connection: psycopg.Connection[Row], folder: Path) -> None:
    """Refuses a ledger that lacks what was acknowledged, but for the last moments before a crash at a level that allows it."""
    head = heads.read(folder)
    if head is None:
        return

    def chain(table: str, number: int) -> bytes | None:
        row = connection.execute(f"SELECT chain FROM {table} WHERE number = %s", (number,), binary=True).fetchone()
        return None if row is None else row[0]

    missing = heads.missing(head, last_records(connection), chain)
    if not missing:
        return
    told = heads.told(missing)
    if head.excuses(missing, _server_start(connection)):
        warnings.warn(f"The PostgreSQL server stopped while the ledger was open at 'process-crash': {told} are lost.", LostRecords, 4)
        return
    raise LedgerCorrupt(
        f"The database lacks what the ledger of {str(folder)!r} has acknowledged: {told}. Is it an older copy of the database, or a "
        f"replica that was behind? To accept what is there, delete {heads.HEAD} in the folder."
    )


def _server_start(connection: psycopg.Connection[Row]) -> bytes:
    """Returns which start of the server this is: also after a crash of one of its processes, where its role may see that."""
    again = "(SELECT backend_start FROM pg_stat_activity WHERE backend_type = 'checkpointer')"
    ((when,),) = connection.execute(f"SELECT COALESCE({again}, pg_postmaster_start_time())::text").fetchall()
    return hashlib.blake2b(str(when).encode(), digest_size=len(heads.START)).digest()


def _mark(store: Postgres, folder: Path) -> Mark | None:
    try:
        text = (folder / MARK).read_text()
    except FileNotFoundError:
        return None
    try:
        fields = json.loads(text)
        mark = Mark(fields["schema"], fields["ledger"])
    except (ValueError, KeyError, TypeError) as error:
        raise LedgerCorrupt(f"{MARK} in {str(folder)!r} is damaged: {text!r:.100}.") from error
    if store.schema not in (None, mark.schema):
        raise LedgerMismatch(f"The folder {str(folder)!r} stands for the schema {mark.schema!r}, got schema={store.schema!r}.")
    return mark


def _put_mark(folder: Path, mark: Mark) -> None:
    heads.put(folder / MARK, json.dumps(mark._asdict()).encode())


def _new_name(folder: Path) -> str:
    plain = re.sub(r"[^a-z0-9]+", "_", folder.resolve().name.lower())[:40].strip("_")
    return f"recsdk_{plain}_{uuid.uuid4().hex[:8]}"
