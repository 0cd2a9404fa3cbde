"""Rows from every form of file and table: the same rows whatever holds them, and every bad one told by its place."""

import contextlib
import csv
import gzip
import json
import time
from datetime import UTC, date, datetime
from decimal import Decimal

import duckdb
import numpy as np
import polars
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsdk.data import events_from_rows, items_from_rows
from recsdk.datasets import Atomic, Delimited, Sequences, describe, read_rows, reading
from recsdk.errors import DuplicateCandidates, IgnoredInput, InvalidLog, InvalidReward, InvalidValue, RecsdkError, UnknownItem
from tests.shared import shared

ROWS = [
    {"user_id": "u1", "item": "tea", "time": 1.7e9, "reward": 1.0, "price": 2.5, "place": "Zürich, old town"},
    {"user_id": "02", "item": "milk", "time": 1.7e9 + 1, "reward": 0.0, "price": None, "place": None},
    {"user_id": "u1", "item": "milk", "time": 1.7e9 + 2, "reward": 0.5, "price": 1e-3, "place": 'the "Bar"'},
]
ITEMS = items_from_rows([{"id": "tea"}, {"id": "milk"}])


def as_csv(rows, folder, delimiter=","):
    path = folder / ("rows.csv" if delimiter == "," else "rows.tsv")
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL)
        writer.writerow(rows[0])
        writer.writerows(
            [["" if value is None else repr(value) if isinstance(value, float) else value for value in row.values()] for row in rows]
        )
    return path


def as_gzip(rows, folder):
    path = folder / "rows.jsonl.gz"
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    return path


def as_parquet(rows, folder):
    polars.DataFrame(rows).write_parquet(folder / "rows.parquet")
    return folder / "rows.parquet"


class Stream:
    """Something that gives an Arrow stream and nothing else."""

    def __init__(self, rows):
        self._frame = polars.DataFrame(rows)

    def __arrow_c_stream__(self, requested_schema=None):
        return self._frame.__arrow_c_stream__(requested_schema)


def as_relation(rows, folder):
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return duckdb.sql(f"SELECT {', '.join(f'unnest(${name}) AS {name}' for name in columns)}", params=columns)


def as_pandas(rows, folder):
    pandas = pytest.importorskip("pandas", reason="pandas is no dependency")
    return pandas.DataFrame(rows)


def as_arrow(rows, folder):
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is no dependency")
    return pyarrow.Table.from_pylist(rows)


KINDS = {
    "dicts": lambda rows, folder: rows,
    "iterator": lambda rows, folder: iter(rows),
    "columns": lambda rows, folder: {name: [row[name] for row in rows] for name in rows[0]},
    "polars": lambda rows, folder: polars.DataFrame(rows),
    "lazy": lambda rows, folder: polars.LazyFrame(rows),
    "stream": lambda rows, folder: Stream(rows),
    "duckdb": as_relation,
    "pandas": as_pandas,
    "arrow": as_arrow,
    "parquet": as_parquet,
    "csv": as_csv,
    "jsonl.gz": as_gzip,
    "rows": lambda rows, folder: read_rows(rows),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_form_gives_the_same_rows_and_the_same_events(tmp_path, kind):
    found = read_rows(KINDS[kind](ROWS, tmp_path))
    assert found.to_dicts() == ROWS
    events, wanted = events_from_rows(ITEMS, found), events_from_rows(ITEMS, ROWS)
    assert events.requests.keys() == wanted.requests.keys()
    for name, column in wanted.requests.items():
        np.testing.assert_array_equal(events.requests[name], column)
    np.testing.assert_array_equal(events.item, wanted.item)
    np.testing.assert_array_equal(events.reward, wanted.reward)
    np.testing.assert_array_equal(events.time, wanted.time)


TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(TEXTS, st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False))), min_size=1, max_size=8))
def test_rows_written_as_csv_and_json_read_as_they_were(tmp_path_factory, values):
    rows = [{"item": text, "price": number} for text, number in values]
    folder = tmp_path_factory.mktemp("rows")
    for kind in ("csv", "jsonl.gz", "parquet", "polars"):
        assert read_rows(KINDS[kind](rows, folder), kinds={"price": "number"}).to_dicts() == rows


