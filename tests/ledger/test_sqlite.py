"""The SQLite ledger: what it takes it gives back, or it says that it cannot."""

import contextlib
import sqlite3

import numpy as np
import pytest

from recsdk.errors import InvalidValue, LedgerCorrupt, LedgerError, LedgerLocked
from recsdk.ledger import DecisionRecord, ItemRecord, RewardRecord
from recsdk.ledger.sqlite import Sqlite
from tests.live.shop import alter, catalogue, crash, open_recommender, serve, state
from tests.processes import run_python


def decision(name="d", num_slots=3, rows=2, parts="{}"):
    rng = np.random.default_rng(len(name))
    probs = rng.random((rows, num_slots))
    features = rng.standard_normal((num_slots, 4)).astype(np.float32)
    slots = np.arange(num_slots, dtype=np.int32) + 5
    return DecisionRecord(name, 12.5, '{"size": 2}', parts, 7, slots, np.arange(rows, dtype=np.int32), probs, features)


def item(slot=0, row='{"id": "a"}', active=True):
    return ItemRecord(slot, row, np.array([1 / 3, -0.0], np.float32), active)


def reward(name="r", position=0, value=0.1):
    return RewardRecord(name, "d", position, value, 13.0)


def same(one, other):
    return all(
        np.array_equal(a, b) and getattr(a, "dtype", None) == getattr(b, "dtype", None) if isinstance(a, np.ndarray) else a == b
        for a, b in zip(one, other, strict=True)
    )


@pytest.fixture
def ledger(tmp_path):
    opened = Sqlite().open(tmp_path)
    yield opened
    opened.close()


def test_records_come_back_as_they_were(ledger):
    records = [decision(name, num_slots, rows) for name, num_slots, rows in (("d", 3, 2), ("e\0", 1, 1), ("😀", 100, 5))]
    for record in records:
        ledger.add_decision(record)
        assert same(ledger.decision(record.decision_id), record)
    assert all(same(one, other) for one, other in zip(ledger.decisions(), records, strict=True))
    for slot in (1, 0):
        ledger.put_item(item(slot))
    assert all(same(one, other) for one, other in zip(ledger.items(), [item(0), item(1)], strict=True))
    ledger.add_reward(reward())
    assert ledger.reward("r") == reward()
    assert ledger.rewards_of("d") == [reward()]
    ((first, shown),) = ledger.outcomes()
    assert first == reward()
    assert same(shown, records[0])
    ledger.put("b", b"\0\1")
    ledger.put("b", b"\2")
    assert ledger.get("b") == b"\2"


def test_what_is_not_there_is_none(ledger):
    assert ledger.decision("d") is ledger.reward("r") is ledger.get("b") is None
    assert list(ledger.decisions()) == list(ledger.items()) == list(ledger.outcomes()) == ledger.rewards_of("d") == []
    assert ledger.num_rewards() == 0


def test_outcomes_are_numbered_in_order_of_arrival_without_gaps(ledger):
    ledger.add_decision(decision(rows=3))
    ledger.add_reward(reward("a", 2))
    with contextlib.suppress(KeyError), ledger.transaction():
        ledger.add_reward(reward("lost", 1))
        raise KeyError
    with pytest.raises(LedgerError, match="UNIQUE"):
        ledger.add_reward(reward("a", 1))
    ledger.add_reward(reward("b", 0))
    assert [outcome.reward_id for outcome, _ in ledger.outcomes()] == ["a", "b"]
    assert [outcome.reward_id for outcome, _ in ledger.outcomes(1)] == ["b"]
    assert ledger.num_rewards() == 2


@pytest.mark.parametrize("again", [reward("r", 1), reward("other", 0)])
def test_one_reward_has_one_name_and_one_place(ledger, again):
    ledger.add_decision(decision())
    ledger.add_reward(reward())
    with pytest.raises(LedgerError, match="UNIQUE"):
        ledger.add_reward(again)


def test_a_reward_needs_its_decision_and_a_decision_its_own_name(ledger):
    with pytest.raises(LedgerError, match="NOT NULL"):
        ledger.add_reward(reward())
    ledger.add_decision(decision())
    with pytest.raises(LedgerError, match="UNIQUE"):
        ledger.add_decision(decision())


