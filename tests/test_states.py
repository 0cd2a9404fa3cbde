"""States to bytes and back."""

import io
import json
import time
import zipfile
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsdk import arrays, states
from recsdk.errors import InvalidValue, LedgerCorrupt
from recsdk.policies.linear import LinTS
from recsdk.policies.masters import Mixture
from recsdk.policies.wrappers import WithFloor


class Pair(NamedTuple):
    first: object
    second: object


class Twin(NamedTuple):
    first: object
    second: object


class Journal:
    """A native component: its state is a list that it writes itself."""

    runs_on = ("numpy",)
    learns_from = "chosen"

    def __repr__(self):
        return "Journal()"

    def dumps(self, state):
        return json.dumps(state).encode()

    def loads(self, data):
        return json.loads(data)

    def close(self, state):
        state.append("closed")


FLOATS = np.array([0.0, -0.0, np.nan, np.inf, 5e-324, 1 / 3])
ARRAYS = [
    FLOATS,
    FLOATS.astype(np.float32),
    np.zeros((0, 3)),
    np.array(7),
    np.array([True, False]),
    np.array([2**63 - 1, -1]),
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.arange(12.0)[::2],
    np.array([1 + 2j]),
    np.array(["a", "snö"]),
    np.array([b"a"]),
]


def same(one, other):
    pairs = list(zip(arrays.leaves(one), arrays.leaves(other), strict=True))
    return all(
        (a is None and b is None) or (np.asarray(a).dtype == b.dtype and np.asarray(a).shape == b.shape and a.tobytes() == b.tobytes())
        for a, b in pairs
    )


def round_trip(state, template=None):
    return states.loads("part", state if template is None else template, states.dumps("part", state))


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.shape}")
def test_every_bit_of_an_array_comes_back(array):
    back = round_trip(Pair(array, (array,)))
    assert same(back, Pair(array, (array,)))
    assert back.first.flags.f_contiguous or not array.flags.f_contiguous  # a matrix product may round otherwise


def test_records_lists_tuples_dicts_and_none_come_back_as_they_were():
    state = Pair({"b": [np.arange(2)], "a": (None, np.ones(1))}, ())
    back = round_trip(state)
    assert same(back, state)
    assert type(back) is Pair
    assert type(back.first["b"]) is list
    assert back.first["a"][0] is None
    assert back.second == ()


def test_a_number_comes_back_as_an_array_without_dimensions():
    back = round_trip((3, 0.5))
    assert [(leaf.shape, leaf.item()) for leaf in back] == [((), 3), ((), 0.5)]


def test_a_dict_and_a_list_of_any_length_grow_from_an_empty_template():
    assert same(round_trip({"u1": np.ones(2), "u2": np.ones(3)}, {}), {"u1": np.ones(2), "u2": np.ones(3)})
    assert same(round_trip({"u1": (np.ones(2), [np.ones(1)])}, {}), {"u1": (np.ones(2), [np.ones(1)])})
    assert same(round_trip([Pair(1, 2), Pair(3, 4)], [Pair(0, 0)]), [Pair(np.array(1), np.array(2)), Pair(np.array(3), np.array(4))])
    assert same(round_trip((np.ones(2),), (None,)), (np.ones(2),))


def test_the_same_state_gives_the_same_bytes():
    state = Pair({"b": np.arange(2.0), "a": None}, FLOATS)
    assert states.dumps("part", state) == states.dumps("part", Pair({"a": None, "b": np.arange(2.0)}, FLOATS.copy()))


@pytest.mark.parametrize(
    "state",
    [np.array([None]), object(), (lambda: 1,), {1: np.ones(1)}, {"a", "b"}, Pair(np.ones(1), np.array(["2020-01-01"], "M8[D]"))],
    ids=["objects", "object", "function", "int keys", "set", "dates"],
)
def test_what_could_only_be_pickled_is_refused_when_it_is_written(state):
    with pytest.raises(InvalidValue, match="state of 'part' must"):
        states.dumps("part", state)


@pytest.mark.parametrize(
    ("state", "template"),
    [
        (Pair(1, 2), Twin(1, 2)),
        (Pair(1, 2), (1, 2)),
        (Pair(1, 2), np.ones(1)),
        (np.ones(1), Pair(1, 2)),
        ((1, 2, 3), (1, 2)),
        ({"a": 1}, [1]),
        ({"a": Pair(1, 2)}, {}),
    ],
)
def test_bytes_of_other_records_are_refused(state, template):
    with pytest.raises(LedgerCorrupt, match="stored state of 'part'"):
        round_trip(state, template)


