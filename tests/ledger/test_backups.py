"""Backups, also of a ledger that is open; and a backup that was copied over a folder that was not closed."""

import contextlib
import shutil
import sqlite3

import pytest

from recsdk import read_ledger
from recsdk.errors import LedgerCorrupt, LedgerError
from recsdk.ledger.sqlite import Sqlite
from tests.live.shop import serve, small_recommender, state

# The small recommender has no part that reads its requests.
pytestmark = pytest.mark.filterwarnings("ignore::recsdk.errors.IgnoredInput")


@pytest.fixture
def folders(tmp_path):
    """Yields the folder of a recommender that was killed, and a backup that was made in its life time, each with its state."""
    with small_recommender(tmp_path / "shop") as shop:
        serve(shop, range(30))
        early = state(shop)
        Sqlite().copy(tmp_path / "shop", tmp_path / "backup")
        with contextlib.closing(sqlite3.connect(tmp_path / "shop" / "ledger.sqlite")) as source:
            (tmp_path / "by-hand").mkdir()
            with contextlib.closing(sqlite3.connect(tmp_path / "by-hand" / "ledger.sqlite")) as target:
                source.backup(target)
        serve(shop, range(30, 80))
        late = state(shop)
        # What a kill leaves, to the byte: the process has written all of it, and closed nothing.
        shutil.copytree(tmp_path / "shop", tmp_path / "killed", ignore=shutil.ignore_patterns("*-shm"))
    assert (tmp_path / "killed" / "ledger.sqlite-wal").stat().st_size > 10_000
    return tmp_path, early, late


def test_a_folder_of_a_killed_recommender_opens_as_ever(folders):
    folder, _, late = folders
    for _ in range(2):  # and its own recovery leaves nothing to doubt
        with small_recommender(folder / "killed") as shop:
            assert state(shop) == late
            assert shop.audit()


@pytest.mark.parametrize("backup", ["backup", "by-hand"])
def test_a_backup_that_is_copied_over_a_folder_that_was_not_closed_is_noticed(folders, backup):
    folder, _, _ = folders
    shutil.copyfile(folder / backup / "ledger.sqlite", folder / "killed" / "ledger.sqlite")
    before = {path.name: path.read_bytes() for path in (folder / "killed").iterdir() if path.name.startswith("ledger")}
    with pytest.raises(LedgerCorrupt, match=r"ledger.sqlite-wal in '.*killed' belongs to another ledger.sqlite.* recsdk ledger restore"):
        small_recommender(folder / "killed")
    with pytest.raises(LedgerCorrupt, match="belongs to another"):
        read_ledger(folder / "killed")
    assert {path.name: path.read_bytes() for path in (folder / "killed").iterdir() if path.name.startswith("ledger")} == before


def test_the_copied_file_opens_alone_when_the_log_that_was_left_is_deleted(folders):
    folder, early, _ = folders
    shutil.copyfile(folder / "backup" / "ledger.sqlite", folder / "killed" / "ledger.sqlite")
    (folder / "killed" / "ledger.sqlite-wal").unlink()
    with pytest.raises(LedgerCorrupt, match="lacks what was acknowledged: 50 decisions and 50 rewards"):
        small_recommender(folder / "killed")
    (folder / "killed" / "ledger.head").unlink()
    with small_recommender(folder / "killed") as shop:
        assert state(shop) == early


def test_a_backup_restored_into_an_empty_folder_is_what_it_was(folders):
    folder, early, _ = folders
    Sqlite().copy(folder / "backup", folder / "restored")
    assert sorted(path.name for path in (folder / "restored").iterdir()) == ["ledger.head", "ledger.sqlite"]
    with small_recommender(folder / "restored") as shop:
        assert state(shop) == early
        assert shop.audit()


def test_a_copy_goes_into_an_empty_folder_only(folders):
    folder, _, _ = folders
    for destination in (folder / "killed", folder / "backup" / "ledger.sqlite"):
        with pytest.raises(LedgerError, match="must be an empty folder or none"):
            Sqlite().copy(folder / "backup", destination)
    with pytest.raises(LedgerError, match="There is no ledger in"):
        Sqlite().copy(folder / "nowhere", folder / "new")
    assert not (folder / "new").exists()


def test_a_damaged_ledger_is_not_copied(folders):
    folder, _, _ = folders
    path = folder / "backup" / "ledger.sqlite"
    data = bytearray(path.read_bytes())
    page = len(data) // 4096 - 2
    data[page * 4096 : page * 4096 + 8] = b"\xff" * 8
    path.write_bytes(data)
    with pytest.raises(LedgerCorrupt, match=r"(cannot be|was not) copied"):
        Sqlite().copy(folder / "backup", folder / "new")
    assert not list((folder / "new").iterdir())