def test_an_item_can_be_seen_as_it_was_when_it_was_shown(ledger):
    ledger.put_item(item(0, "one"))
    ledger.add_decision(decision("first"))
    ledger.put_item(item(1, "beside"))
    ledger.put_item(item(0, "two", active=False))
    ledger.add_decision(decision("second"))
    ledger.put_item(item(0, "three"))
    assert [ledger.shown(name, 0).row for name in ("first", "second")] == ["one", "two"]
    assert [record.row for record in ledger.items()] == ["three", "beside"]
    with pytest.raises(LedgerCorrupt, match="no item in slot 1"):
        ledger.shown("first", 1)


def test_parts_are_stored_once(ledger):
    for name, parts in (("a", "x"), ("b", "y"), ("c", "x")):
        ledger.add_decision(decision(name, parts=parts))
    assert [record.parts for record in ledger.decisions()] == ["x", "y", "x"]
    assert ledger._db.execute("SELECT COUNT(*) FROM parts").fetchone() == (2,)


def test_a_transaction_is_all_or_nothing_whatever_ends_it(ledger):
    for error in (ValueError, KeyboardInterrupt, SystemExit):
        with contextlib.suppress(error), ledger.transaction():
            ledger.put("b", b"1")
            ledger.add_decision(decision())
            raise error
        assert ledger.get("b") is ledger.decision("d") is None
    with ledger.transaction():
        ledger.put("b", b"2")
    assert ledger.get("b") == b"2"


@pytest.mark.parametrize("table", ["decisions", "rewards", "items", "blobs"])
def test_changed_bytes_are_noticed_in_every_column(tmp_path, table):
    ledger = Sqlite().open(tmp_path)
    ledger.put_item(item())
    ledger.add_decision(decision())
    ledger.add_reward(reward())
    ledger.put("b", b"12")
    columns = [row[1] for row in ledger._db.execute(f"PRAGMA table_info({table})")]
    unread = {"number", "decision", "num_items", "parts", "name", "chain"}  # what only leads to a row, or to the next
    for column in sorted(set(columns) - unread):
        ledger._db.execute("BEGIN")
        ledger._db.execute(f"UPDATE {table} SET {column} = {altered(column)}")  # noqa: S608
        with pytest.raises(LedgerCorrupt, match="checksum"):
            read_all(ledger)
        ledger._db.execute("ROLLBACK")
    read_all(ledger)
    ledger.close()


def read_all(ledger):
    return list(ledger.decisions()), list(ledger.outcomes()), list(ledger.items()), ledger.get("b")