def write(folder, text, name="rows.csv"):
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder / name


def test_identifiers_are_texts_and_cells_that_look_like_numbers_are_numbers(tmp_path):
    text = "user_id,item,zip,price,size,code,big,word\n1,2,02139,1.5,+3,1e3,12345678901234567890,nan\n2,2,10001,-.5,,2,1,x\n"
    found = read_rows(write(tmp_path, text)).columns
    assert found["user_id"].tolist() == ["1", "2"]
    assert found["zip"].tolist() == ["02139", "10001"]
    assert found["price"].tolist() == [1.5, -0.5]
    assert found["size"][0] == 3.0
    assert np.isnan(found["size"][1])
    assert found["code"].tolist() == [1000.0, 2.0]
    assert found["big"].tolist() == ["12345678901234567890", "1"]
    assert found["word"].tolist() == ["nan", "x"]


def test_a_kind_that_is_given_wins(tmp_path):
    path = write(tmp_path, "zip,tags,when,price\n02139,a b,2024-01-31,007\n10001,,2024-01-31T01:00:00+01:00,1\n")
    found = read_rows(path, kinds={"zip": "number", "tags": "list of str", "when": "time", "price": "str"}).columns
    assert found["zip"].tolist() == [2139.0, 10001.0]
    assert found["tags"].tolist() == [["a", "b"], None]
    assert found["when"].tolist() == [1706659200.0, 1706659200.0]
    assert found["price"].tolist() == ["007", "1"]


def test_numbers_become_texts_by_their_digits():
    rows = [{"item": 7, "a": 1}, {"item": 7.0, "a": 0.1}, {"item": np.int64(2**60), "a": None}]
    found = read_rows(rows, kinds={"a": "str"}).columns
    assert found["item"].tolist() == ["7", "7", str(2**60)]
    assert found["a"].tolist() == ["1", "0.1", None]
    with pytest.raises(InvalidLog, match=r"'item' in row 0 must be a text, got 1e\+17"):
        read_rows([{"item": 1e17}])


def test_times_come_as_numbers_texts_and_dates_and_become_seconds():
    moment = datetime(2024, 1, 31, 12, tzinfo=UTC)
    same = [moment, datetime(2024, 1, 31, 12), "2024-01-31T12:00:00Z", "2024-01-31 13:00:00+01:00"]
    found = read_rows([{"time": value} for value in same]).columns["time"]
    assert found.tolist() == [moment.timestamp()] * 4
    assert read_rows([{"time": date(2024, 1, 31)}]).columns["time"].tolist() == [moment.timestamp() - 43_200]
    for frame in (
        polars.DataFrame({"time": [moment]}),
        {"time": np.array(["2024-01-31T12:00:00"], "datetime64[ns]")},
        [{"time": moment.timestamp() * 1e3}],
        {"time": ["1706702400000"]},
    ):
        assert read_rows(frame, time_unit="ms").columns["time"].tolist() == [moment.timestamp()]


