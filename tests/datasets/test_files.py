"""Damaged files: every reader names the file and the line."""

import gzip
import json

import polars
import pytest

from recsdk import datasets
from recsdk.data import items_from_rows
from recsdk.datasets.files import json_object, table_rows, text_lines
from recsdk.errors import DuplicateCandidates, EmptyLog, InvalidLog, InvalidRequest

ITEMS = items_from_rows([{"id": "a"}])
OBD_ITEMS = ",item_id,item_feature_0,item_feature_1,item_feature_2,item_feature_3\n0,0,-1.5,x,v,w\n"
OBD_HEADER = ",timestamp,item_id,position,click,propensity_score,user_feature_0,user_feature_1,user_feature_2,user_feature_3"


def open_bandit(path):
    items = path.with_name("items.csv")
    items.write_text(OBD_ITEMS)
    return datasets.read_open_bandit(path, items)


READERS = {
    "items": (datasets.read_items, "rows.jsonl", "", '{"id": "a%s"}'),
    "events": (lambda path: datasets.read_events(path, ITEMS), "rows.jsonl", "", '{"item": "a", "time": 1, "note": "%s"}'),
    "log": (datasets.read_log, "log.jsonl", "", '{"features": [[1.0]], "action": 0, "reward": 1, "propensity": 1, "x%s": 1}'),
    "chunks": (lambda path: list(datasets.read_log_chunks(path)), "log.jsonl", "", '{"features": [[1.0]], "action": 0, "y%s": 1}'),
    "pmlb": (datasets.read_pmlb, "set.tsv", "x\ttarget", "1\t2%s"),
    "jester": (datasets.read_jester, "jester.csv", "user,joke,rating", "0,0,1%s"),
    "open bandit": (open_bandit, "log.csv", OBD_HEADER + ",user-item_affinity_0", "0,2019,0,1,0,0.5,a,b,c,d%s,0"),
}


def lines_of(name, damage):
    _, _, header, line = READERS[name]
    return [*([header.encode()] if header else []), line.encode().replace(b"%s", damage)]


@pytest.mark.parametrize("name", READERS)
def test_text_that_is_not_utf_8_is_refused_by_file_and_line(tmp_path, name):
    read, file, header, _ = READERS[name]
    (tmp_path / file).write_bytes(b"\n".join(lines_of(name, b"\xe9")))
    with pytest.raises(InvalidLog, match=rf"{file}, line {1 + bool(header)}: must be UTF-8, got b'.*\\xe9'"):
        read(tmp_path / file)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("damage", ["cut short", "not gzip", "garbled"])
def test_a_damaged_gzip_file_is_refused_by_file_and_line(tmp_path, name, damage):
    read, file, header, _ = READERS[name]
    whole = gzip.compress("\n".join([header, *(str(row) for row in range(10_000))]).encode())
    data = {"cut short": whole[:-20], "not gzip": b"plain", "garbled": whole[:12] + b"\xff" * 30 + whole[42:]}[damage]
    path = tmp_path / f"{file}.gz"
    path.write_bytes(data)
    with pytest.raises(InvalidLog, match=rf"{file}.gz, line \d+: "):
        read(path)
    with pytest.raises(InvalidLog, match=rf"{file}.gz, line \d+: must be gzip that is whole"):
        list(text_lines(path))


@pytest.mark.parametrize("read", [datasets.read_items, datasets.read_log, lambda path: list(datasets.read_log_chunks(path))])
@pytest.mark.parametrize("damage", [lambda data: b"plain", lambda data: data[:-9], lambda data: data[:4] + b"\xff" * 40 + data[44:]])
def test_a_damaged_parquet_file_is_refused_by_name(tmp_path, read, damage):
    path = tmp_path / "log.parquet"
    polars.DataFrame({"id": ["a"] * 50, "action": [0] * 50}).write_parquet(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InvalidLog, match=r"log.parquet must be a Parquet file that is whole: "):
        read(path)


def test_a_file_that_is_not_there_is_told_by_python():
    for name in ("nothing.jsonl", "nothing.parquet"):
        with pytest.raises(FileNotFoundError, match=name):
            datasets.read_log(name)


def test_a_byte_order_mark_is_left_out(tmp_path):
    (tmp_path / "rows.jsonl").write_bytes(b'\xef\xbb\xbf{"id": "a"}\n')
    assert datasets.read_items(tmp_path / "rows.jsonl").ids.tolist() == ["a"]


def test_a_table_with_a_column_twice_or_an_open_quote_is_refused(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a,b,a\n1,2,3\n")
    with pytest.raises(InvalidLog, match="must name each column once, got 'a' twice"):
        list(table_rows(path))
    path.write_text('a,b\n1,"' + "x" * 200_000 + '"\n')
    with pytest.raises(InvalidLog, match=r"table.csv, line 2: must be a row of cells: field larger"):
        list(table_rows(path))


@pytest.mark.parametrize("text", ["[1]", "{", "NaN", '{"a": Infinity}', '{"a": 1, "a": 1}', "", '{"a": 1} 2', "[" * 100_000])
def test_what_is_not_one_strict_json_object_is_refused(text):
    with pytest.raises(InvalidLog, match="must be one JSON object"):
        json_object(text)


def test_a_rating_or_row_that_jester_cannot_hold_is_refused_by_its_line(tmp_path):
    path = tmp_path / "jester.csv"
    for row, message in (
        ("0,0,2", "line 4: user 0 must rate joke 0 once"),
        ("-1,0,1", r"line 4: must hold user and joke, whole numbers from 0 on, and a finite rating, got \[-1.0, 0.0, 1.0\]"),
        ("0.5,0,1", "line 4: must hold user and joke"),
        ("1,0,nan", "line 4: must hold user and joke"),
        ("1e18,0,1", "line 4: must hold user and joke"),
    ):
        path.write_text(f"user,joke,rating\n0,0,1\n0,1,1\n{row}\n")
        with pytest.raises(InvalidLog, match=message):
            datasets.read_jester(path)
    path.write_text("user,joke,rating\n")
    with pytest.warns(UserWarning, match="no data"), pytest.raises(EmptyLog, match="at least one rating"):
        datasets.read_jester(path)


def test_repeated_ids_are_refused_by_their_lines(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"id": name}) + "\n" for name in ("a", "b", "a")))
    with pytest.raises(DuplicateCandidates, match="'a' in lines 1 and 3"):
        datasets.read_items(path)
    path.write_text('{"id": 7}\n')
    with pytest.raises(InvalidRequest, match="'id' in line 1 must be a str"):
        datasets.read_items(path)
