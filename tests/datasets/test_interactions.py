import gzip
import json
import sys

import numpy as np
import polars
import pytest

from recsdk import datasets
from recsdk.checks import check_log
from recsdk.errors import (
    DuplicateCandidates,
    EmptyLog,
    IgnoredInput,
    InvalidContext,
    InvalidLog,
    InvalidPropensity,
    InvalidRequest,
    InvalidReward,
    InvalidValue,
    MissingExtra,
    UnknownItem,
)

ITEMS = [{"id": "a", "price": 3.0, "tags": ["new", "red"]}, {"id": "b", "price": 4.5, "tags": ["old"]}]
EVENTS = [
    {"item": "b", "reward": 2.0, "time": 20.0, "user_id": "u1"},
    {"item": "a", "reward": 1.0, "time": 10.0, "user_id": "u2"},
]
ROUNDS = [
    {"features": [[1.0, 0.5], [1.0, 0.25], [1.0, 0.0]], "action": 2, "reward": 1.0, "propensity": 0.2},
    {"features": [[1.0, 0.5], [1.0, 0.25]], "action": 1, "reward": 0.0, "propensity": 0.5},
]


def write(folder, rows, kind="jsonl"):
    path = folder / f"rows.{kind}"
    if kind == "parquet":
        polars.DataFrame(rows).write_parquet(path)
        return path
    text = "".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(text) if kind == "jsonl.gz" else text)
    return path


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "parquet"])
def test_items_and_events_read_alike_from_every_format(tmp_path, kind):
    items = datasets.read_items(write(tmp_path, ITEMS, kind))
    assert items.ids.tolist() == ["a", "b"]
    assert items.features["price"].tolist() == [3.0, 4.5]
    assert items.features["tags"].tolist() == [["new", "red"], ["old"]]
    events = datasets.read_events(write(tmp_path, EVENTS, kind), items)
    assert (events.item.tolist(), events.reward.tolist(), events.time.tolist()) == ([0, 1], [1.0, 2.0], [10.0, 20.0])
    assert events.requests["user_id"].tolist() == ["u2", "u1"]


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "parquet"])
def test_a_log_reads_alike_from_every_format_and_is_padded(tmp_path, kind):
    log = datasets.read_log(write(tmp_path, ROUNDS, kind))
    check_log(log)
    assert log.context.features.shape == (2, 3, 2)
    assert log.context.mask.tolist() == [[True] * 3, [True, True, False]]
    assert log.context.features[1].tolist() == [[1.0, 0.5], [1.0, 0.25], [0.0, 0.0]]
    assert log.context.item.tolist() == [[0, 1, 2], [0, 1, 0]]
    assert (log.action.tolist(), log.reward.tolist(), log.propensity.tolist(), log.weight.tolist()) == ([2, 1], [1, 0], [0.2, 0.5], [1, 1])


def test_slots_and_weights_are_kept(tmp_path):
    log = datasets.read_log(write(tmp_path, [{**ROUNDS[1], "item": [7, 3], "weight": 2.5}]))
    assert log.context.item.tolist() == [[7, 3]]
    assert log.weight.tolist() == [2.5]


def test_a_propensity_with_a_rounding_error_is_corrected(tmp_path):
    assert datasets.read_log(write(tmp_path, [{**ROUNDS[0], "propensity": 1.0000001}])).propensity.tolist() == [1.0]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"propensity": 0}, InvalidPropensity, r"propensity must be in \(0, 1\]"),
        ({"propensity": 1.5}, InvalidPropensity, r"propensity must be in \(0, 1\]"),
        ({"propensity": "0.5"}, InvalidLog, "propensity must be a number, got '0.5'"),
        ({"propensity": None}, InvalidLog, r"\['propensity'\] are missing"),
        ({"reward": True}, InvalidLog, "reward must be a number, got True"),
        ({"reward": 10**400}, InvalidLog, "reward must be a number"),
        ({"action": 2}, InvalidContext, "action must be the index of a real candidate"),
        ({"action": 1.0}, InvalidLog, "action must be a number, whole, got 1.0"),
        ({"weight": -1}, InvalidValue, "weight must be finite and >= 0"),
        ({"features": [[1.0], [1.0, 2.0]]}, InvalidLog, "features must be K lists of D numbers"),
        ({"features": []}, InvalidLog, "features must be K lists of D numbers"),
        ({"features": [[1.0], [2.0]]}, InvalidLog, "features must have as many columns as those of line 1"),
        ({"item": [1]}, InvalidContext, r"item must be int64\[2\]"),
        ({"propensty": 0.5}, InvalidLog, "got 'propensty'. Did you mean 'propensity'?"),
    ],
)
def test_a_bad_row_of_a_log_is_refused_by_its_line(tmp_path, changes, error, message):
    with pytest.raises(error, match=rf"rows.jsonl, line 2: .*{message}"):
        datasets.read_log(write(tmp_path, [ROUNDS[0], {**ROUNDS[1], **changes}]))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"reward": NaN}\n', "NaN is not JSON"),
        ('{"reward": -Infinity}\n', "-Infinity is not JSON"),
        ('{"reward": 1, "reward": 2}\n', "a name is there twice: 'reward'"),
        ("[1, 2]\n", "must be one JSON object"),
        ("\n", "must be one JSON object"),
        ("{'a': 1}\n", "must be one JSON object"),
        ('{"a": ' + "[" * 100_000 + "\n", "must be one JSON object"),
        ('{"a": 1', "must be one JSON object"),
        ('{"item": "' + 99 * "a" + '", "time": 1, "dev', r"""got '\{"item": "a+' \.\.\. 'a+", "time": 1, "dev': Unterminated"""),
    ],
)
def test_a_line_that_is_not_one_json_object_is_refused_by_its_number(tmp_path, line, message):
    for read, rows in ((datasets.read_items, ITEMS), (datasets.read_log, ROUNDS)):
        with pytest.raises(InvalidLog, match=rf"rows.jsonl, line 3: .*{message}"):
            read(write(tmp_path, [*rows, line]))


