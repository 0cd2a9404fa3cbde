"""Damage on disk: a folder gives all that was acknowledged, or says what is missing; never a shorter history in silence."""

import contextlib
import shutil
import sqlite3

import numpy as np
import pytest

from recsdk import read_ledger
from recsdk.errors import LedgerCorrupt, LedgerError, LostRecords
from recsdk.ledger import SignalRecord, _head, heads
from recsdk.ledger._packing import unpack
from recsdk.ledger.sqlite import Lost, Sqlite, SqliteLedger
from tests.ledger.test_sqlite import decision, item, reward
from tests.live.shop import alter, serve, small_recommender, state, tables

NUM_REWARDS = 12


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The folder of a recommender that was killed, and that of the same one closed."""
    folder = tmp_path_factory.mktemp("damage")
    shop = small_recommender(folder / "closed", policy="lin-ts", snapshot_every=1000)
    serve(shop, range(NUM_REWARDS - 6))
    before = (folder / "closed" / "ledger.sqlite-wal").stat().st_size
    serve(shop, range(NUM_REWARDS - 6, NUM_REWARDS))
    shutil.copytree(folder / "closed", folder / "killed", ignore=shutil.ignore_patterns("*-shm"))
    shop.close()
    return folder, before


def found(folder, whole, *, name="ledger.sqlite-wal", data=None, size=None):
    """Returns the records in a copy of a folder, after a file of it was changed; None when opening it raises `LedgerCorrupt`."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole, folder)
    if data is not None:
        (folder / name).write_bytes(data)
    else:
        with (folder / name).open("r+b") as file:
            file.truncate(size)
    return records(folder)


def records(folder):
    try:
        ledger = Sqlite().open(folder)
    except LedgerCorrupt:
        return None
    try:
        return [name.decision_id for name in ledger.decisions()], [tuple(each) for each in ledger.rewards()]
    except LedgerCorrupt:
        return None
    finally:
        ledger.close()


def assert_never_shorter(folder, whole, sizes, name="ledger.sqlite-wal"):
    """Cuts a file at each size: all is there, or it is refused, with the folder as it was."""
    held, refused = records(shutil.copytree(whole, folder / "whole")), 0
    assert len(held[1]) == NUM_REWARDS
    for size in sizes:
        there = found(folder / "cut", whole, name=name, size=size)
        assert there in (None, held), size
        refused += there is None
    return refused


def sizes_of(folders, seed, count):
    folder, before = folders
    after = (folder / "killed" / "ledger.sqlite-wal").stat().st_size
    return sorted(np.random.default_rng(seed).choice(np.arange(before, after), count, replace=False).tolist())


def test_a_write_ahead_log_cut_anywhere_in_its_last_records_is_noticed(tmp_path, folders):
    assert assert_never_shorter(tmp_path, folders[0] / "killed", sizes_of(folders, 0, 40)) == 40


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_write_ahead_log_cut_at_every_byte_of_its_last_records_is_noticed(tmp_path, folders):
    folder, before = folders
    after = (folder / "killed" / "ledger.sqlite-wal").stat().st_size
    assert assert_never_shorter(tmp_path, folder / "killed", range(before, after)) == after - before


def test_a_closed_file_cut_at_its_end_is_noticed(tmp_path, folders):
    size = (folders[0] / "closed" / "ledger.sqlite").stat().st_size
    sizes = [0, 1, 99, 100, 4096, 5000, size // 2, *range(size - 4200, size, 100), size - 1]
    assert assert_never_shorter(tmp_path, folders[0] / "closed", sizes, "ledger.sqlite") == len(sizes)


@pytest.mark.parametrize(("which", "name"), [("killed", "ledger.sqlite-wal"), ("closed", "ledger.sqlite"), ("killed", "ledger.head")])
def test_a_flipped_bit_never_shortens_the_history(tmp_path, folders, which, name):
    whole = folders[0] / which
    held = records(shutil.copytree(whole, tmp_path / "whole"))
    rng, refused = np.random.default_rng(1), 0
    for _ in range(40):
        data = bytearray((whole / name).read_bytes())
        place = int(rng.integers(len(data)))
        data[place] ^= 1 << int(rng.integers(8))
        there = found(tmp_path / "flipped", whole, name=name, data=data)
        assert there in (None, held), f"a bit of byte {place}"
        refused += there is None
    assert refused > 5 or name != "ledger.sqlite-wal"


@pytest.mark.parametrize("which", ["killed", "closed"])
def test_an_empty_or_missing_file_is_not_a_new_shop(tmp_path, folders, which):
    whole = folders[0] / which
    assert found(tmp_path / "empty", whole, name="ledger.sqlite", size=0) is None
    with pytest.raises(LedgerCorrupt, match=r"is empty|belongs to another"):
        read_ledger(tmp_path / "empty")
    shutil.copytree(whole, tmp_path / "missing")
    (tmp_path / "missing" / "ledger.sqlite").unlink()
    with pytest.raises(LedgerCorrupt, match=r"lacks what was acknowledged: 12 decisions and 12 rewards and 12 items"):
        Sqlite().open(tmp_path / "missing")
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "ledger.sqlite").touch()
    with pytest.raises(LedgerCorrupt, match="is empty"):
        Sqlite().open(tmp_path / "alone")


