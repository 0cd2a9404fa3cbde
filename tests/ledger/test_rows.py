"""Rows are read once they have the checksum that `records.checksum` gives their values."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsdk.errors import LedgerCorrupt
from recsdk.ledger import _rows
from recsdk.ledger._packing import pack
from recsdk.ledger.records import checksum

TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
NUMBERS, COUNTS, DATA = st.floats(), st.integers(-1, 2**40), st.binary(max_size=6).map(lambda data: 4 * data)
OPTIONAL = st.none() | TEXTS


def require_read_with_its_checksum_alone(read, row, right, wanted):
    assert repr(read((*row, right))) == repr(wanted)  # which tells -0.0 from 0.0
    for wrong in (right ^ 1, None):
        with pytest.raises(LedgerCorrupt, match="checksum"):
            read((*row, wrong))


@settings(max_examples=50, derandomize=True)
@given(st.tuples(TEXTS, TEXTS, COUNTS, NUMBERS, NUMBERS, OPTIONAL, st.none() | st.just(1)))
def test_a_reward_of_any_fields_is_read_with_its_checksum_alone(values):
    require_read_with_its_checksum_alone(_rows.reward, values, checksum(values), _rows.reward_of(values))


@settings(max_examples=50, derandomize=True)
@given(st.tuples(TEXTS, NUMBERS, TEXTS, TEXTS, COUNTS, DATA, DATA, DATA, COUNTS, DATA, OPTIONAL, OPTIONAL))
def test_a_decision_of_any_fields_is_read_with_its_checksum_alone(values):
    slots, action, probs, dim, features = values[5:10]
    packed = pack(slots, transposing=True), action, pack(probs), dim, pack(features, transposing=True)
    for arrays, is_packed in ((values[5:10], 0), (packed, 1)):
        row = (*values[:5], *arrays, *values[10:], 0, 0, is_packed)
        require_read_with_its_checksum_alone(_rows.decision_fields, row, checksum(values), values)
