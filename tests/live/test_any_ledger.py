"""A ledger that is written to the protocol alone serves everything that SQLite does; so does one in PostgreSQL, where there is a server."""

import importlib.util

import numpy as np
import pytest

import recsdk
from recsdk import arrays
from recsdk.errors import InvalidValue, LedgerError
from recsdk.ledger.sqlite import Sqlite
from recsdk.live.log import count_decisions, read_ledger, read_ledger_chunks, read_policy
from tests.cli.test_evaluate import run
from tests.distributions import write_distribution
from tests.ledger.memory import Memory
from tests.live.shop import crash, open_recommender, serve, state


@pytest.fixture(scope="module")
def server():
    """A PostgreSQL server, or the test is skipped with the reason."""
    if importlib.util.find_spec("recsdk_postgres") is None:
        pytest.skip("recsdk_postgres is not installed: pip install the folder in plugins/")
    from recsdk_postgres.local import LocalServer, missing

    if missing():
        pytest.skip(missing())
    with LocalServer() as started:
        yield started


@pytest.fixture
def named(tmp_path, monkeypatch):
    """Installs the ledger in memory as the plugin "memory"."""
    monkeypatch.syspath_prepend(tmp_path)
    write_distribution(tmp_path, "acme", {"ledgers": {"memory": "tests.ledger.memory:Memory"}}, {})


@pytest.fixture(params=["memory", "postgres"])
def other(request, monkeypatch):
    """The name of an installed ledger other than SQLite's, and an object of it."""
    if request.param == "memory":
        request.getfixturevalue("named")
        return "memory", Memory()
    from recsdk_postgres import Postgres

    words = request.getfixturevalue("server").conninfo.split()
    for name, value in (word.split("=") for word in words):
        monkeypatch.setenv({"host": "PGHOST", "user": "PGUSER", "dbname": "PGDATABASE"}[name], value)
    return "postgres", Postgres(durability="process-crash")


def lived(folder, **options):
    """Decides, learns, is killed and goes on; returns what it has learned and shown."""
    options = {"policy": "lin-ts", "log_features": "all", "snapshot_every": 7, **options}
    shop = open_recommender(folder, **options)
    slates = serve(shop, range(10))
    shop.remove_items(["news-0"])
    shop.add_items([{"id": "fresh", "topic": "film", "price": 3.0}])
    crash(shop)
    with open_recommender(folder, **options) as shop:
        slates += serve(shop, range(10, 20))
        assert shop.audit()
        return state(shop), slates


def test_a_recommender_lives_on_it_as_on_sqlite(tmp_path, monkeypatch, other):
    monkeypatch.setattr("secrets.token_bytes", lambda size: b"s" * size)
    assert lived(tmp_path / "other", ledger=other[1]) == lived(tmp_path / "sqlite")
    assert not (tmp_path / "other" / "ledger.sqlite").exists()


def test_it_is_found_by_the_folder_and_read_as_log_policy_and_by_the_command_line(tmp_path, monkeypatch, other, capsys):
    monkeypatch.setattr("secrets.token_bytes", lambda size: b"s" * size)
    lived(tmp_path / "other", ledger=other[0])
    lived(tmp_path / "sqlite")
    for position in (0, 1):
        one, two = (read_ledger(tmp_path / name, position=position, default_reward=0.0, window=0) for name in ("other", "sqlite"))
        assert all(np.array_equal(a, b) for a, b in zip(arrays.leaves(one), arrays.leaves(two), strict=True))
    assert len(list(read_ledger_chunks(tmp_path / "other", num_rows=6))) == 4
    assert count_decisions(tmp_path / "other") == 20
    states = [read_policy(tmp_path / name, "lin-ts").state for name in ("other", "sqlite")]
    assert all(np.array_equal(a, b) for a, b in zip(*map(arrays.leaves, states), strict=True))
    answers = []
    for name in ("other", "sqlite"):
        assert run("evaluate", tmp_path / name, "--target", "uniform", "--estimator", "ips", "--json") in (0, 1, 3)
        answers.append(capsys.readouterr().out.replace(str(tmp_path / name), ""))
    assert answers[0] == answers[1]


def test_a_ledger_can_be_named_where_it_is_not_installed_or_ambiguous(tmp_path):
    lived(tmp_path / "shop", ledger=Memory())
    with pytest.raises(LedgerError, match=r"There is no ledger in .*, looked for \[.*'sqlite'\]"):
        read_ledger(tmp_path / "shop")
    assert len(read_ledger(tmp_path / "shop", ledger=Memory()).reward) == 20
    with pytest.raises(LedgerError, match=r"There is no ledger of Sqlite"):
        read_ledger(tmp_path / "shop", ledger="sqlite")
    with pytest.raises(recsdk.errors.UnknownPlugin, match="'sqlite'"):
        read_ledger(tmp_path / "shop", ledger="sqlit")


def test_a_folder_with_two_ledgers_must_be_named(tmp_path, named):
    for store in (Sqlite(), Memory()):
        lived(tmp_path / "shop", ledger=store)
    with pytest.raises(LedgerError, match=r"ledgers of several kinds, \['memory', 'sqlite'\]: name one with ledger="):
        read_ledger(tmp_path / "shop")


def test_what_is_no_store_is_refused(tmp_path):
    with pytest.raises(InvalidValue, match=r"lacks \['holds', 'open', 'read'\]"):
        open_recommender(tmp_path, ledger=object())


@pytest.mark.parametrize(
    ("store", "durability"),
    [
        (Sqlite(durability="memory"), "memory"),
        (Sqlite(), "process-crash"),
        (Sqlite(durability="power-loss"), "power-loss"),
        (Memory(), "unknown"),
    ],
)
def test_a_recommender_says_which_durability_it_got(tmp_path, store, durability):
    with open_recommender(tmp_path, ledger=store) as shop:
        assert shop.durability == durability
