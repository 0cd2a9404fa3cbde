"""Models as files."""

import json
import time
import tracemalloc

import attrs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsdk import states
from recsdk.data import items_from_rows
from recsdk.encoders._sequences import learn
from recsdk.encoders.bert4rec import BERT4Rec
from recsdk.encoders.checkpoint import load, read, read_header, save, write
from recsdk.encoders.sasrec import SASRec
from recsdk.errors import CheckpointCorrupt, CheckpointError, CheckpointMismatch, InvalidValue
from recsdk.scorers.dot import Dot

ENCODER = SASRec(dim=4, num_layers=1, num_heads=2, max_length=3)


def a_state():
    state = ENCODER.init()
    known = learn(state.vocabulary, items_from_rows([{"id": name} for name in ("b", "a", "caf\u00e9 \U0001f600")]))
    table = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)
    return state._replace(vocabulary=known, params=state.params._replace(table=table), history=np.ones((2, 3)))


STATE = a_state()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "model"
    save(path, ENCODER, STATE, notes={"ndcg": 0.5})
    return path.read_bytes()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged") / "model"


def test_what_is_written_reads_back_the_same(tmp_path):
    save(tmp_path / "model", ENCODER, STATE, notes={"ndcg": 0.5})
    assert states.dumps(ENCODER, load(tmp_path / "model", ENCODER)) == states.dumps(ENCODER, STATE)
    header = read_header(tmp_path / "model")
    assert header["component"] == repr(ENCODER)
    assert header["notes"] == {"ndcg": 0.5}
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_arrays_that_are_not_contiguous_are_written_as_they_are(tmp_path):
    tree = {"turned": np.arange(6.0).reshape(2, 3).T, "strided": np.arange(10)[::3]}
    write(tmp_path / "tree", tree, {})
    found = read(tmp_path / "tree", {"turned": np.zeros((1, 1)), "strided": np.zeros(0, np.int64)})
    np.testing.assert_array_equal(found["turned"], tree["turned"])
    np.testing.assert_array_equal(found["strided"], tree["strided"])


SETTINGS = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


@SETTINGS
@given(st.data())
def test_a_changed_byte_is_refused_or_changes_nothing(data, place, draw):
    at = draw.draw(st.integers(0, len(data) - 1))
    damaged = bytearray(data)
    damaged[at] ^= draw.draw(st.integers(1, 255))
    place.write_bytes(damaged)
    try:
        found = load(place, ENCODER)
    except CheckpointError:
        return
    assert states.dumps(ENCODER, found) == states.dumps(ENCODER, STATE)


def test_a_changed_byte_of_an_array_is_refused(data, place):
    for at in range(len(data) - 200, len(data), 7):
        damaged = bytearray(data)
        damaged[at] ^= 1
        place.write_bytes(damaged)
        with pytest.raises(CheckpointCorrupt, match="digest"):
            load(place, ENCODER)


@SETTINGS
@given(st.data())
def test_a_cut_file_is_refused(data, place, draw):
    place.write_bytes(data[: draw.draw(st.integers(0, len(data) - 1))])
    with pytest.raises(CheckpointCorrupt):
        load(place, ENCODER)


def with_header(data, change):
    length = int.from_bytes(data[:8], "little")
    outline = json.loads(data[8 : 8 + length])
    change(outline)
    text = json.dumps(outline).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def test_an_absurd_size_is_refused_at_once_and_in_little_memory(data, place):
    def absurd(outline):
        outline["params/table"]["shape"] = [2**20, 2**20]

    for damaged in (with_header(data, absurd), (2**40).to_bytes(8, "little") + data[8:]):
        place.write_bytes(damaged)
        tracemalloc.start()
        begun = time.perf_counter()
        with pytest.raises(CheckpointCorrupt, match=r"cannot be read|header that fits"):
            load(place, ENCODER)
        assert time.perf_counter() - begun < 1
        assert tracemalloc.get_traced_memory()[1] < 10e6
        tracemalloc.stop()


def test_another_version_of_the_format_is_refused(data, place):
    def later(outline):
        outline["__metadata__"]["recsdk"] = outline["__metadata__"]["recsdk"].replace('"format": 1', '"format": 2')

    place.write_bytes(with_header(data, later))
    with pytest.raises(CheckpointMismatch, match="must be of format 1, got 2"):
        load(place, ENCODER)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dim": 8}, r"params/table of .* must be float32\[1, 8\].*got float32\[4, 4\]"),
        ({"num_layers": 2}, r"lacks \['params/blocks/1/"),
        ({"max_length": 5}, r"params/position of .* must be float32\[5, 4\]"),
    ],
)
def test_a_model_of_other_sizes_is_refused_with_both(data, place, change, message):
    place.write_bytes(data)
    with pytest.raises(CheckpointMismatch, match=message):
        load(place, attrs.evolve(ENCODER, **change))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (attrs.evolve(ENCODER, num_heads=4), "num_heads was 2, is 4"),
        (attrs.evolve(ENCODER, similarity="cosine", epochs=1), "differs: similarity was 'dot', is 'cosine'\\.$"),
        (BERT4Rec(dim=4, num_layers=1, num_heads=2, max_length=3), r"was sasrec\(.*, is bert4rec\("),
    ],
)
def test_a_file_of_another_part_is_refused_though_its_arrays_fit(data, place, other, message):
    place.write_bytes(data)
    with pytest.raises(CheckpointMismatch, match=message):
        load(place, other)


def test_settings_of_training_and_names_of_features_may_differ_and_old_files_do_not_tell(data, place):
    place.write_bytes(data)
    load(place, attrs.evolve(ENCODER, epochs=1, loss="gbce", temperature=0.1, precision="float32", user="who", history="seen"))
    save(place, Dot(encoder=ENCODER), STATE)
    load(place, Dot(encoder=attrs.evolve(ENCODER, epochs=1)))
    with pytest.raises(CheckpointMismatch, match="encoder: num_heads was 2, is 4"):
        load(place, Dot(encoder=attrs.evolve(ENCODER, num_heads=4)))
    write(place, STATE, {"component": "SASRec()"})
    load(place, attrs.evolve(ENCODER, num_heads=4))


def test_an_array_of_another_type_is_refused(tmp_path):
    write(tmp_path / "tree", {"a": np.ones(3)}, {})
    with pytest.raises(CheckpointMismatch, match=r"a of .* must be float32\[0\].*got float64\[3\]"):
        read(tmp_path / "tree", {"a": np.zeros(0, np.float32)})


def test_what_is_no_array_of_numbers_or_text_is_refused(tmp_path):
    with pytest.raises(InvalidValue, match="a must be an array of numbers or text, got object"):
        write(tmp_path / "tree", {"a": np.array([None])}, {})


@given(data=st.binary(max_size=300))
@SETTINGS
def test_garbage_is_refused(place, data):
    place.write_bytes(data)
    with pytest.raises(CheckpointCorrupt):
        load(place, ENCODER)


def test_a_crash_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    save(tmp_path / "model", ENCODER, STATE)
    before = (tmp_path / "model").read_bytes()
    monkeypatch.setattr("os.fsync", lambda number: (_ for _ in ()).throw(OSError("the disk is full")))
    with pytest.raises(OSError, match="the disk is full"):
        save(tmp_path / "model", ENCODER, ENCODER.init())
    assert (tmp_path / "model").read_bytes() == before
