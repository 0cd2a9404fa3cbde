"""What is looked up in a folder to build its parts again."""

import numpy as np
import pytest

from recsdk.ledger import DecisionRecord
from recsdk.ledger.sqlite import Sqlite
from recsdk.live.parts import latest


@pytest.mark.parametrize("num_decisions", [0, 1, 2, 3, 4, 7, 8, 9])
def test_the_latest_decisions_are_found_without_reading_all(tmp_path, num_decisions):
    ledger, one = Sqlite(durability="memory").open(tmp_path / "shop"), np.ones((1, 1))
    names = [f"d{number}" for number in range(num_decisions)]
    for name in names:
        ledger.add_decision(DecisionRecord(name, 0.0, "{}", "{}", 0, np.array([0]), np.array([0]), one, one.astype(np.float32)))
    assert [[record.decision_id for record in latest(ledger, num)] for num in (1, 2, 20)] == [names[-1:], names[-2:], names]
    ledger.close()