def test_a_deleted_write_ahead_log_is_noticed_and_the_folder_stays_as_it_was(tmp_path, folders):
    shutil.copytree(folders[0] / "killed", tmp_path / "shop")
    (tmp_path / "shop" / "ledger.sqlite-wal").unlink()
    before = (tmp_path / "shop" / "ledger.sqlite").read_bytes(), (tmp_path / "shop" / "ledger.head").read_bytes()
    for opening in (lambda: Sqlite().open(tmp_path / "shop"), lambda: Sqlite().copy(tmp_path / "shop", tmp_path / "copy")):
        with pytest.raises(
            LedgerCorrupt, match=r"12 decisions and 12 rewards.*repair\('.*shop'\), which returns how many records are lost"
        ):
            opening()
    assert before == ((tmp_path / "shop" / "ledger.sqlite").read_bytes(), (tmp_path / "shop" / "ledger.head").read_bytes())


def test_a_cut_log_can_be_repaired_and_what_is_lost_is_told(tmp_path, folders):
    folder, before = folders
    assert found(tmp_path / "shop", folder / "killed", size=before) is None
    lost = Sqlite().repair(tmp_path / "shop")
    assert lost == Lost(decisions=6, rewards=6)
    with small_recommender(tmp_path / "shop", policy="lin-ts") as shop:
        assert shop.num_learned == NUM_REWARDS - 6
        assert shop.audit()
        serve(shop, range(20, 25))
        learned = state(shop)
    assert Sqlite().repair(tmp_path / "shop") == Lost()
    with small_recommender(tmp_path / "shop", policy="lin-ts") as shop:
        assert state(shop) == learned


def test_nothing_is_repaired_while_it_is_open_or_not_there(tmp_path):
    with small_recommender(tmp_path / "shop"), pytest.raises(LedgerError, match="open in this process"):
        Sqlite().repair(tmp_path / "shop")
    with pytest.raises(LedgerError, match="There is no ledger"):
        Sqlite().repair(tmp_path / "nowhere")


@pytest.mark.parametrize("table", heads.TABLES)
def test_other_records_in_place_of_those_acknowledged_are_noticed(tmp_path, table):
    with small_recommender(tmp_path / "shop") as shop:
        serve(shop, range(3))
        shop._loop.ledger.add_signal(signal())
    alter(tmp_path / "shop", f"UPDATE {table} SET chain = zeroblob(16) WHERE number = (SELECT MAX(number) FROM {table})")  # noqa: S608
    with pytest.raises(LedgerCorrupt, match=f"other {table} than were written"):
        Sqlite().open(tmp_path / "shop")


def signal():
    return SignalRecord("s", "d0", 0, "click", 1.0, 1.0)


def test_a_record_changed_in_the_middle_is_noticed_by_a_backup(tmp_path):
    with small_recommender(tmp_path / "shop") as shop:
        serve(shop, range(6))
    alter(tmp_path / "shop", "UPDATE rewards SET crc32 = crc32 + 1 WHERE number = 3")
    with pytest.raises(LedgerCorrupt, match="do not follow each other"):
        Sqlite().copy(tmp_path / "shop", tmp_path / "copy")


def test_killed_between_a_commit_and_its_head_nothing_is_missing(tmp_path, monkeypatch):
    ledger = Sqlite().open(tmp_path)
    ledger.add_decision(decision())
    monkeypatch.setattr(heads.HeadFile, "write", lambda self, tables: None)
    ledger.add_reward(reward())
    ledger.close()
    again = Sqlite().open(tmp_path)
    assert again.num_rewards() == 1
    again.close()


