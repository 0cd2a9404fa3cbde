"""The level "memory": a ledger that lasts as long as the process, of which nothing is on a disk."""

import contextlib
import gc
import subprocess
import sys
import threading

import pytest

import recsdk
from recsdk.errors import InvalidValue, LedgerError, LedgerLocked
from recsdk.ledger import _memory
from recsdk.ledger.sqlite import Sqlite
from tests.live.shop import open_recommender, serve, state

MEMORY = Sqlite(durability="memory")


def test_a_recommender_in_memory_lives_on_in_the_process_and_leaves_nothing_on_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr("secrets.token_bytes", lambda size: b"s" * size)
    kept = {}
    for name, store in (("memory", MEMORY), ("disk", Sqlite())):
        folder = tmp_path / name
        with open_recommender(folder, ledger=store, log_features="all") as shop:
            slates = serve(shop, range(10))
        with open_recommender(folder, ledger=store, log_features="all") as shop:
            assert shop.num_learned == 10
            assert shop.audit()
            kept[name] = [slate.propensities for slate in slates], state(shop)
    assert kept["memory"] == kept["disk"]
    assert [path.name for path in tmp_path.iterdir()] == ["disk"]
    assert len(recsdk.read_ledger(tmp_path / "memory", ledger=MEMORY).reward) == 10


def test_another_process_has_nothing_of_it(tmp_path):
    MEMORY.open(tmp_path / "shop").close()
    words = "import sys; from recsdk.ledger.sqlite import Sqlite; print(Sqlite(durability='memory').holds(sys.argv[1]))"
    answer = subprocess.run([sys.executable, "-c", words, str(tmp_path / "shop")], check=True, capture_output=True, text=True)  # noqa: S603
    assert answer.stdout == "False\n"
    assert MEMORY.holds(tmp_path / "shop")


def test_a_copy_of_it_is_a_folder_that_goes_on(tmp_path):
    with open_recommender(tmp_path / "shop", ledger=MEMORY) as shop:
        serve(shop, range(5))
        learned = state(shop)
        MEMORY.copy(tmp_path / "shop", tmp_path / "kept")
    assert MEMORY.verify(tmp_path / "shop").problems == ()
    with open_recommender(tmp_path / "kept") as shop:
        assert state(shop) == learned
        assert shop.durability == "process-crash"


def test_a_user_is_forgotten_in_it(tmp_path):
    with open_recommender(tmp_path / "shop", ledger=MEMORY) as shop:
        decision_id = shop.recommend({"user_id": "unmistakable"}).decision_id
        shop.reward(decision_id, 1.0)
        assert shop.forget("unmistakable").num_decisions == 1
        assert shop.audit()
        left = b"".join(connection.serialize() for _, connection in _memory._kept.values())
    assert b"unmistakable" not in left
    assert decision_id.encode() not in left


def test_what_needs_a_folder_is_refused(tmp_path):
    MEMORY.open(tmp_path / "shop").close()
    for call in (MEMORY.repair, lambda folder: MEMORY.compact(folder, before=1e9)):
        with pytest.raises(LedgerError, match="There is no ledger"):
            call(tmp_path / "shop")
    with pytest.raises(InvalidValue, match="folder must be a path that is not empty, got None"):
        recsdk.Recommender.open(None, items=[{"id": "tea"}], ledger=MEMORY)


def test_a_ledger_on_the_disk_is_not_hidden_by_one_in_memory(tmp_path):
    Sqlite().open(tmp_path / "shop").close()
    with pytest.raises(LedgerError, match="holds a ledger on the disk"):
        MEMORY.open(tmp_path / "shop")


def test_its_lock_ends_with_the_ledger_also_where_that_was_not_closed(tmp_path):
    ledger = MEMORY.open(tmp_path / "shop")
    with pytest.raises(LedgerLocked, match="is open in this process"):
        MEMORY.open(tmp_path / "shop")
    del ledger
    gc.collect()
    MEMORY.open(tmp_path / "shop").close()


def test_a_reader_waits_for_a_transaction_but_not_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(_memory, "PATIENCE", 0.05)
    with contextlib.closing(MEMORY.open(tmp_path / "shop")) as ledger:
        with ledger.transaction():
            ledger.put("b", b"1")
            with pytest.raises(LedgerError, match="is in a transaction"):
                MEMORY.read(tmp_path / "shop")
        with contextlib.closing(MEMORY.read(tmp_path / "shop")) as reading:
            assert reading.get("b") == b"1"


def test_readers_beside_a_writer_see_whole_transactions(tmp_path):
    with contextlib.closing(MEMORY.open(tmp_path / "shop")) as ledger:
        seen, done = [], threading.Event()

        def read():
            while not done.is_set():
                with contextlib.closing(MEMORY.read(tmp_path / "shop")) as reading:
                    seen.append((reading.get("a"), reading.get("b")))

        thread = threading.Thread(target=read)
        thread.start()
        for number in range(200):
            with ledger.transaction():
                ledger.put("a", b"%d" % number)
                ledger.put("b", b"%d" % number)
        done.set()
        thread.join()
    assert seen
    assert all(a == b for a, b in seen)
