"""Packed arrays come back to the bit, and take little room."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsdk.errors import LedgerCorrupt
from recsdk.ledger._packing import PLAIN, pack, unpack, unpack_all


@given(st.binary(max_size=200), st.integers(1, 40))
def test_bytes_come_back_and_take_at_most_one_more(data, times):
    for whole in (data, data * times):
        packed = pack(whole)
        assert unpack(packed) == whole
        assert len(packed) <= len(whole) + 1


@given(st.lists(st.integers(0, 2**32 - 1), max_size=60))
def test_values_of_four_bytes_come_back(values):
    data = np.array(values, "<u4").tobytes()
    assert unpack(pack(data, transposing=True)) == data


def test_probabilities_of_few_values_and_slots_take_a_sixth_and_a_half():
    rng = np.random.default_rng(0)
    probs, slots = rng.integers(0, 8, 500) / 1000 + 0.0001, rng.permutation(30_000)[:500].astype("<i4")
    assert len(pack(probs.tobytes())) < probs.nbytes / 6
    assert len(pack(slots.tobytes(), transposing=True)) < slots.nbytes * 0.55


@pytest.mark.parametrize("packed", [b"", b"\7abc", b"\1abc", b"\2abc", b"\2" + pack(bytes(99))[1:]])
def test_what_was_not_packed_is_corrupt(packed):
    with pytest.raises(LedgerCorrupt, match="not as it was written"):
        unpack(packed)


SMALL = st.lists(st.integers(0, 2**10) | st.integers(0, 2**32 - 1), max_size=5).map(lambda values: np.array(values, "<u4").tobytes())


@settings(derandomize=True)
@given(st.lists(SMALL, max_size=5), st.booleans())
def test_together_all_come_back_as_each_alone(column, transposing):
    packed = [pack(data, transposing=transposing) for data in column]
    assert list(unpack_all(packed)) == [unpack(data) for data in packed] == column


@pytest.mark.parametrize("packed", [b"\3", b"\3\0abcd", b"\3\5abcde", b"\3\2abc"])
@pytest.mark.parametrize("beside", [pack(b"\7\0\0\0", transposing=True), PLAIN])
def test_together_what_was_not_packed_is_corrupt(packed, beside):
    for column in ([packed], [beside, packed], [packed, beside]):
        with pytest.raises(LedgerCorrupt, match="not as it was written"):
            unpack_all(column)