def test_a_failed_statement_does_not_break_the_chain(tmp_path):
    ledger = Sqlite().open(tmp_path)
    ledger.add_decision(decision())
    with ledger.transaction():
        ledger.add_reward(reward())
        with pytest.raises(LedgerError, match="UNIQUE"):
            ledger.add_reward(reward())
        ledger.put_item(item())
    with pytest.raises(LedgerError, match="UNIQUE"):
        ledger.add_decision(decision())
    ledger.add_decision(decision("e"))
    assert _head.is_whole(ledger._db)
    assert heads.read(tmp_path).numbers() == {"decisions": 2, "rewards": 1, "items": 1}
    ledger.close()
    Sqlite().open(tmp_path).close()


@pytest.mark.parametrize("durability", ["process-crash", "power-loss"])
def test_the_last_moments_before_a_power_cut_are_excused_at_one_level_only(tmp_path, monkeypatch, durability):
    ledger = Sqlite(durability=durability).open(tmp_path / "shop")
    ledger.add_decision(decision())
    shutil.copytree(tmp_path / "shop", tmp_path / "cut", ignore=shutil.ignore_patterns("*-shm", "*-wal"))
    ledger.close()
    with pytest.raises(LedgerCorrupt, match="1 decisions"):  # the machine has not stopped
        Sqlite().open(tmp_path / "cut")
    monkeypatch.setattr(heads, "boot", lambda: b"another start...")
    if durability == "process-crash":
        with pytest.warns(LostRecords, match="1 decisions are lost"):
            Sqlite().open(tmp_path / "cut").close()
        Sqlite().open(tmp_path / "cut").close()
    else:
        with pytest.raises(LedgerCorrupt, match="1 decisions"):
            Sqlite().open(tmp_path / "cut")


def test_what_was_closed_is_never_excused(tmp_path, monkeypatch):
    ledger = Sqlite().open(tmp_path)
    ledger.add_decision(decision())
    ledger.close()
    (tmp_path / "ledger.sqlite").unlink()
    monkeypatch.setattr(heads, "boot", lambda: b"another start...")
    with pytest.raises(LedgerCorrupt, match="1 decisions"):
        Sqlite().open(tmp_path)


def test_a_head_that_was_cut_off_while_it_was_written_is_the_one_before(tmp_path):
    ledger = Sqlite().open(tmp_path)
    ledger.add_decision(decision())
    ledger.add_decision(decision("e"))
    place = heads.PLACES[heads.read(tmp_path).sequence % 2]
    with (tmp_path / "ledger.head").open("r+b") as file:
        file.seek(place + 50)
        file.write(b"\xff" * 40)
    assert heads.read(tmp_path).numbers() == {"decisions": 1}
    ledger.close()


def test_a_damaged_head_is_refused_and_can_be_repaired(tmp_path):
    with small_recommender(tmp_path) as shop:
        serve(shop, range(3))
    (tmp_path / "ledger.head").write_bytes(bytes(8192))
    with pytest.raises(LedgerCorrupt, match=r"ledger.head in .* does not have the checksum"):
        Sqlite().open(tmp_path)
    assert Sqlite().repair(tmp_path) == Lost()
    with small_recommender(tmp_path) as shop:
        assert shop.num_learned == 3


def test_text_that_is_no_utf8_is_corrupt(tmp_path):
    with small_recommender(tmp_path) as shop:
        serve(shop, range(3))
    alter(tmp_path, "UPDATE decisions SET payload = CAST(x'ff' AS TEXT) WHERE number = 1")
    with pytest.raises(LedgerCorrupt, match="UTF-8"):
        read_ledger(tmp_path)
    (tmp_path / "ledger.mark").write_bytes(b"\xff\xfe")
    (tmp_path / "ledger.sqlite-wal").write_bytes(b"left")
    with pytest.raises(LedgerCorrupt, match="utf-8"):
        Sqlite().open(tmp_path)


