"""A user is forgotten: no byte is left in the tables of the server, and all others count as before."""

import contextlib
import uuid

import numpy as np
import psycopg
import pytest
from recsdk_postgres import ledger

import recsdk
from recsdk.errors import ExpiredDecision, LedgerError
from recsdk.ledger import Copies, Redacts, Verifies, Whole
from recsdk.live.checking import check_ledger
from recsdk.live.transfer import export_ledger, import_ledger

ITEMS = [{"id": "tea"}, {"id": "coffee"}, {"id": "milk"}]
OPTIONS = {"items": ITEMS, "policy": "lin-ts", "scorers": ["popularity"], "log_features": "all"}


@pytest.fixture
def secrets():
    """The user to be forgotten, their home, and the beginning of their decisions' ids; the server is shared with other tests."""
    mark = uuid.uuid4().hex[:12]
    return f"zebulon-{mark}", f"lives-in-ur-{mark}", f"nickname-zeb-{mark}"


def lived(store, folder, numbers, secrets):
    """Opens a shop in which every fourth visit is of the user to be forgotten."""
    shop = recsdk.Recommender.open(folder, ledger=store, **OPTIONS)
    for number in numbers:
        user, home, name = secrets if number % 4 == 1 else (f"u{number % 3}", "rome", "d")
        slate = shop.recommend({"user_id": user, "home": home * 50}, decision_id=f"{name}-{number}")
        if number % 3:
            shop.reward(slate.decision_id, number % 2)
    return shop


def left_on(server, secrets):
    """Returns which secrets are in a file of a table or an index."""
    with psycopg.connect(server.conninfo, autocommit=True) as db:
        db.execute("ANALYZE")
        db.execute("CHECKPOINT")
    files = [path for path in (server._data / "base").rglob("*") if path.is_file()]
    return {secret for path in files for secret in secrets if secret.encode() in path.read_bytes()}


def test_no_byte_is_left_in_the_tables_and_the_state_is_the_fold_of_the_others(server, store, tmp_path, secrets):
    shop = lived(store, tmp_path, range(16), secrets)
    assert left_on(server, secrets) == set(secrets)
    done = shop.forget(secrets[0])
    assert done._replace(seconds=0.0) == (4, 0, 3, 0, "folded", 0.0, 0, 0)
    assert left_on(server, secrets) == set()
    assert shop.audit()
    shop.close()
    assert store.verify(tmp_path).problems == ()
    assert [finding for finding in check_ledger(tmp_path, ledger=store) if finding.problems] == []
    with recsdk.Recommender.open(tmp_path, ledger=store, **OPTIONS) as again:
        assert again.audit()
        assert again.recommend({"user_id": secrets[0]}).ids
    assert len(recsdk.read_ledger(tmp_path, ledger=store, default_reward=0.0, window=0).reward) == 13


def test_corrected_rewards_and_signals_are_emptied_with_their_order(store, tmp_path, secrets):
    shop = lived(store, tmp_path, range(8), secrets)
    first = shop._loop.ledger.rewards_of(f"{secrets[2]}-1")[0].reward_id
    for value in (0.5, 0.25):
        assert shop.correct(first, value) == "taken"
    assert shop.forget(secrets[0]).num_rewards == 4
    assert shop.audit()
    shop.close()
    with contextlib.closing(store.read(tmp_path)) as reading:
        rewards = [reward for reward in reading.rewards() if reward.void]
        ids = [reward.reward_id for reward in rewards]
        assert [ids.index(reward.replaces) for reward in rewards if reward.replaces] == [0, 2]
        assert {reward.value for reward in rewards} == {0.0}


def test_while_a_reader_sees_the_ledger_as_it_was_forgetting_says_so_and_is_finished_later(server, store, tmp_path, secrets, monkeypatch):
    monkeypatch.setattr(ledger, "PATIENCE", 0.1)
    shop = lived(store, tmp_path, range(8), secrets)
    with contextlib.closing(store.read(tmp_path)) as reading:
        assert len(list(reading.decisions())) == 8
        with pytest.raises(LedgerError, match="call again once it has ended"):
            shop.forget(secrets[0])
    with psycopg.connect(server.conninfo) as other:  # of another program, which has not looked at the ledger
        other.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        other.execute("SELECT 1")
        shop.recommend({"user_id": secrets[0], "home": secrets[1]}, decision_id=f"{secrets[2]}-late")
        with pytest.raises(LedgerError, match="call again once it has ended"):
            shop.forget(secrets[0])
    with contextlib.closing(store.read(tmp_path)) as later:
        assert list(later.decisions_of(secrets[0])) == []
        with pytest.raises(LedgerError, match="call again once it has ended"):
            shop.forget(secrets[0])
    assert left_on(server, secrets) == set(secrets)
    assert shop.forget(secrets[0]).num_decisions == 0
    assert left_on(server, secrets) == set()
    shop.close()


def test_what_was_due_when_the_process_ended_is_done_by_the_next_opening(server, store, tmp_path, secrets, monkeypatch):
    shop = lived(store, tmp_path, range(8), secrets)
    with monkeypatch.context() as patched:
        patched.setattr(ledger.PostgresLedger, "scrub", lambda self: None)
        shop.forget(secrets[0])
    shop.close()
    assert left_on(server, secrets) == set(secrets)
    store.open(tmp_path).close()
    assert left_on(server, secrets) == set()


def test_it_goes_to_a_file_and_to_sqlite_whole(store, tmp_path, secrets):
    lived(store, tmp_path / "shop", range(8), secrets).close()
    export_ledger(tmp_path / "shop", tmp_path / "shop.jsonl", ledger=store)
    import_ledger(tmp_path / "shop.jsonl", tmp_path / "moved")
    with recsdk.Recommender.open(tmp_path / "moved", **OPTIONS) as moved, contextlib.closing(store.read(tmp_path / "shop")) as reading:
        assert moved.audit()
        pairs = zip(moved._loop.ledger.events(), reading.events(), strict=True)
        assert all(repr(one) == repr(other) and np.array_equal(one[-1], other[-1]) for one, other in pairs)
        assert moved._loop.ledger.names() == reading.names()


def test_it_says_what_it_can_do(store, tmp_path):
    with contextlib.closing(store.open(tmp_path)) as opened:
        assert isinstance(opened, Redacts)
        assert isinstance(opened, Whole)
    assert isinstance(store, Verifies)
    assert not isinstance(store, Copies)  # the server's own tools do that


def test_what_is_old_is_dropped_and_what_was_learned_of_it_stays(server, store, tmp_path, secrets):
    shop = lived(store, tmp_path, range(16), secrets)
    learned = shop.num_learned
    assert shop.drop(days=0).num_decisions == 16
    assert left_on(server, secrets) == set()
    with pytest.raises(ExpiredDecision):
        shop.reward("d-3", 1.0)
    assert shop.audit()
    shop.close()
    assert [finding for finding in check_ledger(tmp_path, ledger=store) if finding.problems] == []
    with recsdk.Recommender.open(tmp_path, ledger=store, **OPTIONS) as again:
        assert again.num_learned == learned
        again.reward(again.recommend({}).decision_id, 1.0)
        assert again.audit()
