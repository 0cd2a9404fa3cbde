"""A disk that fails: after a failed sync nothing is acknowledged until the folder is opened again."""

import shutil
import sqlite3
import subprocess
import sys

import pytest

from recsdk.errors import LedgerError, LedgerStopped
from recsdk.ledger import heads
from recsdk.ledger.sqlite import Sqlite
from tests.live.shop import crash, request, serve, small_recommender, state
from tests.processes import ROOT


class FailingOnce:
    """A connection of which one statement fails, as SQLite does, with an extended error code."""

    def __init__(self, db, statement, code):
        self._db, self._statement, self._code = db, statement, code

    def __getattr__(self, name):
        return getattr(self._db, name)

    def execute(self, statement, *values):
        if self._statement and statement.startswith(self._statement):
            self._statement = ""
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = self._code
            raise error
        return self._db.execute(statement, *values)


@pytest.mark.parametrize("code", [sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR])
def test_after_a_failed_sync_nothing_is_acknowledged_until_the_folder_is_opened_again(tmp_path, code):
    shop = small_recommender(tmp_path)
    serve(shop, range(3))
    learned = state(shop)
    shop.recommend(request(0), decision_id="d")
    shop._loop.ledger._db = FailingOnce(shop._loop.ledger._db, "INSERT INTO rewards", code)  # which commits by itself
    with pytest.raises(LedgerStopped, match=r"The disk failed.*disk I/O error.*open the folder again"):
        shop.reward("d", 1.0)
    for call in (lambda: shop.reward("d0", 0.0), lambda: shop.recommend(request(0), decision_id="d"), lambda: shop.recommend({})):
        with pytest.raises(LedgerError, match="open the folder again"):
            call()
    crash(shop)
    with small_recommender(tmp_path) as shop:
        assert state(shop) == learned
        assert shop.reward("d", 1.0)
        assert shop.audit()


@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE])
def test_a_disk_that_was_full_is_used_again_once_it_has_room(tmp_path, code):
    ledger = Sqlite().open(tmp_path)
    ledger._db = FailingOnce(ledger._db, "INSERT OR REPLACE INTO blobs", code)
    with pytest.raises(LedgerError) as caught:
        ledger.put("b", b"1")
    assert not isinstance(caught.value, LedgerStopped)
    ledger.put("b", b"2")
    ledger.close()


def test_a_head_that_cannot_be_written_stops_the_ledger(tmp_path, monkeypatch):
    shop = small_recommender(tmp_path)
    monkeypatch.setattr("recsdk.ledger.heads.HeadFile.write", failing)
    for _ in range(2):
        with pytest.raises(LedgerStopped, match="How far the ledger is acknowledged could not be written: no disk"):
            shop.recommend({})
    crash(shop)


def failing(*_):
    raise OSError("no disk")


PUTS = """
import sys
from recsdk.errors import LedgerError
from recsdk.ledger.sqlite import Sqlite
ledger = Sqlite(durability="power-loss").open(sys.argv[1])
for number in range(20):
    try:
        ledger.put(f"b{number}", b"1")
        print("kept", flush=True)
    except LedgerError as error:
        print(type(error).__name__, flush=True)
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_a_real_sync_that_fails_once_is_followed_by_no_acknowledgement(tmp_path):
    inject = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=20"]
    result = subprocess.run([*inject, sys.executable, "-c", PUTS, tmp_path], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
    if "ptrace" in result.stderr or not result.stdout:
        pytest.skip(f"strace cannot trace here: {result.stderr[:200]}")
    said = result.stdout.split()
    failed = said.index("LedgerStopped")
    assert 0 < failed < 19
    assert said == ["kept"] * failed + ["LedgerStopped"] * (20 - failed)


def test_the_names_of_new_folders_are_durable(tmp_path, monkeypatch):
    synced, sync = [], heads.sync
    monkeypatch.setattr(heads, "sync", lambda folder: (synced.append(folder), sync(folder)))
    Sqlite().open(tmp_path / "shops" / "tea").close()
    assert {tmp_path, tmp_path / "shops", tmp_path / "shops" / "tea"} <= set(synced)