VERSION_3 = """
CREATE TABLE old (
  number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, decision INTEGER NOT NULL REFERENCES decisions,
  position INTEGER NOT NULL, value REAL NOT NULL, time REAL NOT NULL, crc32 INTEGER NOT NULL, UNIQUE (decision, position)) STRICT;
INSERT INTO old SELECT number, id, decision, position, value, time, crc32 FROM rewards;
DROP TABLE rewards;
ALTER TABLE old RENAME TO rewards;
ALTER TABLE signals DROP COLUMN forgotten;
ALTER TABLE signals DROP COLUMN happened;
ALTER TABLE signals DROP COLUMN about;
ALTER TABLE signals DROP COLUMN chain;
UPDATE decisions SET slots = unpack(slots), probs = unpack(probs), features = unpack(features);
ALTER TABLE decisions DROP COLUMN packed;
ALTER TABLE decisions DROP COLUMN chain;
ALTER TABLE decisions DROP COLUMN marks;
ALTER TABLE decisions DROP COLUMN forgotten;
ALTER TABLE items DROP COLUMN chain;
DROP TABLE segments;
PRAGMA user_version=3;
"""
"""What turns a closed ledger into one of version 3."""


def test_a_folder_of_an_earlier_version_gets_its_chain_and_keeps_its_arrays(tmp_path):
    with small_recommender(tmp_path) as shop:
        serve(shop, range(5))
        learned, before = state(shop), tables(tmp_path)
    db = sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)
    db.create_function("unpack", 1, unpack)
    db.executescript(VERSION_3)
    db.close()
    (tmp_path / "ledger.head").unlink()
    reading = Sqlite().read(tmp_path)
    assert len(list(reading.decisions())) == reading.num_rewards() == 5
    reading.close()
    with small_recommender(tmp_path) as shop:
        assert state(shop) == learned
        assert shop.audit()
        assert tables(tmp_path)["rewards"] == before["rewards"]
        assert isinstance(shop._loop.ledger, SqliteLedger)
        serve(shop, range(5, 8))
        assert _head.is_whole(shop._loop.ledger._db)


def test_a_ledger_whose_maker_was_killed_at_its_first_write_is_made_again(tmp_path):
    (making := tmp_path / "making").mkdir()
    heads.HeadFile(making)
    db = sqlite3.connect(making / "ledger.sqlite", isolation_level=None)
    db.execute("PRAGMA cache_size=1")
    db.execute("BEGIN")
    db.execute("CREATE TABLE half (data BLOB)")
    db.executemany("INSERT INTO half VALUES (?)", [(bytes(5_000),)] * 20)  # more than fits into memory: it is in the file before the commit
    killed = shutil.copytree(making, tmp_path / "killed")
    assert (killed / "ledger.sqlite").stat().st_size > 0 < (killed / "ledger.sqlite-journal").stat().st_size
    db.close()
    assert records(killed) == ([], [])
    assert not list(killed.glob("*-journal"))


DAMAGE = (
    "UPDATE rewards SET value = 7.5",
    "UPDATE decisions SET payload = ' ' || payload",
    "UPDATE decisions SET payload = CAST(x'ff' AS TEXT)",
)


@pytest.mark.parametrize("block", [1, 4, 200])
@pytest.mark.parametrize("damage", DAMAGE)
def test_outcomes_come_up_to_the_damaged_one_however_many_are_read_together(tmp_path, folders, monkeypatch, block, damage):
    monkeypatch.setattr("recsdk.ledger._ledger.BLOCK", block)
    folder = shutil.copytree(folders[0] / "closed", tmp_path / "copy")
    with contextlib.closing(sqlite3.connect(folder / "ledger.sqlite", isolation_level=None)) as db:
        db.execute(f"{damage} WHERE number = 7")  # there is a reward for each decision
    with contextlib.closing(Sqlite().read(folder)) as ledger:
        found = ledger.outcomes()
        assert len({next(found)[0].reward_id for _ in range(6)}) == 6
        with pytest.raises(LedgerCorrupt, match=r"checksum|could not be read"):
            next(found)
        assert len(list(ledger.outcomes(7))) == NUM_REWARDS - 7


def test_outcomes_that_could_not_be_read_are_told_though_the_next_try_can(folders, monkeypatch):
    tries, right = [], SqliteLedger._rows

    def failing_once(ledger, *query):
        tries.append(query)
        if len(tries) == 1:
            raise LedgerError("The disk failed once.")
        return right(ledger, *query)

    with contextlib.closing(Sqlite().read(folders[0] / "closed")) as ledger:
        monkeypatch.setattr(SqliteLedger, "_rows", failing_once)
        with pytest.raises(LedgerError, match="once"):
            list(ledger.outcomes())