def test_bad_items_and_events_are_refused_by_their_line(tmp_path):
    items = datasets.read_items(write(tmp_path, ITEMS))
    with pytest.raises(DuplicateCandidates, match=r"rows.jsonl: .*'a' in lines 1 and 3"):
        datasets.read_items(write(tmp_path, [*ITEMS, ITEMS[0]]))
    with pytest.raises(InvalidRequest, match="one kind of value, got number in line 1 and str in line 3"):
        datasets.read_items(write(tmp_path, [*ITEMS, {"id": "c", "price": "dear"}]))
    with pytest.raises(UnknownItem, match="'item' in line 2 must be an id of the catalogue, got 'c'"):
        datasets.read_events(write(tmp_path, [EVENTS[0], {**EVENTS[1], "item": "c"}]), items)
    with pytest.raises(InvalidReward, match="'reward' in line 2"):
        datasets.read_events(write(tmp_path, [EVENTS[0], {**EVENTS[1], "reward": "1"}]), items)
    with pytest.raises(InvalidLog, match="'time' in line 1"):
        datasets.read_events(write(tmp_path, [{"item": "a"}]), items)


def test_an_empty_file_is_an_empty_catalogue_and_no_log(tmp_path):
    items = datasets.read_items(write(tmp_path, []))
    assert len(items.ids) == 0
    assert len(datasets.read_events(write(tmp_path, []), items).item) == 0
    with pytest.raises(EmptyLog, match="at least one row"):
        datasets.read_log(write(tmp_path, []))


def test_another_format_is_refused(tmp_path):
    with pytest.raises(InvalidValue, match=r"must end in .jsonl, .jsonl.gz or .parquet"):
        datasets.read_log(tmp_path / "rows.csv")


def test_parquet_without_polars_says_what_to_install(tmp_path, monkeypatch):
    path = write(tmp_path, ROUNDS, "parquet")
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(MissingExtra, match=r"pip install '\.\[parquet\]'"):
        datasets.read_log(path)


def test_what_was_read_is_float64_and_int64(tmp_path):
    log = datasets.read_log(write(tmp_path, [{"features": [[1, 2]], "action": 0, "reward": 1, "propensity": 1}]))
    assert {column.dtype for column in (log.context.features, log.reward, log.propensity, log.weight)} == {np.dtype(np.float64)}
    assert {column.dtype for column in (log.action, log.context.item)} == {np.dtype(np.int64)}


def test_events_of_unknown_items_are_skipped_and_said_by_choice_and_times_have_a_unit(tmp_path):
    items = datasets.read_items(write(tmp_path, ITEMS))
    path = write(tmp_path, [{"item": "a", "time": 2000}, {"item": "gone", "time": 1000}])
    with pytest.warns(IgnoredInput, match="1"):
        events = datasets.read_events(path, items, time_unit="ms", unknown_items="skip")
    assert (events.item.tolist(), events.time.tolist()) == ([0], [2.0])


def test_a_missing_column_is_told_as_missing(tmp_path):
    items = datasets.read_items(write(tmp_path, ITEMS))
    with pytest.raises(InvalidLog, match=r"the row has only \['itemid', 'time'\]. Did you mean 'itemid'"):
        datasets.read_events(write(tmp_path, [{"itemid": "a", "time": 1}]), items)
