import itertools
import json

import duckdb
import numpy as np
import polars
import pytest

from recsdk import datasets, ope
from recsdk.errors import EmptyLog, InvalidLog, InvalidValue
from tests.ope.logs import random_log

COLUMNS = {"action": [2, 0, 1], "reward": [1.0, 0.0, 3.0], "propensity": [0.5, 0.25, 1.0], "pi": [0.1, 0.2, 0.3]}
NESTED = {
    "features": [[[1.0, 0.5], [1.0, 0.25], [1.0, 0.0]], [[1.0, 0.5]], [[1.0, 2.0], [3.0, 4.0]]],
    "item": [[7, 8, 9], [7], [8, 9]],
}


class Pandas:
    """As much of a data frame of pandas, or of an Arrow table, as is asked for."""

    def __init__(self, columns, names="columns"):
        self._columns = columns
        setattr(self, names, list(columns))

    def __getitem__(self, name):
        return np.array(self._columns[name])


class Stream:
    """Something that gives an Arrow stream and nothing else."""

    def __init__(self, columns):
        self._frame = polars.DataFrame(columns)

    def __arrow_c_stream__(self, requested_schema=None):
        return self._frame.__arrow_c_stream__(requested_schema)


def relation(columns):
    """Returns a relation of DuckDB, of which a column is a relation, too."""
    names = ", ".join(f"unnest(${name}) AS {name}" for name in columns)
    return duckdb.sql(f"SELECT {names}", params=columns)


KINDS = [dict, polars.DataFrame, polars.LazyFrame, Pandas, lambda columns: Pandas(columns, "column_names"), Stream, relation]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_table_reads_alike(kind):
    log = datasets.log_from_frame(kind(COLUMNS))
    assert (log.action.tolist(), log.reward.tolist(), log.propensity.tolist(), log.weight.tolist()) == (
        [2, 0, 1],
        [1.0, 0.0, 3.0],
        [0.5, 0.25, 1.0],
        [1.0, 1.0, 1.0],
    )
    assert log.context.features.shape == (3, 3, 0)
    assert log.context.mask.all()
    assert log.context.item.tolist() == [[0, 1, 2]] * 3


def test_decimals_of_a_query_are_read_as_numbers():
    log = datasets.log_from_frame(duckdb.sql("SELECT 1 AS action, sum(3) AS reward, 0.25 AS propensity"))
    assert (log.reward.tolist(), log.propensity.tolist()) == ([3.0], [0.25])


def test_a_null_of_a_query_is_refused():
    with pytest.raises(InvalidLog, match="reward must be a finite number, got nan in row 0"):
        datasets.log_from_frame(duckdb.sql("SELECT 1 AS action, NULL::DOUBLE AS reward, 0.25 AS propensity"))


@pytest.mark.parametrize("kind", [dict, polars.DataFrame, Stream, relation])
def test_features_are_padded_to_the_largest_number_of_candidates(kind):
    log = datasets.log_from_frame(kind({**COLUMNS, **NESTED, "weight": [1, 2, 3]}))
    assert log.context.mask.tolist() == [[True] * 3, [True, False, False], [True, True, False]]
    assert log.context.features[2].tolist() == [[1.0, 2.0], [3.0, 4.0], [0.0, 0.0]]
    assert log.context.item.tolist() == [[7, 8, 9], [7, 0, 0], [8, 9, 0]]
    assert log.weight.tolist() == [1.0, 2.0, 3.0]


def test_a_column_of_the_table_may_be_the_target():
    frame = polars.DataFrame(COLUMNS)
    found = ope.evaluate(datasets.log_from_frame(frame), frame["pi"], estimators=("ips",), force=True)
    assert found.estimates["ips"].value == pytest.approx((0.1 / 0.5 * 1 + 0.3 / 1.0 * 3) / 3)


def test_rounding_errors_of_propensities_are_corrected():
    log = datasets.log_from_frame({**COLUMNS, "propensity": np.array([1.0000001, 0.5, 1.0])})
    assert log.propensity.tolist() == [1.0, 0.5, 1.0]


