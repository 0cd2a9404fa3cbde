"""Old decisions move out of the way only when they are settled."""

import pytest

from recsdk.errors import InvalidValue, LedgerError
from recsdk.ledger.sqlite import Sqlite
from recsdk.live.keeping import DAY, compact
from recsdk.live.rewards import Feedback
from tests.live.shop import Clock, small_recommender


@pytest.fixture
def folder(tmp_path):
    """A folder with ten decisions, a second apart from each other, of which the windows of five have closed."""
    with small_recommender(tmp_path, clock=Clock(1_000_000.0), feedback=Feedback(window=5.5)) as shop:
        for _ in range(10):
            shop.recommend({})
        shop.settle()
    return tmp_path


def times(folder):
    ledger = Sqlite().read(folder)
    try:
        return [record.time for record in ledger.decisions()]
    finally:
        ledger.close()


def test_only_old_and_settled_decisions_are_moved(folder):
    decided = times(folder)
    assert compact(folder, now=decided[2] + 2 * DAY, days=2) == 2
    settled = compact(folder, now=1e9, days=0)
    assert 0 < settled < 8
    assert compact(folder, now=1e9, days=0) == 0
    assert times(folder) == decided


def test_what_cannot_be_moved_is_refused(folder, tmp_path):
    with pytest.raises(InvalidValue, match="days must be"):
        compact(folder, days=-1)
    with pytest.raises(LedgerError, match="There is no ledger"):
        compact(tmp_path / "none")
