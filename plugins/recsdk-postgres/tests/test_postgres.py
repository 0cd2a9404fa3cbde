"""The ledger in PostgreSQL: one writer, nothing lost in silence, nothing told that is secret."""

import contextlib
import json
import os
import signal

import numpy as np
import psycopg
import pytest
from recsdk_postgres import Postgres

import recsdk
from recsdk import plugins
from recsdk.errors import InvalidValue, LedgerCorrupt, LedgerError, LedgerLocked, LedgerMismatch, LedgerStopped, LostRecords
from recsdk.ledger import DecisionRecord, ItemRecord, RewardRecord

ITEMS = [{"id": "tea"}, {"id": "coffee"}, {"id": "milk"}]
PASSWORD = "pa'ss-w0rd"  # noqa: S105


def decision(name, rows=2):
    features = np.ones((3, 4), np.float32)
    slots, action = np.arange(3, dtype=np.int32), np.arange(rows, dtype=np.int32)
    return DecisionRecord(name, 12.5, '{"size": 2}', '{"policy": 1}', 7, slots, action, np.full((rows, 3), 0.25), features)


def item(slot):
    return ItemRecord(slot, '{"id": "a"}', np.ones(2, np.float32), True)


def reward():
    return RewardRecord("r", "d", 0, 0.1, 13.0)


def schema_of(folder):
    return json.loads((folder / "ledger.postgres").read_text())["schema"]


def alter(server, folder, statement):
    """Changes the tables behind the ledger's back."""
    with psycopg.connect(server.conninfo, autocommit=True) as db:
        db.execute(f"SET search_path TO {schema_of(folder)}")
        return db.execute(statement).statusmessage


def filled(store, folder):
    with contextlib.closing(store.open(folder)) as ledger:
        ledger.put_item(item(0))
        for number in range(3):
            ledger.add_decision(decision(f"d{number}"))
        ledger.add_decision(decision("d"))
        ledger.add_reward(reward())
        ledger.put("b", b"1")


def test_it_is_found_by_name_and_by_its_folder(store, tmp_path):
    assert plugins.load("ledgers", "postgres") == Postgres()
    filled(store, tmp_path)
    assert Postgres().holds(tmp_path)
    assert not Postgres().holds(tmp_path / "other")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"durability": "memory"}, "durability must be one of"),
        ({"schema": "Shop"}, "schema must be of 1 to 63 small letters"),
        ({"schema": 'a"; DROP'}, "schema must be"),
        ({"conninfo": 3}, "conninfo must be a connection string, got int"),
    ],
)
def test_settings_that_it_cannot_have_are_refused(settings, message):
    with pytest.raises(InvalidValue, match=message):
        Postgres(**settings)


@pytest.mark.parametrize(
    "conninfo",
    [
        f'host=127.0.0.1 port=1 user=bob-the-user dbname=thedb password="{PASSWORD}"',
        f"host=no-such-host.invalid user=bob-the-user dbname=thedb password={PASSWORD.replace(chr(39), '')}",
        f"postgresqlx://bob-the-user:{PASSWORD}@127.0.0.1/thedb",
        f"user=bob-the-user pasword={PASSWORD} dbname=thedb",
        f"host=/nowhere/at/all user=bob-the-user dbname=thedb password={PASSWORD.replace(chr(39), '')}",
    ],
)
def test_nothing_of_the_connection_string_is_told_when_it_fails(tmp_path, conninfo):
    store = Postgres(conninfo=conninfo)
    with pytest.raises(LedgerError) as failed:
        store.open(tmp_path)
    error, told = failed.value, repr(store)
    while error is not None:
        told += str(error) + repr(error.__context__ if not error.__suppress_context__ else "")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    for secret in (PASSWORD, "pa", "bob-the-user", "thedb", "no-such-host", "/nowhere", "127.0.0.1"):
        assert secret not in told.replace("path", "").replace("PGPASSWORD", "").replace("password", ""), told


def test_nothing_of_the_connection_string_is_in_the_folder_or_the_database(server, tmp_path):
    store = Postgres(conninfo=f"{server.conninfo} password=unseen-word")
    with recsdk.Recommender.open(tmp_path, items=ITEMS, ledger=store) as shop:
        shop.reward(shop.recommend({}).decision_id, 1.0)
    with psycopg.connect(server.conninfo) as db:
        for table in ("meta", "blobs", "decisions", "parts"):
            rows = db.execute(f"SELECT * FROM {schema_of(tmp_path)}.{table}", binary=True).fetchall()  # noqa: S608
            assert not any(isinstance(value, bytes) and b"unseen-word" in value for row in rows for value in row)
    assert not any(b"unseen-word" in path.read_bytes() for path in tmp_path.iterdir())


def test_a_second_writer_is_told_who_holds_the_ledger(server, store, tmp_path):
    other = Postgres(conninfo=f"{server.conninfo} application_name=till-3", durability="process-crash")
    with contextlib.closing(other.open(tmp_path)), pytest.raises(LedgerLocked, match="is open by 'till-3': close that recommender first"):
        store.open(tmp_path)
    store.open(tmp_path).close()