def test_a_date_without_a_zone_is_of_utc_wherever_the_machine_stands(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert read_rows([{"time": "1970-01-02T00:00:00"}, {"time": date(1970, 1, 2)}]).columns["time"].tolist() == [86_400.0] * 2
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_columns_that_come_and_go_keep_their_rows_however_many_are_held_at_a_time(tmp_path, monkeypatch, size):
    monkeypatch.setattr(reading, "CHUNK", size)
    rows = [{"a": 1.0}, {"b": "x"}, {"a": 2.0, "c": ["y"]}, {"a": 3.0}, {"b": "z"}]
    wanted = [{name: row.get(name) for name in "abc"} for row in rows]
    assert read_rows(rows).to_dicts() == wanted
    text = "".join(json.dumps(row) + "\n" for row in rows)
    assert read_rows(write(tmp_path, text, "rows.jsonl")).to_dicts() == wanted
    with pytest.warns(IgnoredInput, match="1 of 6"):
        found = read_rows(write(tmp_path, text.replace("\n", "\nno\n", 1), "rows.jsonl"), bad_rows="set aside")
    assert (found.to_dicts(), found.line.tolist(), found.set_aside[0].line) == (wanted, [1, 3, 4, 5, 6], 2)


def test_what_stands_for_missing_is_missing(tmp_path):
    path = write(tmp_path, "price;name\nNA;NA\n3;x\n")
    found = read_rows(path, form=Delimited(delimiter=";", missing=("", "NA"))).to_dicts()
    assert found == [{"price": None, "name": None}, {"price": 3.0, "name": "x"}]
    masked = {"reward": np.ma.array([1.0, 2.0], mask=[True, False]), "price": [Decimal("0.5"), None]}
    assert read_rows(masked).to_dicts() == [{"reward": None, "price": 0.5}, {"reward": 2.0, "price": None}]


def test_columns_are_renamed_and_left_out(tmp_path):
    path = write(tmp_path, "userId,movieId,rating,note\n1,2,5,x\n")
    found = read_rows(path, columns={"userId": "user_id", "movieId": "item", "rating": "reward", "note": None})
    assert found.to_dicts() == [{"user_id": "1", "item": "2", "reward": 5.0}]
    with pytest.raises(InvalidValue, match=r"got 'moveId'. Did you mean 'movieId'\?"):
        read_rows(path, columns={"moveId": "item"})
    with pytest.raises(InvalidValue, match=r"must be there once, got 'note' for \['rating', 'note'\]: columns=\{'rating': None\}"):
        read_rows(path, columns={"rating": "note"})
    with pytest.raises(InvalidValue, match=r"kinds must name columns that are there, got 'rate'.*'rating'"):
        read_rows(path, kinds={"rate": "number"})
    with pytest.raises(InvalidValue, match=r"kinds\['rating'\] must be one of \('number', 'str', 'list of str', 'time'\), got 'float'"):
        read_rows(path, kinds={"rating": "float"})


def test_atomic_files_say_their_kinds(tmp_path):
    path = write(tmp_path, "item_id:token\ttags:token_seq\tprice:float\tyear:token\n7\tred  new\t.5\t1995\n8\t\t\t\n", "shop.item")
    assert read_rows(path, columns={"item_id": "id"}).to_dicts() == [
        {"id": "7", "tags": ["red", "new"], "price": 0.5, "year": "1995"},
        {"id": "8", "tags": None, "price": None, "year": None},
    ]
    assert read_rows(path, kinds={"year": "number"}, form=Atomic()).columns["year"][0] == 1995.0
    with pytest.raises(InvalidLog, match=r"line 1: a column must be named as name:type, with a type of .*, got 'price'"):
        read_rows(write(tmp_path, "item_id:token\tprice\n", "b.item"))
    vectors = write(tmp_path, "item_id:token\tv:float_seq\n1\t0.5 1\n", "v.item")
    with pytest.raises(InvalidLog, match=r"'v' in line 2 of .*v.item must be .*left out by columns=\{'v': None\}, got '0.5 1'"):
        read_rows(vectors)
    assert read_rows(vectors, columns={"v": None}).to_dicts() == [{"item_id": "1"}]


def test_sequences_become_rows_in_their_order(tmp_path):
    path = write(tmp_path, "u 5 6 5\nv 6\n", "data.txt")
    found = read_rows(path, form=Sequences())
    assert [tuple(row.values()) for row in found.to_dicts()] == [("u", "5", 0.0), ("u", "6", 1.0), ("u", "5", 2.0), ("v", "6", 0.0)]
    assert found.line.tolist() == [1, 1, 1, 2]
    sessions = read_rows(path, form=Sequences(has_user=False)).to_dicts()
    assert [(row["user_id"], row["item"]) for row in sessions] == [("1", "u"), ("1", "5"), ("1", "6"), ("1", "5"), ("2", "v"), ("2", "6")]
    with pytest.raises(InvalidLog, match=r"line 2: must have at least one item, got 'v'"):
        read_rows(write(tmp_path, "u 5\nv\n", "data.txt"), form=Sequences())
    with pytest.raises(InvalidLog, match=r"line 2: must have at least one item, got ''"):
        read_rows(write(tmp_path, "u 5\n\n", "data.txt"), form=Sequences())


BAD = b'item,reward,time\na,1,10\nb,x,20\nc,1\nd,1,soon\n"e\nf",1,30\n\xe9,1,40\ng,nan,50\nh,1,1e12\n"i,1",1,60\n'


def test_the_first_bad_row_is_refused_by_its_line(tmp_path):
    with pytest.raises(
        InvalidLog, match=r"'reward' in line 3 of .*rows.csv must be a finite number .*, got 'x'. 5 of 9 rows are bad: kinds says"
    ):
        read_rows(write(tmp_path, BAD))


def test_bad_rows_are_set_aside_with_their_lines_and_counted(tmp_path):
    with pytest.warns(IgnoredInput, match=r"6 of 9 rows were set aside, the first since 'reward' in line 3"):
        found = read_rows(write(tmp_path, BAD), bad_rows="set aside")
    assert found.columns["item"].tolist() == ["a", "e\nf", "i,1"]
    assert found.line.tolist() == [2, 7, 11]
    assert [row.line for row in found.set_aside] == [3, 4, 5, 8, 9, 10]
    reasons = [row.reason for row in found.set_aside]
    for reason, wanted in zip(reasons, ["got 'x'", "3 cells", "date", "UTF-8", "got 'nan'", "not in the future"], strict=True):
        assert wanted in reason
    assert describe(found).num_set_aside == 6
    assert str(describe(found)).endswith("3 rows, 6 set aside")


def test_of_rows_in_memory_those_unlike_most_are_bad():
    rows = [{"price": 1, "tags": ["a"]}, {"price": "2", "tags": ["a"]}, {"price": 3, "tags": [1]}, {"price": 4.5, "tags": "a"}, 7]
    with pytest.raises(InvalidLog, match="'price' in row 1 must be a finite number of at most 64 bits, got '2'"):
        read_rows(rows)
    with pytest.warns(IgnoredInput, match="4 of 5 rows"):
        found = read_rows(rows, bad_rows="set aside")
    assert found.to_dicts() == [{"price": 1.0, "tags": ["a"]}]
    assert read_rows(rows[:-1], kinds={"price": "number", "tags": "list of str"}).columns["tags"].tolist() == [["a"], ["a"], ["1"], ["a"]]


@pytest.mark.parametrize("value", [{"a": 1}, b"x", object(), {1}])
def test_values_that_are_no_feature_are_refused_with_the_remedy(value):
    with pytest.raises(InvalidLog, match=r"'style' in row 1 must be a text, .*left out by columns=\{'style': None\}, got"):
        read_rows([{"style": None}, {"style": value}])
    assert read_rows([{"style": value, "item": "a"}], columns={"style": None}).to_dicts() == [{"item": "a"}]


@pytest.mark.parametrize("value", [float("inf"), 10**400, 2**53 + 1, True + 0j, Decimal("Infinity")])
def test_numbers_that_float64_does_not_hold_are_refused(value):
    with pytest.raises(InvalidLog, match="'price' in row 1"):
        read_rows([{"price": 1.0}, {"price": value}], kinds={"price": "number"})


@pytest.mark.parametrize("source", [None, 7, b"rows.csv", [1], ["a"], {"a": [1], "b": [1, 2]}], ids=repr)
def test_what_is_no_source_is_refused(source):
    with pytest.raises((InvalidValue, InvalidLog)):
        read_rows(source)
    with pytest.raises(InvalidValue, match="form is how a file holds rows"):
        read_rows([], form=Sequences())


def test_a_file_of_an_unknown_form_and_no_file_are_refused(tmp_path):
    with pytest.raises(InvalidValue, match=r"form must be given where .* none of .csv, .*got .*rows.txt"):
        read_rows(write(tmp_path, "", "rows.txt"))
    with pytest.raises(FileNotFoundError):
        read_rows(tmp_path / "gone.csv")
    with pytest.raises(InvalidLog, match="must be a Parquet file"):
        read_rows(write(tmp_path, "no", "x.parquet"))
    with pytest.raises(InvalidLog, match="must name each column once, got 'a' twice"):
        read_rows(write(tmp_path, "a,a\n"))
    with pytest.raises(InvalidValue, match="encoding must be one that Python knows, got 'latin-x'"):
        read_rows(write(tmp_path, "a\n"), form=Delimited(encoding="latin-x"))


def test_errors_of_events_and_items_name_the_line_of_the_file(tmp_path):
    path = write(tmp_path, "item,time,reward,x\na,1,1,5\nb,2,,5\n")
    with pytest.raises(UnknownItem, match=rf"'item' in line 2 of {path} must be an id of the catalogue"):
        events_from_rows(ITEMS, read_rows(path))
    with pytest.raises(InvalidReward, match=rf"'reward' in line 3 of {path} must be a finite number, got None"):
        events_from_rows(items_from_rows([{"id": "a"}, {"id": "b"}]), read_rows(path))
    with pytest.raises(DuplicateCandidates, match=rf"got 'a' in line 2 of {path} and in line 4 of {path}"):
        items_from_rows(read_rows(write(tmp_path, "id\na\nb\na\n")))


@settings(deadline=None, max_examples=80)
@given(st.binary(max_size=60))
def test_whatever_bytes_a_file_holds_it_is_read_or_refused_with_a_typed_error(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("bytes")
    for name, form in {"a.csv": None, "a.jsonl": None, "a.inter": None, "a.txt": Sequences(), "a.dat": Delimited(delimiter="::")}.items():
        with contextlib.suppress(RecsdkError):
            read_rows(write(folder, b"a,b\n" + data, name), form=form)


SETS = {
    "amazon-beauty/Beauty.txt.gz": (Sequences(), {}, 198_502, 22_363, 12_101),
    "lastfm-s3rec/LastFM.txt.gz": (Sequences(), {}, 52_551, 1_090, 3_646),
    "amazon-beauty-bert4rec/beauty.txt.gz": (Delimited(delimiter=" ", names=("user_id", "item")), {}, 353_962, 40_226, 54_542),
    "ml-100k/ml-100k.inter": (None, {"item_id": "item", "rating": "reward", "timestamp": "time"}, 100_000, 943, 1_682),
    "lastfm-2k/user_artists.dat": (Delimited(delimiter="\t"), {"userID": "user_id", "artistID": "item"}, 92_834, 1_892, 17_632),
    "filmtrust/ratings.txt": (Delimited(delimiter=" ", names=("user_id", "item", "reward")), {}, 35_497, 1_508, 2_071),
}


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) if "beauty" in name else name for name in SETS])
def test_public_sets_have_their_published_counts(name):
    form, columns, *counts = SETS[name]
    found = read_rows(shared(f"data/{name}"), form=form, columns=columns)
    assert [len(found.line), *(len(set(found.columns[column])) for column in ("user_id", "item"))] == counts
    assert found.set_aside == ()


