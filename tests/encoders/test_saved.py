"""Models trained elsewhere."""

import json

import attrs
import numpy as np
import pytest

from recsdk.data import items_from_rows, requests_table
from recsdk.encoders.checkpoint import load, save, write
from recsdk.encoders.gru import GRU
from recsdk.encoders.saved import Saved, part_of
from recsdk.errors import CheckpointCorrupt, CheckpointMismatch
from recsdk.live.identity import differences, identity
from recsdk.live.parts import built
from recsdk.scorers.popularity import Popularity
from recsdk.testing import example_log

ENCODER = GRU(dim=6, num_layers=2)


@pytest.fixture
def path(tmp_path):
    state = ENCODER.fit(example_log()._replace(reward=np.zeros(200)))  # nothing to train on: random vectors, a vocabulary
    save(tmp_path / "model", ENCODER, state)
    return str(tmp_path / "model")


def test_it_is_the_model_in_the_file(path):
    saved, state = Saved(path=path), load(path, ENCODER)
    assert (part_of(path), saved.dim) == (ENCODER, 6)
    requests, items = requests_table([{"history": ["item-1"]}]), example_log().items
    fitted = saved.fit(example_log())
    np.testing.assert_array_equal(saved.encode_requests(fitted, requests), ENCODER.encode_requests(state, requests))
    np.testing.assert_array_equal(saved.encode_items(fitted, items), ENCODER.encode_items(state, items))
    assert saved.encode_items(saved.init(), items_from_rows([{"id": "a"}])).shape == (1, 6)
    assert saved.fit(example_log(), state=fitted) is fitted


def test_a_folder_knows_it_by_the_files_name_and_digest(path):
    saved = Saved(path=path)
    stored = json.loads(json.dumps(identity(saved)))
    assert stored["settings"] == {"path": path, "digest": saved.digest}
    assert differences(stored, Saved(path=path)) == []
    assert built(stored) == saved
    assert differences({**stored, "settings": {"path": path}}, saved) == []  # of a folder that did not yet keep the digest
    other = attrs.evolve(ENCODER, similarity="cosine")
    save(path, other, other.init())
    (change,) = differences(stored, Saved(path=path))
    assert change == f"digest was {saved.digest!r}, is {Saved(path=path).digest!r}"
    with pytest.raises(CheckpointMismatch, match=r"Saved\.digest must be that of .*another model was written to it"):
        Saved(path=path, digest=saved.digest)
    with pytest.raises(CheckpointMismatch, match=r"must be of a part like .* similarity was 'cosine', is 'dot'"):
        saved.fit(example_log())  # an object made before


def test_a_file_that_is_no_encoder_is_refused(path, tmp_path):
    save(tmp_path / "scorer", Popularity(), Popularity().init())
    assert part_of(tmp_path / "scorer") == Popularity()
    with pytest.raises(CheckpointMismatch, match=r"Saved\.path must be the file of an encoder.*Popularity"):
        Saved(path=str(tmp_path / "scorer"))


def test_a_part_that_is_not_installed_is_refused_and_not_imported(tmp_path):
    part = {"name": None, "class": "os:system", "version": 1, "settings": {"command": "false"}}
    write(tmp_path / "evil", ENCODER.init(), {"component": "?", "part": part})
    with pytest.raises(CheckpointMismatch, match="no installed plugin"):
        part_of(tmp_path / "evil")
    write(tmp_path / "old", ENCODER.init(), {"component": "GRU(dim=6)"})
    with pytest.raises(CheckpointMismatch, match=r"must say which part it is of, and says 'GRU\(dim=6\)'"):
        part_of(tmp_path / "old")


def test_a_damaged_file_is_refused(path):
    with open(path, "r+b") as file:
        file.seek(-3, 2)
        file.write(b"xyz")
    with pytest.raises(CheckpointCorrupt):
        Saved(path=path).fit(example_log())
