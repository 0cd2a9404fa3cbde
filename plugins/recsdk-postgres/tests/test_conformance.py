"""The laws of ledgers, on a real server."""

import pytest
from recsdk_postgres import Postgres

from recsdk.testing import LEDGER_CHECKS


@pytest.mark.parametrize("check", LEDGER_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("durability", ["process-crash", "power-loss"])
def test_the_ledger_conforms(server, durability, check):
    check(Postgres(conninfo=server.conninfo, durability=durability))
