"""A real server, started once."""

import pytest
from recsdk_postgres import Postgres
from recsdk_postgres.local import LocalServer, missing


@pytest.fixture(scope="session")
def server():
    """A server, or the test is skipped with the reason. A test may kill it, and starts it again.

    What writes in the background waits for long, so that a commit that does not wait for the disk is lost with the server.
    """
    if missing():
        pytest.skip(missing())
    with LocalServer({"wal_writer_delay": "10s", "bgwriter_lru_maxpages": "0", "autovacuum": "off"}) as started:
        yield started


@pytest.fixture
def store(server):
    """A store that need not wait for the disk."""
    return Postgres(conninfo=server.conninfo, durability="process-crash")