def test_more_candidates_than_were_ever_taken_can_be_told():
    assert datasets.log_from_frame(COLUMNS, num_candidates=10).context.mask.shape == (3, 10)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"propensity": [0.5, 0.0, 1.0]}, InvalidLog, r"propensity\[1\] must be in \(0, 1\], got 0.0"),
        ({"reward": [1.0, 2.0, float("nan")]}, InvalidLog, "reward must be a finite number, got nan in row 2"),
        ({"reward": ["1", "2", "3"]}, InvalidLog, "reward must be a column of numbers, got <U1"),
        ({"action": [0.0, 1.0, 2.0]}, InvalidLog, "action must be a column of whole numbers, got float64"),
        ({"action": [0, -1, 2]}, InvalidLog, r"action must be in \[0, 2\], got -1 in row 1"),
        ({"action": []}, EmptyLog, "at least one row"),
        ({"action": [0, 2**27, 1]}, InvalidLog, "action must be a candidate's number from 0 on, got 134217728 in row 1"),
        ({"reward": np.ma.array([1.0, 2.0, 3.0], mask=[False, True, False])}, InvalidLog, r"reward\[1\] must be a value, got a masked one"),
        ({"propensity": [0.5, 1.00001, 1.0]}, InvalidLog, r"propensity\[1\] must be in \(0, 1\], got 1.00001"),
        ({"reward": [1.0]}, InvalidLog, r"reward must be float64\[3\]"),
        ({"features": [[[1.0]], [[1.0], [2.0, 3.0]], [[1.0]]]}, InvalidLog, "features must be K lists of D numbers, got .* in row 1"),
        ({"features": [[[1.0]], [[1.0, 2.0]], [[1.0]]]}, InvalidLog, r"as many columns in each row, got \[1, 2\]"),
        ({**NESTED, "item": [[7, 8, 9], [7, 8], [8, 9]]}, InvalidLog, "item must be one for each candidate, got 2 for 1 in row 1"),
        (NESTED, InvalidLog, "action must be a real candidate"),
    ],
)
def test_bad_columns_are_refused_by_name_and_row(changes, error, message):
    if "features" in changes and changes is not NESTED:
        changes = {"action": [0, 0, 0], **changes}
    elif changes is NESTED:
        changes = {**changes, "action": [2, 2, 1]}
    with pytest.raises(error, match=message):
        datasets.log_from_frame({**COLUMNS, **changes})


def test_what_is_no_table_and_a_missing_column_are_refused():
    with pytest.raises(InvalidValue, match=r"frame must be a data frame, an Arrow table, .* or a mapping of columns, got list"):
        datasets.log_from_frame([1, 2])
    with pytest.raises(InvalidLog, match=r"\['propensity'\] are missing. Did you mean 'propensities'"):
        datasets.log_from_frame({"action": [0], "reward": [0.0], "propensities": [1.0]})
    with pytest.raises(InvalidValue, match="num_candidates must be None where features tell it"):
        datasets.log_from_frame({**COLUMNS, **NESTED}, num_candidates=3)


def rows_of(log):
    for row in range(len(log.action)):
        yield {
            "features": log.context.features[row].tolist(),
            "action": int(log.action[row]),
            "reward": float(log.reward[row]),
            "propensity": float(log.propensity[row]),
        }


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_file_in_chunks_is_the_file(tmp_path, kind):
    log, target, _ = random_log(0, size=1000)
    path = tmp_path / f"log.{kind}"
    if kind == "parquet":
        polars.DataFrame(list(rows_of(log))).write_parquet(path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows_of(log)))
    for num_rows in (1000, 300, 500):
        chunks = list(datasets.read_log_chunks(path, num_rows=num_rows))
        assert [len(chunk.action) for chunk in chunks[:-1]] == [num_rows] * (len(chunks) - 1)
        assert np.array_equal(np.concatenate([chunk.context.features for chunk in chunks]), log.context.features)
        assert ope.finish(ope.accumulate(chunks, target)) == ope.evaluate(log, target, estimators=("ips", "snips"))
    with pytest.raises(InvalidValue, match="num_rows must be a whole number >= 1"):
        next(datasets.read_log_chunks(path, num_rows=0))


def test_a_bare_parquet_file_has_as_many_candidates_in_each_chunk(tmp_path):
    path = tmp_path / "log.parquet"
    polars.DataFrame(
        {name: list(itertools.chain(column, [0, 0.0, 1.0, 0.0][i : i + 1])) for i, (name, column) in enumerate(COLUMNS.items())}
    ).write_parquet(path)
    chunks = list(datasets.read_log_chunks(path, num_rows=2))
    assert [chunk.context.mask.shape for chunk in chunks] == [(2, 3), (2, 3)]


def test_a_bad_row_of_a_chunk_is_named(tmp_path):
    path = tmp_path / "log.parquet"
    polars.DataFrame({**COLUMNS, "propensity": [0.5, 0.5, 2.0]}).write_parquet(path)
    chunks = datasets.read_log_chunks(path, num_rows=2)
    next(chunks)
    with pytest.raises(InvalidLog, match=r"log.parquet, rows from 2 on: propensity\[0\] must be in \(0, 1\], got 2.0"):
        next(chunks)
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    with pytest.raises(EmptyLog, match="at least one row"):
        next(datasets.read_log_chunks(empty))


def test_a_masked_value_is_refused_as_nan_is():
    columns = {**COLUMNS, "reward": np.ma.array([1.0, 0.0, 3.0], mask=[True, False, True])}
    with pytest.raises(InvalidLog, match=r"reward\[0\] must be a value, got a masked one \(2 of 3 rows"):
        datasets.log_from_frame(columns)


def test_a_whole_number_beyond_int64_is_refused_by_its_value():
    columns = {**COLUMNS, "action": np.array([2, 0, 2**63], np.uint64)}
    with pytest.raises(InvalidLog, match="action must be a whole number below 2\\*\\*63, got 9223372036854775808 in row 2"):
        datasets.log_from_frame(columns)
