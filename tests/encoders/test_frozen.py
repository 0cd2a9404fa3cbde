"""Vectors made elsewhere."""

import contextlib
import json
import time
from pathlib import Path

import numpy as np
import pytest

from recsdk import testing
from recsdk.data import events_from_rows, items_from_rows, requests_table
from recsdk.encoders.frozen import Frozen
from recsdk.errors import InvalidLog, InvalidValue
from recsdk.testing import example_log

IDS, TABLE = ["a", "b", "c", "late"], np.array([[3.0, 0, 0], [0, 2, 0], [0, 0, 1], [1, 1, 1]])
LOG = events_from_rows(items_from_rows([{"id": name} for name in ("a", "b", "c", "plain")]), [])


@pytest.fixture
def path(tmp_path):
    np.savez(tmp_path / "items.npz", ids=IDS, vectors=TABLE)
    return str(tmp_path / "items.npz")


@pytest.fixture(scope="module")
def of_example(tmp_path_factory):
    """Vectors of the example's items by which users' tastes can be told."""
    path = tmp_path_factory.mktemp("vectors") / "items.npz"
    np.savez(path, ids=[f"item-{n}" for n in range(12)], vectors=np.eye(4)[np.arange(12) % 4] + 0.1)
    return str(path)


@pytest.mark.parametrize("check", testing.ENCODER_CHECKS, ids=lambda check: check.__name__)
def test_conforms(check, of_example):
    check(Frozen(vectors=of_example, dim=4))


def scores(encoder, state, **request):
    found = encoder.encode_requests(state, requests_table([request])) @ encoder.encode_items(state, LOG.items).T
    return found[0]


def test_a_user_is_the_mean_of_the_history_with_the_latest_item_first(path):
    encoder = Frozen(vectors=path, dim=3, similarity="dot", recency_decay=0.5)
    state = encoder.fit(LOG)
    (found,) = encoder.encode_requests(state, requests_table([{"history": ["a", "unknown", "b"]}])) / state.scale
    np.testing.assert_allclose(found, (TABLE[1] + 0.5 * TABLE[0]) / 1.5, rtol=1e-6)


def test_cosine_makes_all_vectors_of_one_length(path):
    encoder = Frozen(vectors=path, dim=3)
    state = encoder.fit(LOG)
    found = scores(encoder, state, history=["a"])
    assert found.argmax() == 0
    np.testing.assert_allclose(found[1], found[2], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(state.items.table[1:], axis=1), 1, rtol=1e-5)


def test_scores_are_centred_with_a_spread_of_a_quarter_and_what_is_not_known_is_average(path):
    encoder = Frozen(vectors=path, dim=3)
    state = encoder.fit(LOG)
    found = np.stack([scores(encoder, state, history=[name]) for name in "abc"])
    np.testing.assert_allclose(found[:, :3].mean(axis=1), 0, atol=1e-6)
    np.testing.assert_allclose(found[:, :3].std(axis=1).mean(), 0.25, rtol=1e-5)
    assert not found[:, 3].any()
    assert not scores(encoder, state).any()


def test_an_item_that_joins_later_has_its_vector_at_once(path):
    encoder = Frozen(vectors=path, dim=3)
    assert encoder.encode_items(encoder.fit(LOG), items_from_rows([{"id": "late"}])).any()


def test_given_users_have_their_own_vectors_and_others_their_history(path, tmp_path):
    users = tmp_path / "users.jsonl"
    users.write_text("".join(json.dumps({"id": f"u{n}", "vector": row}) + "\n" for n, row in enumerate([[0, 0, 5.0], [1, 0, 0]])))
    encoder = Frozen(vectors=path, dim=3, users=str(users), similarity="dot")
    state = encoder.fit(LOG)
    assert scores(encoder, state, user_id="u0", history=["a"]).argmax() == 2
    assert scores(encoder, state, user_id="u9", history=["b"]).argmax() == 1


def test_files_of_rows_hold_the_same_as_arrays(path, tmp_path):
    polars = pytest.importorskip("polars")
    rows = [{"id": name, "vector": row} for name, row in zip(IDS, TABLE.tolist(), strict=True)]
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    polars.DataFrame(rows).write_parquet(tmp_path / "items.parquet")
    wanted = Frozen(vectors=path, dim=3).fit(LOG)
    for name in ("items.jsonl", "items.parquet"):
        found = Frozen(vectors=str(tmp_path / name), dim=3).fit(LOG)
        np.testing.assert_array_equal(found.items.table, wanted.items.table)


def test_the_scale_comes_from_histories_of_the_log_where_there_are_any(of_example):
    encoder = Frozen(vectors=of_example, dim=4)
    state = encoder.fit(example_log())
    users = encoder.encode_requests(state, requests_table([{"history": ["item-1", "item-5", "item-9"]}]))
    assert 0.2 < (users @ encoder.encode_items(state, example_log().items).T).std() < 0.3


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: np.savez(path, ids=IDS, vectors=TABLE[:, :2]), r"Frozen\.dim must be the width.*\[4, 2\], got 3"),
        (lambda path: np.savez(path, ids=IDS, vectors=TABLE[:3]), "numbers with a row for each, got"),
        (lambda path: np.savez(path, ids=[1, 2], vectors=TABLE[:2]), "'ids' must be text"),
        (lambda path: np.savez(path, ids=["a", "a"], vectors=TABLE[:2]), "each id must be there once, got 'a' twice"),
        (lambda path: np.savez(path, ids=IDS, vectors=TABLE * np.nan), "the vector of 'a' must be finite, got"),
        (lambda path: np.savez(path, names=IDS), "must be .npz with the arrays"),
        (lambda path: np.savez(path, ids=np.array(IDS, object), vectors=TABLE), "must be .npz with the arrays"),  # that is pickle
        (lambda path: Path(path).write_bytes(b"PK\3\4 no zip"), "must be .npz with the arrays"),
    ],
)
def test_a_file_that_holds_something_else_is_refused(write, message, tmp_path):
    path = tmp_path / "items.npz"
    write(path)
    with pytest.raises((InvalidLog, InvalidValue), match=message):
        Frozen(vectors=str(path), dim=3).fit(LOG)


def test_a_damaged_file_is_refused_or_says_the_same(tmp_path):
    path = tmp_path / "items.npz"
    np.savez_compressed(path, ids=IDS, vectors=TABLE)
    data, encoder = path.read_bytes(), Frozen(vectors=str(path), dim=3)
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
        with contextlib.suppress(InvalidLog):
            assert encoder._read(str(path)).table.shape == (5, 3)


def test_a_duplicate_among_many_is_named_at_once(tmp_path):
    path, names = tmp_path / "items.npz", [f"item-{number}" for number in range(50_000)]
    np.savez(path, ids=[*names, names[-1]], vectors=np.ones((50_001, 3), np.float32))
    begun = time.process_time()
    with pytest.raises(InvalidLog, match="got 'item-49999' twice"):
        Frozen(vectors=str(path), dim=3)._read(str(path))
    assert time.process_time() - begun < 5  # half a minute, were each counted


def test_a_bad_row_is_told_by_its_line(tmp_path):
    path = tmp_path / "items.jsonl"
    path.write_text('{"id": "a", "vector": [1, 2, 3]}\n{"id": "b", "vector": [1, 2]}\n')
    with pytest.raises(InvalidLog, match=r"items\.jsonl, line 2: a row must have an 'id'"):
        Frozen(vectors=str(path), dim=3).fit(LOG)
    with pytest.raises(FileNotFoundError):
        Frozen(vectors=str(tmp_path / "none.npz"), dim=3).fit(LOG)