def test_a_folder_that_is_gone_is_stood_in_for_by_another_where_the_schema_is_named(server, tmp_path):
    store = Postgres(conninfo=server.conninfo, schema="container_shop")
    with recsdk.Recommender.open(tmp_path / "first", items=ITEMS, ledger=store) as shop:
        shop.reward(shop.recommend({}).decision_id, 1.0)
    with recsdk.Recommender.open(tmp_path / "second", ledger=store) as shop:
        assert shop.num_learned == 1
        with pytest.raises(LedgerLocked):
            store.open(tmp_path / "first")


def test_a_folder_of_another_schema_or_database_is_refused(server, store, tmp_path):
    filled(store, tmp_path)
    with pytest.raises(LedgerMismatch, match=r"stands for the schema 'recsdk_.*', got schema='other'"):
        Postgres(conninfo=server.conninfo, schema="other").open(tmp_path)
    mark = json.loads((tmp_path / "ledger.postgres").read_text())
    (tmp_path / "ledger.postgres").write_text(json.dumps({**mark, "ledger": "00" * 16}))
    for opening in (store.open, store.read):
        with pytest.raises(LedgerMismatch, match="holds another ledger"):
            opening(tmp_path)
    (tmp_path / "ledger.postgres").write_text(json.dumps({**mark, "schema": "recsdk_gone"}))
    with pytest.raises(LedgerCorrupt, match="has no ledger in the schema 'recsdk_gone'"):
        store.open(tmp_path)
    (tmp_path / "ledger.postgres").write_text("{")
    with pytest.raises(LedgerCorrupt, match="is damaged"):
        store.open(tmp_path)


def test_it_says_which_durability_it_got(server, tmp_path):
    for durability in ("process-crash", "power-loss"):
        store = Postgres(conninfo=server.conninfo, durability=durability)
        with recsdk.Recommender.open(tmp_path, items=ITEMS, ledger=store) as shop:
            assert shop.durability == durability


def test_a_newer_version_is_refused(server, store, tmp_path):
    filled(store, tmp_path)
    alter(server, tmp_path, "UPDATE meta SET version = 99")
    with pytest.raises(LedgerMismatch, match="is of version 99"):
        store.open(tmp_path)


@pytest.mark.parametrize(
    ("statement", "missing"),
    [
        ("DELETE FROM rewards", "1 rewards"),
        ("DELETE FROM items", "1 items"),
        ("TRUNCATE signals, rewards, decisions", "4 decisions and 1 rewards"),
        (r"UPDATE decisions SET chain = '\x00' WHERE number = 4", "other decisions than were written"),
    ],
)
def test_acknowledged_records_that_are_missing_are_noticed(server, store, tmp_path, statement, missing):
    filled(store, tmp_path)
    alter(server, tmp_path, statement)
    with pytest.raises(LedgerCorrupt, match=f"has acknowledged: {missing}"):
        store.open(tmp_path)


@pytest.mark.parametrize(
    ("statement", "read"),
    [
        ("UPDATE rewards SET value = 2", lambda ledger: ledger.reward("r")),
        ("UPDATE rewards SET value = 2", lambda ledger: list(ledger.outcomes())),
        (r"UPDATE decisions SET features = set_byte(features, 0, get_byte(features, 0) # 1)", lambda ledger: list(ledger.decisions())),
        ("UPDATE decisions SET user_key = 'ann' WHERE id = 'd'", lambda ledger: ledger.decision("d")),
        ("UPDATE parts SET text = '{ }'", lambda ledger: ledger.decision("d")),
        (r"UPDATE items SET row = '\xff'", lambda ledger: list(ledger.items())),
        ("UPDATE blobs SET data = '2'", lambda ledger: ledger.get("b")),
    ],
)
def test_a_record_that_is_not_what_was_written_is_never_returned(server, store, tmp_path, statement, read):
    filled(store, tmp_path)
    assert alter(server, tmp_path, statement) != "UPDATE 0"
    with contextlib.closing(store.read(tmp_path)) as ledger, pytest.raises(LedgerCorrupt, match="checksum"):
        read(ledger)


def test_an_error_that_is_swallowed_in_a_transaction_does_not_become_a_silent_rollback(store, tmp_path):
    with contextlib.closing(store.open(tmp_path)) as ledger:
        ledger.add_decision(decision("d"))
        with pytest.raises(LedgerError, match="nothing of it is kept"), ledger.transaction():  # noqa: PT012
            ledger.put("b", b"1")
            with contextlib.suppress(LedgerError):
                ledger.add_decision(decision("d"))
        assert ledger.get("b") is None
        ledger.add_decision(decision("e"))
        assert [record.decision_id for record in ledger.decisions()] == ["d", "e"]


def test_users_of_any_length_and_texts_with_a_nul_are_kept(store, tmp_path):
    users = ["u" * 10_000, "a\0b", "\N{GRINNING FACE}"]
    with contextlib.closing(store.open(tmp_path)) as ledger:
        for number, user in enumerate(users):
            ledger.add_decision(decision(f"d{number}\0")._replace(user=user))
        assert [[record.decision_id for record in ledger.decisions_of(user)] for user in users] == [["d0\0"], ["d1\0"], ["d2\0"]]


