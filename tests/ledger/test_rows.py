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
REWARD = st.tuples(TEXTS, TEXTS, COUNTS, NUMBERS, NUMBERS, OPTIONAL, st.none() | st.just(1))
DECISION = st.tuples(TEXTS, NUMBERS, TEXTS, TEXTS, COUNTS, DATA, DATA, DATA, COUNTS, DATA, OPTIONAL, OPTIONAL)


def require_read_with_its_checksum_alone(read, row, right, wanted):
    assert repr(read((*row, right))) == repr(wanted)  # which tells -0.0 from 0.0
    for wrong in (right ^ 1, None):
        with pytest.raises(LedgerCorrupt, match="checksum"):
            read((*row, wrong))


@settings(max_examples=50, derandomize=True)
@given(REWARD)
def test_a_reward_of_any_fields_is_read_with_its_checksum_alone(values):
    require_read_with_its_checksum_alone(_rows.reward, values, checksum(values), _rows.reward_of(values))


def row_of(values, is_packed):
    slots, action, probs, dim, features = values[5:10]
    packed = pack(slots, transposing=True), action, pack(probs), dim, pack(features, transposing=True)
    return (*values[:5], *(packed if is_packed else values[5:10]), *values[10:], 0, 0, int(is_packed))


@settings(max_examples=50, derandomize=True)
@given(DECISION)
def test_a_decision_of_any_fields_is_read_with_its_checksum_alone(values):
    for is_packed in (False, True):
        require_read_with_its_checksum_alone(_rows.decision_fields, row_of(values, is_packed), checksum(values), values)


def columns_of(rows, wrong):
    """Returns the columns of rows, with the checksum of one of them wrong; of none at None."""
    return list(zip(*[(*row[:-1], row[-1] ^ (place == wrong)) for place, row in enumerate(rows)], strict=True))


@settings(max_examples=50, derandomize=True)
@given(st.lists(st.tuples(DECISION, st.booleans()), min_size=1, max_size=5), st.data())
def test_decisions_are_read_together_as_alone_once_all_have_their_checksums(given, data):
    rows = [(*row_of(*one), checksum(one[0])) for one in given]
    assert repr(list(_rows.decisions_fields(columns_of(rows, None)))) == repr([values for values, _ in given])
    assert _rows.decisions_fields(columns_of(rows, data.draw(st.integers(0, len(rows) - 1)))) is None


@settings(max_examples=50, derandomize=True)
@given(st.lists(REWARD, min_size=1, max_size=5), st.data())
def test_rewards_are_read_together_as_alone_once_all_have_their_checksums(given, data):
    rows = [(*values, checksum(values)) for values in given]
    assert repr(list(_rows.rewards(columns_of(rows, None)))) == repr(list(map(_rows.reward, rows)))
    assert _rows.rewards(columns_of(rows, data.draw(st.integers(0, len(rows) - 1)))) is None
