"""Decisions that were moved into Parquet are read as before, and a compaction that is killed at any step has lost nothing."""

import contextlib
import shutil
import subprocess
import sys
import threading
import time

import numpy as np
import polars
import pytest

from recsdk import read_ledger
from recsdk.errors import LedgerChanged, LedgerCorrupt, LedgerError, LedgerLocked
from recsdk.ledger import Compacts, CompactsOpen, _head, _segments
from recsdk.ledger.sqlite import Sqlite
from recsdk.live.checking import check_ledger
from recsdk.live.keeping import compact as move_old
from recsdk.live.reproduce import reproduce
from recsdk.live.transfer import export_ledger, import_ledger
from tests.live.shop import Clock, request, serve, small_recommender, state
from tests.processes import ROOT

PARTS = {"policy": "lin-ts", "log_features": "all"}
NUM = 12


def rows(ledger):
    """Returns all that a ledger yields about its decisions, comparable."""
    found = [*ledger.decisions(), *ledger.decisions(5), *ledger.decisions_of("u1"), *(record for _, record in ledger.outcomes())]
    found += [ledger.decision(f"d{number}") for number in range(NUM)]
    return [tuple((a.dtype.str, a.shape, a.tobytes()) if isinstance(a, np.ndarray) else a for a in record) for record in found]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr("recsdk.ledger._ledger.NUM_ROWS", 4)
    with small_recommender(tmp_path / "shop", clock=Clock(), **PARTS) as shop:
        serve(shop, range(NUM))
    return tmp_path / "shop"


def compact(folder, before=1e12, **options):
    return Sqlite().compact(folder, before=before, **options)


def names(folder):
    return sorted(path.name for path in (folder / "segments").glob("*"))


def reading(folder):
    ledger = Sqlite().read(folder)
    try:
        return rows(ledger)
    finally:
        ledger.close()


def test_what_was_moved_is_read_as_before_and_the_log_and_the_state_are_the_same(folder):
    before, log, made = reading(folder), read_ledger(folder), reproduce(folder)
    size = (folder / "ledger.sqlite").stat().st_size
    assert isinstance(Sqlite(), Compacts)
    assert compact(folder) == NUM
    assert len(names(folder)) == 3
    assert reading(folder) == before
    assert all(np.array_equal(one, other) for one, other in zip(read_ledger(folder)[1:], log[1:], strict=True))
    assert reproduce(folder) == made
    assert not [finding for finding in check_ledger(folder) if finding.num_problems]
    assert (folder / "ledger.sqlite").stat().st_size <= size
    assert compact(folder) == 0


def test_the_shop_goes_on_and_remembers_what_was_moved(folder):
    with small_recommender(folder, **PARTS) as shop:
        learned, slate = state(shop), shop.recommend(request(2), size=2, decision_id="d2")
    compact(folder)
    with small_recommender(folder, **PARTS) as shop:
        assert state(shop) == learned
        assert shop.recommend(request(2), size=2, decision_id="d2") == slate
        assert not shop.reward("d2", 0.0, item=slate.ids[0])
        assert shop.reward("d2", 1.0, item=slate.ids[1])
        serve(shop, range(NUM, NUM + 2))
        assert shop.audit()
    assert compact(folder) == 2


def test_only_what_is_old_and_below_the_limit_moves_in_order(folder):
    ledger = Sqlite().read(folder)
    times = [record.time for record in ledger.decisions()]
    ledger.close()
    assert compact(folder, before=times[5]) == 5
    assert compact(folder, before=times[5]) == 0
    assert compact(folder, limit=7) == 2
    assert compact(folder, limit=3) == 0
    assert names(folder)[-1] == "000000000006-000000000007.parquet"


def test_a_backup_and_an_export_have_what_was_moved_and_a_folder_that_is_open_is_refused(folder, tmp_path):
    before = reading(folder)
    compact(folder, limit=9)
    with small_recommender(folder, **PARTS):
        with pytest.raises(LedgerLocked):
            compact(folder)
        Sqlite().copy(folder, tmp_path / "backup")
        export_ledger(folder, tmp_path / "x.jsonl")
    assert reading(tmp_path / "backup") == before
    import_ledger(tmp_path / "x.jsonl", tmp_path / "again")
    assert reading(tmp_path / "again") == before
    assert Sqlite().verify(tmp_path / "backup").problems == ()


