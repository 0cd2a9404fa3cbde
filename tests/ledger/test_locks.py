"""The lock of a folder and the files under an open ledger, whatever else the process and its neighbours do with them."""

import contextlib
import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
import time

import pytest

from recsdk.errors import LedgerLocked, LedgerStopped
from recsdk.ledger.sqlite import Sqlite
from tests.live.shop import serve, small_recommender, state, tables
from tests.processes import ROOT, run_python

READS = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute('SELECT COUNT(*) FROM rewards').fetchone(); db.close()"
OPENS = "import sys; from recsdk.ledger.sqlite import Sqlite; Sqlite().open(sys.argv[1])"


def read_every_file(folder):
    """Hashes the files of a folder, as a backup or a check does: each is opened and closed in this process."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}


def read_in_another_process(folder):
    """Opens the ledger with SQLite in another process, and closes it."""
    assert run_python("-c", READS, str(folder / "ledger.sqlite")).returncode == 0


@pytest.mark.parametrize("read", [read_every_file, lambda folder: shutil.copytree(folder, folder.with_name("copy"))], ids=["hash", "copy"])
def test_a_process_that_reads_the_files_of_its_folder_still_has_it_alone(tmp_path, read):
    with small_recommender(tmp_path / "shop") as shop:
        serve(shop, range(3))
        read(tmp_path / "shop")
        assert "LedgerLocked" in run_python("-c", OPENS, str(tmp_path / "shop")).stderr
        with pytest.raises(LedgerLocked):
            small_recommender(tmp_path / "shop")
        serve(shop, range(3, 6))
        assert shop.audit()


def test_every_reward_acknowledged_is_kept_whatever_process_reads_and_closes_the_files(tmp_path):
    folder, acknowledged = tmp_path / "shop", 0
    shop = small_recommender(folder)
    with contextlib.suppress(LedgerStopped):
        for number in range(15):
            serve(shop, [number])
            acknowledged += 1
            if number == 4:
                read_every_file(folder)
                read_in_another_process(folder)
    found = folder if acknowledged == 15 else folder / "rescued-1"
    assert len(tables(found)["rewards"]) >= acknowledged >= 5


@pytest.mark.parametrize("name", ["ledger.sqlite", "ledger.sqlite-wal", "ledger.lock"])
@pytest.mark.parametrize("how", ["deleted", "replaced", "replaced long after"])
def test_nothing_is_acknowledged_once_a_file_of_the_folder_is_another(tmp_path, monkeypatch, name, how):
    folder = tmp_path / "shop"
    shop = small_recommender(folder)
    if how == "replaced long after":
        monkeypatch.setattr("recsdk.ledger._files.SETTLED", 0.05)
        time.sleep(0.1)
    serve(shop, range(5))
    learned = state(shop)
    data, before = (folder / name).read_bytes(), folder.stat()
    (folder / name).unlink()
    if how != "deleted":
        (tmp_path / "other").write_bytes(data)
        (tmp_path / "other").rename(folder / name)
        os.utime(folder, ns=(before.st_atime_ns, before.st_mtime_ns))  # as who restores a backup leaves it
    with pytest.raises(
        LedgerStopped, match=rf"'.*shop', {name} was deleted or replaced .* copied to '.*rescued-1'.* open the folder again"
    ):
        shop.recommend({}, decision_id="lost")
    for call in (lambda: shop.recommend({}, decision_id="d0"), lambda: shop.reward("d0", 1.0)):  # known, and not to be told as kept
        with pytest.raises(LedgerStopped, match="nothing is acknowledged"):
            call()
    with contextlib.suppress(LedgerStopped):
        shop.close()
    Sqlite().copy(folder / "rescued-1", tmp_path / "new")
    with small_recommender(tmp_path / "new") as again:
        assert state(again) == learned
        assert again.audit()


def test_a_folder_without_room_for_the_rescue_stops_all_the_same(tmp_path, monkeypatch):
    ledger = Sqlite().open(tmp_path)
    (tmp_path / "ledger.sqlite-wal").unlink()
    monkeypatch.setattr("recsdk.ledger._ledger.copy", failing)
    with pytest.raises(LedgerStopped, match=r"could not be copied to .*rescued-1': no room"):
        ledger.put("b", b"1")
    ledger.close()


def failing(*_):
    raise OSError("no room")


FORKS = """
import os, sys, time
from recsdk.ledger.sqlite import Sqlite
held = Sqlite().open(sys.argv[1])
child = os.fork()
if child == 0:
    print("child", os.getpid(), flush=True)
    time.sleep(60)
    os._exit(0)
time.sleep(60)
"""


def test_the_lock_ends_with_its_process_and_not_with_a_forked_child(tmp_path):
    with subprocess.Popen([sys.executable, "-c", FORKS, tmp_path], stdout=subprocess.PIPE, text=True, cwd=ROOT) as parent:  # noqa: S603
        child = int(parent.stdout.readline().split()[1])
        try:
            with pytest.raises(LedgerLocked, match=f"in process {parent.pid}"):
                Sqlite().open(tmp_path)
            parent.kill()
            parent.wait()
            Sqlite().open(tmp_path).close()
        finally:
            os.kill(child, 9)


CHILD_ENDS = f"""
import os, subprocess, sys
from recsdk.ledger.sqlite import Sqlite
ledger = Sqlite().open(sys.argv[1])
child = os.fork()
if child == 0:
    ledger.close()
    os._exit(0)
os.waitpid(child, 0)
print(subprocess.run([sys.executable, "-c", {OPENS!r}, sys.argv[1]], capture_output=True, text=True).stderr, flush=True)
ledger.close()
"""


def test_a_forked_child_that_ends_leaves_the_lock_to_its_parent(tmp_path):
    told = run_python("-c", CHILD_ENDS, str(tmp_path))
    assert "LedgerLocked" in told.stdout, told.stderr


def test_an_older_recsdk_that_has_the_folder_open_is_noticed(tmp_path):
    former = sqlite3.connect(tmp_path / "lock.sqlite", isolation_level=None)
    former.execute("BEGIN EXCLUSIVE")
    (tmp_path / "lock.pid").write_text("4711\n")
    with pytest.raises(LedgerLocked, match="in process 4711"):
        Sqlite().open(tmp_path)
    former.close()
    Sqlite().open(tmp_path).close()
    assert not list(tmp_path.glob("lock.*"))


def test_the_check_of_the_files_is_quick(tmp_path):
    ledger = Sqlite().open(tmp_path)
    spent = []
    for _ in range(50):
        began = time.perf_counter()
        assert not ledger._files.changed()
        spent.append(time.perf_counter() - began)
    ledger.close()
    assert min(spent) < 100e-6