@pytest.mark.slow
def test_diginetica_has_its_published_counts():
    found = read_rows(shared("data/diginetica/train_sessions.txt.gz"), form=Sequences(has_user=False))
    assert (len(found.line), len(set(found.columns["user_id"])), len(set(found.columns["item"]))) == (906_140, 186_670, 43_097)


def test_movies_of_movielens_1m_are_read_from_latin_1():
    form = Delimited(delimiter="::", names=("id", "title", "genres"), list_separator="|", encoding="latin-1")
    items = items_from_rows(read_rows(shared("data/ml-1m/movies.dat"), form=form, kinds={"genres": "list of str"}))
    assert len(items.ids) == 3_883
    assert items.features["genres"][0] == ["Animation", "Children's", "Comedy"]
    assert any("é" in title for title in items.features["title"])


def test_the_description_is_printed_as_a_table():
    text = str(
        describe(
            read_rows([{"item": "tea", "tags": ["a", "b"], "time": 1.7e9, "x": None}, {"item": "milk", "tags": ["a"], "time": 2e9 - 3e8}])
        )
    )
    assert text.splitlines() == [
        "column  kind         missing  distinct  example",
        "item    str             0.0%         2  'tea'",
        "tags    list of str     0.0%         2  ['a', 'b']",
        "time    time            0.0%         1  2023-11-14T22:13:20+00:00",
        "x       missing       100.0%         0",
        "2 rows",
    ]