def test_pages_have_every_row_once(store, tmp_path):
    with contextlib.closing(store.open(tmp_path)) as ledger:
        with ledger.transaction():
            for number in range(1050):
                ledger.add_decision(decision(f"{number}", rows=1)._replace(user="ann"))
        forth = [record.decision_id for record in ledger.decisions()]
        back = [record.decision_id for record in ledger.decisions_of("ann")]
        assert forth == back[::-1] == [str(number) for number in range(1050)]


@pytest.fixture
def careless(server):
    """The server, which does not wait for the disk for the time of one test."""
    with psycopg.connect(server.conninfo, autocommit=True) as db:
        try:
            db.execute("ALTER SYSTEM SET fsync = off")
            db.execute("SELECT pg_reload_conf()")
            yield server
        finally:
            db.execute("ALTER SYSTEM RESET fsync")
            db.execute("SELECT pg_reload_conf()")


def test_power_loss_is_refused_where_the_server_does_not_wait_for_the_disk(careless, store, tmp_path):
    with pytest.raises(LedgerError, match="runs with fsync=off"):
        Postgres(conninfo=careless.conninfo).open(tmp_path)
    store.open(tmp_path).close()


@pytest.mark.parametrize(("setting", "wanted"), [("off", "on"), ("local", "local"), ("remote_apply", "remote_apply")])
def test_a_level_of_the_server_that_waits_for_more_is_kept(server, tmp_path, setting, wanted):
    store = Postgres(conninfo=f"{server.conninfo} options='-c synchronous_commit={setting}'")
    with contextlib.closing(store.open(tmp_path)) as ledger:
        ((found,),) = ledger._rows("SHOW synchronous_commit")
        assert found == wanted


def test_after_the_server_is_gone_nothing_is_acknowledged_until_the_folder_is_opened_again(server, tmp_path):
    store = Postgres(conninfo=server.conninfo)
    shop = recsdk.Recommender.open(tmp_path, items=ITEMS, ledger=store)
    slate = shop.recommend({})
    server.kill()
    with pytest.raises(LedgerStopped, match="open the folder again"):
        shop.reward(slate.decision_id, 1.0)
    server.start()
    with pytest.raises(LedgerError):
        shop.reward(slate.decision_id, 1.0)
    with contextlib.suppress(LedgerError):
        shop.close()
    with recsdk.Recommender.open(tmp_path, ledger=store) as again:
        assert again.reward(slate.decision_id, 1.0)
        assert again.audit()


def test_what_a_server_lost_at_process_crash_is_told_and_an_older_copy_is_refused(server, store, tmp_path):
    ledger = store.open(tmp_path)
    with psycopg.connect(server.conninfo) as db:
        ((writer,),) = db.execute("SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'")
    os.kill(writer, signal.SIGSTOP)  # it would put what was committed on the disk, at a moment of its own
    for number in range(3):
        ledger.add_decision(decision(f"d{number}"))
    server.kill()
    with contextlib.suppress(LedgerError):
        ledger.close()
    server.start()
    with pytest.warns(LostRecords, match=r"stopped while the ledger was open at 'process-crash': \d decisions are lost"):
        store.open(tmp_path).close()
    with contextlib.closing(store.open(tmp_path)) as ledger:
        ledger.add_decision(decision("e"))
    alter(server, tmp_path, "DELETE FROM decisions WHERE number = (SELECT MAX(number) FROM decisions)")
    with pytest.raises(LedgerCorrupt, match="an older copy"):  # it was closed: all of it was on the disk
        store.open(tmp_path)


def test_a_ledger_of_version_1_is_read_as_it_is_and_goes_on(server, store, tmp_path):
    filled(store, tmp_path)
    for table in ("decisions", "signals", "rewards"):
        alter(server, tmp_path, f"ALTER TABLE {table} DROP COLUMN forgotten")
    alter(server, tmp_path, "ALTER TABLE rewards ALTER CONSTRAINT rewards_replaces_fkey NOT DEFERRABLE")
    alter(server, tmp_path, "UPDATE meta SET version = 1")
    with contextlib.closing(store.read(tmp_path)) as reading:
        before = [record.decision_id for record in reading.decisions()]
        assert [reward.reward_id for reward, _ in reading.outcomes()] == ["r"]
    with contextlib.closing(store.open(tmp_path)) as opened:
        assert [record.decision_id for record in opened.decisions()] == before
        opened.add_decision(decision("new"))
    with contextlib.closing(store.read(tmp_path)) as reading:
        assert reading.decision("new") is not None
    assert store.verify(tmp_path).problems == ()


def test_records_that_do_not_follow_each_other_are_found(server, store, tmp_path):
    filled(store, tmp_path)
    assert store.verify(tmp_path) == (6, ())
    alter(server, tmp_path, r"UPDATE decisions SET chain = '\x00' WHERE number = 2")
    assert store.verify(tmp_path) == (6, ("the decisions do not follow each other",))
