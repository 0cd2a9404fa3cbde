"""Times against a clock: the right unit passes, what lies in the future is refused with the unit that would be right."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsdk.data import events_from_rows, items_from_rows, items_from_stored
from recsdk.errors import InvalidLog, InvalidRequest, InvalidValue
from recsdk.times import DAY, UNITS, seconds

NOW = 1_764_000_000.0  # November 2025
ITEMS = items_from_rows([{"id": "a"}])


@given(st.lists(st.floats(1e9, NOW), min_size=1, max_size=5), st.sampled_from(sorted(UNITS)))
def test_times_of_a_declared_unit_are_seconds(times, unit):
    found = seconds("time", np.array(times) * UNITS[unit], unit=unit, now=NOW)
    np.testing.assert_allclose(found, times, rtol=1e-12)


@given(st.floats(1e9, NOW), st.sampled_from(["ms", "us", "ns"]))
def test_an_undeclared_unit_is_refused_and_named(time, unit):
    with pytest.raises(InvalidLog, match=rf"'time' in row 0 must not be in the future, got .* declare time_unit='{unit}'\."):
        seconds("time", np.array([time]) * UNITS[unit], now=NOW, error=InvalidLog)


@pytest.mark.parametrize("late", [2 * DAY, 365 * DAY, 75 * 365 * DAY])
def test_a_time_in_the_future_is_refused_with_its_row(late):
    with pytest.raises(InvalidValue, match=r"'time' in row 1 must not be in the future, got \d+\.0 s, 2\d\d\d-"):
        seconds("time", np.array([NOW, NOW + late]), now=NOW)


def test_clocks_may_differ_by_less_than_a_day():
    assert seconds("time", np.array([NOW + DAY / 2]), now=NOW).tolist() == [NOW + DAY / 2]


def test_milliseconds_among_seconds_are_refused():
    with pytest.raises(InvalidValue, match=r"'time' in row 2 .* In ms it is 2025-11-2\d: give all rows in s\."):
        seconds("time", np.array([NOW - 3, NOW - 2, (NOW - 1) * 1e3]), now=NOW)


def test_seconds_among_milliseconds_are_refused():
    with pytest.raises(InvalidValue, match=r"'time' in row 1 must be in ms as other rows are, got 176\d+\.0: in s it is 2025-11-2\d"):
        seconds("time", np.array([(NOW - 3) * 1e3, NOW - 2]), unit="ms", now=NOW)


def test_times_that_count_from_any_start_pass():
    assert seconds("time", np.array([0.0, 5.0, 1e6]), now=NOW).tolist() == [0.0, 5.0, 1e6]
    assert seconds("time", np.array([-5.0, 1e6]), unit="ms", now=NOW).tolist() == [-0.005, 1e3]


def test_a_unit_that_is_none_is_refused():
    with pytest.raises(InvalidValue, match=r"time_unit must be one of \('s', 'ms', 'us', 'ns'\), got 'minutes'"):
        events_from_rows(ITEMS, [], time_unit="minutes")


def test_an_item_added_in_milliseconds_is_refused_by_its_row_and_taken_when_declared():
    rows = [{"id": "a"}, {"id": "b", "added": NOW * 1e3}]
    with pytest.raises(InvalidRequest, match=r"'added' in row 1 .* declare time_unit='ms'"):
        items_from_rows(rows, now=NOW)
    assert items_from_rows(rows, time=7.0, time_unit="ms", now=NOW).added.tolist() == [7.0, NOW]


def test_what_a_ledger_holds_is_not_compared_with_a_clock_again():
    assert items_from_stored([{"id": "a", "added": NOW * 1e3}]).added.tolist() == [NOW * 1e3]


def test_the_systems_clock_tells_where_the_future_begins():
    with pytest.raises(InvalidLog, match="'time' in row 0 must not be in the future"):
        events_from_rows(ITEMS, [{"item": "a", "time": 7e9}])  # 2191
    assert events_from_rows(ITEMS, [{"item": "a", "time": 7e9}], now=7e9).time.tolist() == [7e9]