def test_a_segment_that_is_missing_or_damaged_is_told_and_never_read_as_something_else(folder, tmp_path):
    compact(folder)
    first = folder / "segments" / names(folder)[0]
    data = first.read_bytes()
    for damage in (data[:-1], b"", data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]):
        first.write_bytes(damage)
        assert Sqlite().verify(folder).problems == (f"the segment {first.name} is not as it was written",)
        with pytest.raises(LedgerCorrupt, match="not as it was written"):
            Sqlite().copy(folder, tmp_path / "backup")
        assert not (tmp_path / "backup" / "ledger.sqlite").exists()
        shutil.rmtree(tmp_path / "backup")
    first.unlink()
    assert Sqlite().verify(folder).problems == (f"the segment {first.name} is missing",)
    with pytest.raises(LedgerCorrupt, match="is missing"):
        reading(folder)
    shutil.copyfile(folder / "segments" / names(folder)[0], first)  # another one under its name
    with pytest.raises(LedgerCorrupt, match="in no segment as it was written"):
        reading(folder)


def test_a_rewritten_segment_has_the_others_and_not_those_that_were_taken_out(folder):
    compact(folder)
    ledger = Sqlite().open(folder)
    ledger._segments.rewrite({2, 5, 6, 7, 8})
    assert len(names(folder)) == 2
    assert [ledger._segments.record(number).decision_id for number in (1, 3, 4, 9)] == ["d0", "d2", "d3", "d8"]
    assert [ledger._segments.record(number) for number in (2, 5, 8, 13)] == [None] * 4
    assert ledger.decision("d2") is not None
    ledger.close()
    kept = [polars.read_parquet(folder / "segments" / name)["decision_id"].to_list() for name in names(folder)]
    assert kept == [["d0", "d2", "d3"], ["d8", "d9", "d10", "d11"]]


def test_while_a_shop_serves_old_decisions_move_and_others_are_made(folder, monkeypatch):
    with small_recommender(folder, clock=Clock(2_000_000.0), **PARTS) as shop:
        assert isinstance(shop._loop.ledger, CompactsOpen)
        learned, slates, write = state(shop), [], _segments.Segments._write

        def serving(self, stem, moving):
            slates.append(shop.recommend(request(1), decision_id=f"new-{stem}"))  # nobody has the turn while a file is written
            return write(self, stem, moving)

        monkeypatch.setattr(_segments.Segments, "_write", serving)
        assert shop.compact(days=0) == NUM
        assert len(slates) == len(names(folder)) == 3
        monkeypatch.setattr(_segments.Segments, "_write", write)
        assert state(shop) == learned
        assert shop.recommend(request(2), size=2, decision_id="d2").ids
        assert shop.audit()
        assert shop.compact(days=0) == 3
        assert shop.compact(days=0) == 0
        assert shop.forget("u1").num_decisions == 5
    assert not [finding for finding in check_ledger(folder) if finding.num_problems]


def test_a_compaction_writes_only_in_its_turn(folder, monkeypatch):
    with small_recommender(folder, clock=Clock(2_000_000.0), **PARTS) as shop:
        turns, done, holders = shop._loop.turns, [], []
        clean, write, transaction = _segments.Segments.clean, _segments.Segments._write, _segments._transaction

        def hold():
            """Takes the turn in another thread, and gives it back once somebody waits for it, or writes without."""
            entered = threading.Event()

            def held():
                entered.set()
                end = time.monotonic() + 30
                while not turns._queue and done[-1:] == ["held"] and time.monotonic() < end:
                    time.sleep(0.001)
                done.append("given back")

            done.append("held")
            holders.append(threading.Thread(target=lambda: turns.alone(held)))
            holders[-1].start()
            assert entered.wait(30)

        def doing(name, function):
            return lambda *arguments: (done.append(name), function(*arguments))[1]

        def writing(self, stem, moving):
            found = write(self, stem, moving)
            hold()
            return found

        monkeypatch.setattr(_segments.Segments, "clean", doing("cleaned", clean))
        monkeypatch.setattr(_segments.Segments, "_write", writing)
        monkeypatch.setattr(_segments, "_transaction", doing("referred", transaction))
        hold()
        assert shop.compact(days=0) == NUM
        for holder in holders:
            holder.join()
        assert done == ["held", "given back", "cleaned"] + ["held", "given back", "referred"] * 3
        assert shop.audit()


