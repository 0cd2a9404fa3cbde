"""A ledger that is exported and imported is the same ledger, and a file that was cut or changed is refused."""

import gzip
import json

import pytest

from recsdk.errors import InvalidLog, InvalidValue, LedgerError
from recsdk.ledger.sqlite import SqliteLedger
from recsdk.live.reproduce import reproduce
from recsdk.live.rewards import Feedback
from recsdk.live.transfer import export_ledger, import_ledger
from tests.live.shop import catalogue, crash, open_recommender, request, serve, state, tables

SUFFIXES = ["jsonl", "jsonl.gz", "parquet", "dsjson", "dsjson.gz"]
PARTS = {"policy": "lin-ts", "log_features": "all"}


@pytest.fixture
def folder(tmp_path):
    """The folder of a shop that is open, with removed, changed and new items, rewards that are no decimal fractions, and users."""
    shop = open_recommender(tmp_path / "shop", snapshot_every=5, **PARTS)
    serve(shop, range(8), reward=lambda number: number / 7)
    shop.remove_items(["news-0"])
    shop.add_items([{"id": "news-0", "topic": "old", "price": 0.1}, {"id": "näw", "topic": "n", "price": 1e-320}])
    serve(shop, range(8, 13))
    yield tmp_path / "shop"
    crash(shop)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_there_and_back_every_row_is_the_same_and_so_is_the_next_decision(folder, tmp_path, suffix):
    path, again = tmp_path / f"export.{suffix}", tmp_path / "again"
    counts = export_ledger(folder, path)
    assert (counts["decision"], counts["reward"], counts["item"]) == (13, 13, 15)
    assert import_ledger(path, again).items() <= counts.items()
    assert tables(again) == tables(folder)  # also numbers, checksums and hashes
    assert not list(tmp_path.glob("*.part"))
    with open_recommender(tmp_path / "again", snapshot_every=5, **PARTS) as shop:
        assert shop.audit()
        there = state(shop), catalogue(shop), shop.recommend(request(3), size=2, decision_id="next")
    second = tmp_path / f"second.{suffix}"
    export_ledger(folder, second)
    import_ledger(second, tmp_path / "third")
    with open_recommender(tmp_path / "third", snapshot_every=5, **PARTS) as shop:
        assert there == (state(shop), catalogue(shop), shop.recommend(request(3), size=2, decision_id="next"))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_signals_and_what_a_feedback_keeps_come_back(tmp_path, suffix):
    shop = open_recommender(tmp_path / "shop", encoder=None, scorers=[], **PARTS, feedback=Feedback(window=4.5, signals={"click": 1}))
    for number in range(6):
        slate = shop.recommend(request(number), size=2)
        shop.signal("click", value=0.1, decision_id=slate.decision_id, item=slate.ids[1])
    shop.close()
    export_ledger(tmp_path / "shop", tmp_path / f"x.{suffix}")
    import_ledger(tmp_path / f"x.{suffix}", tmp_path / "again")
    assert tables(tmp_path / "again") == tables(tmp_path / "shop")
    assert reproduce(tmp_path / "again") == reproduce(tmp_path / "shop")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_emptied_decisions_come_back(tmp_path, suffix):
    with open_recommender(tmp_path / "shop", **PARTS) as shop:
        serve(shop, range(8))
        assert shop.forget("u1").num_decisions == 1
        held, learned = [len(record.action) for record in shop._loop.ledger.decisions()], state(shop)
    export_ledger(tmp_path / "shop", tmp_path / f"x.{suffix}")
    import_ledger(tmp_path / f"x.{suffix}", tmp_path / "again")
    with open_recommender(tmp_path / "again", **PARTS) as shop:
        assert [len(record.action) for record in shop._loop.ledger.decisions()] == held
        assert state(shop) == learned
        assert shop.audit()