def altered(column):
    kinds = {
        "crc32": "1",
        "forgotten": "1",
        "dim": "2",
        "slot": "3",
        "active": "0",
        "packed": "0",
        "void": "1",
        "position": "1",
        "num_learned": "8",
        "time": "1.5",
        "value": "0.25",
    }
    text = {"id": "'x'", "replaces": "id", "user": "'x'", "marks": "'x'", "payload": "payload || ' '", "row": "row || ' '"}
    return {**kinds, **text}.get(column, f"CAST(zeroblob(LENGTH({column})) AS BLOB)")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The bytes of a ledger, and what it holds; its policy is a small one, since damage to a snapshot is made good from the rest."""
    folder = tmp_path_factory.mktemp("written")
    shop = open_recommender(folder, num_candidates=11, policy="lin-ts")
    serve(shop, range(30))
    held = contents(shop)
    shop.close()
    return (folder / "ledger.sqlite").read_bytes(), held


def contents(shop):
    return (
        state(shop),
        [record.probs.tobytes() for record in shop._loop.ledger.decisions()],
        shop._loop.ledger.rewards_of("d3"),
        catalogue(shop),
    )


def found_in(folder, data):
    """Returns what a recommender finds in a ledger of these bytes; None when it refuses them."""
    folder.mkdir()
    (folder / "ledger.sqlite").write_bytes(data)
    try:
        shop = open_recommender(folder, num_candidates=11, policy="lin-ts")
        try:
            return contents(shop)
        finally:
            crash(shop)
    except LedgerError:
        return None


def test_a_file_with_flipped_bits_gives_what_was_written_or_an_error(tmp_path, written):
    whole, held = written
    rng, refused = np.random.default_rng(0), 0
    for number, place in enumerate(rng.integers(0, len(whole), 60)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        found = found_in(tmp_path / str(number), damaged)
        refused += found is None
        assert found in (None, held), f"a bit of byte {place}"
    assert 5 < refused < 50, refused


@pytest.mark.parametrize("size", [2, 99, 100, 4096, 5000, 50_000, -4097, -100])
def test_a_file_that_was_cut_off_gives_what_was_written_or_an_error(tmp_path, written, size):
    whole, held = written
    assert found_in(tmp_path / "cut", whole[:size]) in (None, held)


def test_what_is_no_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "ledger.sqlite").write_text("not a database, but long enough to be read as one" * 100)
    (tmp_path / "lock").mkdir()
    (tmp_path / "lock" / "ledger.lock").mkdir()
    for name in ("file", "loop", "other", "lock", "file/below"):
        with pytest.raises(LedgerError, match="cannot be opened") as caught:
            Sqlite().open(tmp_path / name)
        assert not isinstance(caught.value, LedgerLocked)


def test_a_folder_is_free_after_a_failed_opening(tmp_path):
    (tmp_path / "ledger.sqlite").write_text("not a database, but long enough to be read as one" * 100)
    for _ in range(2):
        with pytest.raises(LedgerCorrupt, match="not a database"):
            Sqlite().open(tmp_path)
    (tmp_path / "ledger.sqlite").unlink()
    Sqlite().open(tmp_path).close()


def test_a_closed_ledger_can_be_neither_read_nor_written(tmp_path):
    ledger = Sqlite().open(tmp_path)
    ledger.close()
    ledger.close()
    for call in (lambda: ledger.get("b"), lambda: ledger.put("b", b""), lambda: ledger.decision("d"), lambda: list(ledger.items())):
        with pytest.raises(LedgerError, match="closed database"):
            call()


def test_a_full_disk_is_an_error_and_the_ledger_goes_on_when_there_is_room(tmp_path):
    script = f"""
import resource, signal
from recsdk.errors import LedgerError
from recsdk.ledger.sqlite import Sqlite
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
ledger = Sqlite().open({str(tmp_path)!r})
ledger.put("kept", b"1")
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
try:
    ledger.put("large", bytes(1_000_000))
except LedgerError as error:
    print(error)
ledger.put("small", b"2")
assert ledger.get("large") is None
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
ledger.put("large", bytes(1_000_000))
print(ledger.get("kept"), ledger.get("small"), len(ledger.get("large")))
"""
    result = run_python("-c", script)
    assert "could not be written" in result.stdout, result.stderr
    assert "b'1' b'2' 1000000" in result.stdout, result.stderr


def test_another_process_may_read_and_back_up_an_open_ledger(tmp_path):
    with open_recommender(tmp_path / "shop") as shop:
        serve(shop, range(5))
        source, copy = sqlite3.connect(tmp_path / "shop" / "ledger.sqlite"), sqlite3.connect(tmp_path / "ledger.sqlite")
        source.backup(copy)
        source.close()
        copy.close()
        learned = state(shop)
        serve(shop, range(5, 10))
    with open_recommender(tmp_path) as shop:
        assert state(shop) == learned


def test_durability_has_three_levels():
    with pytest.raises(InvalidValue, match=r"durability must be one of \('memory', 'process-crash', 'power-loss'\), got 'disk'"):
        Sqlite(durability="disk")


def test_a_ledger_from_before_there_were_marks_is_read_and_goes_on(tmp_path):
    with contextlib.closing(Sqlite().open(tmp_path)) as ledger:
        ledger.add_decision(decision("old"))
    alter(tmp_path, "ALTER TABLE decisions DROP COLUMN marks")
    alter(tmp_path, "DROP TABLE segments")
    for table in ("decisions", "signals", "rewards"):
        alter(tmp_path, f"ALTER TABLE {table} DROP COLUMN forgotten")
    alter(tmp_path, "PRAGMA user_version=6")
    with contextlib.closing(Sqlite().read(tmp_path)) as ledger:
        assert [record.marks for record in ledger.decisions()] == [None]
    with contextlib.closing(Sqlite().open(tmp_path)) as ledger:
        ledger.add_decision(decision("new")._replace(marks="{}"))
        assert [record.marks for record in ledger.decisions()] == [None, "{}"]