STORED = states.dumps("part", Pair(np.arange(4.0), {"a": np.arange(3)}))
TEMPLATE = Pair(np.zeros(1), {"a": np.zeros(1)})


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_bytes_are_refused_or_harmless(data):
    damaged = bytearray(STORED)
    for place in data.draw(st.lists(st.integers(0, len(STORED) - 1), min_size=1, max_size=4)):
        damaged[place] = data.draw(st.integers(0, 255))
    cut = bytes(damaged[: data.draw(st.integers(0, len(STORED)))] if data.draw(st.booleans()) else damaged)
    try:
        back = states.loads("part", TEMPLATE, cut)
    except LedgerCorrupt:
        return
    assert same(back, Pair(np.arange(4.0), {"a": np.arange(3)}))


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_refused(data):
    with pytest.raises(LedgerCorrupt, match="'part'"):
        states.loads("part", TEMPLATE, data)


@pytest.mark.parametrize("beginning", states.FORMER)
def test_damaged_bytes_of_a_former_form_are_refused_by_the_name_of_the_component(beginning):
    for rest in (b"", b"\x00" * 15, b"\x00" * 16, b"\xff" * 100):
        with pytest.raises(LedgerCorrupt, match=r"stored state of 'part' cannot be read: its .* bytes must match the digest"):
            states.loads("part", TEMPLATE, beginning + rest)


def test_pickled_bytes_are_never_loaded(tmp_path):
    hostile = tmp_path / "hostile.npz"
    np.savez(hostile, outline=np.frombuffer(b'"array"', np.uint8), leaf0=np.array([Callable], object))
    with pytest.raises(LedgerCorrupt, match="allow_pickle"):
        states.loads("part", np.zeros(1), hostile.read_bytes())


def test_a_native_component_writes_reads_and_frees_its_own_state_also_under_a_floor():
    for policy in (Journal(), WithFloor(policy=Journal()), WithFloor(policy=WithFloor(policy=Journal()))):
        assert states.is_native(policy)
        state = states.loads(policy, None, states.dumps(policy, ["line"]))
        assert state == ["line"]
        states.close(policy, state)
        assert state == ["line", "closed"]


def test_native_parts_write_themselves_wherever_they_are_in_a_composite():
    inner = Mixture(policies=(WithFloor(policy=Journal()), LinTS()), shares=(0.5, 0.5))
    policy = WithFloor(policy=Mixture(policies=(LinTS(), inner), shares=(0.5, 0.5)))
    linear = LinTS().init(np.ones(3))
    state = (linear, (["line", "snö"], linear))
    assert states.is_native(policy)
    assert not states.is_native(Mixture(policies=(LinTS(),), shares=(1.0,)))
    template = (LinTS().init(np.zeros(3)), ([], LinTS().init(np.zeros(3))))
    loaded = states.loads(policy, template, states.dumps(policy, state))
    assert loaded[1][0] == ["line", "snö"]
    assert same(loaded[0], linear)
    assert same(loaded[1][1], linear)
    assert template[1][0] == []
    states.close(policy, loaded)
    assert loaded[1][0] == ["line", "snö", "closed"]
    assert state[1][0] == ["line", "snö"]


def test_the_bytes_of_another_composite_are_refused():
    two, one = Mixture(policies=(LinTS(), LinTS()), shares=(0.5, 0.5)), Mixture(policies=(LinTS(),), shares=(1.0,))
    data = states.dumps(two, two.init(np.zeros(2)))
    with pytest.raises(LedgerCorrupt, match="has 2 fields in a tuple of 1"):
        states.loads(one, one.init(np.zeros(2)), data)


def test_a_floor_changes_nothing_in_the_bytes():
    state = LinTS().init(np.ones(3))
    assert states.dumps(WithFloor(policy=LinTS()), state) == states.dumps(LinTS(), state)
    assert same(states.loads(WithFloor(policy=LinTS()), state, states.dumps(LinTS(), state)), state)


def test_an_archive_that_unpacks_to_more_than_its_size_is_refused_before_it_is_unpacked():
    buffer = io.BytesIO()
    np.savez_compressed(buffer, outline=np.frombuffer(b'"array"', np.uint8), leaf0=np.zeros(30_000_000))
    assert len(buffer.getvalue()) < 1_000_000
    start = time.process_time()
    with pytest.raises(LedgerCorrupt, match=r"cannot be read: its [\d,]+ bytes would unpack to 240,000,\d+"):
        states.loads(LinTS(), np.zeros(1), buffer.getvalue())
    assert time.process_time() - start < 0.1


def test_a_leaf_that_claims_more_than_is_there_is_refused():
    written = io.BytesIO()
    np.lib.format.write_array_header_1_0(written, {"descr": "<f8", "fortran_order": False, "shape": (10**13,)})
    buffer = io.BytesIO()
    np.savez(buffer, outline=np.frombuffer(b'"array"', np.uint8))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("leaf0.npy", written.getvalue() + bytes(64))
    with pytest.raises(LedgerCorrupt, match="cannot be read"):
        states.loads(LinTS(), np.zeros(1), buffer.getvalue())