def test_a_file_that_is_cut_or_changed_is_refused_by_its_line_and_nothing_is_made(folder, tmp_path):
    path = tmp_path / "x.jsonl"
    export_ledger(folder, path)
    lines = path.read_text().splitlines(keepends=True)
    cases = {
        "was cut": lines[:-1],
        "must have": [*lines[:5], *lines[6:]],
        "line 3: must be one JSON object": [*lines[:2], lines[2][:-5] + "\n", *lines[3:]],
        "must begin with": lines[1:],
        "record 2: must be a record of a ledger": [*lines[:2], json.dumps({"kind": "item", "slot": 0}) + "\n", *lines[3:]],
        "record 1: must be a record": [lines[0], json.dumps({"kind": "shop"}) + "\n", *lines[2:]],
    }
    for told, changed in cases.items():
        path.write_text("".join(changed))
        with pytest.raises(InvalidLog, match=told):
            import_ledger(path, tmp_path / "again")
        assert not list(tmp_path.glob("again*"))
    twice = [*lines[:-2], lines[40], *lines[-2:]]
    path.write_text("".join(twice))
    with pytest.raises(LedgerError):
        import_ledger(path, tmp_path / "again")
    assert not list(tmp_path.glob("again*"))


def test_gzip_that_is_cut_and_parquet_that_lacks_a_file_are_refused(folder, tmp_path):
    export_ledger(folder, tmp_path / "x.jsonl.gz")
    data = (tmp_path / "x.jsonl.gz").read_bytes()
    (tmp_path / "x.jsonl.gz").write_bytes(data[:-20])
    with pytest.raises(InvalidLog, match="gzip that is whole"):
        import_ledger(tmp_path / "x.jsonl.gz", tmp_path / "again")
    (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress(gzip.decompress(data)))
    import_ledger(tmp_path / "x.jsonl.gz", tmp_path / "again")
    export_ledger(folder, tmp_path / "x.parquet")
    (tmp_path / "x.parquet" / "reward-000000.parquet").unlink()
    with pytest.raises(InvalidLog, match="lacks record"):
        import_ledger(tmp_path / "x.parquet", tmp_path / "more")
    (tmp_path / "x.parquet" / "manifest.json").unlink()
    with pytest.raises(InvalidLog, match=r"must have a manifest\.json"):
        import_ledger(tmp_path / "x.parquet", tmp_path / "more")


def test_nothing_is_overwritten_and_other_names_are_refused(folder, tmp_path):
    (tmp_path / "there.jsonl").write_text("")
    with pytest.raises(LedgerError, match="is there: give another path"):
        export_ledger(folder, tmp_path / "there.jsonl")
    with pytest.raises(InvalidValue, match=r"must end in \.jsonl, \.jsonl\.gz or \.parquet"):
        export_ledger(folder, tmp_path / "x.csv")
    export_ledger(folder, tmp_path / "x.jsonl")
    with pytest.raises(LedgerError, match="is there: give a new folder"):
        import_ledger(tmp_path / "x.jsonl", folder)
    with pytest.raises(LedgerError, match="There is no ledger"):
        export_ledger(tmp_path / "none", tmp_path / "y.jsonl")


def test_dsjson_reads_the_ledger_as_often_for_long_slates_as_for_short_ones(tmp_path, monkeypatch):
    read, readings = SqliteLedger._rows, []
    for size in (2, 6):
        with open_recommender(tmp_path / str(size), encoder=None, scorers=[], policy="lin-ts", log_features="all") as shop:
            serve(shop, range(3), size=size)
    monkeypatch.setattr(SqliteLedger, "_rows", lambda self, query, *rest: (readings.append(query), read(self, query, *rest))[1])
    assert export_ledger(tmp_path / "2", tmp_path / "2.dsjson")["decision"] == 3
    short, readings[:] = list(readings), []
    assert export_ledger(tmp_path / "6", tmp_path / "6.dsjson")["decision"] == 3
    assert readings == short
    assert sum("FROM decisions" in query for query in readings) == 3