def test_a_folder_that_is_served_is_locked_for_the_command_and_it_says_what_to_do(folder):
    told = r"call `Recommender.compact` in the process that has it open"
    with small_recommender(folder, **PARTS), pytest.raises(LedgerLocked, match=told):
        move_old(folder, days=0)


def test_a_ledger_in_memory_has_no_files_to_move_decisions_to(tmp_path):
    with small_recommender(tmp_path / "shop", ledger=Sqlite(durability="memory")) as shop:
        serve(shop, range(3))
        with pytest.raises(LedgerError, match="the ledger is in memory"):
            shop.compact(days=0)
    assert not list(tmp_path.iterdir())


def test_who_reads_while_a_user_is_forgotten_has_the_old_state_or_is_told_to_read_again(folder, tmp_path):
    compact(folder)
    with small_recommender(folder, **PARTS) as shop:
        early, late = Sqlite().read(folder), Sqlite().read(folder)
        held = early.decision("d1")  # its segment is in memory
        with pytest.raises(LedgerError, match="A reader has the ledger open"):
            shop.forget("u1")
        assert early.decision("d1").decision_id == held.decision_id
        for read in (lambda: late.decision("d1"), late.verify, lambda: late.copy(tmp_path / "copy")):
            with pytest.raises(LedgerChanged, match=r"Records were forgotten or dropped while the ledger was read, .*: read again"):
                read()
        early.close()
        late.close()
    again = Sqlite().read(folder)
    assert again.decision("d1") is None
    assert again.decision("d0").decision_id == "d0"
    again.close()


def killed(folder, stride):
    """Kills a compaction at every `stride`-th step, looks at what is left, and compacts again; returns the numbers of segments found."""
    before, moved = reading(folder), []
    command = [sys.executable, "-m", "tests.ledger.segments", str(folder.parent), str(stride)]
    subprocess.run(command, cwd=ROOT, check=True)  # noqa: S603 - our own code
    places = [path for path in folder.parent.iterdir() if path != folder]
    for place in places:
        ledger = Sqlite().open(place)
        moved.append(len(ledger._segments.listed()))
        assert _head.is_whole(ledger._db)
        has = ledger._segments.record(3) is not None or ledger._db.execute("SELECT payload FROM decisions WHERE number = 3").fetchone() != (
            "",
        )
        if has:
            assert rows(ledger) == before
        else:  # it was taken out, which is what the last step does
            assert [ledger._segments.record(number).decision_id for number in (1, 2, 4)] == ["d0", "d1", "d3"]
        ledger.close()
        compact(place)
        if has:
            assert reading(place) == before
        ledger = Sqlite().read(place)
        assert names(place) == [name for _, _, name, _ in ledger._segments.listed()]
        ledger.close()
    return moved


def test_killed_at_a_step_every_decision_is_there_and_the_next_compaction_cleans_up(folder):
    found = killed(folder, 12)
    assert len(found) > 6
    assert set(found) >= {0, 1, 3}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_at_any_step_every_decision_is_there_and_the_next_compaction_cleans_up(folder):
    found = killed(folder, 1)
    assert len(found) > 80
    assert set(found) == {0, 1, 2, 3}


@pytest.mark.parametrize("block", [1, 3, 200])
def test_outcomes_of_moved_emptied_and_other_decisions_are_the_same_in_blocks_of_any_size(folder, monkeypatch, block):
    whole = list(map(repr, Sqlite().read(folder).outcomes()))
    Sqlite().compact(folder, before=1e12, limit=5)
    monkeypatch.setattr("recsdk.ledger._ledger.BLOCK", block)
    with contextlib.closing(Sqlite().open(folder)) as ledger:
        assert list(map(repr, ledger.outcomes())) == whole
        left = [record.decision_id for _, record in ledger.outcomes()][8]
        with ledger.transaction():
            ledger.redact([left], drop=())
        empty = [not len(record.action) for _, record in ledger.outcomes()]
        assert empty == [place == 8 for place in range(NUM)]
        assert [each for place, each in enumerate(map(repr, ledger.outcomes())) if place != 8] == whole[:8] + whole[9:]
