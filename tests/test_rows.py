"""Rows from mappings and data frames; anything else is refused with what is wanted."""

import duckdb
import numpy as np
import polars
import pytest

from recsdk.data import events_from_rows, items_from_rows, rows_from_items
from recsdk.errors import InvalidLog, InvalidRequest
from recsdk.rows import plain_rows
from tests.names import name

ROWS = [{"id": "a", "price": 1.5, "tags": ["new", "red"], "kind": "shoe"}, {"id": "b", "price": None, "tags": None, "kind": None}]
ITEMS = items_from_rows(ROWS)


class Stream:
    """Something that gives an Arrow stream and nothing else."""

    def __init__(self, rows):
        self._frame = polars.DataFrame(rows)

    def __arrow_c_stream__(self, requested_schema=None):
        return self._frame.__arrow_c_stream__(requested_schema)


@pytest.mark.parametrize("kind", [list, iter, tuple, polars.DataFrame, polars.LazyFrame, Stream])
def test_every_kind_of_table_gives_the_same_rows(kind):
    assert plain_rows("items", kind(ROWS)) == ROWS
    assert rows_from_items(items_from_rows(kind(ROWS))) == rows_from_items(ITEMS)


def test_a_relation_of_duckdb_gives_its_rows():
    query = "SELECT * FROM (VALUES ('a', 1.5::DOUBLE, ['new', 'red'], 'shoe'), ('b', NULL, NULL, NULL)) AS items(id, price, tags, kind)"
    assert plain_rows("items", duckdb.sql(query)) == ROWS


def test_rows_are_copies():
    row = {"id": "a"}
    items_from_rows([row])
    events_from_rows(ITEMS, [event := {"item": "a", "time": 1.0}])
    assert row == {"id": "a"}
    assert event == {"item": "a", "time": 1.0}


@pytest.mark.parametrize(
    "given",
    [None, 5, "apple", b"apple", {"id": "a"}, ["apple"], [1], [None], [("id", "a")], np.array(1.0), np.ones(3), object(), dict],
    ids=name,
)
def test_what_is_no_rows_is_refused(given):
    with pytest.raises(InvalidRequest, match=r"rows must be rows, each a mapping such as \{'id': 'a'\}, or a data frame, got"):
        items_from_rows(given)
    with pytest.raises(InvalidLog, match="rows must be rows"):
        events_from_rows(ITEMS, given)


def test_the_row_that_is_none_is_named():
    with pytest.raises(InvalidRequest, match="got 'b' in row 1"):
        items_from_rows([{"id": "a"}, "b"])


def test_a_column_that_is_missing_is_told_from_a_value_that_is():
    missing = r"'item' in row 0 must be an id of the catalogue, but the row has only \['itemid', 'time'\]\. Did you mean 'itemid'\?"
    with pytest.raises(InvalidLog, match=missing):
        events_from_rows(ITEMS, [{"itemid": "a", "time": 1}])
    missing = r"'time' in row 1 must be finite seconds since the epoch, but the row has only \['item', 'timestamp'\]"
    with pytest.raises(InvalidLog, match=missing):
        events_from_rows(ITEMS, [{"item": "a", "time": 1}, {"item": "a", "timestamp": 1}])
    missing = r"'id' in row 0 must be a str that is not empty, but the row has only \['sku'\]"
    with pytest.raises(InvalidRequest, match=missing):
        items_from_rows([{"sku": "a"}])
